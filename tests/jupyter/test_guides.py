"""Guides of a box (hints, mask, reference), second model, time axis and analysis maps."""

from __future__ import annotations

import numpy as np
import pytest
from recorder import SOON
from skimage import data

from napari_colorize.errors import ImageError
from napari_colorize.io.images import write_image
from napari_colorize.jupyter import hint_pixels
from napari_colorize.jupyter.view import BRUSH
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints
from napari_colorize.refine.palette_transfer import Reference


@pytest.fixture
def orange() -> np.ndarray:
    """Orange image, a reference palette, uint8 (40, 50, 3)."""
    light = np.linspace(0.3, 1, 50)[None, :, None] * np.ones((40, 1, 1))
    return np.rint(light * [255, 140, 20]).astype(np.uint8)


@pytest.fixture
def strokes() -> np.ndarray:
    """RGBA with a green stroke, at the size of the photograph."""
    rgba = np.zeros((96, 128, 4), np.uint8)
    rgba[80:84, 10:40] = (20, 160, 60, 255)
    return rgba


def is_disabled(box, name) -> bool:
    return box.controls[name]._parts[0].disabled


def test_hints_set_by_code_color_their_pixels_without_a_prediction(
    box_of, tiny_colorizer, photo, strokes
):
    box = box_of(photo)
    chroma = box.result.chroma

    box.hints = strokes
    box.wait(SOON)

    expected = tiny_colorizer(photo, guides=Guides(hints=Hints.from_rgba(strokes)))
    np.testing.assert_array_equal(box.result.pixels, expected.pixels)
    assert box.result.chroma is chroma and box.view.paint
    assert (box.result.pixels[80:84, 10:40].argmax(-1) == 1).all()  # green
    box.hints = None
    box.wait(SOON)
    np.testing.assert_array_equal(box.result.pixels, tiny_colorizer(photo).pixels)
    assert box.view.paint == b""


def test_painted_hints_are_in_the_result_and_in_box_hints(box_of, photo, strokes):
    box, by_code = box_of(photo), box_of(photo, guides=Guides(hints=Hints.from_rgba(strokes)))

    box.view.set_state({"paint": memoryview(hint_pixels.to_png(strokes)), "stroke": 1})
    box.wait(SOON)

    assert box.hints.mask.sum() == 120
    np.testing.assert_array_equal(box.result.pixels, by_code.result.pixels)


def test_painting_sends_only_chroma_layers(box_of, photo, strokes):
    box = box_of(photo)
    before = box.view.plane_serial, box.view.serial, box.view.gray

    box.hints = strokes
    box.wait(SOON)

    assert (box.view.plane_serial, box.view.serial, box.view.gray) == (
        before[0],
        before[1] + 1,
        before[2],
    )
    assert box.view.strokes and box.view.hinted["maps"] and box.view.correction["maps"]


def test_pixels_outside_the_mask_are_unchanged(box_of, tiny_colorizer):
    image = data.astronaut()[:96, 128:256]
    mask = np.zeros((96, 128), np.uint8)
    mask[:, 64:] = 1
    box = box_of(image)

    box.mask = mask
    box.wait(SOON)

    np.testing.assert_array_equal(box.result.pixels[:, :64], image[:, :64])
    np.testing.assert_array_equal(box.result.pixels[:, 64:], tiny_colorizer(image).pixels[:, 64:])
    kept = np.frombuffer(box.view.outside_mask, np.uint8).reshape(96, 128, 4)
    np.testing.assert_array_equal(kept[:, :64, :3], image[:, :64])
    np.testing.assert_array_equal(kept[..., 3] == 255, mask == 0)
    assert box.mask.dtype == bool


def test_a_mask_of_another_size_is_reported_and_can_be_removed(box_of, photo):
    box = box_of(photo)

    box.mask = np.ones((5, 5))
    box.wait(SOON)
    assert "expected 128 x 96 pixels (width x height), got 5 x 5" in box._status.value
    box.mask = None
    box.wait(SOON)

    assert 'class="error"' not in box._status.value
    with pytest.raises(ImageError, match="two axes"):
        box.mask = np.ones(7)


def test_a_reference_is_applied_with_its_strength(box_of, tiny_colorizer, photo, orange):
    box = box_of(photo)
    assert is_disabled(box, "reference_strength")

    box.reference = orange
    box.wait(SOON)
    full_strength = box.result.pixels
    box.controls["reference_strength"].slider.value = 0
    box.wait(SOON)

    expected = tiny_colorizer(photo, guides=Guides(reference=Reference(orange)))
    np.testing.assert_array_equal(full_strength, expected.pixels)
    np.testing.assert_array_equal(box.result.pixels, tiny_colorizer(photo).pixels)
    assert not is_disabled(box, "reference_strength") and box._references.thumbnail.value


def test_a_reference_is_chosen_as_a_file_and_removed(box_of, photo, orange, tmp_path):
    write_image(tmp_path / "orange.png", orange)
    box = box_of(photo)

    box._references.files.path.value = str(tmp_path / "orange.png")
    box.wait(SOON)
    np.testing.assert_array_equal(box.reference.rgb, orange)
    assert not is_disabled(box, "reference_method")
    box._references.remove.click()
    box.wait(SOON)

    assert box.reference is None and is_disabled(box, "reference_method")


def test_an_unusable_reference_is_reported(box_of, photo, tmp_path):
    write_image(tmp_path / "stack.tif", np.zeros((2, 4, 4, 3), np.uint8))
    box = box_of(photo)

    for name, message in (("missing.png", "does not exist"), ("stack.tif", "(Y, X, 3 or 4)")):
        box._references.files.path.value = str(tmp_path / name)
        assert message in box._status.value and box.reference is None


def test_another_source_keeps_only_the_reference(box_of, photo, orange, strokes):
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
    assert is_disabled(box, "blend")

    box.blend_with = tiny_colorizer
    box.set_settings(blend=0.25)
    box.wait(SOON)
    assert not is_disabled(box, "blend")
    assert box.result.second_chroma.model == tiny_colorizer.checkpoint.name
    assert (box.result.pixels != alone).any()
    box.controls["blend"].slider.value = 0
    box.wait(SOON)

    np.testing.assert_array_equal(box.result.pixels, alone)
    box.blend_with = None
    assert is_disabled(box, "blend")


def test_a_second_model_is_chosen_from_the_list_and_removed(box_of, photo):
    box = box_of(photo)
    names = [value for _, value in box._others.list.options]
    assert names[:2] == ["", "embedded"] and box._others.list.value == ""

    box._others.list.value = "embedded"
    box.wait(SOON)
    assert box.blend_with == "embedded" and box.result.second_chroma.model == "embedded"
    box._others.list.value = ""
    box.wait(SOON)

    assert box.blend_with is None and box.result.second_chroma is None


def test_a_stack_has_temporal_smoothing_and_a_time_axis(box_of, photo):
    box = box_of(photo)
    assert box._stack_controls.layout.display == "none"

    box.source = np.stack([[photo, photo // 2, photo // 3]] * 2)
    box.wait(SOON)
    assert box._stack_controls.layout.display == box._planes.time_row.layout.display == ""
    assert [name for name, _ in box._planes._axes.options] == ["axis 0", "axis 1"]
    box._planes._axes.value = 1
    box.controls["temporal_smoothing"].slider.value = 0.5

    assert box.time_axis == box.session.time_axis == 1
    assert box.session.settings.temporal_smoothing == 0.5
    box.time_axis = 0
    assert box._planes._axes.value == 0


def test_a_video_is_opened_as_a_lazy_stack(box_of, photo, tmp_path):
    av = pytest.importorskip("av")
    with av.open(tmp_path / "video.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for shift in range(6):
            frame = av.VideoFrame.from_ndarray(np.roll(photo, 4 * shift, 1), "gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    box = box_of(tmp_path / "video.mp4", temporal_smoothing=0.7)

    (slider,) = box._planes.sliders
    slider.value = 5
    box.wait(SOON)

    assert slider.max == 5 and box.source.shape == (6, 96, 128)
    assert np.abs(box.result.gray - np.roll(photo, 20, 1) / 255).mean() < 0.02
    assert box._stack_controls.layout.display == ""


def test_disagreement_is_computed_again_only_for_another_prediction(box_of, photo):
    box = box_of(photo)
    queries = []
    tool = box._toolbox.disagreement
    request = tool._request
    tool._request = lambda: (queries.append(True), request())

    box._toolbox.disagreement_button.value = True
    box.wait(SOON)
    assert box.view.overlay_size == [96, 128] and "4 predictions" in box._toolbox.message.value
    box.set_settings(saturation=0.5)
    box.wait(SOON)
    assert len(queries) == 1
    box.set_settings(render_factor=5)
    box.wait(SOON)

    assert len(queries) == 2 and box.view.overlay_size == [96, 128]
    box._toolbox.disagreement_button.value = False
    assert box.view.overlay_size == [0, 0]


def test_uncolored_pixels_are_marked(box_of, photo):
    box = box_of(photo, saturation=0.0)
    box._toolbox.uncolored_button.value = True
    assert "100 % of the image" in box._toolbox.message.value
    assert np.frombuffer(box.view.overlay, np.uint8).reshape(96, 128, 4)[..., 3].all()

    box.set_settings(saturation=2.0)
    box.wait(SOON)

    marked = np.frombuffer(box.view.overlay, np.uint8).reshape(96, 128, 4)[..., 3] > 0
    np.testing.assert_array_equal(marked, box.result.uncolored())
    assert "100 %" not in box._toolbox.message.value


def test_the_brush_and_the_attention_tool_exclude_each_other(box_of, photo):
    box = box_of(photo)
    box._toolbox.attention_button.value = True
    box._painting.tool.value = BRUSH
    assert not box._toolbox.attention_button.value and not box.view.emits_clicks

    box._toolbox.attention_button.value = True

    assert box._painting.tool.value == box.view.tool == 0


def test_a_fidelity_mode_disables_settings_without_effect(box_of, photo):
    box = box_of(photo)

    box.set_settings(fidelity="deoldify")

    assert is_disabled(box, "edges") and "no effect" in box.controls["shadows"].label.tooltip


def test_the_repr_has_the_shape_and_the_model(box_of, photo):
    assert repr(box_of(photo)) == "ColorizeBox((96, 128), model='tint')"
