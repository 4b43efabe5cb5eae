"""Videos in napari: opened lazily, colorized when displayed, exported with their audio."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from stand_ins import TintNetwork, colorizer_of

import napari_colorize
from napari_colorize.display import stack as colors_of_stacks
from napari_colorize.errors import ImageError, OutOfMemoryError, OutputError
from napari_colorize.napari import video_export
from napari_colorize.napari.controller import ColorizeController, get_controller
from napari_colorize.napari.reader import get_video_reader, read_video
from napari_colorize.napari.video_export import ExportFinished, ask_and_export, export_video
from napari_colorize.napari.writer import write_video
from napari_colorize.session.presenter import PLANES_AHEAD
from napari_colorize.video import lazy_frames

av = pytest.importorskip("av", reason="the extra video is not installed")

from sample_videos import decoded_frames, make_video, packets_of  # noqa: E402

MANIFEST = Path(napari_colorize.__file__).with_name("napari.yaml")
SECONDS = 60_000
FRAMES = 40
MAX_DECODED = lazy_frames.SAMPLES + 1  # frames that may be decoded: samples, and one to display


@pytest.fixture
def path(tmp_path) -> Path:
    """A grayscale video with audio, 25 frames per second."""
    created = tmp_path / "old.mp4"
    make_video(created, frames=FRAMES, audio="aac")
    return created


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """Numbers of the frames that were decoded to be shown."""
    found: list[int] = []
    own = lazy_frames.VideoFrames._raw

    def raw(frames: lazy_frames.VideoFrames, number: int) -> Any:
        found.append(number)
        return own(frames, number)

    monkeypatch.setattr(lazy_frames.VideoFrames, "_raw", raw)
    return found


@pytest.fixture
def plugin(npe2pm) -> Iterator[None]:
    """napari knows this plugin, installed or not, and no other."""
    with npe2pm.tmp_plugin(manifest=MANIFEST):
        yield


@pytest.fixture
def model(plugin) -> ViewerModel:
    """A viewer without a window."""
    return ViewerModel()


@pytest.fixture
def viewer(make_napari_viewer, plugin) -> Any:
    """A viewer with a window."""
    return make_napari_viewer()


@pytest.fixture
def controller_for(qapp) -> Iterator[Callable[[Any], ColorizeController]]:
    """Returns the controller of a viewer, with a small network."""
    created = []

    def controller(viewer: Any) -> ColorizeController:
        created.append(get_controller(viewer))
        created[-1].session.model = colorizer_of(TintNetwork())
        return created[-1]

    yield controller
    for each in created:
        each.close()


@pytest.fixture
def controller(model, controller_for) -> ColorizeController:
    """The controller of a viewer without a window."""
    return controller_for(model)


@pytest.fixture
def finished_of(qtbot) -> Callable[[video_export.VideoExport], ExportFinished]:
    """Waits until an export has ended and returns its end."""

    def wait(saved: video_export.VideoExport) -> ExportFinished:
        ends: list[ExportFinished] = []
        saved.ended.connect(ends.append)
        qtbot.waitUntil(lambda: bool(ends), timeout=SECONDS)
        return ends[0]

    return wait


def opened(viewer: Any, path: Path) -> Any:
    [layer] = viewer.open(str(path), plugin="napari-colorize")
    return layer


def rate_of(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return Fraction(container.streams.video[0].average_rate)


def colorfulness(frame: Any) -> float:
    return float(np.ptp(np.asarray(frame)[..., :3].astype(int), axis=-1).mean())


# Opening


def test_a_video_opens_without_decoding_every_frame(model, path, reads):
    layer = opened(model, path)

    assert len(reads) <= MAX_DECODED + 1
    assert layer.data.shape == (FRAMES, 48, 64) and not layer.rgb
    assert layer.name == "old" and tuple(layer.contrast_limits) == (0, 255)
    assert layer.axis_labels == ("t", "y", "x")
    assert layer.metadata["path"] == str(path) and layer.metadata["frame_rate"] == 25


def test_only_displayed_frames_are_decoded(model, path, reads):
    layer = opened(model, path)
    model.dims.set_current_step(0, 3)
    reads.clear()

    for number in (4, 5, 6):
        model.dims.set_current_step(0, number)

    assert reads == [4, 5, 6]
    np.testing.assert_array_equal(layer._slice.image.raw, layer.data[6])


def test_a_video_in_color_is_an_rgb_layer(model, tmp_path):
    make_video(tmp_path / "new.mkv", frames=3, chroma=(90, 180))
    layer = opened(model, tmp_path / "new.mkv")
    assert layer.rgb and layer.data.shape == (3, 48, 64, 3)


def test_ten_bits_are_scaled_to_sixteen(model, tmp_path):
    make_video(tmp_path / "deep.mkv", frames=3, codec="ffv1", layout="yuv420p10le", b_frames=0)
    layer = opened(model, tmp_path / "deep.mkv")
    assert layer.dtype == np.uint16 and tuple(layer.contrast_limits) == (0, 65535)


@pytest.mark.parametrize(("rotation", "scale"), [(0, (1, 1, 2)), (90, (1, 2, 1))])
def test_the_pixel_aspect_ratio_is_the_scale(model, tmp_path, rotation, scale):
    wide = tmp_path / "wide.mp4"
    make_video(wide, frames=3, pixel_ratio=Fraction(2), rotation=rotation)
    np.testing.assert_allclose(opened(model, wide).scale, scale)


def test_several_videos_are_refused_as_a_stack(path):
    reader = get_video_reader([str(path), str(path)])
    assert reader is not None
    with pytest.raises(ImageError, match="one by one"):
        reader([str(path), str(path)])


@pytest.mark.parametrize("paths", ["photo.png", ["a.mp4", "b.png"], [], "mp4"])
def test_other_files_are_declined(paths):
    assert get_video_reader(paths) is None


def test_without_pyav_the_error_has_the_install_command(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImageError, match=r'requires PyAV: pip install .*\[video\]"'):
        read_video(str(path))


# Colors


def test_colors_follow_the_displayed_frame(model, controller, path, reads, settle):
    controller.choose_layer(opened(model, path))
    settle(controller)
    [first] = controller.plane
    shown, known = controller.result_layer, set(reads)
    colors = colorfulness(shown.data[first])

    model.dims.set_current_step(0, 8)
    settle(controller)

    assert len(known) <= MAX_DECODED and shown is controller.result_layer and shown.rgb
    assert min(colors, colorfulness(shown.data[8])) > 3
    assert colorfulness(shown.data[35]) == 0


def test_the_next_frames_are_colorized_in_advance(model, controller, path, qtbot):
    controller.choose_layer(opened(model, path))
    for number in (1, 2, 3):
        model.dims.set_current_step(0, number)

    ahead = [(number,) for number in range(4, 4 + PLANES_AHEAD)]
    qtbot.waitUntil(lambda: all(map(controller.colors.is_current, ahead)), timeout=SECONDS)
    assert not controller.colors.is_current((4 + PLANES_AHEAD + 2,))


def test_a_video_that_does_not_fit_into_memory_is_refused(model, controller, path, monkeypatch):
    controller.choose_layer(opened(model, path))
    monkeypatch.setattr(colors_of_stacks, "_free_bytes", lambda: 10**5)
    with pytest.raises(OutOfMemoryError, match="0.4 GB|0.0 GB of memory"):
        controller.colorize_all()


# Export


def test_an_exported_video_has_the_audio(model, controller, path, tmp_path, finished_of):
    controller.choose_layer(opened(model, path))
    controller.presenter.set_settings(saturation=2.0, temporal_smoothing=0.5)
    target = tmp_path / "new.mp4"

    end = finished_of(export_video(controller, target))

    assert end == ExportFinished(FRAMES, notes=end.notes) and end.notes[0] == f"Saved {target}."
    assert len(decoded_frames(target)) == FRAMES and rate_of(target) == rate_of(path)
    assert packets_of(target, "audio") == packets_of(path, "audio")
    assert colorfulness(decoded_frames(target)[7].to_ndarray(format="rgb24")) > 3
    assert not list(tmp_path.glob("*.part"))


def test_an_exported_video_keeps_the_luminance(model, controller, path, tmp_path, finished_of):
    layer = opened(model, path)
    controller.choose_layer(layer)
    finished_of(export_video(controller, tmp_path / "new.mp4"))

    saved = lazy_frames.open_video(tmp_path / "new.mp4", rgb=False)
    assert np.abs(saved[12].astype(int) - layer.data[12]).mean() < 1


def test_a_mask_applies_to_the_exported_video(model, controller, path, tmp_path, finished_of):
    controller.choose_layer(opened(model, path))
    mask = np.zeros((48, 64), int)
    mask[:, 32:] = 1
    controller.guiding.assign("mask", model.add_labels(mask))

    finished_of(export_video(controller, tmp_path / "new.mp4"))

    frame = lazy_frames.open_video(tmp_path / "new.mp4", rgb=True)[5]
    assert colorfulness(frame[:, :28]) < 2 < 3 < colorfulness(frame[:, 36:])


def test_a_stopped_export_is_continued(model, controller, path, tmp_path, finished_of, monkeypatch):
    controller.choose_layer(opened(model, path))
    target = tmp_path / "new.mkv"
    saved = export_video(controller, target)
    saved.progress.connect(lambda progress: saved.cancel() if progress.done >= 5 else None)
    first = finished_of(saved)
    assert first.cancelled and not target.exists()

    end = finished_of(export_video(controller, target))

    assert any("is resumed after frame" in note for note in end.notes)
    assert len(decoded_frames(target)) == FRAMES


def test_one_export_at_a_time(model, controller, path, tmp_path, finished_of):
    controller.choose_layer(opened(model, path))
    saved = export_video(controller, tmp_path / "new.mp4")
    with pytest.raises(OutputError, match="new.mp4 is being saved"):
        export_video(controller, tmp_path / "other.mp4")
    finished_of(saved)


def test_what_cannot_be_exported_is_refused_at_once(model, controller, path, tmp_path):
    layer = opened(model, path)
    controller.choose_layer(layer)
    with pytest.raises(OutputError, match="exists"):
        export_video(controller, path)
    with pytest.raises(OutputError, match="the input itself"):
        export_video(controller, path, overwrite=True)
    controller.guiding.assign("mask", model.add_labels(np.ones((FRAMES, 48, 64), int)))
    with pytest.raises(ImageError, match="single frames"):
        export_video(controller, tmp_path / "new.mp4")
    controller.choose_layer(model.add_image(np.zeros((4, 48, 64), np.uint8)))
    with pytest.raises(ImageError, match="is not a video"):
        export_video(controller, tmp_path / "new.mp4")


def test_an_error_during_the_export_is_reported(model, controller, path, tmp_path, finished_of):
    controller.choose_layer(opened(model, path))
    controller.session.model = str(tmp_path / "missing.safetensors")
    end = finished_of(export_video(controller, tmp_path / "new.mp4"))
    assert end.error is not None and "missing.safetensors" in str(end.error)


def test_closing_the_window_stops_the_export(viewer, controller_for, path, tmp_path, qtbot):
    controller = controller_for(viewer)
    controller.choose_layer(opened(viewer, path))
    is_closed = Event()
    saved = export_video(controller, tmp_path / "new.mp4")
    saved.progress.connect(lambda progress: is_closed.wait(SECONDS / 1000))
    with qtbot.waitSignal(viewer.window._qt_window.destroyed, timeout=SECONDS):
        viewer.close()
    is_closed.set()

    assert saved.wait(SECONDS / 1000) and not video_export._exports
    assert not (tmp_path / "new.mp4").exists()


def test_the_command_asks_for_a_name(viewer, controller_for, path, tmp_path, qtbot, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    layer, suggestions = opened(viewer, path), []

    def answer(parent: Any, title: str, suggested: str, names: str) -> tuple[str, str]:
        suggestions.append(Path(suggested).name)
        return str(tmp_path / "named"), names

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    viewer.layers.selection.active = layer
    controller = controller_for(viewer)

    ask_and_export(viewer)
    qtbot.waitUntil((tmp_path / "named.mp4").exists, timeout=SECONDS)
    qtbot.waitUntil(lambda: not video_export._exports, timeout=SECONDS)

    assert suggestions == ["old (colorized).mp4"] and controller.layer is layer
    assert len(decoded_frames(tmp_path / "named.mp4")) == FRAMES


# Saving a layer


def test_saving_the_colors_of_a_video_exports_it_in_the_background(
    viewer, controller_for, path, tmp_path, settle, qtbot
):
    controller = controller_for(viewer)
    controller.choose_layer(opened(viewer, path))
    settle(controller)
    target = tmp_path / "new.mp4"

    assert controller.result_layer.save(str(target), plugin="napari-colorize") == [str(target)]
    qtbot.waitUntil(lambda: not video_export._exports, timeout=SECONDS)

    assert len(decoded_frames(target)) == FRAMES
    assert packets_of(target, "audio") == packets_of(path, "audio")


@pytest.mark.parametrize(("metadata", "rate"), [({}, 24), ({"frame_rate": 24000 / 1001}, 23.976)])
def test_a_stack_in_color_is_written_as_a_video(model, tmp_path, metadata, rate):
    colors = np.random.default_rng(7).integers(60, 190, (6, 1, 1, 3), dtype=np.uint8)
    colors = np.broadcast_to(colors, (6, 48, 64, 3))
    layer = model.add_image(colors, rgb=True, metadata=metadata)
    target = tmp_path / "colors.mkv"

    layer.save(str(target), plugin="napari-colorize")

    shown = [frame.to_ndarray(format="rgb24") for frame in decoded_frames(target)]
    np.testing.assert_allclose([frame[20, 20] for frame in shown], colors[:, 20, 20], atol=6)
    assert float(rate_of(target)) == pytest.approx(rate, abs=1e-3)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_limits_become_black_and_white(model, tmp_path, dtype):
    values = np.zeros((3, 48, 64), dtype)
    values[1:], values[2:] = 500, 1000
    layer = model.add_image(values, contrast_limits=(0, 1000))

    layer.save(str(tmp_path / "gray.mp4"), plugin="napari-colorize")

    seen = lazy_frames.open_video(tmp_path / "gray.mp4", rgb=False)
    means = [frame.mean() / 65535 for frame in seen]
    np.testing.assert_allclose(means, [0, 0.5, 1], atol=0.01)


def test_a_stack_is_saved_when_all_planes_are_colorized(
    viewer, controller_for, stack, tmp_path, settle, qtbot
):
    controller = controller_for(viewer)
    controller.choose_layer(viewer.add_image(stack))
    settle(controller)
    target = tmp_path / "stack.mp4"
    with pytest.raises(OutputError, match="colorize the whole stack"):
        controller.result_layer.save(str(target), plugin="napari-colorize")

    controller.colorize_all()
    qtbot.waitUntil(controller.colors.all_current, timeout=SECONDS)
    controller.result_layer.save(str(target), plugin="napari-colorize")

    assert len(decoded_frames(target)) == len(stack) and rate_of(target) == 24
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("shape", [(48, 64), (2, 3, 48, 64)])
def test_a_video_needs_exactly_one_time_axis(tmp_path, shape):
    with pytest.raises(OutputError, match="one axis, time"):
        write_video(str(tmp_path / "a.mp4"), np.zeros(shape, np.uint8), {})


def test_an_open_video_is_not_overwritten(model, path):
    layer = opened(model, path)
    with pytest.raises(OutputError, match="the video that is open"):
        layer.save(str(path), plugin="napari-colorize")
