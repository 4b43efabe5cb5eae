from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_videos import TintResult, make_video

from napari_colorize.errors import ImageError, OutputError
from napari_colorize.imaging.pyramid import halve
from napari_colorize.video import ome_zarr, resume
from napari_colorize.video.ome_zarr import leading_axes

zarr = pytest.importorskip("zarr")

Run = Callable[..., Any]


def make_ome(path: Path, array: np.ndarray, axes: str, version: str = "0.4", **omero: Any) -> None:
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=array, chunks=(*[1] * (array.ndim - 2), *array.shape[-2:]))
    kinds = {"t": ("time", "second"), "c": ("channel", None)}
    entry = [
        {"name": name, "type": kind} | ({"unit": unit} if unit else {})
        for name in axes
        for kind, unit in [kinds.get(name, ("space", "micrometer"))]
    ]
    scale = {"type": "scale", "scale": [0.5] * array.ndim}
    dataset = {"path": "0", "coordinateTransformations": [scale]}
    image = {"multiscales": [{"axes": entry, "datasets": [dataset]}], **omero}
    if version == "0.5":
        group.attrs["ome"] = {"version": version, **image}
    else:
        image["multiscales"][0]["version"] = version
        group.attrs.update(image)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_keeps_its_version(tmp_path: Path, run: Run, version: str) -> None:
    stack = random(4, 1, 3, 12, 16)
    make_ome(tmp_path / "in.zarr", stack, "tczyx", version)
    run(tmp_path / "in.zarr", tmp_path / "out.zarr")

    group = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    entry = group.attrs["ome"] if version == "0.5" else group.attrs
    scales = entry["multiscales"][0]
    assert [axis["name"] for axis in scales["axes"]] == list("tczyx")
    assert scales["axes"][0] == {"name": "t", "type": "time", "unit": "second"}
    transform = scales["datasets"][0]["coordinateTransformations"][0]
    assert transform == {"type": "scale", "scale": [0.5, 1.0, 0.5, 0.5, 0.5]}
    assert [each["color"] for each in entry["omero"]["channels"]] == ["FF0000", "00FF00", "0000FF"]
    full = group["0"]
    assert (full.shape, full.metadata.zarr_format) == ((4, 3, 3, 12, 16), 2 + (version == "0.5"))
    for index in np.ndindex(4, 3):
        expected = TintResult(stack[index[0], 0, index[1]]).rgb
        np.testing.assert_array_equal(np.moveaxis(full[index[0], :, index[1]], 0, -1), expected)
    assert group.attrs["napari-colorize"]["software"] == "napari-colorize"


def test_levels_are_halved_until_they_are_small(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ome_zarr, "SMALLEST", 16)
    make_ome(tmp_path / "in.zarr", random(3, 45, 60), "tyx")
    run(tmp_path / "in.zarr", tmp_path / "out.zarr")
    group = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    shapes = [group[each["path"]].shape for each in group.attrs["multiscales"][0]["datasets"]]
    assert shapes == [(3, 3, 45, 60), (3, 3, 23, 30), (3, 3, 12, 15)]
    full, half = (np.moveaxis(group[level][2], 0, -1).astype(int) for level in ("0", "1"))
    np.testing.assert_allclose(half[3, 4], full[6:8, 8:10].mean(axis=(0, 1)), atol=0.51)
    scales = [
        each["coordinateTransformations"][0]["scale"]
        for each in group.attrs["multiscales"][0]["datasets"]
    ]
    assert scales[2] == [0.5, 1.0, 2.0, 2.0]


def test_a_plain_zarr_array_stays_plain(tmp_path: Path, run: Run) -> None:
    stack = random(5, 12, 16)
    zarr.create_array(str(tmp_path / "in.zarr"), data=stack, chunks=(1, 12, 16))
    run(tmp_path / "in.zarr", tmp_path / "out.zarr")
    array = zarr.open_array(str(tmp_path / "out.zarr"), mode="r")
    assert array.metadata.dimension_names == ("t", "y", "x", "c")
    np.testing.assert_array_equal(array[:], np.stack([TintResult(plane).rgb for plane in stack]))


def test_red_green_and_blue_channels_are_colors(tmp_path: Path, run: Run, model: Any) -> None:
    stack = random(2, 3, 12, 16)
    make_ome(tmp_path / "in.zarr", stack, "tcyx")
    run(tmp_path / "in.zarr", tmp_path / "out.zarr", model=model)
    assert model.settings_received["rgb"] is True
    np.testing.assert_array_equal(model.images_received[1], np.moveaxis(stack[1], 0, -1))


def test_other_channels_are_refused(tmp_path: Path, run: Run) -> None:
    make_ome(tmp_path / "in.zarr", random(2, 4, 12, 16), "tcyx")
    with pytest.raises(ImageError, match="4 channels that are not red, green and blue"):
        run(tmp_path / "in.zarr", tmp_path / "out.zarr")


def test_a_video_of_unknown_length_becomes_ome_zarr(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ome_zarr, "GROWTH", 4)
    make_video(tmp_path / "a.mp4", frames=11, rotation=90)
    run(tmp_path / "a.mp4", tmp_path / "out.ome.zarr", end=0.4)
    group = zarr.open_group(str(tmp_path / "out.ome.zarr"), mode="r")
    assert group["0"].shape == (10, 3, 64, 48)
    assert group["0"][9].max() > 0


@pytest.mark.parametrize("frames", [1, 6])
def test_an_interrupted_zarr_is_resumed(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    monkeypatch.setattr(resume, "SAVE_INTERVAL", 2)
    stack = random(9, 12, 16)
    make_ome(tmp_path / "in.zarr", stack, "tyx")
    run(tmp_path / "in.zarr", tmp_path / "out.zarr", frames=frames)
    assert not (tmp_path / "out.zarr").exists()
    work = run(tmp_path / "in.zarr", tmp_path / "out.zarr")
    assert work.resumed_frames >= frames
    result = np.moveaxis(zarr.open_group(str(tmp_path / "out.zarr"))["0"][:], 1, -1)
    np.testing.assert_array_equal(result, np.stack([TintResult(plane).rgb for plane in stack]))


def test_only_a_zarr_is_replaced(tmp_path: Path, run: Run) -> None:
    make_ome(tmp_path / "in.zarr", random(2, 12, 16), "tyx")
    (tmp_path / "out.zarr").mkdir()
    with pytest.raises(OutputError, match="is no zarr"):
        run(tmp_path / "in.zarr", tmp_path / "out.zarr", overwrite=True)
    (tmp_path / "out.zarr").rmdir()
    run(tmp_path / "in.zarr", tmp_path / "out.zarr")
    with pytest.raises(OutputError, match="--overwrite"):
        run(tmp_path / "in.zarr", tmp_path / "out.zarr")
    run(tmp_path / "in.zarr", tmp_path / "out.zarr", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zarr", "out.zarr"]


@pytest.mark.parametrize(
    ("axes", "count", "is_ome", "named"),
    [("T", 1, True, "t"), ("", 1, True, "t"), ("ZT", 2, True, "zt"), ("Q", 1, False, "t"),
     ("TT", 2, False, "tz"), ("CZ", 2, True, "tz")],
)  # fmt: skip
def test_axes_get_unique_names(axes: str, count: int, is_ome: bool, named: str) -> None:
    assert leading_axes(axes, count, is_ome=is_ome) == named


def test_too_many_axes_for_ome_zarr_are_refused() -> None:
    with pytest.raises(OutputError, match="OME-Zarr does not support the axes TCZ"):
        leading_axes("TCZ", 3, is_ome=True)


def test_halving_is_the_mean() -> None:
    image = random(7, 9, 3)
    small = halve(image)
    assert small.shape == (4, 5, 3)
    np.testing.assert_allclose(small[0, 0], image[:2, :2].mean(axis=(0, 1)), atol=0.51)
    np.testing.assert_allclose(small[3, 4], image[6, 8], atol=0.51)


@pytest.mark.parametrize("name", ["out.zarr", "out.ome.zarr", "out.tif", "out", "out.mp4"])
def test_a_stack_without_planes_is_refused(tmp_path: Path, run: Run, name: str) -> None:
    zarr.save_array(str(tmp_path / "in.zarr"), np.zeros((0, 32, 32), np.uint8))

    with pytest.raises(ImageError, match=r"in\.zarr has no frames"):
        run(tmp_path / "in.zarr", tmp_path / name)
    assert not (tmp_path / name).exists()
