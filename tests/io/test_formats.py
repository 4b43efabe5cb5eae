"""Capabilities of the file formats."""

from __future__ import annotations

import pytest

from napari_colorize.errors import OutputError
from napari_colorize.io.formats import (
    FORMATS,
    can_hold,
    format_of,
    readable_suffixes,
    suffix_of,
    suggest_suffix,
)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.PNG", ".png"),
        ("a.ome.tif", ".ome.tif"),
        ("a.b.OME.TIFF", ".ome.tiff"),
        ("a.v2.tif", ".tif"),
        ("some.folder/a", ""),
        (".hidden", ""),
    ],
)
def test_suffixes_are_lower_case_and_ome_counts(name, suffix):
    assert suffix_of(name) == suffix


@pytest.mark.parametrize(
    ("source", "dtype", "has_alpha", "is_stack", "suffix"),
    [
        (".jpg", "uint8", False, False, ".jpg"),
        (".jpg", "uint8", True, False, ".png"),
        (".JPEG", "uint8", False, False, ".jpeg"),
        (".png", "uint16", True, False, ".png"),
        (".webp", "uint16", False, False, ".png"),
        (".tif", "float32", False, True, ".tif"),
        (".ome.tif", "uint16", False, True, ".ome.tif"),
        (".ome.tif", "float16", False, True, ".tif"),
        (".gif", "uint8", False, False, ".png"),
        (".gif", "uint8", True, True, ".webp"),
        (".dcm", "uint8", False, False, ".png"),
        (".dcm", "uint16", False, True, ".tif"),
        (".dcm", "int16", False, False, ".tif"),
        ("", "uint8", False, False, ".png"),
        (".pgm", "uint16", False, False, ".png"),
    ],
)
def test_a_result_gets_the_nearest_suffix(source, dtype, has_alpha, is_stack, suffix):
    assert suggest_suffix(source, dtype, has_alpha, is_stack) == suffix


@pytest.mark.parametrize("suffix", [*FORMATS, ".gif", ".dcm", ".psd", ""])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float64"])
@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("is_stack", [False, True])
def test_the_suggested_format_can_store_the_result(suffix, dtype, has_alpha, is_stack):
    suggested = suggest_suffix(suffix, dtype, has_alpha, is_stack)
    assert can_hold(FORMATS[suggested], dtype, has_alpha=has_alpha, is_stack=is_stack)


@pytest.mark.parametrize("name", ["a.gif", "a.dcm", "a.txt", "a", "a.pdf"])
def test_unsupported_suffixes_are_refused_with_a_list(tmp_path, name):
    with pytest.raises(OutputError, match=r"Choose a name with one of the suffixes \.png"):
        format_of(tmp_path / name)


def test_image_suffixes_are_recognized_and_drawings_are_not():
    known = readable_suffixes()
    assert {".png", ".jpg", ".tif", ".webp", ".gif", ".dcm", ".bmp", ".pgm"} <= known
    assert not {".pdf", ".eps", ".mpg", ".txt", ".h5"} & known
