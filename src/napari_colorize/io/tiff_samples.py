"""Conversion of stored TIFF samples to gray or RGB(A) according to the tags.

Handles inverted gray (white is zero), palettes, CMYK, Lab, odd numbers of bits, alpha
(premultiplied or not, of any depth) and separate color planes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.io import icc
from napari_colorize.io.bit_depth import scale_bits
from napari_colorize.io.limits import row_blocks

if TYPE_CHECKING:
    from tifffile import TiffPage

_LABS = frozenset({"CIELAB", "ICCLAB", "ITULAB"})
_GRAYS = frozenset({"MINISBLACK", "MINISWHITE"})
_PHOTOMETRIC, _COLORMAP, _EXTRA_SAMPLES, _ICC = 262, 320, 338, 34675
SEPARATE = (
    "{count} channels are colorized as separate planes; ExtraSamples declares none as transparency."
)
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
    # The JPEG decoder converts its own YCbCr to RGB.
    is_jpeg = "JPEG" in str(getattr(page.compression, "name", ""))
    return photometric_of(page) == "YCBCR" and not is_jpeg


def is_converted(page: TiffPage) -> bool:
    """Whether the color space is converted to sRGB, so that the file's profile is not valid."""
    return photometric_of(page) in {"SEPARATED", *_LABS}


def photometric_of(page: TiffPage) -> str:
    """Name of the photometric interpretation; where the tag is missing, that of other readers.

    Pillow and libtiff read three samples as RGB and fax as white-is-zero. Pillow reads any gray of
    up to 8 bits as white-is-zero, deeper gray as black-is-zero.
    """
    if _PHOTOMETRIC not in page.tags:
        if page.samplesperpixel > 2:
            return "RGB"
        bits = page.bitspersample
        return "MINISWHITE" if isinstance(bits, int) and bits <= 8 else "MINISBLACK"
    return str(getattr(page.photometric, "name", page.photometric))


def decode_samples(array: AnyArray, axes: str, page: TiffPage) -> DecodedSamples:
    """Convert stored values to gray or RGB(A) with the leading axes first.

    Parameters
    ----------
    array, axes : NDArray, str
        As returned by tifffile: one letter for each axis, "S" for the samples of a pixel.
    page : TiffPage
        Page whose tags are valid for all.
    """
    notes: tuple[str, ...] = ()
    photometric = photometric_of(page)
    is_gray = photometric in _GRAYS
    if is_gray and not _is_gray_with_alpha(page):
        if "S" in axes:
            notes += (SEPARATE.format(count=page.samplesperpixel),)
        axes = axes.replace("S", "C")  # bands that are not colors become a stack
    first = [place for place, axis in enumerate(axes) if axis not in "YXS"]  # letters may repeat
    leading = "".join(axes[place] for place in first)
    array = array.transpose(first + [axes.index(axis) for axis in "YXS" if axis in axes])
    if "S" not in axes:
        array = array[..., np.newaxis]
    colors = {"PALETTE": 1, "SEPARATED": 4}.get(photometric, 1 if is_gray else 3)
    color, extra = np.split(array, [colors], axis=-1)
    decoder = _DECODERS.get(photometric)
    color = _full_range(color, page) if decoder is None else _in_blocks(decoder, color, page)
    if is_converted(page):
        space = "CMYK" if photometric == "SEPARATED" else "LAB"
        notes += (icc.CONVERTED.format(space=space),)
    kind = _alpha_kind(page) if extra.shape[-1] else 0
    if extra.shape[-1] > bool(kind):
        notes += ("Samples other than color and transparency were left out.",)
    if photometric == "PALETTE" and kind and _is_opaque(extra[..., 0], page):
        kind = 0  # as for other files with a palette
    if not kind:
        is_plain = color.shape[-1] == 1
        return DecodedSamples(color[..., 0] if is_plain else color, leading, not is_plain, notes)
    if color.dtype == bool:
        color = color.astype(np.uint8) * 255
    alpha = _as_opacity(_full_range(extra[..., :1], page), color.dtype)
    color = np.broadcast_to(color, (*color.shape[:-1], 3))
    if kind == _PREMULTIPLIED:
        both = np.concatenate([color, alpha], axis=-1)
        return DecodedSamples(_in_blocks(_unmultiply, both, page), leading, rgb=True, notes=notes)
    return DecodedSamples(np.concatenate([color, alpha], axis=-1), leading, rgb=True, notes=notes)


def joined(pages: Sequence[DecodedSamples]) -> DecodedSamples | None:
    """Images of one size as a stack; None if they differ in more than gray or RGB, 1 or 8 bits."""
    arrays = [page.array for page in pages]
    if any(array.dtype != bool for array in arrays):
        arrays = [
            array.astype(np.uint8) * 255 if array.dtype == bool else array for array in arrays
        ]
    rgb = any(page.rgb for page in pages)
    if rgb:
        channels = {array.shape[-1] for page, array in zip(pages, arrays, strict=True) if page.rgb}
        if channels == {3}:
            arrays = [
                array if page.rgb else np.repeat(array[..., np.newaxis], 3, axis=-1)
                for page, array in zip(pages, arrays, strict=True)
            ]
    if any(page.axes for page in pages) or len({(each.shape, each.dtype) for each in arrays}) > 1:
        return None
    notes = dict.fromkeys(note for page in pages for note in page.notes)
    return DecodedSamples(np.stack(arrays), "I", rgb, tuple(notes))


def _as_opacity(alpha: AnyArray, dtype: np.dtype[np.generic]) -> AnyArray:
    """Alpha with the full range of the dtype of the colors."""
    if alpha.dtype == dtype:
        return alpha
    full, wanted = (
        1 if kind.kind in "bf" else int(np.iinfo(kind).max) for kind in (alpha.dtype, dtype)
    )
    scaled = alpha * (wanted / full)
    return (scaled if dtype.kind == "f" else np.rint(scaled)).astype(dtype)


def _in_blocks(
    convert: Callable[[AnyArray, TiffPage], AnyArray], array: AnyArray, page: TiffPage
) -> AnyArray:
    """Apply a conversion of pixels to some rows at a time, so that its temporary arrays are small.

    `array` has the shape `(..., Y, X, samples)`; only the number of samples may change.
    """
    rows = array.reshape(-1, *array.shape[-2:])
    blocks = row_blocks(rows)
    if len(blocks) <= 1:
        return convert(array, page)
    first = convert(rows[blocks[0]], page)
    converted = np.empty((len(rows), *first.shape[1:]), first.dtype)
    converted[blocks[0]] = first
    for block in blocks[1:]:
        converted[block] = convert(rows[block], page)
    return converted.reshape(*array.shape[:-1], first.shape[-1])


def _unmultiply(stored: AnyArray, page: TiffPage) -> AnyArray:
    """RGBA that was stored with premultiplied color."""
    color, alpha = stored[..., :3], stored[..., 3:]
    whole = np.iinfo(color.dtype).max if color.dtype.kind in "ui" else 1
    with np.errstate(divide="ignore", invalid="ignore"):
        full = np.where(alpha > 0, color * (whole / alpha.astype(np.float64)), 0)
    if color.dtype.kind in "ui":
        full = np.clip(np.rint(full), 0, whole)
    return np.concatenate([full.astype(color.dtype), alpha], axis=-1)


def _is_gray_with_alpha(page: TiffPage) -> bool:
    return page.samplesperpixel == 2 and _alpha_kind(page) > 0


def _is_opaque(alpha: AnyArray, page: TiffPage) -> bool:
    full = _full_range(alpha, page)
    return full.dtype.kind == "u" and bool((full == np.iinfo(full.dtype).max).all())


def _alpha_kind(page: TiffPage) -> int:
    """How the first extra sample stores alpha; 0 if it is none.

    Four samples of RGB without the ExtraSamples tag are RGBA in Pillow and libtiff.
    """
    if _EXTRA_SAMPLES not in page.tags:
        is_rgba = photometric_of(page) == "RGB" and page.samplesperpixel == 4
        return _ALPHA if is_rgba else 0
    kind = int(page.extrasamples[0]) if page.extrasamples else 0
    return kind if kind in (_PREMULTIPLIED, _ALPHA) else 0


def _apply_palette(indices: AnyArray, page: TiffPage) -> AnyArray:
    """Palette indices to colors, or to gray if all palette entries are gray."""
    palette = np.asarray(page.tags[_COLORMAP].value).reshape(3, -1).T  # (entries, 3) uint16
    if not (palette % 257).any():
        palette = palette // 257
    elif not (palette % 256).any():
        palette = palette // 256  # some old programs scaled by 256 instead of 257
    palette = palette.astype(np.uint8 if palette.max(initial=0) < 256 else np.uint16)
    if bool((palette == palette[:, :1]).all()):
        palette = palette[:, :1]
    # Indices of 1 bit are bool, which NumPy would take for a mask.
    colors: AnyArray = palette[indices[..., 0].astype(np.uint32)]
    return colors


def _invert(array: AnyArray, page: TiffPage) -> AnyArray:
    """Values of an image where white is zero, inverted so that black is low."""
    if array.dtype == bool:
        return ~array
    array = _full_range(array, page)
    if array.dtype.kind == "u":
        return np.iinfo(array.dtype).max - array
    return -1 - array if array.dtype.kind == "i" else -array


def _cmyk(ink: AnyArray, page: TiffPage) -> AnyArray:
    profile = page.tags.valueof(_ICC)
    return icc.cmyk_to_rgb(_full_range(ink, page), profile if isinstance(profile, bytes) else None)


def _lab(stored: AnyArray, page: TiffPage) -> AnyArray:
    """Lab of 8 or 16 bits, or float, as sRGB; see the encodings in TIFF 6 and its supplements."""
    kind, dtype = photometric_of(page), stored.dtype
    light, ab = stored[..., :1].astype(np.float64), stored[..., 1:]
    if dtype.kind == "f":
        return icc.lab_to_rgb(stored, dtype)
    bits = 8 * dtype.itemsize
    full = 2.0**bits - 1
    if kind == "CIELAB":
        ab = ab.astype(f"i{dtype.itemsize}") / 2.0 ** (bits - 8)
    elif kind == "ICCLAB":
        ab = ab / 2.0 ** (bits - 8) - 128
        full = 255 * 2.0 ** (bits - 8)
    else:  # ITULAB, as in the fax standard T.42
        ab = ab / full * (170, 200) - (85, 75)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return icc.lab_to_rgb(np.concatenate([light * (100 / full), ab], axis=-1), unsigned)


def _full_range(array: AnyArray, page: TiffPage) -> AnyArray:
    """Samples with fewer bits than their dtype (4, 12 ...) scaled to the dtype's full range."""
    bits = page.bitspersample
    if array.dtype == bool and page.samplesperpixel > 1:
        return array.astype(np.uint8) * 255
    return scale_bits(array, bits) if isinstance(bits, int) else array


_DECODERS: dict[str, Callable[[AnyArray, TiffPage], AnyArray]] = {
    "PALETTE": _apply_palette,
    "MINISWHITE": _invert,
    "SEPARATED": _cmyk,
    **dict.fromkeys(_LABS, _lab),
}
