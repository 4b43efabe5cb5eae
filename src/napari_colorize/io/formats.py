"""Which format can hold what, and how it is best written: one row each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from napari_colorize.errors import OutputError

PNG_EFFORT = 1

_EIGHT = frozenset({"uint8"})
_SIXTEEN = frozenset({"uint8", "uint16"})
_ANY_NUMBER = frozenset(
    {f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)}
    | {"float16", "float32", "float64"}
)


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a format can hold as RGB.

    Parameters
    ----------
    name : str
        As Pillow calls it.
    dtypes : frozenset of str
        That come back from the file as they went in.
    alpha, frames, exif : bool
        Whether it holds RGBA, more than one picture, and an EXIF block.
    options : mapping
        For Pillow's `save`. Colour at full size (4:4:4), and without loss where the format can,
        because luminance is to stay.
    """

    name: str
    dtypes: frozenset[str] = _EIGHT
    alpha: bool = False
    frames: bool = False
    exif: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


TIFF = Format(name="TIFF", dtypes=_ANY_NUMBER, alpha=True, frames=True)
OME = Format(
    name="OME-TIFF",
    dtypes=_ANY_NUMBER - {"uint64", "int64", "float16"},  # the OME schema has no word for these
    alpha=True,
    frames=True,
)
PNG = Format(
    name="PNG",
    dtypes=_SIXTEEN,
    alpha=True,
    frames=True,
    exif=True,
    # 12 megapixels of a photograph: 1.0 s and 20 MB, against 4.8 s and 17 MB at the usual 6.
    options={"compress_level": PNG_EFFORT},
)
JPEG = Format(name="JPEG", exif=True, options={"quality": 95, "subsampling": "4:4:4"})
WEBP = Format(
    name="WEBP",
    alpha=True,
    frames=True,
    exif=True,
    # "exact" keeps the colours below full transparency. Without loss, quality means effort: 1.7 s
    # and 15 MB for the same photograph, against 7.1 s and 15 MB at the usual 80.
    options={"lossless": True, "exact": True, "method": 1, "quality": 0},
)
AVIF = Format(
    name="AVIF",
    alpha=True,
    frames=True,
    exif=True,
    options={"quality": 95, "subsampling": "4:4:4", "speed": 8},
)
JPEG2000 = Format(name="JPEG2000", alpha=True)
BMP = Format(name="BMP")
PPM = Format(name="PPM")
TGA = Format(name="TGA", alpha=True)

FORMATS: dict[str, Format] = {
    ".png": PNG,
    ".apng": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".jpe": JPEG,
    ".jfif": JPEG,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".btf": TIFF,
    ".ome.tif": OME,
    ".ome.tiff": OME,
    ".ome.btf": OME,
    ".webp": WEBP,
    ".avif": AVIF,
    ".jp2": JPEG2000,
    ".jpx": JPEG2000,
    ".bmp": BMP,
    ".ppm": PPM,
    ".tga": TGA,
}
"""Suffix -> format, for writing. GIF is absent: 256 colours cannot keep the luminance."""

FILM_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv"}
    | {".flv", ".ogv", ".3gp", ".mxf"}
)
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
# What Pillow opens by suffix but what is no photograph: drawings, films, containers of data.
_NO_PICTURES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF", "XVTHUMB"})


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Lower-case suffix of a file name; `.ome.tif` and its kin count as one."""
    # As text, not as Path: this is asked several times of each of 100,000 files.
    stem, last = os.path.splitext(os.path.basename(path).lower())  # noqa: PTH119, PTH122
    double = os.path.splitext(stem)[1] + last  # noqa: PTH122
    return double if double in FORMATS else last


def format_of(path: Path) -> Format:
    """The format that a file name asks for.

    Raises
    ------
    OutputError
        If colour pictures cannot be written under such a name.
    """
    suffix = suffix_of(path)
    if suffix not in FORMATS:
        wanted = f"as {suffix}" if suffix else "without a suffix"
        raise OutputError(
            f"{path.name}: colours cannot be written {wanted}. Choose a name that ends in one of "
            f"{', '.join(FORMATS)}."
        )
    return FORMATS[suffix]


def can_hold(
    into: Format, dtype: DTypeLike, *, has_alpha: bool, is_stack: bool, axes: int = 1
) -> bool:
    """Whether a format keeps such a result as it is."""
    is_tiff = into in (TIFF, OME)
    # All but TIFF hold animations: eight bits a sample and one axis of frames.
    is_animation = into.frames and np.dtype(dtype) == np.uint8 and axes == 1
    return (
        np.dtype(dtype).name in into.dtypes
        and (into.alpha or not has_alpha)
        and (is_tiff or is_animation or not is_stack)
    )


def suggest_suffix(source_suffix: str, dtype: DTypeLike, has_alpha: bool, is_stack: bool) -> str:
    """The source's own suffix if its format can hold the result, else the next best.

    An animation stays one (`.webp`), other stacks and numbers that only TIFF knows go to `.tif`,
    all else to `.png`.
    """
    suffix = source_suffix.lower()
    candidates = (suffix, ".webp" if suffix == ".gif" else ".tif") if is_stack else (suffix, ".png")
    for candidate in candidates:
        into = FORMATS.get(candidate)
        if into and can_hold(into, dtype, has_alpha=has_alpha, is_stack=is_stack):
            return candidate
    return ".tif"


def readable_suffixes() -> frozenset[str]:
    """Suffixes by which the pictures of a folder are recognised."""
    from PIL import Image

    known = Image.registered_extensions()
    pictures = {
        suffix for suffix, name in known.items() if name in Image.OPEN and name not in _NO_PICTURES
    }
    return frozenset(pictures | FORMATS.keys() | DICOM_SUFFIXES)
