"""The part of a layer's planes that is colorized: the whole plane, or the box around shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_colorize.napari import layers

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

    from napari_colorize.array_types import Float64Array
    from napari_colorize.display import ColorArrays


@dataclass(frozen=True)
class PlaneCrop:
    """Rectangle of a plane: distances of its edges from the upper and left edge, in pixels."""

    top: float
    bottom: float
    left: float
    right: float

    def pixel_size(self, shape: tuple[int, int]) -> Float64Array:
        """Height and width in plane pixels of one pixel of an array that covers the crop."""
        return np.array([self.bottom - self.top, self.right - self.left]) / shape

    def first_pixel(self, shape: tuple[int, int]) -> Float64Array:
        """Center of the array's first pixel, in a plane whose pixel centers are integers."""
        return np.array([self.top, self.left]) + self.pixel_size(shape) / 2 - 0.5

    def to_array(self, point: Float64Array, shape: tuple[int, int]) -> Float64Array:
        """Convert a point of the plane to pixels of an array that covers the crop."""
        converted: Float64Array = (point - self.first_pixel(shape)) / self.pixel_size(shape)
        return converted

    def __contains__(self, point: Float64Array) -> bool:
        row, column = point + 0.5
        return bool(self.top <= row < self.bottom and self.left <= column < self.right)


# A drag of the curtain reads the crop for each mouse event, and filling the shapes is slow.
_crops_around_shapes: WeakKeyDictionary[ColorArrays, PlaneCrop] = WeakKeyDictionary()


def crop_of(layer: Image, colors: ColorArrays, shapes: Shapes | None) -> PlaneCrop:
    """The crop of a layer's planes that is colorized: the box around shapes, or the whole plane.

    `colors` are the color arrays that were made for these shapes; they are the key of the cache.
    """
    if shapes is None:
        return whole_plane(layer)
    if colors not in _crops_around_shapes:
        region = layers.read(layer, shapes)["region"]
        rows, columns = region.rows, region.columns
        _crops_around_shapes[colors] = PlaneCrop(rows.start, rows.stop, columns.start, columns.stop)
    return _crops_around_shapes[colors]


def whole_plane(layer: Image) -> PlaneCrop:
    """The crop that covers each plane of a layer."""
    height, width = plane_size(layers.largest(layer), layer.rgb)
    return PlaneCrop(0, height, 0, width)


def plane_size(stack: Any, rgb: bool) -> tuple[int, int]:
    """Height and width of the planes of an array."""
    height, width = stack.shape[-3:-1] if rgb else stack.shape[-2:]
    return int(height), int(width)
