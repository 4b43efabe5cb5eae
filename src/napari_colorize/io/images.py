"""Read and write image files: content selects the reader, the file suffix the writer."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ColorizeError, ColorizeNote, ImageError, OutputError, warn
from napari_colorize.io import (
    decoder_messages,
    dicom,
    other_formats,
    png,
    raster,
    text_metadata,
    tiff_reader,
    tiff_writer,
)
from napari_colorize.io.file_names import not_found
from napari_colorize.io.formats import (
    DICOM_SUFFIXES,
    OME,
    TIFF,
    Format,
    can_hold,
    format_of,
    kind_of,
    readable_suffixes,
    suffix_of,
    suggest_suffix,
)
from napari_colorize.io.image_record import ImageRecord, Metadata, Resolution, fill_range
from napari_colorize.io.limits import MAX_PIXELS, refuse_animation, refuse_complex
from napari_colorize.io.tiff_writer import StackWriter
from napari_colorize.runtime.atomic import new_file, refuse_existing, write_errors

__all__ = [
    "MAX_PIXELS",
    "ImageRecord",
    "Metadata",
    "Resolution",
    "StackWriter",
    "fill_range",
    "has_provenance",
    "read_image",
    "read_provenance",
    "readable_suffixes",
    "suffix_of",
    "suggest_suffix",
    "write_image",
]

_TGA_TYPES = tuple(bytes([code]) for code in (1, 2, 3, 9, 10, 11))


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> ImageRecord:
    """Read an image or a stack of images from a file of any supported format.

    The format is detected from the content, not the name. EXIF orientation is applied, color spaces
    other than RGB are converted to sRGB, 16 bits stay 16 bits, pages and frames become a stack.

    Parameters
    ----------
    path : path-like
        PNG, JPEG, TIFF, OME-TIFF, WebP, JPEG XL, DICOM, any other format that Pillow reads, and
        HEIF if pillow-heif is installed.
    max_pixels : int
        Limit for a single plane, or for all frames of an animation; checked before decoding.

    Returns
    -------
    ImageRecord
        Pixels, and the metadata to copy into the result.

    Raises
    ------
    ImageError
        If the file does not exist, cannot be read, is damaged or contains no image.
    """
    path = Path(path)
    start = _start_of(path)
    with _decoder_errors(path, start), decoder_messages.collected() as messages:
        image = _reader(path, start)(path, max_pixels=max_pixels)
        refuse_complex(path, image.array)
    return replace(image, notes=(*image.notes, decoder_messages.NOTE)) if messages else image


def write_image(
    path: str | os.PathLike[str],
    array: AnyArray,
    metadata: Metadata | None = None,
    provenance: Mapping[str, object] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write a color image or stack; an incomplete file is never left behind.

    The suffix selects the format. The dtype is kept: a format that cannot store it is refused.
    `StackWriter` writes a stack plane by plane with less memory.

    Parameters
    ----------
    path : path-like
        Missing folders are created.
    array : NDArray
        `(Y, X, 3|4)`, or a stack `(..., Y, X, 3|4)`.
    metadata : Metadata, optional
        Metadata of the source: EXIF fields including GPS, color profile, resolution, axes.
    provenance : mapping, optional
        From `provenance.describe`; stored as PNG text, TIFF description or EXIF. None or an empty
        mapping stores nothing.
    overwrite : bool
        Whether an existing file may be replaced.

    Warns
    -----
    ColorizeNote
        If the format cannot hold part of the metadata or the provenance (BMP, PPM, TGA).

    Raises
    ------
    OutputError
        If the file exists, the format cannot store the image, or the folder is not writable.
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
    else:
        if array.ndim > 3:
            refuse_animation(path, into, array.nbytes)
        with (
            new_file(path, overwrite=overwrite) as temporary,
            _encoder_errors(path, into),
            temporary.open("w+b") as file,
        ):
            raster.write(file, array, into, metadata, provenance)
    dropped = text_metadata.dropped(path, metadata, provenance)
    if dropped.names:
        warn(text_metadata.dropped_sentence([dropped], of=path.name), ColorizeNote)


def read_provenance(path: str | os.PathLike[str]) -> dict[str, object] | None:
    """Provenance that `write_image` stored in a file, or None if there is none.

    Raises
    ------
    ImageError
        If the file is not a readable image.
    """
    path = Path(path)
    start = _start_of(path)
    with _decoder_errors(path, start), decoder_messages.collected():
        return (
            tiff_reader.read_record(path)
            if tiff_reader.is_tiff(start)
            else raster.read_record(path)
        )


def has_provenance(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a result of this program; False if it is not readable."""
    try:
        return read_provenance(path) is not None
    except ImageError:  # reported when the image is read
        return False


def _reader(path: Path, start: bytes) -> Callable[..., ImageRecord]:
    if dicom.is_dicom(start) or path.suffix.lower() in DICOM_SUFFIXES:
        return dicom.read
    if tiff_reader.is_tiff(start):
        return tiff_reader.read
    return other_formats.reader_of(path, start) or raster.read


def _start_of(path: Path) -> bytes:
    """The first bytes of a file; raises with the reason if there are none."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would block
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise ImageError(f"{path} is {kind}. Give the name of an image file.")
        with path.open("rb") as file:
            start = file.read(dicom.START)
    except ColorizeError:
        raise
    except FileNotFoundError:
        raise not_found(path) from None
    except PermissionError:
        raise ImageError(
            f"{path} cannot be read: permission denied. Check its permissions."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} could not be read: {reason}.") from error
    if not start:
        raise ImageError(f"{path.name} is empty (0 bytes).")
    return start


@contextmanager
def _decoder_errors(path: Path, start: bytes) -> Iterator[None]:
    """Turn any exception of a decoder into an ImageError with one sentence.

    The text of the exception is not shown: for damaged files it often speaks of Python objects.
    """
    try:
        yield
    except ColorizeError:
        raise
    except MemoryError as error:
        raise ImageError(f"{path.name} does not fit into memory.") from error
    # Decoders raise nearly every class of exception for damaged files.
    except Exception as error:
        from PIL import UnidentifiedImageError

        kind = "DICOM" if dicom.is_dicom(start) else kind_of(start)
        if kind is None and path.suffix.lower() == ".tga" and _is_tga(start):
            kind = "TGA"
        if kind is None and isinstance(error, UnidentifiedImageError):
            raise ImageError(
                f"{path.name} is not an image in a readable format; its content was checked, not "
                "its name."
            ) from None
        if "truncated" in str(error).lower() or (kind == "WebP" and _is_cut_riff(path, start)):
            reason = "it is damaged, the file ends before its pixel data"
        elif kind == "PNG" and png.is_damaged(path):
            reason = "it is damaged, the checksum of a PNG chunk is wrong"
        else:
            # Often it is damaged, but another program might read it.
            reason = "it does not follow the format, or is of a kind that is not supported"
        raise ImageError(
            f"{path.name} cannot be decoded as {kind or 'an image'}: {reason}."
        ) from error


def _is_tga(start: bytes) -> bool:
    """Whether type of palette and pixels are valid; TGA has no magic number."""
    return start[1:2] in (b"\0", b"\1") and start[2:3] in _TGA_TYPES


def _is_cut_riff(path: Path, start: bytes) -> bool:
    """Whether a file is shorter than its RIFF header declares."""
    return path.stat().st_size < int.from_bytes(start[4:8], "little") + 8


@contextmanager
def _encoder_errors(path: Path, into: Format) -> Iterator[None]:
    """Turn an encoder's exception into an OutputError (WebP has a limit of 16383 pixels a side)."""
    try:
        with write_errors(path):
            yield
    except MemoryError as error:
        raise OutputError(
            f"{path} could not be written: there is too little memory. Close other programs, or "
            "choose .tif."
        ) from error
    except (ValueError, OverflowError, RuntimeError) as error:
        raise OutputError(
            f"{path} could not be written as {into.name}: {error}. Choose .png or .tif."
        ) from error


def _refuse_loss(path: Path, array: AnyArray, into: Format) -> None:
    """Raise OutputError if the format cannot store the array unchanged."""
    has_alpha, is_stack = array.shape[-1] == 4, array.ndim > 3
    if can_hold(into, array.dtype, has_alpha=has_alpha, is_stack=is_stack, axes=array.ndim - 3):
        return
    what = f"{array.dtype}{' with transparency' * has_alpha}{' as a stack' * is_stack}"
    better = suggest_suffix("", array.dtype, has_alpha, is_stack)
    raise OutputError(f"{path.name}: {into.name} cannot store {what}. Choose {better}.")
