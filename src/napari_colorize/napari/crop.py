"""The part of a layer's planes that is colorized: all of it, or what lies around shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_colorize.napari import layers

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

    from napari_colorize.display import ColorArrays
    from napari_colorize.napari.controller import ColorizeController

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlaneCrop:
    """A part of a plane by its edges, in pixels from the plane's upper left corner."""

    top: float
    bottom: float
    left: float
    right: float

    def pixel_size(self, shape: tuple[int, int]) -> Floats:
        """Height and width, in the plane's pixels, of one pixel of an array that fills the part."""
        return np.array([self.bottom - self.top, self.right - self.left]) / shape

    def first_pixel(self, shape: tuple[int, int]) -> Floats:
        """Where the middle of the array's first pixel is; in the plane middles are whole."""
        return np.array([self.top, self.left]) + self.pixel_size(shape) / 2 - 0.5

    def within(self, point: Floats, shape: tuple[int, int]) -> Floats:
        """A point of the plane, in pixels of an array that fills the part."""
        inside: Floats = (point - self.first_pixel(shape)) / self.pixel_size(shape)
        return inside

    def __contains__(self, point: Floats) -> bool:
        row, column = point + 0.5
        return bool(self.top <= row < self.bottom and self.left <= column < self.right)


_around_shapes: WeakKeyDictionary[ColorArrays, PlaneCrop] = WeakKeyDictionary()


def part_seen(controller: ColorizeController) -> PlaneCrop:
    """The part of its layer's planes that a desk colorizes."""
    assert controller.layer is not None
    assert controller.colors is not None
    return crop_of(controller.layer, controller.colors, controller.region)


def crop_of(layer: Image, colors: ColorArrays, shapes: Shapes | None) -> PlaneCrop:
    """The part of a layer's planes that colours are made for: all, or around the shapes chosen."""
    if shapes is None:
        return whole_plane(layer)
    if colors not in _around_shapes:  # a drag asks often, and the shapes take time
        region = layers.read(layer, shapes)["region"]
        rows, columns = region.rows, region.columns
        _around_shapes[colors] = PlaneCrop(rows.start, rows.stop, columns.start, columns.stop)
    return _around_shapes[colors]


def whole_plane(layer: Image) -> PlaneCrop:
    """All of each plane."""
    height, width = plane_size(layers.largest(layer), layer.rgb)
    return PlaneCrop(0, height, 0, width)


def plane_size(stack: Any, rgb: bool) -> tuple[int, int]:
    """Height and width of the planes of an array."""
    height, width = stack.shape[-3:-1] if rgb else stack.shape[-2:]
    return int(height), int(width)
