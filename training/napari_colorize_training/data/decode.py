"""A file, a member of a shard or an array to pixels, shrunk for the cache; dtypes are kept.

Eight-bit files go through Pillow, straight from their bytes. All else (16 bits, TIFF, DICOM) goes
through `napari_colorize.io`, which wants a file of its own.
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
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.imaging.planes import default_limits, to_numpy
from napari_colorize_training.data.sources import Content, Limits, Member

Array = NDArray[Any]

DRAFT = 2  # a JPEG is decoded at no less than this many times the side it will have
_EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
_PNG = b"\x89PNG\r\n\x1a\n"
_OUTLIERS = (0.1, 99.9)  # percentiles; a few hot pixels must not darken a whole picture


@dataclass(frozen=True)
class Decoded:
    """Pixels as they came, and a digest of what they came from.

    Parameters
    ----------
    pixels : ndarray, shape (Y, X) or (Y, X, 3)
        Of any real dtype; black is low.
    digest : str
        SHA-256 of the file, or of the array's bytes: the same on every machine.
    limits : tuple of float, optional
        Values of black and white if the file says so.
    """

    pixels: Array
    digest: str
    limits: Limits | None = None


def decode(content: Content, side: int) -> Decoded:
    """Read one picture; a JPEG much larger than `side` is not decoded in full.

    Raises
    ------
    ImageError
        If it cannot be read: one sentence.
    """
    try:
        if not isinstance(content, (Path, Member)):
            return _decode_array(content)
        data = content.read_bytes() if isinstance(content, Path) else content.read()
        digest = hashlib.sha256(data).hexdigest()
        if (pixels := _eight_bits(data, side)) is not None:
            return Decoded(pixels, digest)
        return _decode_deep(content, data, digest)
    except ColorizeError:
        raise
    # Decoders answer broken files with nearly every class of error there is.
    except Exception as error:
        reason = shorten(str(error) or type(error).__name__, 120).rstrip(".")
        raise ImageError(reason) from error


def to_color(decoded: Decoded) -> tuple[Array, Limits]:
    """RGB `(Y, X, 3)` as uint8 or uint16, and its values of black and white.

    uint8 spans 0 to 255. uint16 is kept with limits of its own: the 0.1 and 99.9 percentile of
    all three channels, for many such files use 10 or 12 bits of 16. All else becomes uint16.
    """
    pixels = decoded.pixels[..., :3]
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint8:
        return pixels, (0, 255)
    if pixels.dtype == np.uint16:
        return pixels, _range_without_outliers(pixels)
    (low, high), _ = default_limits(pixels)
    unit = (pixels.astype(np.float64) - low) / (high - low or 1)
    unit = np.nan_to_num(unit, nan=0.0).clip(0, 1)
    return np.rint(unit * 65535).astype(np.uint16), (0, 65535)


def to_gray(decoded: Decoded, limits: Limits | None) -> tuple[Array, Limits]:
    """Gray `(Y, X)` as uint8, uint16 or float32, and its values of black and white.

    They are what the colorizer would take for such an image, or what source or file say.
    """
    pixels = decoded.pixels
    if pixels.ndim == 3:
        limits, pixels = None, _luminance(pixels[..., :3])
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    limits = limits or decoded.limits or default_limits(pixels)[0]
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = pixels.astype(np.float32)
    return pixels, (float(limits[0]), float(limits[1]))


def shrink(pixels: Array, size: tuple[int, int]) -> Array:
    """Lanczos reduction to `size` (height, width), in the dtype that came."""
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
    """Height and width with a short side of `side` at most."""
    height, width = shape[:2]
    scale = min(1.0, side / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def digest_of(array: Array) -> str:
    """SHA-256 of an array's dtype, shape and values."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _decode_array(content: Any) -> Decoded:
    array = to_numpy(content)
    return Decoded(array, digest_of(array))


def _eight_bits(data: bytes, side: int) -> Array | None:
    """`(Y, X)` or `(Y, X, 3)` uint8; None if the file holds more than Pillow would give."""
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        return None
    is_deep_png = data.startswith(_PNG) and data[24] == 16
    if image.mode not in _EIGHT_BITS or is_deep_png or image.format == "TIFF":
        return None
    image.draft(None, (DRAFT * side, DRAFT * side))  # JPEG alone: a half, a quarter or an eighth
    upright = ImageOps.exif_transpose(image)
    return np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))


def _decode_deep(content: Path | Member, data: bytes, digest: str) -> Decoded:
    if isinstance(content, Path):
        return _decode_with_media(content, digest)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(content.name).name
        path.write_bytes(data)
        return _decode_with_media(path, digest)


def _decode_with_media(path: Path, digest: str) -> Decoded:
    from napari_colorize.io.images import read_image

    try:
        picture = read_image(path)
    except ColorizeError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        # A bare GPU machine lacks the libraries for these files; Pillow reads many of them too.
        return Decoded(_plain(Image.open(path)), digest)
    if picture.is_stack:
        raise ImageError("it is a stack; give its planes as single files, or as an array")
    return Decoded(picture.array, digest, picture.contrast_limits)


def _plain(image: Image.Image) -> Array:
    return np.asarray(image if image.mode in ("L", "I;16", "F", "RGB") else image.convert("RGB"))


def _resize(pixels: Array, size: tuple[int, int]) -> Array:
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS))


def _range_without_outliers(pixels: Array) -> Limits:
    low, high = np.percentile(pixels, _OUTLIERS)
    return (float(low), float(high)) if high > low else (0, 65535)


def _luminance(rgb: Array) -> Array:
    """Rec. 601, in the dtype of the colours."""
    gray = rgb @ np.array([0.299, 0.587, 0.114])
    return np.rint(gray).astype(rgb.dtype) if rgb.dtype.kind in "ui" else gray.astype(rgb.dtype)
