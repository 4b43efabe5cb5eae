"""What the samples of a TIFF mean: stored values to gray or RGB(A) as the tags say.

White may be zero, a palette may be in between, samples may have an odd number of bits, alpha may
have been multiplied in, planes may lie apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tifffile import TiffPage

_PILLOWS_OWN = frozenset({"SEPARATED", "CIELAB", "ICCLAB", "ITULAB"})
_COLORMAP = 320
_PREMULTIPLIED, _ALPHA = 1, 2  # kinds of an extra sample


class DecodedSamples(NamedTuple):
    """`(..., Y, X)` or `(..., Y, X, 3|4)`, letters of its leading axes, and what was left out."""

    array: NDArray[Any]
    axes: str
    rgb: bool
    notes: tuple[str, ...] = ()


def is_pillows(page: TiffPage) -> bool:
    """Whether only Pillow turns the colours into RGB, or undoes the compression."""
    from tifffile import TIFF

    if page.compression not in TIFF.DECOMPRESSORS:
        return True  # fax, before tifffile 2026
    photometric = _photometric(page)
    if photometric == "YCBCR":
        # JPEG's own YCbCr is decoded to RGB with it.
        return "JPEG" not in str(getattr(page.compression, "name", ""))
    is_palette_with_alpha = photometric == "PALETTE" and page.samplesperpixel > 1
    return photometric in _PILLOWS_OWN or is_palette_with_alpha


def decode_samples(array: NDArray[Any], axes: str, page: TiffPage) -> DecodedSamples:
    """Stored values as gray or RGB(A) with Y and X last.

    Parameters
    ----------
    array, axes : NDArray, str
        As tifffile gives them: one letter for each axis, "S" for the samples of a pixel.
    page : TiffPage
        Whose tags hold for all.
    """
    photometric = _photometric(page)
    array = _MEANINGS.get(photometric, _full_range)(array, page)
    axes += "S" * (array.ndim - len(axes))  # a palette may have made one number three
    is_gray = photometric in ("MINISBLACK", "MINISWHITE")
    if is_gray and not _is_gray_with_alpha(page):
        axes = axes.replace("S", "C")  # bands without a meaning as colour: a stack
    first = [place for place, axis in enumerate(axes) if axis not in "YXS"]  # letters may repeat
    leading = "".join(axes[place] for place in first)
    array = array.transpose(first + [axes.index(axis) for axis in "YXS" if axis in axes])
    if "S" not in axes:
        return DecodedSamples(array, leading, rgb=False)
    array, notes = _color_and_alpha(array, page, is_gray=is_gray)
    return DecodedSamples(array, leading, rgb=True, notes=notes)


def _color_and_alpha(
    array: NDArray[Any], page: TiffPage, *, is_gray: bool
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """`(..., 3|4)` of samples that may be gray with alpha, premultiplied, or too many."""
    colors = 1 if is_gray else 3
    color, extra = np.split(array, [colors], axis=-1)
    if is_gray:
        color = np.broadcast_to(color, (*color.shape[:-1], 3))
    kind = _kinds(page)[0] if extra.shape[-1] else None
    has_alpha = kind in (_PREMULTIPLIED, _ALPHA)
    too_many = extra.shape[-1] > has_alpha
    notes = ("Its samples beside colour and transparency were left out.",) if too_many else ()
    if not has_alpha:
        return color, notes
    alpha = extra[..., :1]
    color = _unmultiplied(color, alpha) if kind == _PREMULTIPLIED else color
    return np.concatenate([color, alpha], axis=-1), notes


def _photometric(page: TiffPage) -> str:
    return str(getattr(page.photometric, "name", page.photometric))


def _unmultiplied(color: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colour as if all were opaque, from colour that was stored times alpha."""
    whole = np.iinfo(color.dtype).max if color.dtype.kind in "ui" else 1
    with np.errstate(divide="ignore", invalid="ignore"):
        full = np.where(alpha > 0, color * (whole / alpha.astype(np.float64)), 0)
    if color.dtype.kind in "ui":
        full = np.clip(np.rint(full), 0, whole)
    return full.astype(color.dtype)


def _is_gray_with_alpha(page: TiffPage) -> bool:
    return page.samplesperpixel == 2 and _kinds(page)[0] in (_PREMULTIPLIED, _ALPHA)


def _kinds(page: TiffPage) -> list[int]:
    """What the samples beside colour are; 0, "unspecified", where the file tells of none."""
    return [int(kind) for kind in page.extrasamples] or [0]


def _through_palette(array: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Numbers of colours to colours, or to gray if the palette has no other."""
    palette = np.asarray(page.tags[_COLORMAP].value).reshape(3, -1).T  # (entries, 3) uint16
    if not (palette % 257).any():
        palette = palette // 257
    elif not (palette % 256).any():
        palette = palette // 256  # as some old programs wrote it
    palette = palette.astype(np.uint8 if palette.max(initial=0) < 256 else np.uint16)
    is_gray = bool((palette == palette[:, :1]).all())
    colors: NDArray[Any] = palette[:, 0][array] if is_gray else palette[array]
    return colors


def _inverted(array: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """White is zero: turn it around, so that black is."""
    if array.dtype == bool:
        return ~array
    array = _full_range(array, page)
    if array.dtype.kind == "u":
        return np.iinfo(array.dtype).max - array
    return -1 - array if array.dtype.kind == "i" else -array


def _full_range(array: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Samples of an odd number of bits (4, 12 ...) to the full range of the type they came in."""
    bits = page.bitspersample
    is_odd = array.dtype.kind == "u" and isinstance(bits, int) and bits < 8 * array.dtype.itemsize
    if not is_odd:
        return array
    most = np.iinfo(array.dtype).max
    stretched: NDArray[Any] = np.rint(array * (most / (2**bits - 1))).astype(array.dtype)
    return stretched


_MEANINGS = {"PALETTE": _through_palette, "MINISWHITE": _inverted}
