from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from sample_videos import Tinted, decoded, make_film

from napari_colorize.errors import ImageError, OutputError
from napari_colorize.settings import ColorizeSettings
from napari_colorize.video import resume

Run = Callable[..., Any]


def make_stack(path: Path, shape: tuple[int, ...], axes: str, dtype: type = np.uint8) -> np.ndarray:
    stack = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    more = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "\N{MICRO SIGN}m"}
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": axes, **more})
    return stack


def tints_of(stack: np.ndarray) -> np.ndarray:
    planes = [Tinted(stack[index]).rgb for index in np.ndindex(*stack.shape[:-2])]
    return np.stack(planes).reshape(*stack.shape, 3)


@pytest.mark.parametrize(
    ("shape", "axes"), [((7, 12, 16), "TYX"), ((3, 5, 12, 16), "TZYX"), ((3, 5, 12, 16), "ZTYX")]
)
def test_a_stack_is_colorized_along_time(
    tmp_path: Path, run: Run, tints: Any, shape: tuple[int, ...], axes: str
) -> None:
    stack = make_stack(tmp_path / "a.ome.tif", shape, axes)
    run(tmp_path / "a.ome.tif", tmp_path / "out.ome.tif", model=tints)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
        assert tiff.series[0].axes == axes[:-2] + "YXS"
        np.testing.assert_array_equal(tiff.series[0].asarray(), tints_of(stack))
        assert 'PhysicalSizeX="0.5"' in (tiff.ome_metadata or "")
    time = axes.index("T")
    second = tuple(1 if axis == time else 0 for axis in range(len(shape) - 2))
    np.testing.assert_array_equal(tints.shown[1], stack[second])


@pytest.mark.parametrize("frames", [1, 8, 15])
def test_an_interrupted_stack_goes_on(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    monkeypatch.setattr(resume, "EVERY", 4)
    stack = make_stack(tmp_path / "a.tif", (3, 5, 12, 16), "ZTYX")
    run(tmp_path / "a.tif", tmp_path / "out.tif", frames=frames)
    assert not (tmp_path / "out.tif").exists()
    work = run(tmp_path / "a.tif", tmp_path / "out.tif")
    assert work.before >= frames
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), tints_of(stack))


def test_each_series_has_its_own_run_in(tmp_path: Path, run: Run, tints: Any) -> None:
    stack = make_stack(tmp_path / "a.ome.tif", (2, 30, 12, 16), "ZTYX")
    steady = ColorizeSettings(temporal_smoothing=0.5)
    work = run(tmp_path / "a.ome.tif", tmp_path / "o.tif", frames=30 + 26, settings=steady)
    work = run(tmp_path / "a.ome.tif", tmp_path / "o.tif", settings=steady, model=tints)
    np.testing.assert_array_equal(tints.shown[0], stack[1, work.before - 30 - 24])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.tif"), tints_of(stack))


def test_all_planes_share_black_and_white(tmp_path: Path, run: Run, tints: Any) -> None:
    stack = make_stack(tmp_path / "a.tif", (4, 12, 16), "TYX", np.int16) - np.int16(50)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    run(tmp_path / "a.tif", tmp_path / "out.tif", model=tints)
    assert tints.asked["contrast_limits"] == (int(stack.min()), int(stack.max()))


def test_a_film_becomes_a_stack(tmp_path: Path, run: Run) -> None:
    make_film(tmp_path / "a.mp4", frames=9)
    run(tmp_path / "a.mp4", tmp_path / "out.ome.tif")
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
        assert (tiff.series[0].axes, tiff.series[0].shape) == ("TYXS", (9, 48, 64, 3))
        assert 'TimeIncrement="0.04"' in (tiff.ome_metadata or "")


def test_a_stack_becomes_a_film_if_it_has_one_axis(tmp_path: Path, run: Run) -> None:
    make_stack(tmp_path / "a.tif", (5, 12, 16), "TYX")
    run(tmp_path / "a.tif", tmp_path / "out.mp4")
    assert len(decoded(tmp_path / "out.mp4")) == 5
    make_stack(tmp_path / "b.tif", (2, 5, 12, 16), "ZTYX")
    with pytest.raises(OutputError, match="has 2 axes before height and width"):
        run(tmp_path / "b.tif", tmp_path / "b.mp4")


def test_a_single_picture_is_for_the_other_command(tmp_path: Path, run: Run) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((12, 16), np.uint8))
    with pytest.raises(ImageError, match="`napari-colorize image`"):
        run(tmp_path / "a.tif", tmp_path / "out.tif")
