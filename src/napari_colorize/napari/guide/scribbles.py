"""Scribbles: the dots, strokes and areas of a layer, as numbered pixels and their colours.

napari's own `to_labels` of shapes knows no widths of lines, no slices and no pixels but the
shapes' own. So all is brought to the grid first and drawn there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Points, Shapes
from numpy.typing import NDArray

from napari_colorize.napari.guide.labels import labels_on
from napari_colorize.napari.guide.layer_snapshot import layer_kind
from napari_colorize.napari.polygons import fill, outline_of

if TYPE_CHECKING:
    from napari_colorize.napari.crop import Floats
    from napari_colorize.napari.guide.grid import Grid
    from napari_colorize.refine.hints import Hints

Numbers = NDArray[np.int32]

KINDS = (Points, Shapes, Labels)
OPEN = ("line", "path")  # shapes without an inside
SLICE = 0.5  # of an axis' steps: how far from the slice napari still shows a point
STEP = 0.25  # of a stroke's half width: how far its dots are apart, too near to see a dent
FINEST = 0.5  # pixels: nearer they need not be
AT_A_TIME = 2**21  # pixels looked at together


@dataclass(frozen=True, eq=False)
class Scribbles:
    """Pixels, each with the number of its colour.

    Parameters
    ----------
    numbers : ndarray of int32, shape (Y, X)
        0 where nothing was scribbled, else one more than the colour's place.
    colors : ndarray, shape (N, 3) or (N, 4)
        RGB in [0, 1] first.
    """

    numbers: Numbers = field(repr=False)
    colors: Floats = field(repr=False)

    def is_same(self, other: Scribbles) -> bool:
        """Whether both say the same."""
        same = np.array_equal
        return same(self.colors, other.colors) and same(self.numbers, other.numbers)

    def hints(self) -> Hints | None:
        """What a session takes; None if nothing was scribbled."""
        from napari_colorize.refine.hints import Hints  # torch

        rows, columns = np.nonzero(self.numbers)
        if not rows.size:
            return None
        mask = np.zeros(self.numbers.shape, bool)
        rgb = np.zeros((*mask.shape, 3), np.float32)
        mask[rows, columns] = True
        rgb[rows, columns] = self.colors[self.numbers[rows, columns] - 1, :3]
        return Hints(mask, rgb)


def scribbles_of(layer: Points | Shapes | Labels, grid: Grid) -> Scribbles:
    """What a layer shows in the grid's plane, in its colours; what comes later lies on top.

    What is fully transparent is no scribble.

    Parameters
    ----------
    layer : Points, Shapes or Labels
        Points are discs of their size in their face colour. Shapes are filled with their face
        colour; lines, paths, and shapes without one are drawn in their edge colour and width.
        Labels have the colours of their colormap.
    grid : Grid
        Whose pixels are meant.
    """
    make: dict[type, Callable[[Any, Grid], Scribbles]] = {
        Labels: _of_labels,
        Points: _of_points,
        Shapes: _of_shapes,
    }
    return make[layer_kind(layer)](layer, grid)


def _of_labels(layer: Labels, grid: Grid) -> Scribbles:
    labels, numbers = labels_on(layer, grid), np.zeros(grid.size, np.int32)
    rows, columns = np.nonzero(labels)
    if not rows.size:
        return Scribbles(numbers, np.zeros((0, 4)))
    painted = labels[rows, columns]
    found = _distinct(painted)
    colors = np.asarray(layer.colormap.map(found), float).reshape(-1, 4)
    number = np.where(colors[:, 3] > 0, np.arange(len(found)) + 1, 0)
    numbers[rows, columns] = number[np.searchsorted(found, painted)]
    return Scribbles(numbers, colors)


def _distinct(labels: NDArray[Any]) -> NDArray[Any]:
    """Which there are, ascending; counted where they are near to each other: that is quicker."""
    low, high = int(labels.min()), int(labels.max())
    if high - low > AT_A_TIME:
        return np.unique(labels)
    return np.flatnonzero(np.bincount((labels - low).astype(np.int64))).astype(labels.dtype) + low


def _of_points(layer: Points, grid: Grid) -> Scribbles:
    data, colors = np.asarray(layer.data, float), np.asarray(layer.face_color, float).copy()
    is_here = np.all(np.abs(data[:, :-2] - grid.place(layer)) <= SLICE, axis=1)
    is_meant = is_here & np.asarray(layer.shown) & (colors[:, 3] > 0)
    sizes, drawing = np.asarray(layer.size, float), _Drawing(grid, layer)
    for size, alike in groupby(np.flatnonzero(is_meant), key=lambda index: sizes[index]):
        dots = np.array(list(alike))
        drawing.dots(data[dots, -2:], size / 2, dots + 1)
    return Scribbles(drawing.numbers, colors)


def _of_shapes(layer: Shapes, grid: Grid) -> Scribbles:
    faces, edges = (np.asarray(each, float) for each in (layer.face_color, layer.edge_color))
    colors, drawing = faces.reshape(-1, 4).copy(), _Drawing(grid, layer)
    place = np.rint(grid.place(layer))
    for index in np.argsort(layer.z_index, kind="stable"):
        corners, kind = np.asarray(layer.data[index], float), str(layer.shape_type[index])
        before = np.rint(corners[:, :-2])
        if not np.all((before.min(axis=0) <= place) & (place <= before.max(axis=0))):
            continue
        outline = outline_of(corners[:, -2:], kind)
        if kind not in OPEN and faces[index, 3] > 0:
            drawing.area(outline, index + 1)
        elif edges[index, 3] > 0:
            colors[index] = edges[index]
            path = outline if kind in OPEN else np.concatenate([outline, outline[:1]])
            drawing.stroke(path, layer.edge_width[index] / 2, index + 1)
    return Scribbles(drawing.numbers, colors)


class _Drawing:
    """Numbers drawn into a grid by places in a layer's data, its last two axes."""

    def __init__(self, grid: Grid, layer: Points | Shapes) -> None:
        self.numbers: Numbers = np.zeros(grid.size, np.int32)
        self._linear, self._start = grid.linear(layer)

    def area(self, outline: Floats, number: int) -> None:
        """All within an outline `(N, 2)`."""
        fill(self.numbers, self._here(outline), number)

    def stroke(self, path: Floats, radius: float, number: int) -> None:
        """A line along corners `(N, 2)`: dots too near to each other to tell them apart."""
        lengths = np.linalg.norm(np.diff(self._here(path), axis=0), axis=1)
        pixels = radius * np.sqrt(abs(np.linalg.det(self._linear)))
        along = np.concatenate([[0], np.cumsum(lengths)])
        wanted = np.linspace(0, along[-1], 2 + int(along[-1] / max(FINEST, STEP * pixels)))
        dots = np.stack([np.interp(wanted, along, axis) for axis in path.T], axis=1)
        self.dots(dots, radius, np.full(len(dots), number))

    def dots(self, centers: Floats, radius: float, numbers: NDArray[np.intp]) -> None:
        """Discs around places `(N, 2)`, the last on top; of each at least the nearest pixel."""
        middles = self._here(centers)
        # As far as a disc reaches in rows and columns, once it is a disc no more but an ellipse.
        reach = np.ceil(radius * np.linalg.norm(self._linear, axis=0)).astype(int)
        window = np.indices(2 * reach + 2).reshape(2, -1).T - reach
        inverse = np.linalg.inv(self._linear)
        step = max(1, AT_A_TIME // len(window))
        for first in range(0, len(middles), step):
            some = middles[first : first + step, None]
            pixels = np.floor(some).astype(int) + window
            inside = np.linalg.norm((pixels - some) @ inverse, axis=-1) <= radius
            inside |= np.all(pixels == np.rint(some), axis=-1)
            inside &= np.all((pixels >= 0) & (pixels < self.numbers.shape), axis=-1)
            rows, columns = pixels[inside].T
            dots = np.nonzero(inside)[0] + first
            self.numbers[rows, columns] = numbers[dots]

    def _here(self, places: Floats) -> Floats:
        return places @ self._linear + self._start
