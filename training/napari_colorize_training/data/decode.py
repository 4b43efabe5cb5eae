"""Decoding of files, members of shards and arrays, and reduction to the cache's size.

Files of 8 bits are decoded by Pillow from memory. All others (16 bits, TIFF, DICOM) are read with
`napari_colorize.io`, which needs a file. The dtype is kept.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from napari_colorize.array_types import AnyArray, Limits
from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.imaging.color import REC601
from napari_colorize.imaging.intensity_range import (
    IntensityRange,
    image_range,
    known_range,
    range_of_images,
)
from napari_colorize.imaging.planes import to_numpy
from napari_colorize.io.raster import record_in
from napari_colorize.settings import ContrastLimits
from napari_colorize_training.data.sources import Content, Member

DRAFT = 2  # a JPEG is decoded at this many times its final side or more
_EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Decoded:
    """Pixels of an image, and a hash of its file."""

    pixels: AnyArray  # shape (Y, X) or (Y, X, 3): any real dtype; black is the lowest value
    digest: str  # SHA-256 of the file, or of the array's bytes
    declared: IntensityRange | None = None  # values of black and white, if the file has them
    predicted: bool = False  # whether the file has the provenance record of this program


def decode(content: Content, side: int) -> Decoded:
    """Read one image; a JPEG much larger than `side`, px, is decoded at reduced size.

    Raises
    ------
    ImageError
        If it cannot be read; the message is one sentence.
    """
    try:
        if not isinstance(content, (Path, Member)):
            return _decode_array(content)
        data = _bytes_of(content)
        digest = hashlib.sha256(data).hexdigest()
        return _eight_bits(data, side, digest) or _decode_deep(content, data, digest)
    except ColorizeError:
        raise
    # Decoders raise almost any class of exception for damaged files.
    except Exception as error:
        reason = shorten(str(error) or type(error).__name__, 120).rstrip(".")
        raise ImageError(reason) from error


def ranges_of(
    color: Decoded,
    gray: Decoded | None = None,
    gray_limits: Limits | None = None,
    rule: ContrastLimits = None,
) -> tuple[IntensityRange, IntensityRange | None]:
    """Find the intensity ranges of a color image and of its gray image, if there is one.

    The rule is that of the Colorizer. Two images of one dtype share a range, found from the values
    of both, unless a file declares its own or `gray_limits` are known.
    """
    pixels = _channels(color)
    if gray is None:
        return image_range(pixels, rule, color.declared), None
    plane = _channels(gray)
    if gray_limits is not None and plane.ndim == 2:
        return image_range(pixels, rule, color.declared), image_range(plane, gray_limits)
    if plane.dtype == pixels.dtype and color.declared is None and gray.declared is None:
        shared = range_of_images([pixels, plane], 2, rule)
        return shared, shared
    return image_range(pixels, rule, color.declared), image_range(plane, rule, gray.declared)


def range_at_use(
    color: Decoded, gray: Decoded | None = None, rule: ContrastLimits = None
) -> IntensityRange:
    """Find the intensity range with which the Colorizer reads the gray image alone.

    In training its color image helps to find the range: a dark gray image may have fewer
    significant bits than its colors.
    """
    decoded = color if gray is None else gray
    known = known_range(_channels(decoded).dtype, rule, decoded.declared)
    return known if isinstance(known, IntensityRange) else image_range(_plane(decoded), rule)


def to_color(decoded: Decoded, found: IntensityRange | None = None) -> tuple[AnyArray, Limits]:
    """Return RGB `(Y, X, 3)` as uint8 or uint16, and its values of black and white.

    `found` is the range of `ranges_of`. uint8 with another range than its own, and types other than
    uint8 and uint16, are converted to uint16.
    """
    pixels = _channels(decoded)
    low, high = (found or image_range(pixels, None, decoded.declared)).limits
    if pixels.dtype == np.uint16 or (pixels.dtype == np.uint8 and (low, high) == (0, 255)):
        return pixels, (low, high)
    unit = (pixels.astype(np.float64) - low) / (high - low or 1)
    unit = np.nan_to_num(unit, nan=0.0).clip(0, 1)
    return np.rint(unit * 65535).astype(np.uint16), (0, 65535)


def to_gray(decoded: Decoded, found: IntensityRange | None = None) -> tuple[AnyArray, Limits]:
    """Return gray `(Y, X)` as uint8, uint16 or float32, and its values of black and white.

    `found` is the range of `ranges_of`.
    """
    low, high = (found or image_range(_channels(decoded), None, decoded.declared)).limits
    pixels = _plane(decoded)
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = pixels.astype(np.float32)
    return pixels, (float(low), float(high))


def brightness_difference(
    gray: AnyArray, gray_limits: Limits, rgb: AnyArray, limits: Limits
) -> float:
    """Mean difference of gray and the luminance of RGB of one size, as a share of the range."""
    return float(np.abs(_unit(gray, gray_limits) - _unit(rgb, limits) @ np.array(REC601)).mean())


def _unit(values: AnyArray, limits: Limits) -> AnyArray:
    low, high = limits
    return np.nan_to_num((values.astype(np.float32) - low) / (high - low or 1)).clip(0, 1)


def _channels(decoded: Decoded) -> AnyArray:
    """The pixels without alpha; bool as uint8."""
    pixels = decoded.pixels[..., :3] if decoded.pixels.ndim == 3 else decoded.pixels
    return pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype.kind == "b" else pixels


def _plane(decoded: Decoded) -> AnyArray:
    """The gray image, or the luminance of colors, in their dtype."""
    pixels = _channels(decoded)
    return _luminance(pixels) if pixels.ndim == 3 else pixels


def shrink(pixels: AnyArray, size: tuple[int, int]) -> AnyArray:
    """Reduce an image to `size` (height, width) with a Lanczos filter; the dtype is kept."""
    if pixels.shape[:2] == size:
        return pixels
    if pixels.dtype == np.uint8:
        return _resize(pixels, size)
    planes = pixels.reshape(*pixels.shape[:2], -1)
    shrunk = [
        _resize(np.ascontiguousarray(planes[..., channel], np.float32), size)
        for channel in range(planes.shape[-1])
    ]
    result = np.stack(shrunk, axis=-1).reshape(*size, *pixels.shape[2:])
    if pixels.dtype.kind == "u":
        result = np.rint(result).clip(0, np.iinfo(pixels.dtype).max)
    return result.astype(pixels.dtype)


def shrunk_size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return height and width for a short side of at most `side`, px."""
    height, width = shape[:2]
    scale = min(1.0, side / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def content_digest(content: Content) -> str:
    """Return `Decoded.digest` without decoding."""
    if isinstance(content, (Path, Member)):
        return hashlib.sha256(_bytes_of(content)).hexdigest()
    return digest_of(to_numpy(content))


def _bytes_of(content: Path | Member) -> bytes:
    return content.read_bytes() if isinstance(content, Path) else content.read()


def digest_of(array: AnyArray) -> str:
    """Return the SHA-256 of an array's dtype, shape and values."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _decode_array(content: Any) -> Decoded:
    array = to_numpy(content)
    return Decoded(array, digest_of(array))


def _eight_bits(data: bytes, side: int, digest: str) -> Decoded | None:
    """Decode to uint8 `(Y, X)` or `(Y, X, 3)`; None if Pillow would reduce the bit depth."""
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        return None
    is_deep_png = data.startswith(_PNG) and data[24] == 16
    if image.mode not in _EIGHT_BITS or is_deep_png or image.format == "TIFF":
        return None
    image.draft(None, (DRAFT * side, DRAFT * side))  # JPEG only: reduces by 2, 4 or 8
    upright = ImageOps.exif_transpose(image)
    pixels = np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))
    return Decoded(pixels, digest, predicted=record_in(image) is not None)


def _decode_deep(content: Path | Member, data: bytes, digest: str) -> Decoded:
    if isinstance(content, Path):
        return _decode_with_io(content, digest)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(content.name).name
        path.write_bytes(data)
        return _decode_with_io(path, digest)


def _decode_with_io(path: Path, digest: str) -> Decoded:
    from napari_colorize.io.images import has_provenance, read_image

    try:
        image = read_image(path)
    except ColorizeError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        # Training machines may lack the libraries for these files; Pillow reads many of them.
        opened = Image.open(path)
        predicted = record_in(opened) is not None
        return Decoded(_pillow_array(opened), digest, predicted=predicted)
    if image.is_stack:
        raise ImageError("it is a stack; give its planes as separate files, or as an array")
    return Decoded(image.array, digest, image.declared_range, has_provenance(path))


def _pillow_array(image: Image.Image) -> AnyArray:
    return np.asarray(image if image.mode in ("L", "I;16", "F", "RGB") else image.convert("RGB"))


def _resize(pixels: AnyArray, size: tuple[int, int]) -> AnyArray:
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS))


def _luminance(rgb: AnyArray) -> AnyArray:
    """Return Rec. 601 luminance in the dtype of the colors."""
    gray = rgb @ np.array(REC601)
    return np.rint(gray).astype(rgb.dtype) if rgb.dtype.kind in "ui" else gray.astype(rgb.dtype)
