"""Shapes that were drawn, as a region of a picture's pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.errors import ImageError
from napari_colorize.napari.placement import at_units
from napari_colorize.session.colors import Region

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

Array = np.ndarray[Any, np.dtype[Any]]

CORNERS_OF_AN_ELLIPSE = 128
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
        _corners(np.asarray(corners), str(kind))
        for corners, kind in zip(shapes.data, shapes.shape_type, strict=True)
        if str(kind) in WITH_INSIDE
    ]
    if not outlines:
        raise ImageError(
            f"{shapes.name!r} has no rectangle, ellipse or polygon: draw one around what shall "
            "be colorized."
        )
    mask = np.zeros(size, bool)
    for outline in outlines:
        _fill(mask, np.array([_in_pixels(corner, shapes, layer) for corner in outline]))
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        raise ImageError(f"The shapes of {shapes.name!r} lie beside the image {layer.name!r}.")
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return Region(*window, mask[window].copy())


def _corners(corners: Array, kind: str) -> Array:
    """Of an ellipse, which is said by the four corners around it, many along its outline."""
    if kind != "ellipse":
        return corners
    middle = corners.mean(axis=0)
    across, along = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, CORNERS_OF_AN_ELLIPSE, endpoint=False)[:, None]
    return middle + np.cos(angle) * across + np.sin(angle) * along


def _in_pixels(corner: Array, shapes: Shapes, layer: Image) -> Array:
    """Row and column of the layer at a corner of a shape."""
    world = np.asarray(shapes.data_to_world(corner))
    shared = min(len(world), layer.ndim)
    world[-shared:] *= at_units(shapes.units, layer.units[-shared:])[-shared:]
    return np.asarray(layer.world_to_data(world))[-2:]


def _fill(mask: Array, outline: Array) -> None:
    from skimage.draw import polygon

    rows, columns = polygon(outline[:, 0], outline[:, 1], mask.shape)
    mask[rows, columns] = True
