"""The pixel grid that a session colorizes, and conversions from other layers to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.napari.crop import PlaneCrop, plane_size, whole_plane
from napari_colorize.napari.transforms import to_pixels, unit_factors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import Dims
    from napari.layers import Image, Layer

    from napari_colorize.array_types import Float64Array, PlaneIndex


@dataclass(frozen=True, eq=False)
class Grid:
    """Pixel grid of an array that covers a crop of one plane of an image layer.

    `size` is height and width of the array. `point` is the viewer's current step in world
    coordinates (in `units`), for axes that the source does not have.
    """

    layer: Image
    crop: PlaneCrop
    size: tuple[int, int]
    plane: PlaneIndex
    point: Float64Array = field(repr=False)
    units: Sequence[Any] | None = field(default=None, repr=False)

    def position(self, other: Layer) -> Float64Array:
        """Data coordinates of this plane in another layer, along the axes before the last two."""
        point = np.zeros(other.ndim)
        known = self.point[-other.ndim :]
        point[other.ndim - len(known) :] = known
        point *= unit_factors(self.units, other.units)
        index = np.zeros(self.layer.ndim)
        index[: len(self.plane)] = self.plane
        shared = min(self.layer.ndim, other.ndim)
        world = np.asarray(self.layer.data_to_world(index), float)[-shared:]
        point[-shared:] = world * unit_factors(self.layer.units, other.units[-shared:])
        return np.asarray(other.world_to_data(point), float)[:-2]

    def converter(self, other: Layer) -> Callable[[Float64Array], Float64Array]:
        """A function from data coordinates `(N, axes)` of another layer to rows and columns."""
        to_layer = to_pixels(other, self.layer)
        return lambda points: self.crop.to_array(to_layer(points), self.size)

    def affine(self, other: Layer) -> tuple[Float64Array, Float64Array]:
        """`points @ matrix + offset` converts rows and columns of another layer to this grid."""
        corner = np.zeros(other.ndim)
        corner[:-2] = self.position(other)
        steps = np.concatenate([np.zeros((1, other.ndim)), np.eye(other.ndim)[-2:]])
        origin, down, across = self.converter(other)(corner + steps)
        return np.stack([down - origin, across - origin]), origin


def grid_of(layer: Image, crop: PlaneCrop, source: Any, plane: PlaneIndex, dims: Dims) -> Grid:
    """The grid of one plane of `source`, the array that a session colorizes."""
    point = np.asarray(dims.point, float)
    size = plane_size(source, layer.rgb)
    return Grid(layer, crop, size, plane, point, getattr(dims, "units", None))


def grid_on_layer(grid: Grid, layer: Image, plane: PlaneIndex, size: tuple[int, int]) -> Grid:
    """The grid of a whole plane of another layer, at the same point of the viewer."""
    return replace(grid, layer=layer, crop=whole_plane(layer), size=size, plane=plane)
