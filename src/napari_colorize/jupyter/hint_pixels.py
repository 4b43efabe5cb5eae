"""Conversion of painted hints between the full image size and the browser's display size."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import IndexArray, UInt8Array
from napari_colorize.jupyter.browser_encoding import Size, display_size
from napari_colorize.jupyter.thumbnails import as_png

if TYPE_CHECKING:
    from napari_colorize.refine.hints import Hints

PaintedPixels = tuple[IndexArray, IndexArray, UInt8Array]  # rows, columns and their RGBA


def hints_from_paint(rgba: UInt8Array) -> Hints | None:
    """Hints at all painted pixels; None if there are none."""
    from napari_colorize.refine.hints import Hints

    return Hints.from_rgba(rgba) if rgba[..., 3].any() else None


def as_hints(source: Any) -> Hints | None:
    """Convert `Hints` or RGBA pixels to `Hints`; None stays None."""
    from napari_colorize.refine.hints import Hints

    return source if source is None or isinstance(source, Hints) else Hints.from_rgba(source)


def paint_from_hints(hints: Hints) -> UInt8Array:
    """Hints as RGBA `(Y, X, 4)`, transparent elsewhere."""
    rgba = np.zeros((*hints.mask.shape, 4), np.uint8)
    rgba[hints.mask, :3] = np.rint(hints.rgb[hints.mask] * 255)
    rgba[hints.mask, 3] = 255
    return rgba


def to_display_size(rgba: UInt8Array) -> UInt8Array:
    """Paint at the display size; no painted pixel is lost when the size is reduced."""
    size = display_size(*rgba.shape[:2])
    if size == rgba.shape[:2]:
        return rgba
    rows, columns = np.nonzero(rgba[..., 3])
    small = np.zeros((*size, 4), np.uint8)
    to_row, to_column = _index_maps(rgba.shape[:2], size)
    small[to_row[rows], to_column[columns]] = rgba[rows, columns]
    return small


def changed_pixels(before: UInt8Array, after: UInt8Array, size: Size) -> PaintedPixels:
    """Pixels of a full-size image that a stroke changed, from paint at display size.

    Pixels that the stroke did not touch are left out, because hints of the full-size image may be
    finer than the display size.
    """
    to_row, to_column = _index_maps(size, after.shape[:2])
    is_changed = (before != after).any(axis=-1)
    rows, columns = np.nonzero(is_changed[np.ix_(to_row, to_column)])
    return rows, columns, after[to_row[rows], to_column[columns]]


def to_png(rgba: UInt8Array) -> bytes:
    """Paint as a PNG for the browser; empty if nothing is painted."""
    return as_png(rgba) if rgba[..., 3].any() else b""


def from_png(png: bytes, size: Size) -> UInt8Array:
    """Paint from a PNG of the browser, RGBA; empty bytes give a transparent image of `size`."""
    from PIL import Image

    if not png:
        return np.zeros((*size, 4), np.uint8)
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.convert("RGBA"))


def _index_maps(full: tuple[int, ...], size: tuple[int, ...]) -> tuple[IndexArray, ...]:
    """For each row and column of the full size, its index at the smaller size."""
    return tuple(
        np.arange(length) * small // length for length, small in zip(full, size, strict=True)
    )
