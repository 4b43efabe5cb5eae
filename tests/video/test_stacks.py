from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from sample_videos import TintResult, decoded_frames, make_video

from napari_colorize.errors import ImageError, OutputError
from napari_colorize.settings import ColorizeSettings
from napari_colorize.video import resume

Run = Callable[..., Any]


def make_stack(path: Path, shape: tuple[int, ...], axes: str, dtype: type = np.uint8) -> np.ndarray:
    stack = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    options_ = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "\N{MICRO SIGN}m"}
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": axes, **options_})
    return stack


def expected_colors(stack: np.ndarray) -> np.ndarray:
    planes = [TintResult(stack[index]).rgb for index in np.ndindex(*stack.shape[:-2])]
    return np.stack(planes).reshape(*stack.shape, 3)


@pytest.mark.parametrize(
    ("shape", "axes"), [((7, 12, 16), "TYX"), ((3, 5, 12, 16), "TZYX"), ((3, 5, 12, 16), "ZTYX")]
)
def test_a_stack_is_colorized_along_time(
    tmp_path: Path, run: Run, model: Any, shape: tuple[int, ...], axes: str
) -> None:
    stack = make_stack(tmp_path / "a.ome.tif", shape, axes)
    run(tmp_path / "a.ome.tif", tmp_path / "out.ome.tif", model=model)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
        assert tiff.series[0].axes == axes[:-2] + "YXS"
        np.testing.assert_array_equal(tiff.series[0].asarray(), expected_colors(stack))
        assert 'PhysicalSizeX="0.5"' in (tiff.ome_metadata or "")
    time = axes.index("T")
    second = tuple(1 if axis == time else 0 for axis in range(len(shape) - 2))
    np.testing.assert_array_equal(model.images_received[1], stack[second])


@pytest.mark.parametrize("frames", [1, 8, 15])
def test_an_interrupted_stack_is_resumed(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    monkeypatch.setattr(resume, "SAVE_INTERVAL", 4)
    stack = make_stack(tmp_path / "a.tif", (3, 5, 12, 16), "ZTYX")
    run(tmp_path / "a.tif", tmp_path / "out.tif", frames=frames)
    assert not (tmp_path / "out.tif").exists()
    work = run(tmp_path / "a.tif", tmp_path / "out.tif")
    assert work.resumed_frames >= frames
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected_colors(stack))


def test_each_series_has_its_own_warm_up(tmp_path: Path, run: Run, model: Any) -> None:
    stack = make_stack(tmp_path / "a.ome.tif", (2, 30, 12, 16), "ZTYX")
    smooth = ColorizeSettings(temporal_smoothing=0.5)
    work = run(tmp_path / "a.ome.tif", tmp_path / "o.tif", frames=30 + 26, settings=smooth)
    work = run(tmp_path / "a.ome.tif", tmp_path / "o.tif", settings=smooth, model=model)
    np.testing.assert_array_equal(model.images_received[0], stack[1, work.resumed_frames - 30 - 24])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.tif"), expected_colors(stack))


def test_all_planes_share_their_contrast_limits(tmp_path: Path, run: Run, model: Any) -> None:
    stack = make_stack(tmp_path / "a.tif", (4, 12, 16), "TYX", np.int16) - np.int16(50)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    run(tmp_path / "a.tif", tmp_path / "out.tif", model=model)
    assert model.settings_received["declared_range"].limits == (stack.min(), stack.max())


def test_a_video_becomes_a_stack(tmp_path: Path, run: Run) -> None:
    make_video(tmp_path / "a.mp4", frames=9)
    run(tmp_path / "a.mp4", tmp_path / "out.ome.tif")
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
        assert (tiff.series[0].axes, tiff.series[0].shape) == ("TYXS", (9, 48, 64, 3))
        assert 'TimeIncrement="0.04"' in (tiff.ome_metadata or "")


def test_a_stack_with_one_axis_becomes_a_video(tmp_path: Path, run: Run) -> None:
    make_stack(tmp_path / "a.tif", (5, 12, 16), "TYX")
    run(tmp_path / "a.tif", tmp_path / "out.mp4")
    assert len(decoded_frames(tmp_path / "out.mp4")) == 5
    make_stack(tmp_path / "b.tif", (2, 5, 12, 16), "ZTYX")
    with pytest.raises(OutputError, match="has 2 axes before height and width"):
        run(tmp_path / "b.tif", tmp_path / "b.mp4")


def test_a_single_image_is_refused_by_the_sequence_engine(tmp_path: Path, run: Run) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((12, 16), np.uint8))
    with pytest.raises(ImageError, match="`napari-colorize image`"):
        run(tmp_path / "a.tif", tmp_path / "out.tif")
