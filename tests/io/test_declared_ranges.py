"""Values of black and white that TIFF files declare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_colorize.io.images import read_image

RAMP = np.tile(np.arange(100, 1100, 10, dtype=np.uint16), (4, 1))
MIN, MAX = 280, 281


def declared(path: Path, image: np.ndarray = RAMP, **options: Any) -> tuple[Any, ...]:
    """Limits and source that the reader finds in a TIFF that is written with these options."""
    tifffile.imwrite(path, image, **{"photometric": "minisblack", **options})
    found = read_image(path).declared_range
    return (None, None) if found is None else (found.limits, found.source)


def tags(low: Any, high: Any, count: int = 1) -> list[tuple[Any, ...]]:
    return [(MIN, "H", count, low, True), (MAX, "H", count, high, True)]


def ome(bits: int) -> str:
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="100"'
        f' SizeY="4" SizeC="1" SizeZ="1" SizeT="1" SignificantBits="{bits}"><Channel ID="C:0"'
        ' SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.tif"


def test_a_file_without_declarations_declares_nothing(path: Path) -> None:
    assert declared(path) == (None, None)
    assert declared(path, imagej=True) == (None, None)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_the_display_range_of_imagej_is_a_window(path: Path, byteorder: Any) -> None:
    window = {"min": 150.0, "max": 900.0}

    found = declared(path, imagej=True, metadata=window, byteorder=byteorder)

    assert found == ((150, 900), "ImageJ display range")
    record = read_image(path).declared_range
    assert record is not None
    assert record.is_window


def test_channels_with_different_display_ranges_have_none(path: Path) -> None:
    stack = np.stack([RAMP, RAMP])

    same = {"axes": "CYX", "Ranges": (0.0, 900.0, 0.0, 900.0)}
    assert declared(path, stack, imagej=True, metadata=same)[0] == (0, 900)
    other = {"axes": "CYX", "Ranges": (0.0, 900.0, 0.0, 50.0)}
    assert declared(path, stack, imagej=True, metadata=other)[0] is None


@pytest.mark.parametrize(("low", "high"), [(5.0, 5.0), (9.0, 1.0), (0.0, float("nan"))])
def test_a_display_range_without_extent_is_ignored(path: Path, low: float, high: float) -> None:
    assert declared(path, imagej=True, metadata={"min": low, "max": high}) == (None, None)


def test_significant_bits_of_ome_are_used(tmp_path: Path) -> None:
    found = declared(tmp_path / "a.ome.tif", description=ome(14), metadata=None)

    assert found == ((0, 2**14 - 1), "OME SignificantBits")


@pytest.mark.parametrize("bits", [0, 8, 16, 99])  # 8 is contradicted by the values
def test_significant_bits_that_say_nothing_are_ignored(tmp_path: Path, bits: int) -> None:
    assert declared(tmp_path / "a.ome.tif", description=ome(bits), metadata=None)[0] is None


def test_the_range_of_the_tags_is_used(path: Path) -> None:
    source = "TIFF MinSampleValue and MaxSampleValue"

    assert declared(path, extratags=tags(0, 4095)) == ((0, 4095), source)
    colors = np.stack([RAMP] * 3, axis=-1)
    rgb = declared(path, colors, photometric="rgb", extratags=tags((0,) * 3, (4095,) * 3, 3))
    assert rgb == ((0, 4095), source)
    record = read_image(path).declared_range
    assert record is not None
    assert not record.is_window


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (0, 65535), (500, 4095), (9, 3)])
def test_a_range_of_the_tags_that_cannot_be_true_is_ignored(path: Path, low, high) -> None:
    assert declared(path, extratags=tags(low, high)) == (None, None)


def test_inverted_gray_has_other_values_than_its_tags(path: Path) -> None:
    assert declared(path, photometric="miniswhite", extratags=tags(0, 4095))[0] is None
