"""The box as code uses it and as its controls do; no browser."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
import pytest
from recorder import SOON, LayeredNetwork
from stand_ins import colorizer_of

from napari_colorize.errors import SettingsError
from napari_colorize.jupyter import ColorizeBox
from napari_colorize.settings import ColorizeSettings


def sentence(box) -> str:
    return box._sentence.value


def turn(box, name, value) -> None:
    """As a hand does it."""
    box.controls[name]._parts[0].value = value
    assert box.wait(SOON)


def test_an_array_gets_its_colours(box_of, tiny_colorizer, photo):
    box = box_of(photo)

    np.testing.assert_array_equal(box.result.pixels, tiny_colorizer(photo).pixels)
    assert box.view.size == [96, 128]
    assert "render factor 4" in sentence(box)


def test_a_file_gets_its_colours(box_of, photo, tmp_path):
    from napari_colorize.io.images import write_image

    path = tmp_path / "photo.png"
    write_image(path, np.dstack([photo] * 3))

    by_path, by_hand = box_of(path), box_of()
    by_hand._images.path.value = str(path)
    by_hand.wait(SOON)

    np.testing.assert_array_equal(by_path.result.pixels, box_of(photo).result.pixels)
    np.testing.assert_array_equal(by_hand.result.pixels, by_path.result.pixels)


def test_an_upload_gets_its_colours(box_of, photo, tmp_path):
    from napari_colorize.io.images import write_image

    write_image(tmp_path / "photo.tif", np.dstack([photo] * 3))
    box = box_of()

    sent = (tmp_path / "photo.tif").read_bytes()
    box._images.upload.value = (
        {
            "name": "../photo.tif",
            "type": "image/tiff",
            "size": len(sent),
            "content": memoryview(sent),
            "last_modified": datetime.now(UTC),
        },
    )
    box.wait(SOON)

    np.testing.assert_array_equal(box.result.pixels, box_of(photo).result.pixels)


def test_settings_reach_the_controls_and_controls_the_settings(box_of, photo):
    box = box_of(photo, saturation=1.5)
    assert box.controls["saturation"].slider.value == 1.5

    box.settings = ColorizeSettings(render_factor=7, gamma=2)
    assert box.controls["render_factor"].slider.value == 7
    assert box.controls["gamma"].slider.value == 2
    turn(box, "self_attention", False)
    turn(box, "render_factor", 3)

    assert box.settings == ColorizeSettings(render_factor=3, gamma=2, self_attention=False)
    assert box.result.chroma.render_factor == 3


def test_every_setting_has_a_control_that_shows_it(box_of):
    box = box_of()
    shown = {**box.controls, **box.controls}

    assert set(shown) == {item.name for item in fields(ColorizeSettings)}
    for control in shown.values():
        assert control.label.tooltip


def test_a_knob_can_be_given_back_to_the_model(box_of, photo):
    box = box_of(photo)
    turn(box, "render_factor", 9)
    number = box.controls["render_factor"]

    number.reset.click()
    box.wait(SOON)

    assert box.settings.render_factor is None and number.reset.disabled
    assert number.slider.value == box.result.settings.render_factor == 4


def test_black_and_white_can_be_set(box_of, photo):
    box = box_of(photo)
    limits = box.controls["contrast_limits"]
    assert limits.automatic.value and (limits.low.value, limits.high.value) == (0, 255)

    limits.automatic.value = False
    limits.low.value = 100
    box.wait(SOON)

    assert box.settings.contrast_limits == (100, 255)
    assert box.result.gray.min() == 0


def test_limits_the_wrong_way_round_are_told_and_can_be_mended(box_of, photo):
    box = box_of(photo, contrast_limits=(50, 200))
    limits = box.controls["contrast_limits"]

    limits.high.value = 20
    assert "the smaller first" in sentence(box)
    limits.low.value = 10
    box.wait(SOON)

    assert box.result.settings.contrast_limits == (10, 20)


def test_saturation_asks_no_network_and_sends_nothing_anew(box_of, photo):
    box = box_of(photo)
    chroma, serial = box.result.chroma, box.view.serial

    turn(box, "saturation", 2.0)

    assert box.result.chroma is chroma and box.view.serial == serial
    assert box.result.settings.saturation == 2


def test_the_slider_and_the_view_are_linked_in_the_browser(box_of):
    box = box_of()

    slider, view = box.controls["saturation"].slider, box.view
    assert box._saturation.source == (slider, "value")
    assert box._saturation.target == (view, "saturation")


def test_code_may_watch_the_result(box_of, photo):
    box, seen = box_of(photo), []
    box.observe(lambda change: seen.append(change["new"]), "result")

    box.set_settings(saturation=0)
    box.wait(SOON)

    assert [result.settings.saturation for result in seen] == [0]


def test_a_slider_goes_through_a_stack(box_of, photo):
    stack = np.stack([photo, photo[::-1], photo // 2])
    box = box_of(stack)
    (slider,) = box._planes.sliders

    slider.value = 2
    box.wait(SOON)

    assert box.plane == (2,) and slider.max == 2
    np.testing.assert_allclose(box.result.gray, stack[2] / 255, atol=1e-6)


def test_all_planes_become_one_array(box_of, photo):
    stack = np.stack([photo, photo[::-1]])
    box = box_of(stack)
    assert box.stack is None

    box._all.click()
    box.wait(SOON)

    assert box.stack.shape == (2, 96, 128, 3)
    np.testing.assert_array_equal(box.stack[0], box.result.pixels)
    assert "Done: 2 of 2" in sentence(box) and "box.stack" in sentence(box)


def test_a_run_stops_when_told(photo):
    network = LayeredNetwork()
    box = ColorizeBox(np.stack([photo] * 500), model=colorizer_of(network))
    assert box.wait(SOON)
    network.held = True
    box._all.click()
    network.wait_until_held()
    assert box._all.disabled

    box._stop.click()
    network.let_go()
    assert box.wait(SOON)

    assert "Stopped after" in sentence(box) and not box._all.disabled
    assert box.result is not None
    box.close()


def test_another_picture_ends_a_run_over_the_last(photo):
    network = LayeredNetwork()
    box = ColorizeBox(np.stack([photo] * 500), model=colorizer_of(network))
    assert box.wait(SOON)
    network.held = True
    box._all.click()
    network.wait_until_held()

    box.source = photo[::-1].copy()
    network.let_go()
    assert box.wait(SOON)

    assert box.stack is None and "render factor" in sentence(box)
    np.testing.assert_allclose(box.result.gray, photo[::-1] / 255, atol=1e-6)
    box.close()


def test_a_sweep_shows_several_and_takes_one(box_of, photo):
    box = box_of(photo)

    box._toolbox.sweep_button.click()
    box.wait(SOON)
    assert list(box._sweep.buttons) == [2, 3, 4, 6, 8, 12]
    assert all(not button.disabled for button in box._sweep.buttons.values())
    box._sweep.buttons[8].click()
    box.wait(SOON)

    assert box.result.chroma.render_factor == 8
    assert box.controls["render_factor"].slider.value == 8


def test_a_click_shows_where_attention_looks(photo):
    box = ColorizeBox(photo)
    assert box.wait(SOON)
    box._toolbox.attention_button.value = True
    assert box.view.emits_clicks

    box.view._on_message(None, {"kind": "click", "point": [0.25, 0.5]}, [])
    assert box.wait(SOON)
    assert box.view.overlay_size != [0, 0] and box.view.marker == [0.25, 0.5]
    assert "Row 24, column 64" in box._toolbox.message.value

    box._toolbox.attention_button.value = False
    assert box.view.overlay_size == [0, 0] and box.view.marker == [] and not box.view.emits_clicks
    box.close()


def test_confidence_lies_over_the_picture_and_follows_it(photo):
    box = ColorizeBox(photo)
    assert box.wait(SOON)
    box._toolbox.expected_error_button.value = True
    box.wait(SOON)
    before = box.view.overlay

    box.set_settings(self_attention=False)
    box.wait(SOON)

    assert box.view.overlay_size == [96, 128] and box.view.overlay != before
    assert "Expected error in CIEDE2000" in box._toolbox.message.value
    box._toolbox.attention_button.value = True  # one map at a time
    assert not box._toolbox.expected_error_button.value and box.view.overlay_size == [0, 0]
    box.close()


def test_the_histogram_follows_the_saturation(box_of, photo):
    box = box_of(photo)
    box._toolbox.histogram_button.value = True
    before = box._toolbox.histogram._image.value

    turn(box, "saturation", 3.0)

    assert before and box._toolbox.histogram._image.value != before


BAD = {
    "no image": "a word",
    "a dictionary": {"a": 1},
    "nothing in it": np.zeros((0, 10)),
    "one axis": np.zeros(7),
    "words": np.array([["a", "b"]]),
    "complex": np.zeros((4, 4), complex),
}


@pytest.mark.parametrize("source", BAD.values(), ids=BAD.keys())
def test_bad_input_is_told_in_one_sentence_and_the_box_lives_on(box_of, photo, source):
    box = box_of(source)

    assert 'class="error"' in sentence(box)
    assert "Traceback" not in sentence(box)
    assert box.result is None
    box.source = photo
    box.wait(SOON)
    assert box.result is not None and 'class="error"' not in sentence(box)


def test_a_path_that_is_not_there_is_told(box_of, tmp_path):
    box = box_of(tmp_path / "gone.png")
    assert "gone.png does not exist." in sentence(box)

    (tmp_path / "text.png").write_text("words")
    box.source = tmp_path / "text.png"
    assert "text.png is not an image" in sentence(box)


def test_words_of_a_user_are_no_markup(box_of):
    assert "&lt;b&gt; does not exist." in sentence(box_of("<b>"))


def test_a_plane_that_is_not_there_is_told_and_another_can_be_chosen(box_of, photo):
    box = box_of(np.stack([photo] * 3), plane=(7,))
    assert "There is no plane (7,)" in sentence(box)

    box._planes.sliders[0].value = 1
    box.wait(SOON)

    assert box.plane == (1,) and box.result is not None


def test_settings_that_do_not_exist_are_the_callers_mistake():
    with pytest.raises(SettingsError, match="no setting 'colour'"):
        ColorizeBox(colour=2)


def test_a_picture_is_saved_once(box_of, photo, tmp_path):
    box = box_of(photo)
    box._path.value = str(tmp_path / "colors.png")

    box._save.click()
    assert "Saved as" in sentence(box) and (tmp_path / "colors.png").is_file()
    box._save.click()

    assert 'class="error"' in sentence(box) and "colors.png" in sentence(box)


def test_boxes_do_not_disturb_each_other(box_of, photo):
    one, two = box_of(photo), box_of(photo[::-1].copy())

    turn(one, "saturation", 0.0)

    assert one.result.settings.saturation == 0 and two.result.settings.saturation == 1
    assert two.controls["saturation"].slider.value == 1


def test_a_box_that_nobody_sees_gives_back_its_network(box_of, photo):
    box = box_of(photo)
    freed = []
    box.session.release_memory = lambda: freed.append(True)

    for kind in ("attached", "attached", "detached"):
        box.view._on_message(None, {"kind": kind}, [])
    assert not freed
    box.view._on_message(None, {"kind": "detached"}, [])

    assert freed


def test_it_goes_on_after_it_was_gone(box_of, photo):
    box = box_of(photo)
    box.view._on_message(None, {"kind": "attached"}, [])
    box.view._on_message(None, {"kind": "detached"}, [])
    box.wait(SOON)

    turn(box, "saturation", 2.0)

    assert box.result.settings.saturation == 2


def test_a_knob_that_the_model_lacks_is_off_with_the_reason(box_of, photo):
    box = box_of(photo)

    fidelity = box.controls["fidelity"]
    assert fidelity.list.disabled and "compact" in fidelity.list.tooltip
    assert not box.controls["self_attention"].box.disabled
