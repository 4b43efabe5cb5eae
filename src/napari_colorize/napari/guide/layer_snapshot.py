"""Layers as they were at one moment, for a thread that works while people draw on."""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Points, Shapes

from napari_colorize.napari.transforms import placement

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_colorize.napari.crop import Floats

KINDS = (Points, Shapes, Labels, Image)
READ: dict[type, tuple[str, ...]] = {  # of each kind, beside its data
    Points: ("face_color", "shown", "size"),
    Shapes: ("face_color", "edge_color", "edge_width", "z_index", "shape_type"),
    Labels: ("colormap",),
    Image: ("rgb",),
}
SUMMED = 2**27  # bytes of painted numbers that are looked at to see whether they changed


class LayerSnapshot:
    """What a layer holds, and where: to be read as the layer would be.

    Dots and shapes are copied; the arrays of Labels and images are the layer's own.

    Parameters
    ----------
    layer : Points, Shapes, Labels or Image
        Which may change from now on.
    """

    def __init__(self, layer: Layer) -> None:
        self.kind = layer_kind(layer)
        self.ndim, self.units, self.multiscale = layer.ndim, layer.units, layer.multiscale
        is_drawn = self.kind in (Points, Shapes)
        self.data = _copied(layer.data) if is_drawn else layer.data
        for name in READ[self.kind]:
            value = getattr(layer, name)
            setattr(self, name, _copied(value) if is_drawn else value)
        self._place = Points(ndim=layer.ndim, **placement(layer))

    def data_to_world(self, place: Any) -> Floats:
        """As the layer's own."""
        return np.asarray(self._place.data_to_world(place), float)

    def world_to_data(self, place: Any) -> Floats:
        """As the layer's own."""
        return np.asarray(self._place.world_to_data(place), float)


def layer_kind(layer: Layer | LayerSnapshot) -> type:
    """What kind of layer it is, or was."""
    if isinstance(layer, LayerSnapshot):
        return layer.kind
    return next(kind for kind in KINDS if isinstance(layer, kind))


def is_empty(layer: Layer) -> bool:
    """Whether nothing was drawn into it yet."""
    return isinstance(layer, Points | Shapes) and len(layer.data) == 0


def state_of(layer: Layer, version: int, *, in_color: bool = False) -> Hashable:
    """Tells what a layer says from what it said before.

    Parameters
    ----------
    layer : Layer
        Whose objects must be kept as long as the answer is.
    version : int
        Of values that are too many to be looked at.
    in_color : bool
        Whether the colours of labels count.
    """
    if isinstance(layer, Points | Shapes):
        parts = [getattr(layer, name) for name in READ[layer_kind(layer)]]
        return where(layer), *(_sum(part) for part in (layer.data, *parts))
    levels = list(layer.data) if layer.multiscale else [layer.data]
    told = [id(layer), *map(id, levels)]
    if isinstance(layer, Labels):
        told += [_numbers(level, version) for level in levels[:1]]
        told += [id(layer.colormap)] if in_color else []
    else:
        told.append(version)
    return where(layer), *told


def where(layer: Layer) -> Hashable:
    """Tells where a layer is in the world."""
    place = placement(layer)
    names = ("scale", "translate", "rotate", "shear", "affine")
    return (
        layer.ndim,
        *(np.asarray(place[name], float).tobytes() for name in names),
        str(layer.units),
    )


def _numbers(values: Any, version: int) -> int:
    if isinstance(values, np.ndarray) and values.nbytes <= SUMMED:
        return zlib.crc32(np.ascontiguousarray(values).data)
    return version


def _sum(values: Any) -> int:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return hash((values.shape, values.tobytes()))
    return hash(tuple(each.tobytes() if isinstance(each, np.ndarray) else each for each in values))


def _copied(values: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values.copy()
    return [each.copy() if isinstance(each, np.ndarray) else each for each in values]
