"""Shapes that were drawn, as a region of a picture's pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.display import Region
from napari_colorize.errors import ImageError
from napari_colorize.napari.polygons import fill, outline_of
from napari_colorize.napari.transforms import to_pixels

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

Array = np.ndarray[Any, np.dtype[Any]]

WITH_INSIDE = ("rectangle", "ellipse", "polygon")


def region_of(shapes: Shapes, layer: Image, size: tuple[int, int]) -> Region:
    """The pixels of a layer's planes that lie inside some shape.

    Parameters
    ----------
    shapes : Shapes
        Its rectangles, ellipses and polygons, wherever they are along other axes.
    layer : Image
        Whose pixels; both layers may be scaled, rotated and moved.
    size : tuple of int
        Height and width of the planes.

    Raises
    ------
    ImageError
        If no shape has an inside, or it lies beside the picture.
    """
    outlines = [
        outline_of(np.asarray(corners), str(kind))
        for corners, kind in zip(shapes.data, shapes.shape_type, strict=True)
        if str(kind) in WITH_INSIDE
    ]
    if not outlines:
        raise ImageError(
            f"{shapes.name!r} has no rectangle, ellipse or polygon: draw one around what shall "
            "be colorized."
        )
    in_pixels = to_pixels(shapes, layer)
    region = _filled([in_pixels(outline) for outline in outlines], size)
    if region is None:
        raise ImageError(f"The shapes of {shapes.name!r} lie beside the image {layer.name!r}.")
    return region


def _filled(outlines: list[Array], size: tuple[int, int]) -> Region | None:
    """The pixels inside some outline; None if there is none. Only the window is made."""
    corners = np.concatenate(outlines)
    first = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, size).astype(int)
    mask = np.zeros(np.maximum(last - first, 0), bool)
    for outline in outlines:
        fill(mask, outline - first)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        return None
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    below, beside = first.tolist()
    return Region(_moved(window[0], below), _moved(window[1], beside), mask[window].copy())


def _moved(places: slice, by: int) -> slice:
    return slice(places.start + by, places.stop + by)
