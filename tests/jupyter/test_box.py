"""ColorizeBox, used by code and through its controls; no browser."""

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


def status(box) -> str:
    return box._status.value


def change(box, name, value) -> None:
    """Change a setting by its control."""
    box.controls[name]._parts[0].value = value
    assert box.wait(SOON)


def test_without_an_event_loop_the_box_names_what_to_do(tiny_colorizer, photo):
    box = ColorizeBox(photo, model=tiny_colorizer)
    before = box._status.value

    box.wait(SOON)

    assert "box.wait()" in before and "ColorizeView" in before
    assert "box.wait()" not in box._status.value
    box.close()


def test_an_array_is_colorized(box_of, tiny_colorizer, photo):
    box = box_of(photo)

    np.testing.assert_array_equal(box.result.pixels, tiny_colorizer(photo).pixels)
    assert box.view.size == [96, 128]
    assert "render factor 4" in status(box)


def test_a_file_is_colorized(box_of, photo, tmp_path):
    from napari_colorize.io.images import write_image

    path = tmp_path / "photo.png"
    write_image(path, np.dstack([photo] * 3))

    by_path, by_hand = box_of(path), box_of()
    by_hand._images.path.value = str(path)
    by_hand.wait(SOON)

    np.testing.assert_array_equal(by_path.result.pixels, box_of(photo).result.pixels)
    np.testing.assert_array_equal(by_hand.result.pixels, by_path.result.pixels)


def upload_of(name, content):
    """A file as FileUpload gives it."""
    return {
        "name": name,
        "type": "image/tiff",
        "size": len(content),
        "content": memoryview(content),
        "last_modified": datetime.now(UTC),
    }


def test_a_dropped_file_arrives_in_pieces(box_of, photo, tmp_path):
    from napari_colorize.io.images import write_image

    write_image(tmp_path / "photo.tif", np.dstack([photo] * 3))
    content, box = (tmp_path / "photo.tif").read_bytes(), box_of()
    pieces = [content[at : at + 5000] for at in range(0, len(content), 5000)]
    assert len(pieces) > 2

    message = {"kind": "file", "id": "1", "name": "../photo.tif"}
    box.view._on_message(None, {**message, "id": "0", "first": True, "last": False}, [b"lost"])
    for number, piece in enumerate(pieces):
        ends = {"first": number == 0, "last": number == len(pieces) - 1}
        box.view._on_message(None, {**message, **ends}, [memoryview(piece)])
    box.wait(SOON)

    np.testing.assert_array_equal(box.result.pixels, box_of(photo).result.pixels)


def test_an_upload_is_colorized(box_of, photo, tmp_path):
    from napari_colorize.io.images import write_image

    write_image(tmp_path / "photo.tif", np.dstack([photo] * 3))
    box = box_of()

    sent = (tmp_path / "photo.tif").read_bytes()
    box._images.upload.value = (upload_of("../photo.tif", sent),)
    box.wait(SOON)

    np.testing.assert_array_equal(box.result.pixels, box_of(photo).result.pixels)


def test_settings_and_controls_follow_each_other(box_of, photo):
    box = box_of(photo, saturation=1.5)
    assert box.controls["saturation"].slider.value == 1.5

    box.settings = ColorizeSettings(render_factor=7, gamma=2)
    assert box.controls["render_factor"].slider.value == 7
    assert box.controls["gamma"].slider.value == 2
    change(box, "self_attention", False)
    change(box, "render_factor", 3)

    assert box.settings == ColorizeSettings(render_factor=3, gamma=2, self_attention=False)
    assert box.result.chroma.render_factor == 3


def test_every_setting_has_a_control_that_shows_it(box_of):
    box = box_of()
    shown = dict(box.controls)

    assert set(shown) == {item.name for item in fields(ColorizeSettings)}
    for control in shown.values():
        assert control.label.tooltip


def test_a_setting_can_be_reset_to_the_recommended_value(box_of, photo):
    box = box_of(photo)
    change(box, "render_factor", 9)
    number = box.controls["render_factor"]

    number.reset.click()
    box.wait(SOON)

    assert box.settings.render_factor is None and number.reset.disabled
    assert number.slider.value == box.result.settings.render_factor == 4


def test_black_and_white_can_be_set(box_of, photo):
    box = box_of(photo)
    limits = box.controls["contrast_limits"]
    assert limits.rule.value == "auto" and (limits.low.value, limits.high.value) == (0, 255)

    limits.rule.value = "numbers"
    limits.low.value = 100
    box.wait(SOON)

    assert box.settings.contrast_limits == (100, 255)
    assert box.result.gray.min() == 0


def test_reversed_limits_are_reported_and_can_be_corrected(box_of, photo):
    box = box_of(photo, contrast_limits=(50, 200))
    limits = box.controls["contrast_limits"]

    limits.high.value = 20
    assert "the smaller first" in status(box)
    limits.low.value = 10
    box.wait(SOON)

    assert box.result.settings.contrast_limits == (10, 20)


def test_saturation_runs_no_network_and_sends_no_image(box_of, photo):
    box = box_of(photo)
    chroma, serial = box.result.chroma, box.view.serial

    change(box, "saturation", 2.0)

    assert box.result.chroma is chroma and box.view.serial == serial
    assert box.result.settings.saturation == 2


def test_the_slider_and_the_view_are_linked_in_the_browser(box_of):
    box = box_of()

    slider, view = box.controls["saturation"].slider, box.view
    assert box._saturation.source == (slider, "value")
    assert box._saturation.target == (view, "saturation")


def test_the_result_can_be_observed(box_of, photo):
    box, seen = box_of(photo), []
    box.observe(lambda change: seen.append(change["new"]), "result")

    box.set_settings(saturation=0)
    box.wait(SOON)

    assert [result.settings.saturation for result in seen] == [0]


def test_a_slider_selects_the_plane(box_of, photo):
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
    assert "Done: 2 of 2" in status(box) and "box.stack" in status(box)


def chroma_of(pixels):
    """Largest difference between the channels of a pixel: 0 for gray."""
    return int(np.ptp(np.asarray(pixels).astype(int), axis=-1).max())


def test_the_stack_follows_the_settings_as_the_displayed_plane_does(box_of, photo):
    box = box_of(np.stack([photo, photo[::-1]]))
    box.colorize_all()
    box.wait(SOON)
    held = box.stack
    before = held.copy()

    box.set_settings(saturation=0)
    assert box.stack is None  # not the outdated colors
    box.wait(SOON)

    assert chroma_of(before) > 0 and chroma_of(box.result.pixels) == chroma_of(box.stack) == 0
    np.testing.assert_array_equal(held, before)


def test_painted_hints_make_the_stack_stale(box_of, photo):
    box = box_of(np.stack([photo, photo[::-1]]))
    box.colorize_all()
    box.wait(SOON)
    assert box.stack is not None

    hints = np.zeros((*photo.shape, 4), np.uint8)
    hints[:8, :8] = 255, 0, 0, 255
    box.hints = hints

    assert box.stack is None


def test_the_next_planes_are_prefetched(box_of, photo):
    box = box_of(np.stack([np.roll(photo, k, axis=0) for k in range(4)]), plane=(0,))
    prefetched = []
    box.presenter.session.plane_ready.connect(lambda index, *_: prefetched.append(index))

    box._planes.sliders[0].value = 1
    box.wait(SOON)

    assert prefetched == [(2,), (3,)]


def test_a_run_can_be_stopped(photo):
    network = LayeredNetwork()
    box = ColorizeBox(np.stack([photo] * 500), model=colorizer_of(network))
    assert box.wait(SOON)
    network.is_blocked = True
    box._all.click()
    network.wait_until_blocked()
    assert box._all.disabled

    box._stop.click()
    network.unblock()
    assert box.wait(SOON)

    assert "Stopped after" in status(box) and not box._all.disabled
    assert box.result is not None
    box.close()


def test_a_new_source_ends_a_run(photo):
    network = LayeredNetwork()
    box = ColorizeBox(np.stack([photo] * 500), model=colorizer_of(network))
    assert box.wait(SOON)
    network.is_blocked = True
    box._all.click()
    network.wait_until_blocked()

    box.source = photo[::-1].copy()
    network.unblock()
    assert box.wait(SOON)

    assert box.stack is None and "render factor" in status(box)
    np.testing.assert_allclose(box.result.gray, photo[::-1] / 255, atol=1e-6)
    box.close()


def test_a_click_in_the_sweep_sets_the_render_factor(box_of, photo):
    box = box_of(photo)

    box._toolbox.sweep_button.click()
    box.wait(SOON)
    assert list(box._sweep.buttons) == [2, 3, 4, 6, 8, 12]
    assert all(not button.disabled for button in box._sweep.buttons.values())
    box._sweep.buttons[8].click()
    box.wait(SOON)

    assert box.result.chroma.render_factor == 8
    assert box.controls["render_factor"].slider.value == 8


def test_a_click_shows_the_attention_map(photo):
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


def test_the_expected_error_overlay_follows_the_result(photo):
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

    change(box, "saturation", 3.0)

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
def test_invalid_input_is_reported_and_the_box_continues(box_of, photo, source):
    box = box_of(source)

    assert 'class="error"' in status(box)
    assert "Traceback" not in status(box)
    assert box.result is None
    box.source = photo
    box.wait(SOON)
    assert box.result is not None and 'class="error"' not in status(box)


def write_broken(folder, name):
    """A file that cannot be opened: missing, text, cut off, or a video without frames."""
    path = folder / name
    if name == "text.png":
        path.write_text("words")
    elif name == "cut.tif":
        path.write_bytes(b"II*\0\x08\0\0\0")
    elif name == "empty.mp4":
        path.write_bytes(b"")
    return path


@pytest.mark.parametrize("name", ["gone.png", "text.png", "cut.tif", "empty.mp4"])
@pytest.mark.parametrize("how", ["code", "field", "upload", "drop"])
def test_a_file_that_cannot_be_opened_changes_nothing(box_of, photo, tmp_path, name, how):
    box = box_of(photo)
    hints = np.zeros((*photo.shape, 4), np.uint8)
    hints[:8, :8] = 255, 0, 0, 255
    box.hints = hints
    box.wait(SOON)
    before, painted = (box.source, box.result, box.hints, box.plane), box.view.paint
    path = write_broken(tmp_path, name)

    if how == "code":
        box.source = path
    elif how == "field":
        box._images.path.value = str(path)
    elif path.is_file():
        content = path.read_bytes()
        if how == "drop":
            message = {"kind": "file", "id": "1", "name": name, "first": True, "last": True}
            box.view._on_message(None, message, [content])
        else:
            box._images.upload.value = (upload_of(name, content),)
    else:
        pytest.skip("Only files that exist are sent.")
    box.wait(SOON)

    now = box.source, box.result, box.hints, box.plane
    assert all(one is other for one, other in zip(now, before, strict=True))
    assert box.view.paint == painted and painted
    assert 'class="error"' in status(box) and name in status(box)


@pytest.mark.parametrize("source", BAD.values(), ids=BAD.keys())
def test_an_invalid_array_does_not_replace_the_image(box_of, photo, source):
    box = box_of(photo)
    before = box.result

    box.source = source
    box.wait(SOON)

    assert box.source is photo and box.result is before
    assert 'class="error"' in status(box)


def test_the_path_field_shows_the_displayed_file(box_of, photo, tmp_path):
    box = box_of(photo)
    box._images.path.value = "typo.png"
    assert box._images.path.value == "typo.png"  # to be corrected

    box.source = photo[::-1].copy()

    assert box._images.path.value == ""


def test_a_missing_path_is_reported(box_of, tmp_path):
    box = box_of(tmp_path / "gone.png")
    assert "gone.png does not exist." in status(box)

    (tmp_path / "text.png").write_text("words")
    box.source = tmp_path / "text.png"
    assert "text.png is not an image" in status(box)


def test_text_of_the_user_is_escaped(box_of):
    assert "&lt;b&gt; does not exist." in status(box_of("<b>"))


def test_an_invalid_plane_is_reported_and_another_can_be_chosen(box_of, photo):
    box = box_of(np.stack([photo] * 3), plane=(7,))
    assert "There is no plane (7,)" in status(box)

    box._planes.sliders[0].value = 1
    box.wait(SOON)

    assert box.plane == (1,) and box.result is not None


def test_unknown_settings_raise():
    with pytest.raises(SettingsError, match="no setting 'color'"):
        ColorizeBox(color=2)


def test_boxes_do_not_disturb_each_other(box_of, photo):
    one, two = box_of(photo), box_of(photo[::-1].copy())

    change(one, "saturation", 0.0)

    assert one.result.settings.saturation == 0 and two.result.settings.saturation == 1
    assert two.controls["saturation"].slider.value == 1


def attach(box, view="1", page="a", kind="attached", **message):
    """Report a view of a box, as the browser does."""
    box.view._on_message(None, {"kind": kind, "page": page, "view": view, **message}, [])


def test_a_box_that_is_not_displayed_releases_its_memory(box_of, photo):
    box = box_of(photo)
    freed = []
    box.session.release_memory = lambda **_: freed.append(True)

    attach(box, "1")
    attach(box, "2")
    attach(box, "1", kind="detached")
    assert not freed
    attach(box, "2", kind="detached")

    assert freed


def test_views_of_a_page_that_was_loaded_again_are_forgotten(box_of, photo, monkeypatch):
    box = box_of(photo)
    freed, sent = [], []
    box.session.release_memory = lambda **_: freed.append(True)
    monkeypatch.setattr(
        type(box.view), "send", lambda self, message, buffers=None: sent.append(message)
    )
    attach(box, page="other tab")
    attach(box, page="before")

    attach(box, page="after")  # the page before reported no removal
    assert sent[-1] == {"kind": "roll_call"}
    attach(box, page="other tab", answers=True)
    attach(box, page="after", answers=True)
    attach(box, page="other tab", kind="detached")
    assert not freed
    attach(box, page="after", kind="detached")

    assert freed


def test_a_box_continues_after_its_memory_was_released(box_of, photo):
    box = box_of(photo)
    attach(box)
    attach(box, kind="detached")
    box.wait(SOON)

    change(box, "saturation", 2.0)

    assert box.result.settings.saturation == 2


def test_the_control_of_an_unsupported_setting_is_disabled_with_the_reason(box_of, photo):
    box = box_of(photo)

    fidelity = box.controls["fidelity"]
    assert fidelity.list.disabled and "compact" in fidelity.list.tooltip
    assert not box.controls["self_attention"].box.disabled


def test_the_range_in_use_and_the_rules_are_shown(box_of, photo):
    image = np.asarray(photo)
    gray = image if image.ndim == 2 else image[..., 1]
    box = box_of(gray.astype(np.uint16) * 16)
    limits = box.controls["contrast_limits"]

    assert limits.rule.options == ("auto", "dtype", "data", "percentile", "numbers")
    assert (limits.rule.value, limits.low.value, limits.high.value) == ("auto", 0, 4095)
    assert "choose them under Input range" in box._notes.value

    limits.rule.value = "dtype"
    box.wait(SOON)

    assert box.settings.contrast_limits == "dtype"
    assert limits.low.disabled and (limits.low.value, limits.high.value) == (0, 65535)
    assert box.result.plane.limits == (0, 65535)


def test_a_file_declares_its_range(box_of, tmp_path):
    import tifffile

    ramp = np.tile(np.arange(100, 1100, 10, dtype=np.uint16), (64, 1))
    tifffile.imwrite(tmp_path / "a.tif", ramp, imagej=True, metadata={"min": 100.0, "max": 1100.0})

    box = box_of(tmp_path / "a.tif")

    assert box.result.plane.limits == (100, 1100)
    assert box.settings.contrast_limits is None
