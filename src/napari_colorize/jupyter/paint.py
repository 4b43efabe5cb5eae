"""Paint: hints as pixels, at the picture's size here and at the shown size in the browser."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.jupyter.maps import as_png
from napari_colorize.jupyter.transfer import Size, shown_size

if TYPE_CHECKING:
    from napari_colorize.refine.hints import Hints

Bytes = NDArray[np.uint8]
Pixels = tuple[NDArray[np.intp], NDArray[np.intp], Bytes]  # rows, columns and their paint


def to_hints(rgba: Bytes) -> Hints | None:
    """Hints where there is paint; None if there is none."""
    from napari_colorize.refine.hints import Hints

    return Hints.from_rgba(rgba) if rgba[..., 3].any() else None


def as_hints(given: Any) -> Hints | None:
    """Hints, or a transparent picture painted on, as hints; None stays None."""
    from napari_colorize.refine.hints import Hints

    return given if given is None or isinstance(given, Hints) else Hints.from_rgba(given)


def to_paint(hints: Hints) -> Bytes:
    """Hints as RGBA `(Y, X, 4)`, transparent where there are none."""
    rgba = np.zeros((*hints.mask.shape, 4), np.uint8)
    rgba[hints.mask, :3] = np.rint(hints.rgb[hints.mask] * 255)
    rgba[hints.mask, 3] = 255
    return rgba


def as_shown(rgba: Bytes) -> Bytes:
    """Paint at the size at which the picture is shown; a smaller one loses no stroke."""
    size = shown_size(*rgba.shape[:2])
    if size == rgba.shape[:2]:
        return rgba
    rows, columns = np.nonzero(rgba[..., 3])
    small = np.zeros((*size, 4), np.uint8)
    to_row, to_column = _places(rgba.shape[:2], size)
    small[to_row[rows], to_column[columns]] = rgba[rows, columns]
    return small


def changed(before: Bytes, after: Bytes, size: Size) -> Pixels:
    """What a stroke did to a picture of a size, though it is known at the shown size only.

    What it did not touch is left out: in a larger picture that may be finer.
    """
    to_row, to_column = _places(size, after.shape[:2])
    touched = (before != after).any(axis=-1)
    rows, columns = np.nonzero(touched[np.ix_(to_row, to_column)])
    return rows, columns, after[to_row[rows], to_column[columns]]


def to_png(rgba: Bytes) -> bytes:
    """Paint as a browser gets it; none is nothing."""
    return as_png(rgba) if rgba[..., 3].any() else b""


def from_png(png: bytes, size: Size) -> Bytes:
    """Paint as a browser sends it."""
    from PIL import Image

    if not png:
        return np.zeros((*size, 4), np.uint8)
    with Image.open(io.BytesIO(png)) as picture:
        return np.array(picture.convert("RGBA"))


def _places(whole: tuple[int, ...], size: tuple[int, ...]) -> tuple[NDArray[np.intp], ...]:
    """For each row and each column of a picture: which it is at a smaller size."""
    return tuple(
        np.arange(length) * small // length for length, small in zip(whole, size, strict=True)
    )
