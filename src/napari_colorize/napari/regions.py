"""Regions of pixels inside the shapes of a Shapes layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.display import Region
from napari_colorize.errors import ImageError
from napari_colorize.napari.transforms import to_pixels

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

    from napari_colorize.array_types import AnyArray, Float64Array, IndexArray

CLOSED_SHAPES = ("rectangle", "ellipse", "polygon")
ELLIPSE_CORNERS = 128
DECIMALS = 6  # of pixel coordinates: a pixel center this close to an outline is on it


def region_of(shapes: Shapes, layer: Image, size: tuple[int, int]) -> Region:
    """The pixels of a layer's planes that lie inside any shape.

    Parameters
    ----------
    shapes : Shapes
        Its rectangles, ellipses and polygons are used, wherever they are along other axes.
    layer : Image
        The layer whose pixels are meant; both layers may be scaled, rotated and translated.
    size : tuple of int
        Height and width of the planes.

    Raises
    ------
    ImageError
        If there is no closed shape, or none of them overlaps the image.
    """
    outlines = [
        outline_of(np.asarray(corners), str(kind))
        for corners, kind in zip(shapes.data, shapes.shape_type, strict=True)
        if str(kind) in CLOSED_SHAPES
    ]
    if not outlines:
        raise ImageError(
            f"{shapes.name!r} has no rectangle, ellipse or polygon: draw one around the part to "
            "colorize."
        )
    convert = to_pixels(shapes, layer)
    region = _filled([convert(outline) for outline in outlines], size)
    if region is None:
        raise ImageError(
            f"The shapes of {shapes.name!r} are outside the image {layer.name!r}: move them onto "
            "the image."
        )
    return region


def outline_of(corners: Float64Array, kind: str) -> Float64Array:
    """Corners of a polygon with the outline of a shape.

    napari describes an ellipse by the four corners of its bounding box. It is returned as a polygon
    with `ELLIPSE_CORNERS` corners. Other shapes are returned unchanged.
    """
    if kind != "ellipse":
        return corners
    center = corners.mean(axis=0)
    first_axis, second_axis = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, None]
    return center + np.cos(angle) * first_axis + np.sin(angle) * second_axis


def fill_polygon(pixels: AnyArray, outline: Float64Array, value: Any = True) -> None:
    """Set the pixels whose centers are inside a polygon or on its outline (even-odd rule).

    Sets the same pixels as `skimage.draw.polygon`, which tests every pixel of the bounding box
    against every corner: an ellipse of 4000 x 4000 pixels takes a minute there and 0.1 s here.
    Shapes are filled while the user drags them.

    Parameters
    ----------
    pixels : array, shape (Y, X)
        Modified in place.
    outline : array, shape (N, 2)
        Rows and columns of the corners; they may be outside the array.
    value : Any
        Value that is assigned.
    """
    outline = np.round(outline, DECIMALS)
    # A row through a corner must cross an even number of edges. Each corner belongs to the edge
    # below it in one pass and to the edge above it in the other, so that both ends are filled.
    for excludes_upper_end in (False, True):
        rows, columns = _crossings(outline, pixels.shape[0], excludes_upper_end)
        order = np.lexsort((columns, rows))
        rows = rows[order]
        columns = np.round(columns[order], DECIMALS)
        starts = np.ceil(columns[::2]).clip(0).astype(int)
        stops = (np.floor(columns[1::2]) + 1).clip(0).astype(int)
        spans = zip(rows[::2].tolist(), starts.tolist(), stops.tolist(), strict=True)
        for row, start, stop in spans:
            pixels[row, start:stop] = value


def _crossings(
    outline: Float64Array, height: int, excludes_upper_end: bool
) -> tuple[IndexArray, Float64Array]:
    """Row numbers and columns at which rows of pixels cross the edges of an outline."""
    ends = np.roll(outline, -1, axis=0)
    is_downward = (outline[:, 0] <= ends[:, 0])[:, None]
    upper, lower = np.where(is_downward, outline, ends), np.where(is_downward, ends, outline)
    first_row = (lambda row: np.floor(row) + 1) if excludes_upper_end else np.ceil
    first, stop = (first_row(end[:, 0]).clip(0, height).astype(int) for end in (upper, lower))
    counts = stop - first
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[edge]
    slope = (lower[:, 1] - upper[:, 1])[edge] / (lower[:, 0] - upper[:, 0])[edge]
    return rows, upper[edge, 1] + (rows - upper[edge, 0]) * slope


def _filled(outlines: list[Float64Array], size: tuple[int, int]) -> Region | None:
    """The pixels inside any outline, or None if there are none.

    The mask covers only the bounding box: planes can be too large for a full mask.
    """
    corners = np.concatenate(outlines)
    first = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, size).astype(int)
    mask = np.zeros(np.maximum(last - first, 0), bool)
    for outline in outlines:
        fill_polygon(mask, outline - first)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        return None
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    top, left = first.tolist()
    return Region(_shifted(window[0], top), _shifted(window[1], left), mask[window].copy())


def _shifted(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)
