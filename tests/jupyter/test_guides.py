"""What guides colours in a box: hints, mask, reference, a second model, time; no browser."""

from __future__ import annotations

import numpy as np
import pytest
from recorder import SOON
from skimage import data

from napari_colorize.errors import ImageError
from napari_colorize.io.images import write_image
from napari_colorize.jupyter import paint
from napari_colorize.jupyter.view import BRUSH
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints
from napari_colorize.refine.palette_transfer import Reference


@pytest.fixture
def orange() -> np.ndarray:
    """A picture of another palette, uint8 (40, 50, 3)."""
    light = np.linspace(0.3, 1, 50)[None, :, None] * np.ones((40, 1, 1))
    return np.rint(light * [255, 140, 20]).astype(np.uint8)


@pytest.fixture
def strokes() -> np.ndarray:
    """A green line painted on the photograph."""
    rgba = np.zeros((96, 128, 4), np.uint8)
    rgba[80:84, 10:40] = (20, 160, 60, 255)
    return rgba


def is_off(box, name) -> bool:
    return box.controls[name]._parts[0].disabled


def test_hints_from_code_color_what_is_hinted_and_ask_no_network(
    box_of, tiny_colorizer, photo, strokes
):
    box = box_of(photo)
    chroma = box.result.chroma

    box.hints = strokes
    box.wait(SOON)

    wanted = tiny_colorizer(photo, guides=Guides(hints=Hints.from_rgba(strokes)))
    np.testing.assert_array_equal(box.result.pixels, wanted.pixels)
    assert box.result.chroma is chroma and box.view.paint
    assert (box.result.pixels[80:84, 10:40].argmax(-1) == 1).all()  # green
    box.hints = None
    box.wait(SOON)
    np.testing.assert_array_equal(box.result.pixels, tiny_colorizer(photo).pixels)
    assert box.view.paint == b""


def test_what_is_painted_is_in_the_picture_and_in_the_box(box_of, photo, strokes):
    box, by_code = box_of(photo), box_of(photo, guides=Guides(hints=Hints.from_rgba(strokes)))

    box.view.set_state({"paint": memoryview(paint.to_png(strokes)), "stroke": 1})
    box.wait(SOON)

    assert box.hints.mask.sum() == 120
    np.testing.assert_array_equal(box.result.pixels, by_code.result.pixels)


def test_only_a_new_tint_is_sent_while_one_paints(box_of, photo, strokes):
    box = box_of(photo)
    before = box.view.plane, box.view.serial, box.view.gray

    box.hints = strokes
    box.wait(SOON)

    assert (box.view.plane, box.view.serial, box.view.gray) == (before[0], before[1] + 1, before[2])
    assert box.view.strokes and box.view.hinted["maps"] and box.view.correction["maps"]


def test_a_mask_leaves_the_rest_as_it_was(box_of, tiny_colorizer):
    image = data.astronaut()[:96, 128:256]
    mask = np.zeros((96, 128), np.uint8)
    mask[:, 64:] = 1
    box = box_of(image)

    box.mask = mask
    box.wait(SOON)

    np.testing.assert_array_equal(box.result.pixels[:, :64], image[:, :64])
    np.testing.assert_array_equal(box.result.pixels[:, 64:], tiny_colorizer(image).pixels[:, 64:])
    kept = np.frombuffer(box.view.kept, np.uint8).reshape(96, 128, 4)
    np.testing.assert_array_equal(kept[:, :64, :3], image[:, :64])
    np.testing.assert_array_equal(kept[..., 3] == 255, mask == 0)
    assert box.mask.dtype == bool


def test_guides_of_another_size_are_told_and_the_box_lives_on(box_of, photo):
    box = box_of(photo)

    box.mask = np.ones((5, 5))
    box.wait(SOON)
    assert "expected 128 x 96 pixels (width x height), got 5 x 5" in box._sentence.value
    box.mask = None
    box.wait(SOON)

    assert 'class="error"' not in box._sentence.value
    with pytest.raises(ImageError, match="two axes"):
        box.mask = np.ones(7)


def test_a_reference_gives_its_palette_as_much_as_wanted(box_of, tiny_colorizer, photo, orange):
    box = box_of(photo)
    assert is_off(box, "reference_strength")

    box.reference = orange
    box.wait(SOON)
    whole = box.result.pixels
    box.controls["reference_strength"].slider.value = 0
    box.wait(SOON)

    wanted = tiny_colorizer(photo, guides=Guides(reference=Reference(orange)))
    np.testing.assert_array_equal(whole, wanted.pixels)
    np.testing.assert_array_equal(box.result.pixels, tiny_colorizer(photo).pixels)
    assert not is_off(box, "reference_strength") and box._references.picture.value


def test_a_reference_is_chosen_by_its_file_and_taken_away(box_of, photo, orange, tmp_path):
    write_image(tmp_path / "orange.png", orange)
    box = box_of(photo)

    box._references.files.path.value = str(tmp_path / "orange.png")
    box.wait(SOON)
    np.testing.assert_array_equal(box.reference.rgb, orange)
    assert not is_off(box, "reference_method")
    box._references.remove.click()
    box.wait(SOON)

    assert box.reference is None and is_off(box, "reference_method")


def test_a_reference_that_is_none_is_told(box_of, photo, tmp_path):
    write_image(tmp_path / "stack.tif", np.zeros((2, 4, 4, 3), np.uint8))
    box = box_of(photo)

    for name, said in (("gone.png", "does not exist"), ("stack.tif", "(Y, X, 3 or 4)")):
        box._references.files.path.value = str(tmp_path / name)
        assert said in box._sentence.value and box.reference is None


def test_another_picture_keeps_the_reference_alone(box_of, photo, orange, strokes):
    box = box_of(photo)
    box.guides = Guides(
        mask=np.ones((96, 128)), hints=Hints.from_rgba(strokes), reference=Reference(orange)
    )
    box.wait(SOON)

    box.source = photo[::2].copy()
    box.wait(SOON)

    assert (box.mask, box.hints) == (None, None) and box.view.paint == b""
    assert box.reference.rgb is orange and box.result.guides.reference is box.reference


def test_a_second_model_is_blended_with_the_first(box_of, tiny_colorizer, photo):
    box = box_of(photo, model="embedded")
    alone = box.result.pixels
    assert is_off(box, "blend")

    box.blend_with = tiny_colorizer
    box.set_settings(blend=0.25)
    box.wait(SOON)
    assert not is_off(box, "blend")
    assert box.result.second_chroma.model == tiny_colorizer.checkpoint.name
    assert (box.result.pixels != alone).any()
    box.controls["blend"].slider.value = 0
    box.wait(SOON)

    np.testing.assert_array_equal(box.result.pixels, alone)
    box.blend_with = None
    assert is_off(box, "blend")


def test_a_second_model_is_chosen_from_the_list_and_given_up(box_of, photo):
    box = box_of(photo)
    names = [value for _, value in box._others.list.options]
    assert names[:2] == ["", "embedded"] and box._others.list.value == ""

    box._others.list.value = "embedded"
    box.wait(SOON)
    assert box.blend_with == "embedded" and box.result.second_chroma.model == "embedded"
    box._others.list.value = ""
    box.wait(SOON)

    assert box.blend_with is None and box.result.second_chroma is None


def test_a_stack_has_steadiness_and_an_axis_of_time(box_of, photo):
    box = box_of(photo)
    assert box._stacked.layout.display == "none"

    box.source = np.stack([[photo, photo // 2, photo // 3]] * 2)
    box.wait(SOON)
    assert box._stacked.layout.display == box._planes.time.layout.display == ""
    assert [name for name, _ in box._planes._axes.options] == ["axis 0", "axis 1"]
    box._planes._axes.value = 1
    box.controls["temporal_smoothing"].slider.value = 0.5

    assert box.time_axis == box.session.time_axis == 1
    assert box.session.settings.temporal_smoothing == 0.5
    box.time_axis = 0
    assert box._planes._axes.value == 0


def test_a_film_is_a_stack_whose_frames_are_read_when_seen(box_of, photo, tmp_path):
    av = pytest.importorskip("av")
    with av.open(tmp_path / "film.mp4", "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for shift in range(6):
            frame = av.VideoFrame.from_ndarray(np.roll(photo, 4 * shift, 1), "gray")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    box = box_of(tmp_path / "film.mp4", temporal_smoothing=0.7)

    (slider,) = box._planes.sliders
    slider.value = 5
    box.wait(SOON)

    assert slider.max == 5 and box.source.shape == (6, 96, 128)
    assert np.abs(box.result.gray - np.roll(photo, 20, 1) / 255).mean() < 0.02
    assert box._stacked.layout.display == ""


def test_disagreement_lies_over_the_picture_and_asks_again_for_another_prediction(box_of, photo):
    box = box_of(photo)
    asked = []
    doubt = box.session.request_disagreement
    box.session.request_disagreement = lambda: (asked.append(True), doubt())

    box._toolbox.differ.value = True
    box.wait(SOON)
    assert box.view.overlay_size == [96, 128] and "4 predictions" in box._toolbox.told.value
    box.set_settings(saturation=0.5)
    box.wait(SOON)
    assert len(asked) == 1
    box.set_settings(render_factor=5)
    box.wait(SOON)

    assert len(asked) == 2 and box.view.overlay_size == [96, 128]
    box._toolbox.differ.value = False
    assert box.view.overlay_size == [0, 0]


def test_what_got_no_colour_is_marked(box_of, photo):
    box = box_of(photo, saturation=0.0)
    box._toolbox.mark.value = True
    assert "100 % of the image" in box._toolbox.told.value
    assert np.frombuffer(box.view.overlay, np.uint8).reshape(96, 128, 4)[..., 3].all()

    box.set_settings(saturation=2.0)
    box.wait(SOON)

    marked = np.frombuffer(box.view.overlay, np.uint8).reshape(96, 128, 4)[..., 3] > 0
    np.testing.assert_array_equal(marked, box.result.uncolored())
    assert "100 %" not in box._toolbox.told.value


def test_the_brush_and_attention_share_no_mouse(box_of, photo):
    box = box_of(photo)
    box._toolbox.attend.value = True
    box._painting.tool.value = BRUSH
    assert not box._toolbox.attend.value and not box.view.asks

    box._toolbox.attend.value = True

    assert box._painting.tool.value == box.view.tool == 0


def test_a_finished_picture_switches_knobs_off_that_change_nothing(box_of, photo):
    box = box_of(photo)

    box.set_settings(fidelity="deoldify")
    box._show_lacks()

    assert is_off(box, "edges") and "finished" in box.controls["shadows"].label.tooltip


def test_a_box_says_what_it_is(box_of, photo):
    assert repr(box_of(photo)) == "ColorizeBox((96, 128), model='tint')"
