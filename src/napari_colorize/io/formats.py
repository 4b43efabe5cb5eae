"""Capabilities and save options of each writable format, one row per format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
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
    """Capabilities of a file format for RGB images.

    Parameters
    ----------
    name : str
        Pillow's name of the format.
    dtypes : frozenset of str
        Names of the NumPy dtypes that are stored without loss of type.
    alpha, frames : bool
        Whether it supports RGBA, and more than one frame.
    copies : int
        How many times the frames of an animation are in memory, at most, while they are encoded.
    keeps : frozenset of str
        Metadata that it can hold, with the names that `text_metadata.dropped` uses.
    options : mapping
        Keywords of Pillow's `save`. Chroma is not subsampled (4:4:4) and lossless modes are used
        where they exist, to preserve luminance.
    """

    name: str
    dtypes: frozenset[str] = _EIGHT
    alpha: bool = False
    frames: bool = False
    copies: int = 3
    keeps: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)


_USUAL = frozenset({"EXIF", "the color profile", "the resolution", "XMP", "the provenance record"})
_TIMES = frozenset({"frame durations", "the loop count"})

TIFF = Format(
    name="TIFF",
    dtypes=_ANY_NUMBER,
    alpha=True,
    frames=True,
    keeps=_USUAL | {"IPTC", "comments"},
)
OME = Format(
    name="OME-TIFF",
    dtypes=_ANY_NUMBER - {"uint64", "int64", "float16"},  # not defined in the OME schema
    alpha=True,
    frames=True,
    keeps=TIFF.keeps,
)
PNG = Format(
    name="PNG",
    dtypes=_SIXTEEN,
    alpha=True,
    frames=True,
    keeps=_USUAL | _TIMES | {"IPTC", "comments", "PNG text"},
    # A photograph of 12 megapixels: 1.0 s and 20 MB; the default level 6 takes 4.8 s for 17 MB.
    options={"compress_level": PNG_EFFORT},
)
JPEG = Format(
    name="JPEG",
    keeps=_USUAL | {"IPTC", "comments"},
    options={"quality": 95, "subsampling": "4:4:4"},
)
WEBP = Format(
    name="WEBP",
    alpha=True,
    frames=True,
    keeps=_USUAL | _TIMES | {"comments"},
    # "exact" keeps the colors of fully transparent pixels. In lossless mode, quality is the effort:
    # 1.7 s and 15 MB for the same photograph; the default 80 takes 7.1 s for 15 MB.
    options={"lossless": True, "exact": True, "method": 1, "quality": 0},
)
AVIF = Format(
    name="AVIF",
    alpha=True,
    frames=True,
    copies=5,
    keeps=_USUAL | {"comments", "frame durations"},
    options={"quality": 95, "subsampling": "4:4:4", "speed": 8},
)
JPEG2000 = Format(
    name="JPEG2000", alpha=True, keeps=frozenset({"comments", "the provenance record"})
)
BMP = Format(name="BMP", keeps=frozenset({"the resolution"}))
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
"""Suffix -> format, for writing. GIF is absent because 256 colors cannot preserve luminance."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv"}
    | {".flv", ".ogv", ".3gp", ".mxf"}
)
OPTIONAL_READERS = dict.fromkeys((".heic", ".heif", ".hif"), "pillow-heif")
"""Suffix -> package that reads the format, if it is installed."""
# Read by `other_formats`.
_OTHER_SUFFIXES = frozenset({".jxl", ".jls", ".pam", ".psb"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})  # .ima: Siemens
# Formats that Pillow opens but that hold no raster image: drawings, videos, data containers.
_NOT_IMAGES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF", "XVTHUMB"})


_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8": "JPEG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "PSD",
    b"DDS ": "DDS",
    b"icns": "ICNS",
    b"SIMPLE  =": "FITS",
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF"
)


def kind_of(start: bytes) -> str | None:
    """Name of the format that the first bytes of a file declare; None if they declare none."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start[4:8] == b"ftyp":  # the major brand, then the compatible ones
        brands = (start[8:12], *(start[place : place + 4] for place in range(16, 48, 4)))
        return next(
            (
                _BRANDS[brand]
                for brand in brands
                if brand in _BRANDS and (brand not in (b"mif1", b"msf1") or b"avif" not in brands)
            ),
            None,
        )
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Lower-case suffix of a file name; double suffixes such as `.ome.tif` count as one."""
    # os.path is much faster than Path; this is called several times for each of 100,000 files.
    stem, last = os.path.splitext(os.path.basename(path).lower())  # noqa: PTH119, PTH122
    double = os.path.splitext(stem)[1] + last  # noqa: PTH122
    return double if double in FORMATS else last


def format_of(path: Path) -> Format:
    """The format that belongs to the suffix of a file name.

    Raises
    ------
    OutputError
        If color images cannot be written with this suffix.
    """
    suffix = suffix_of(path)
    if suffix not in FORMATS:
        raise OutputError(unknown_format(path))
    return FORMATS[suffix]


def unknown_format(path: Path) -> str:
    """Say that a file name has no suffix of a writable format, and list those suffixes."""
    suffix = suffix_of(path)
    requested = f"as {suffix}" if suffix else "without a suffix"
    return (
        f"{path.name}: color images cannot be written {requested}. Choose a name with one of the "
        f"suffixes {', '.join(FORMATS)}."
    )


def can_hold(
    into: Format, dtype: DTypeLike, *, has_alpha: bool, is_stack: bool, axes: int = 1
) -> bool:
    """Whether a format stores an image or stack without changing dtype, alpha or axes."""
    is_tiff = into in (TIFF, OME)
    # Formats other than TIFF store stacks as animations: 8 bits per sample, one frame axis.
    is_animation = into.frames and np.dtype(dtype) == np.uint8 and axes == 1
    return (
        np.dtype(dtype).name in into.dtypes
        and (into.alpha or not has_alpha)
        and (is_tiff or is_animation or not is_stack)
    )


def suggest_suffix(source_suffix: str, dtype: DTypeLike, has_alpha: bool, is_stack: bool) -> str:
    """The source's own suffix if its format can store the result, otherwise a fallback.

    Animations become `.webp`, other stacks and dtypes that only TIFF supports `.tif`, all other
    images `.png`.
    """
    suffix = source_suffix.lower()
    candidates = (suffix, ".webp" if suffix == ".gif" else ".tif") if is_stack else (suffix, ".png")
    for candidate in candidates:
        into = FORMATS.get(candidate)
        if into and can_hold(into, dtype, has_alpha=has_alpha, is_stack=is_stack):
            return candidate
    return ".tif"


def readable_suffixes() -> frozenset[str]:
    """Suffixes by which the image files of a folder are recognized."""
    from PIL import Image

    known = Image.registered_extensions()
    images = {
        suffix for suffix, name in known.items() if name in Image.OPEN and name not in _NOT_IMAGES
    }
    heif = OPTIONAL_READERS.keys() if find_spec("pillow_heif") else frozenset()
    return frozenset(images | FORMATS.keys() | DICOM_SUFFIXES | _OTHER_SUFFIXES | heif)
