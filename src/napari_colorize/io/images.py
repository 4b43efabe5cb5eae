"""Picture files, in and out: what a path holds decides who reads it, its suffix who writes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from numpy.typing import NDArray

from napari_colorize.errors import ColorizeError, ImageError, OutputError
from napari_colorize.io import dicom, raster, tiff_reader, tiff_writer
from napari_colorize.io.formats import (
    DICOM_SUFFIXES,
    OME,
    TIFF,
    Format,
    can_hold,
    format_of,
    readable_suffixes,
    suffix_of,
    suggest_suffix,
)
from napari_colorize.io.image_record import ImageRecord, Metadata, Resolution, fill_range
from napari_colorize.io.limits import MAX_PIXELS, refuse_complex
from napari_colorize.io.tiff_writer import StackWriter
from napari_colorize.runtime.atomic import new_file, refuse_existing, write_errors

__all__ = [
    "MAX_PIXELS",
    "ImageRecord",
    "Metadata",
    "Resolution",
    "StackWriter",
    "fill_range",
    "read_image",
    "read_provenance",
    "readable_suffixes",
    "suffix_of",
    "suggest_suffix",
    "write_image",
]


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> ImageRecord:
    """Read a picture or a stack of pictures from a file of any known format.

    The content decides about the format, not the name. EXIF orientation is applied, colour spaces
    other than RGB become sRGB, 16 bits stay 16 bits, pages and frames become a stack.

    Parameters
    ----------
    path : path-like
        PNG, JPEG, TIFF, OME-TIFF, WebP, DICOM, or whatever else Pillow reads.
    max_pixels : int
        A single plane, or an animation as a whole, of more pixels is refused before it is decoded.

    Returns
    -------
    Picture
        Pixels, and what should travel with them into the result.

    Raises
    ------
    ImageError
        If there is no such file, it cannot be read, is damaged or holds no picture: one sentence
        with its name.
    """
    path = Path(path)
    start = _start_of(path)
    with _damage_explained(path):
        picture = _reader(path, start)(path, max_pixels=max_pixels)
        refuse_complex(path, picture.array)
    return picture


def write_image(
    path: str | os.PathLike[str],
    array: NDArray[Any],
    metadata: Metadata | None = None,
    provenance: Mapping[str, object] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write a coloured picture or stack, whole or not at all.

    The suffix decides about the format. The dtype is kept: a format that cannot hold it is
    refused. For stacks that are made plane by plane, `StackWriter` needs less memory.

    Parameters
    ----------
    path : path-like
        Missing folders are made.
    array : NDArray
        `(Y, X, 3|4)`, or a stack `(..., Y, X, 3|4)`.
    metadata : Metadata, optional
        Of the source: its camera, date and artist (and place: GPS), colour profile, resolution,
        axes.
    provenance : mapping, optional
        From `provenance.describe`: goes into PNG text, TIFF description or EXIF. `None` or empty
        writes none. Formats without a place for it (BMP, PPM, TGA) warn with a `ColorizeNote`.
    overwrite : bool
        Whether a file of that name may be replaced.

    Raises
    ------
    OutputError
        If the file exists, the format cannot hold the picture, or the place cannot be written.
    """
    path = Path(path)
    if array.ndim < 3 or array.shape[-1] not in (3, 4) or not array.size:
        raise ValueError(f"Expected RGB or RGBA with the samples last, got shape {array.shape}.")
    into = format_of(path)
    refuse_existing(path, overwrite=overwrite)
    _refuse_loss(path, array, into)
    metadata, provenance = metadata or Metadata(), provenance or {}
    if into in (TIFF, OME):
        tiff_writer.write(path, array, metadata, provenance, overwrite=overwrite)
        return
    with (
        new_file(path, overwrite=overwrite) as temporary,
        _refusal_explained(path, into),
        temporary.open("wb") as file,
    ):
        raster.write(file, array, into, metadata, provenance)


def read_provenance(path: str | os.PathLike[str]) -> dict[str, object] | None:
    """How a picture was colorized, as `write_picture` put it into the file; None if it says not.

    Raises
    ------
    ImageError
        If the file is no picture that can be read.
    """
    path = Path(path)
    start = _start_of(path)
    with _damage_explained(path):
        return (
            tiff_reader.read_record(path)
            if tiff_reader.is_tiff(start)
            else raster.read_record(path)
        )


def _reader(path: Path, start: bytes) -> Callable[..., ImageRecord]:
    if dicom.is_dicom(start) or path.suffix.lower() in DICOM_SUFFIXES:
        return dicom.read
    return tiff_reader.read if tiff_reader.is_tiff(start) else raster.read


def _start_of(path: Path) -> bytes:
    """The first bytes, or one sentence on why there are none."""
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no ordinary file"
        raise ImageError(f"{path} is {kind}, not a picture.")
    try:
        with path.open("rb") as file:
            start = file.read(dicom.START)
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist.") from None
    except PermissionError:
        raise ImageError(f"{path} may not be read. Check its permissions.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ImageError(f"{path} could not be read: {error}.") from error
    if not start:
        raise ImageError(f"{path.name} is empty (0 bytes).")
    return start


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    """One sentence for whatever a decoder meets first in damaged bytes."""
    try:
        yield
    except ColorizeError:
        raise
    except MemoryError as error:
        raise ImageError(f"{path.name} does not fit into memory.") from error
    # Decoders answer broken files with nearly every class of error there is.
    except Exception as error:
        reason = shorten(str(error) or type(error).__name__, 120).rstrip(".")
        raise ImageError(f"{path.name} is damaged or of an unknown kind: {reason}.") from error


@contextmanager
def _refusal_explained(path: Path, into: Format) -> Iterator[None]:
    """One sentence for what an encoder cannot do (WebP ends at 16383 pixels a side)."""
    try:
        with write_errors(path):
            yield
    except (ValueError, OverflowError, RuntimeError) as error:
        raise OutputError(
            f"{path} could not be written as {into.name}: {error}. Choose .png or .tif."
        ) from error


def _refuse_loss(path: Path, array: NDArray[Any], into: Format) -> None:
    has_alpha, is_stack = array.shape[-1] == 4, array.ndim > 3
    if can_hold(into, array.dtype, has_alpha=has_alpha, is_stack=is_stack, axes=array.ndim - 3):
        return
    what = f"{array.dtype}{' with transparency' * has_alpha}{' as a stack' * is_stack}"
    better = suggest_suffix("", array.dtype, has_alpha, is_stack)
    raise OutputError(f"{path.name}: {into.name} cannot hold {what}. Choose {better}.")
