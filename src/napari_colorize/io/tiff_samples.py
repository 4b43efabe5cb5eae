"""Conversion of stored TIFF samples to gray or RGB(A) according to the tags.

Handles inverted gray (white is zero), palettes, odd numbers of bits, premultiplied alpha and
separate color planes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_colorize.array_types import AnyArray

if TYPE_CHECKING:
    from tifffile import TiffPage

_PILLOW_ONLY = frozenset({"SEPARATED", "CIELAB", "ICCLAB", "ITULAB"})
_COLORMAP = 320
_PREMULTIPLIED, _ALPHA = 1, 2  # values of the ExtraSamples tag


class DecodedSamples(NamedTuple):
    """Array `(..., Y, X)` or `(..., Y, X, 3|4)`, letters of its leading axes, and notes."""

    array: AnyArray
    axes: str
    rgb: bool
    notes: tuple[str, ...] = ()


def needs_pillow(page: TiffPage) -> bool:
    """Whether only Pillow supports the color space or the compression of a page."""
    from tifffile import TIFF

    if page.compression not in TIFF.DECOMPRESSORS:
        return True  # fax, before tifffile 2026
    photometric = _photometric(page)
    if photometric == "YCBCR":
        # The JPEG decoder converts its own YCbCr to RGB.
        return "JPEG" not in str(getattr(page.compression, "name", ""))
    is_palette_with_alpha = photometric == "PALETTE" and page.samplesperpixel > 1
    return photometric in _PILLOW_ONLY or is_palette_with_alpha


def decode_samples(array: AnyArray, axes: str, page: TiffPage) -> DecodedSamples:
    """Convert stored values to gray or RGB(A) with the leading axes first.

    Parameters
    ----------
    array, axes : NDArray, str
        As returned by tifffile: one letter for each axis, "S" for the samples of a pixel.
    page : TiffPage
        Page whose tags are valid for all.
    """
    photometric = _photometric(page)
    array = _DECODERS.get(photometric, _full_range)(array, page)
    axes += "S" * (array.ndim - len(axes))  # a color palette adds an axis
    is_gray = photometric in ("MINISBLACK", "MINISWHITE")
    if is_gray and not _is_gray_with_alpha(page):
        axes = axes.replace("S", "C")  # bands that are not colors become a stack
    first = [place for place, axis in enumerate(axes) if axis not in "YXS"]  # letters may repeat
    leading = "".join(axes[place] for place in first)
    array = array.transpose(first + [axes.index(axis) for axis in "YXS" if axis in axes])
    if "S" not in axes:
        return DecodedSamples(array, leading, rgb=False)
    array, notes = _color_and_alpha(array, page, is_gray=is_gray)
    return DecodedSamples(array, leading, rgb=True, notes=notes)


def _color_and_alpha(
    array: AnyArray, page: TiffPage, *, is_gray: bool
) -> tuple[AnyArray, tuple[str, ...]]:
    """`(..., 3|4)` from samples that may be gray + alpha, premultiplied, or have extra bands."""
    colors = 1 if is_gray else 3
    color, extra = np.split(array, [colors], axis=-1)
    if is_gray:
        color = np.broadcast_to(color, (*color.shape[:-1], 3))
    kind = _kinds(page)[0] if extra.shape[-1] else None
    has_alpha = kind in (_PREMULTIPLIED, _ALPHA)
    too_many = extra.shape[-1] > has_alpha
    notes = ("Samples other than color and transparency were left out.",) if too_many else ()
    if not has_alpha:
        return color, notes
    alpha = extra[..., :1]
    color = _unmultiply(color, alpha) if kind == _PREMULTIPLIED else color
    return np.concatenate([color, alpha], axis=-1), notes


def _photometric(page: TiffPage) -> str:
    return str(getattr(page.photometric, "name", page.photometric))


def _unmultiply(color: AnyArray, alpha: AnyArray) -> AnyArray:
    """Color divided by alpha, for color that was stored premultiplied."""
    whole = np.iinfo(color.dtype).max if color.dtype.kind in "ui" else 1
    with np.errstate(divide="ignore", invalid="ignore"):
        full = np.where(alpha > 0, color * (whole / alpha.astype(np.float64)), 0)
    if color.dtype.kind in "ui":
        full = np.clip(np.rint(full), 0, whole)
    return full.astype(color.dtype)


def _is_gray_with_alpha(page: TiffPage) -> bool:
    return page.samplesperpixel == 2 and _kinds(page)[0] in (_PREMULTIPLIED, _ALPHA)


def _kinds(page: TiffPage) -> list[int]:
    """Kinds of the extra samples; 0 ("unspecified") where the tag is missing."""
    return [int(kind) for kind in page.extrasamples] or [0]


def _apply_palette(array: AnyArray, page: TiffPage) -> AnyArray:
    """Palette indices to colors, or to gray if all palette entries are gray."""
    palette = np.asarray(page.tags[_COLORMAP].value).reshape(3, -1).T  # (entries, 3) uint16
    if not (palette % 257).any():
        palette = palette // 257
    elif not (palette % 256).any():
        palette = palette // 256  # some old programs scaled by 256 instead of 257
    palette = palette.astype(np.uint8 if palette.max(initial=0) < 256 else np.uint16)
    is_gray = bool((palette == palette[:, :1]).all())
    colors: AnyArray = palette[:, 0][array] if is_gray else palette[array]
    return colors


def _invert(array: AnyArray, page: TiffPage) -> AnyArray:
    """Values of an image where white is zero, inverted so that black is low."""
    if array.dtype == bool:
        return ~array
    array = _full_range(array, page)
    if array.dtype.kind == "u":
        return np.iinfo(array.dtype).max - array
    return -1 - array if array.dtype.kind == "i" else -array


def _full_range(array: AnyArray, page: TiffPage) -> AnyArray:
    """Samples with fewer bits than their dtype (4, 12 ...) scaled to the dtype's full range."""
    bits = page.bitspersample
    is_odd = array.dtype.kind == "u" and isinstance(bits, int) and bits < 8 * array.dtype.itemsize
    if not is_odd:
        return array
    most = np.iinfo(array.dtype).max
    stretched: AnyArray = np.rint(array * (most / (2**bits - 1))).astype(array.dtype)
    return stretched


_DECODERS = {"PALETTE": _apply_palette, "MINISWHITE": _invert}
