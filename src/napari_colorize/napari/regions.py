"""Shapes that were drawn, as a region of a picture's pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.errors import ImageError
from napari_colorize.napari.placement import at_units
from napari_colorize.session.colors import Region

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

Array = np.ndarray[Any, np.dtype[Any]]

CORNERS_OF_AN_ELLIPSE = 128
DIGITS = 6  # of a place in pixels that count: so near to an outline is on it
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
    in_pixels = _to_pixels(shapes, layer)
    region = _filled([in_pixels(outline) for outline in outlines], size)
    if region is None:
        raise ImageError(f"The shapes of {shapes.name!r} lie beside the image {layer.name!r}.")
    return region


def _corners(corners: Array, kind: str) -> Array:
    """Of an ellipse, which is said by the four corners around it, many along its outline."""
    if kind != "ellipse":
        return corners
    middle = corners.mean(axis=0)
    across, along = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, CORNERS_OF_AN_ELLIPSE, endpoint=False)[:, None]
    return middle + np.cos(angle) * across + np.sin(angle) * along


def _to_pixels(shapes: Shapes, layer: Image) -> Callable[[Array], Array]:
    """Rows and columns of the layer at corners of shapes, `(N, 2)`.

    Layers take one point at a time, slowly. It is an affine map: a few points tell it.
    """
    shared = min(shapes.ndim, layer.ndim)
    units = at_units(shapes.units, layer.units[-shared:])

    def one(corner: Array) -> Array:
        world = np.asarray(shapes.data_to_world(corner))
        world[-shared:] *= units
        return np.asarray(layer.world_to_data(world))[-2:]

    start = one(np.zeros(shapes.ndim))
    linear = np.array([one(step) - start for step in np.eye(shapes.ndim)])
    return lambda corners: corners @ linear + start


def _filled(outlines: list[Array], size: tuple[int, int]) -> Region | None:
    """The pixels inside some outline; None if there is none. Only the window is made."""
    corners = np.concatenate(outlines)
    first = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, size).astype(int)
    mask = np.zeros(np.maximum(last - first, 0), bool)
    for outline in outlines:
        _fill(mask, np.round(outline - first, DIGITS))
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        return None
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    below, beside = first.tolist()
    return Region(_moved(window[0], below), _moved(window[1], beside), mask[window].copy())


def _moved(places: slice, by: int) -> slice:
    return slice(places.start + by, places.stop + by)


def _fill(mask: Array, outline: Array) -> None:
    """Set the pixels whose centres lie within an outline or on it, row by row."""
    for is_below in (False, True):  # a corner belongs to the edge below it, or to the one above
        rows, columns = _crossings(outline, mask.shape[0], is_below)
        order = np.lexsort((columns, rows))
        rows = rows[order]
        columns = np.round(columns[order], DIGITS)
        starts = np.ceil(columns[::2]).clip(0).astype(int)
        stops = (np.floor(columns[1::2]) + 1).clip(0).astype(int)
        spans = zip(rows[::2].tolist(), starts.tolist(), stops.tolist(), strict=True)
        for row, start, stop in spans:
            mask[row, start:stop] = True


def _crossings(outline: Array, height: int, is_below: bool) -> tuple[Array, Array]:
    """Where rows of pixels cross the edges of an outline: row numbers, and places along them."""
    ends = np.roll(outline, -1, axis=0)
    upper = np.where((outline[:, 0] <= ends[:, 0])[:, None], outline, ends)
    lower = np.where((outline[:, 0] <= ends[:, 0])[:, None], ends, outline)
    whole = (lambda edge: np.floor(edge) + 1) if is_below else np.ceil
    first, stop = (whole(end[:, 0]).clip(0, height).astype(int) for end in (upper, lower))
    counts = stop - first
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[edge]
    slope = (lower[:, 1] - upper[:, 1])[edge] / (lower[:, 0] - upper[:, 0])[edge]
    return rows, upper[edge, 1] + (rows - upper[edge, 0]) * slope
