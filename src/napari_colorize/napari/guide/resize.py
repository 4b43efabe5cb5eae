"""Resizing of guides: a large image is colorized at a smaller size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_colorize.array_types import AnyArray
    from napari_colorize.refine.guides import Guides
    from napari_colorize.refine.hints import Hints


def resized(guides: Guides, size: tuple[int, int]) -> Guides:
    """The same guides for the same image at another size; the reference is unchanged.

    Masks and regions are sampled at pixel centers. Each hint keeps at least one pixel.
    """
    from napari_colorize.refine.guides import Guides  # torch

    return Guides(
        mask=None if guides.mask is None else _nearest(guides.mask, size),
        hints=None if guides.hints is None else _resized_hints(guides.hints, size),
        reference=guides.reference,
        regions=None if guides.regions is None else _nearest(guides.regions, size),
    )


def _nearest(plane: AnyArray, size: tuple[int, int]) -> AnyArray:
    if plane.shape == size:
        return plane
    rows, columns = (
        ((np.arange(length) + 0.5) * full / length).astype(np.intp)
        for length, full in zip(size, plane.shape, strict=True)
    )
    return plane[np.ix_(rows, columns)]


def _resized_hints(hints: Hints, size: tuple[int, int]) -> Hints:
    if hints.mask.shape == size:
        return hints
    (height, width), (full_height, full_width) = size, hints.mask.shape
    mask, rgb = np.zeros(size, bool), np.zeros((*size, 3), np.float32)
    rows, columns = np.nonzero(hints.mask)
    # Scatter instead of sampling, so that thin strokes are not lost.
    target = rows * height // full_height, columns * width // full_width
    mask[target] = True
    rgb[target] = hints.rgb[rows, columns]
    return type(hints)(mask, rgb)
