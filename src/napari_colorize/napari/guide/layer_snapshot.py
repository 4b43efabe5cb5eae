"""Copies of guide layers for a worker thread, and keys that change when a layer changes."""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Points, Shapes

from napari_colorize.napari.transforms import placement

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_colorize.array_types import Float64Array

LAYER_TYPES = (Points, Shapes, Labels, Image)
ATTRIBUTES: dict[type, tuple[str, ...]] = {  # that guides depend on, besides the data
    Points: ("face_color", "shown", "size"),
    Shapes: ("face_color", "edge_color", "edge_width", "z_index", "shape_type"),
    Labels: ("colormap",),
    Image: ("rgb",),
}
LARGEST_CHECKSUM = 2**27  # bytes of a label array up to which its values are compared


class LayerSnapshot:
    """Data and placement of a layer at one moment, with the attributes of the layer.

    Points and shapes are copied. Arrays of Labels and images are shared with the layer: copies of
    large ones would take too long.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer_type = layer_type(layer)
        self.ndim, self.units, self.multiscale = layer.ndim, layer.units, layer.multiscale
        is_vector = self.layer_type in (Points, Shapes)
        self.data = _copied(layer.data) if is_vector else layer.data
        for name in ATTRIBUTES[self.layer_type]:
            value = getattr(layer, name)
            setattr(self, name, _copied(value) if is_vector else value)
        # A layer of its own for the transforms: those of `layer` may change.
        self._placement = Points(ndim=layer.ndim, **placement(layer))

    def data_to_world(self, point: Any) -> Float64Array:
        """Convert data coordinates to world coordinates, as the layer does."""
        return np.asarray(self._placement.data_to_world(point), float)

    def world_to_data(self, point: Any) -> Float64Array:
        """Convert world coordinates to data coordinates, as the layer does."""
        return np.asarray(self._placement.world_to_data(point), float)


def layer_type(layer: Layer | LayerSnapshot) -> type:
    """Points, Shapes, Labels or Image: the type of a layer or of its snapshot."""
    if isinstance(layer, LayerSnapshot):
        return layer.layer_type
    return next(known for known in LAYER_TYPES if isinstance(layer, known))


def is_empty(layer: Layer) -> bool:
    """Whether a Points or Shapes layer has no objects."""
    return isinstance(layer, Points | Shapes) and len(layer.data) == 0


def content_key(layer: Layer, version: int, *, in_color: bool = False) -> Hashable:
    """Key that changes when content or placement of a layer changes.

    It contains ids of objects: keep the layer as long as the key is compared. `version`, the number
    of changes so far, is used for arrays that are too large to compare. `in_color`: the colors of
    labels matter.
    """
    if isinstance(layer, Points | Shapes):
        parts = [getattr(layer, name) for name in ATTRIBUTES[layer_type(layer)]]
        return placement_key(layer), *(_hash(part) for part in (layer.data, *parts))
    levels = list(layer.data) if layer.multiscale else [layer.data]
    key = [id(layer), *map(id, levels)]
    if isinstance(layer, Labels):
        key += [_checksum(level, version) for level in levels[:1]]
        key += [id(layer.colormap)] if in_color else []
    else:
        key.append(version)
    return placement_key(layer), *key


def placement_key(layer: Layer) -> Hashable:
    """Key that changes when the placement of a layer changes."""
    attributes = placement(layer)
    names = ("scale", "translate", "rotate", "shear", "affine")
    return (
        layer.ndim,
        *(np.asarray(attributes[name], float).tobytes() for name in names),
        str(layer.units),
    )


def _checksum(values: Any, version: int) -> int:
    if isinstance(values, np.ndarray) and values.nbytes <= LARGEST_CHECKSUM:
        return zlib.crc32(np.ascontiguousarray(values).data)
    return version


def _hash(values: Any) -> int:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return hash((values.shape, values.tobytes()))
    return hash(tuple(each.tobytes() if isinstance(each, np.ndarray) else each for each in values))


def _copied(values: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values.copy()
    return [each.copy() if isinstance(each, np.ndarray) else each for each in values]
