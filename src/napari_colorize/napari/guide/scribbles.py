"""Points, strokes and areas of a layer as numbered pixels of a grid and their colors.

napari's own `Shapes.to_labels` ignores line widths, slices and transforms. Objects are therefore
converted to the grid first and drawn there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Points, Shapes

from napari_colorize.napari.guide.labels import labels_at
from napari_colorize.napari.guide.layer_snapshot import layer_type
from napari_colorize.napari.regions import fill_polygon, outline_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_colorize.array_types import AnyArray, Float64Array, IndexArray
    from napari_colorize.napari.guide.grid import Grid
    from napari_colorize.refine.hints import Hints

HINT_LAYER_TYPES = (Points, Shapes, Labels)
OPEN_SHAPES = ("line", "path")
SLICE_TOLERANCE = 0.5  # steps of an axis within which napari displays a point
DOT_SPACING = 0.25  # distance of the dots of a stroke, as a share of its half width
FINEST_SPACING = 0.5  # pixels
CHUNK_PIXELS = 2**21  # pixels that are processed at once


@dataclass(frozen=True, eq=False)
class Scribbles:
    """Pixels with the number of their color.

    Parameters
    ----------
    numbers : ndarray of int32, shape (Y, X)
        0 where there is no scribble, else one more than the row in `colors`.
    colors : ndarray, shape (N, 3) or (N, 4)
        RGB or RGBA in [0, 1].
    """

    numbers: NDArray[np.int32] = field(repr=False)
    colors: Float64Array = field(repr=False)

    def is_same(self, other: Scribbles) -> bool:
        """Whether pixels and colors are equal."""
        same = np.array_equal
        return same(self.colors, other.colors) and same(self.numbers, other.numbers)

    def hints(self) -> Hints | None:
        """The scribbles as `Hints`; None if there are none."""
        from napari_colorize.refine.hints import Hints  # torch

        rows, columns = np.nonzero(self.numbers)
        if not rows.size:
            return None
        mask = np.zeros(self.numbers.shape, bool)
        rgb = np.zeros((*mask.shape, 3), np.float32)
        mask[rows, columns] = True
        rgb[rows, columns] = self.colors[self.numbers[rows, columns] - 1, :3]
        return Hints(mask, rgb)


def scribbles_from(layer: Points | Shapes | Labels, grid: Grid) -> Scribbles:
    """The scribbles of a layer in the grid's plane; later objects cover earlier ones.

    Fully transparent objects are ignored.

    Parameters
    ----------
    layer : Points, Shapes or Labels
        Points are discs of their size and face color. Shapes are filled with their face color;
        lines, paths and shapes with a transparent face are drawn in their edge color and width.
        Labels have the colors of their colormap.
    grid : Grid
        The pixels.
    """
    readers: dict[type, Callable[[Any, Grid], Scribbles]] = {
        Labels: _from_labels,
        Points: _from_points,
        Shapes: _from_shapes,
    }
    return readers[layer_type(layer)](layer, grid)


def _from_labels(layer: Labels, grid: Grid) -> Scribbles:
    labels, numbers = labels_at(layer, grid), np.zeros(grid.size, np.int32)
    rows, columns = np.nonzero(labels)
    if not rows.size:
        return Scribbles(numbers, np.zeros((0, 4)))
    painted = labels[rows, columns]
    found = _unique(painted)
    colors = np.asarray(layer.colormap.map(found), float).reshape(-1, 4)
    number = np.where(colors[:, 3] > 0, np.arange(len(found)) + 1, 0)
    numbers[rows, columns] = number[np.searchsorted(found, painted)]
    return Scribbles(numbers, colors)


def _unique(labels: AnyArray) -> AnyArray:
    """Distinct labels in ascending order; counting is faster than sorting for a small range."""
    low, high = int(labels.min()), int(labels.max())
    if high - low > CHUNK_PIXELS:
        return np.unique(labels)
    return np.flatnonzero(np.bincount((labels - low).astype(np.int64))).astype(labels.dtype) + low


def _from_points(layer: Points, grid: Grid) -> Scribbles:
    data, colors = np.asarray(layer.data, float), np.asarray(layer.face_color, float).copy()
    distance = np.abs(data[:, :-2] - grid.position(layer))
    is_in_plane = np.all(distance <= SLICE_TOLERANCE, axis=1)
    is_visible = is_in_plane & np.asarray(layer.shown) & (colors[:, 3] > 0)
    sizes, drawing = np.asarray(layer.size, float), _Drawing(grid, layer)
    for size, indices in groupby(np.flatnonzero(is_visible), key=lambda index: sizes[index]):
        dots = np.array(list(indices))
        drawing.dots(data[dots, -2:], size / 2, dots + 1)
    return Scribbles(drawing.numbers, colors)


def _from_shapes(layer: Shapes, grid: Grid) -> Scribbles:
    faces, edges = (np.asarray(each, float) for each in (layer.face_color, layer.edge_color))
    colors, drawing = faces.reshape(-1, 4).copy(), _Drawing(grid, layer)
    position = np.rint(grid.position(layer))
    for index in np.argsort(layer.z_index, kind="stable"):
        corners, kind = np.asarray(layer.data[index], float), str(layer.shape_type[index])
        leading = np.rint(corners[:, :-2])
        if not np.all((leading.min(axis=0) <= position) & (position <= leading.max(axis=0))):
            continue
        outline = outline_of(corners[:, -2:], kind)
        if kind not in OPEN_SHAPES and faces[index, 3] > 0:
            drawing.area(outline, index + 1)
        elif edges[index, 3] > 0:
            colors[index] = edges[index]
            path = outline if kind in OPEN_SHAPES else np.concatenate([outline, outline[:1]])
            drawing.stroke(path, layer.edge_width[index] / 2, index + 1)
    return Scribbles(drawing.numbers, colors)


class _Drawing:
    """Pixels of a grid into which objects of a layer are drawn.

    All coordinates are data coordinates of the layer along its last two axes.
    """

    def __init__(self, grid: Grid, layer: Points | Shapes) -> None:
        self.numbers: NDArray[np.int32] = np.zeros(grid.size, np.int32)
        self._matrix, self._offset = grid.affine(layer)

    def area(self, outline: Float64Array, number: int) -> None:
        """Fill a polygon with corners `(N, 2)`."""
        fill_polygon(self.numbers, self._to_grid(outline), number)

    def stroke(self, path: Float64Array, radius: float, number: int) -> None:
        """Draw a line through points `(N, 2)` as overlapping dots."""
        lengths = np.linalg.norm(np.diff(self._to_grid(path), axis=0), axis=1)
        pixels = radius * np.sqrt(abs(np.linalg.det(self._matrix)))
        along = np.concatenate([[0], np.cumsum(lengths)])
        spacing = max(FINEST_SPACING, DOT_SPACING * pixels)
        positions = np.linspace(0, along[-1], 2 + int(along[-1] / spacing))
        dots = np.stack([np.interp(positions, along, axis) for axis in path.T], axis=1)
        self.dots(dots, radius, np.full(len(dots), number))

    def dots(self, centers: Float64Array, radius: float, numbers: IndexArray) -> None:
        """Draw discs around points `(N, 2)`, each at least one pixel; later ones cover earlier."""
        middles = self._to_grid(centers)
        # The transform can turn a disc into an ellipse: its extent in rows and columns.
        reach = np.ceil(radius * np.linalg.norm(self._matrix, axis=0)).astype(int)
        window = np.indices(2 * reach + 2).reshape(2, -1).T - reach
        inverse = np.linalg.inv(self._matrix)
        step = max(1, CHUNK_PIXELS // len(window))
        for first in range(0, len(middles), step):
            chunk = middles[first : first + step, None]
            pixels = np.floor(chunk).astype(int) + window
            inside = np.linalg.norm((pixels - chunk) @ inverse, axis=-1) <= radius
            inside |= np.all(pixels == np.rint(chunk), axis=-1)
            inside &= np.all((pixels >= 0) & (pixels < self.numbers.shape), axis=-1)
            rows, columns = pixels[inside].T
            dots = np.nonzero(inside)[0] + first
            self.numbers[rows, columns] = numbers[dots]

    def _to_grid(self, points: Float64Array) -> Float64Array:
        return points @ self._matrix + self._offset
