"""The pixels that a session colorizes, and where in them another layer's places are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.napari.crop import Floats, PlaneCrop, plane_size, whole_plane
from napari_colorize.napari.transforms import at_units, to_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import Dims
    from napari.layers import Image, Layer

Index = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """One plane of an image layer as an array that fills a part of it, in the world of a viewer.

    Parameters
    ----------
    layer : Image
        The source.
    part : Part
        What of its planes the array covers.
    size : tuple of int
        Height and width of the array.
    plane : tuple of int
        Index of the plane.
    point : ndarray
        Where the viewer is, for axes that the source has not.
    units : sequence, optional
        Of these numbers.
    """

    layer: Image
    part: PlaneCrop
    size: tuple[int, int]
    plane: Index
    point: Floats = field(repr=False)
    units: Sequence[Any] | None = field(default=None, repr=False)

    def place(self, other: Layer) -> Floats:
        """Where this plane is in another layer's data, along the axes before its last two."""
        point = np.zeros(other.ndim)
        known = self.point[-other.ndim :]
        point[other.ndim - len(known) :] = known
        point *= at_units(self.units, other.units)
        index = np.zeros(self.layer.ndim)
        index[: len(self.plane)] = self.plane
        shared = min(self.layer.ndim, other.ndim)
        world = np.asarray(self.layer.data_to_world(index), float)[-shared:]
        point[-shared:] = world * at_units(self.layer.units, other.units[-shared:])
        return np.asarray(other.world_to_data(point), float)[:-2]

    def pixels(self, other: Layer) -> Callable[[Floats], Floats]:
        """A map from places `(N, axes)` in another layer's data to rows and columns here."""
        in_layer = to_pixels(other, self.layer)
        return lambda places: self.part.within(in_layer(places), self.size)

    def linear(self, other: Layer) -> tuple[Floats, Floats]:
        """The same for places in this plane: rows and columns there, times (2, 2), plus (2,)."""
        corner = np.zeros(other.ndim)
        corner[:-2] = self.place(other)
        steps = np.concatenate([np.zeros((1, other.ndim)), np.eye(other.ndim)[-2:]])
        start, down, across = self.pixels(other)(corner + steps)
        return np.stack([down - start, across - start]), start


def grid_of(layer: Image, part: PlaneCrop, source: Any, plane: Index, dims: Dims) -> Grid:
    """The grid of one plane of what a session was given as its source."""
    point = np.asarray(dims.point, float)
    size = plane_size(source, layer.rgb)
    return Grid(layer, part, size, plane, point, getattr(dims, "units", None))


def over(grid: Grid, layer: Image, plane: Index, size: tuple[int, int]) -> Grid:
    """A plane of another layer, seen from the same place of the viewer."""
    return replace(grid, layer=layer, part=whole_plane(layer), size=size, plane=plane)
