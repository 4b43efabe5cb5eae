"""Guides for another number of pixels: a large picture is colorized at a smaller size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_colorize.refine.guides import Guides
    from napari_colorize.refine.hints import Hints

Array = NDArray[Any]


def resized(guides: Guides, size: tuple[int, int]) -> Guides:
    """The same guides for the same picture at a size; a reference has its own.

    Masks and regions are taken at the middle of each pixel. No scribble is lost, however thin.
    """
    from napari_colorize.refine.guides import Guides  # torch

    return Guides(
        mask=None if guides.mask is None else _nearest(guides.mask, size),
        hints=None if guides.hints is None else _hints(guides.hints, size),
        reference=guides.reference,
        regions=None if guides.regions is None else _nearest(guides.regions, size),
    )


def _nearest(plane: Array, size: tuple[int, int]) -> Array:
    if plane.shape == size:
        return plane
    rows, columns = (
        ((np.arange(length) + 0.5) * whole / length).astype(np.intp)
        for length, whole in zip(size, plane.shape, strict=True)
    )
    return plane[np.ix_(rows, columns)]


def _hints(hints: Hints, size: tuple[int, int]) -> Hints:
    if hints.mask.shape == size:
        return hints
    (height, width), (full_height, full_width) = size, hints.mask.shape
    mask, rgb = np.zeros(size, bool), np.zeros((*size, 3), np.float32)
    rows, columns = np.nonzero(hints.mask)
    there = rows * height // full_height, columns * width // full_width
    mask[there] = True
    rgb[there] = hints.rgb[rows, columns]
    return type(hints)(mask, rgb)
