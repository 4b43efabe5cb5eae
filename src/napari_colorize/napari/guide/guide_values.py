"""Conversion of guide layers to `Guides` at the pixels of a grid."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from operator import is_
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image

from napari_colorize.errors import ColorizeError
from napari_colorize.napari.crop import plane_size
from napari_colorize.napari.guide.grid import grid_on_layer
from napari_colorize.napari.guide.labels import labels_at
from napari_colorize.napari.guide.layer_snapshot import LayerSnapshot
from napari_colorize.napari.guide.scribbles import Scribbles, scribbles_from
from napari_colorize.napari.layers import KEPT, METADATA, largest

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

    from napari_colorize.array_types import AnyArray, PlaneIndex
    from napari_colorize.napari.guide.grid import Grid
    from napari_colorize.refine.guides import Guides
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference

Role = Literal["hints", "mask", "reference", "regions", "reference_regions"]


ENOUGH_PIXELS = 2**18  # the smallest level with at least this many pixels is read


class GuideReader:
    """Reads guides from layers; a part that did not change is returned as the same object.

    The session compares guides by identity, so that unchanged guides compose nothing again. Arrays
    of layers change in place: `versions` has the number of changes of each layer.
    """

    def __init__(self, layers: Mapping[Role, Layer], versions: Mapping[Role, int]) -> None:
        self._layers, self._versions = layers, versions
        self._cache: dict[str, tuple[Any, Any]] = {}  # input and result of each part
        self._parts: dict[str, Any] | None = None
        self._guides: Guides | None = None

    def read(self, grid: Grid) -> Guides | None:
        """Guides of a grid's plane, or None; raises `ImageError` like `reference`."""
        from napari_colorize.refine.guides import Guides  # torch

        parts: dict[str, Any] = {
            "mask": self._mask(grid),
            "hints": self._hints(grid),
            "reference": self.reference(grid),
            "regions": self._regions(grid),
        }
        before = self._parts
        if before is None or any(before[name] is not part for name, part in parts.items()):
            self._parts, self._guides = parts, Guides(**parts)
        return self._guides or None

    def forget(self, role: Role) -> None:
        """Drop the cached result of a role."""
        self._cache.pop(role, None)

    def _layer(self, role: Role) -> Any:
        return self._layers.get(role)

    def _mask(self, grid: Grid) -> AnyArray | None:
        layer = self._layer("mask")
        if layer is None:
            return None
        return self._cached("mask", labels_at(layer, grid) != 0, np.array_equal, _unchanged)

    def _hints(self, grid: Grid) -> Hints | None:
        layer = self._layer("hints")
        if layer is None:
            return None
        scribbles = scribbles_from(layer, grid)
        hints: Hints | None = self._cached("hints", scribbles, Scribbles.is_same, Scribbles.hints)
        return hints

    def reference(self, grid: Grid) -> Reference | None:
        """The reference of a grid's plane, or None; `ImageError` if it has no opaque pixel."""
        layer = self._layer("reference")
        if layer is None:
            return None
        plane = reference_plane(layer, grid)
        regions = self._reference_regions(layer, plane, grid)
        key = (layer, regions, plane, self._versions["reference"])
        reference: Reference = self._cached(
            "reference",
            key,
            lambda one, other: all(map(is_, one[:2], other[:2])) and one[2:] == other[2:],
            lambda _: reference_from(layer, plane, regions),
        )
        return reference

    def _reference_regions(self, layer: Image, plane: PlaneIndex, grid: Grid) -> AnyArray | None:
        regions = self._layer("reference_regions")
        if regions is None:
            return None
        labels = np.array(reference_regions(layer, plane, regions, grid))
        return self._cached("reference_regions", labels, np.array_equal, _unchanged)

    def _regions(self, grid: Grid) -> AnyArray | None:
        layer = self._layer("regions")
        if layer is None or self._layer("reference") is None:
            return None
        labels = np.array(labels_at(layer, grid))
        return self._cached("regions", labels, np.array_equal, _unchanged)

    def _cached(
        self,
        name: str,
        value: Any,
        is_same: Callable[[Any, Any], bool],
        convert: Callable[[Any], Any],
    ) -> Any:
        """The converted value; the object of the last call if the value is the same."""
        entry = self._cache.get(name)
        if entry is None or not is_same(entry[0], value):
            entry = self._cache[name] = value, convert(value)
        return entry[1]


class StackGuides:
    """Guides of each plane of a stack, from copies of the layers; callable from any thread.

    `state` is a key of the content of all layers. `hints` is a key of the hints alone, or None:
    some networks take hints as input.
    """

    def __init__(
        self, state: Hashable, hints: Hashable, layers: Mapping[Role, Layer], grid: Grid
    ) -> None:
        self.state, self.hints = state, hints
        self._grid = grid
        copies: dict[Role, Any] = {role: LayerSnapshot(layer) for role, layer in layers.items()}
        self._reader = GuideReader(copies, dict.fromkeys(copies, 0))
        self._lock = Lock()  # the reader caches: the GUI thread and the worker both read
        # `state` contains ids of these layers. A layer that is deleted could pass its id on.
        self._layers = tuple(layers.values())

    def __call__(self, plane: PlaneIndex) -> Guides | None:
        """Guides of the plane at an index; None if the layers cannot guide it."""
        # `GuideLayers.check` reports the error when the plane is displayed.
        with self._lock, suppress(ColorizeError):
            return self._reader.read(replace(self._grid, plane=plane))
        return None


def is_reference(layer: Layer) -> bool:
    """Whether a layer is an image in color whose values do not follow the settings."""
    if not isinstance(layer, Image) or not layer.rgb:
        return False
    return METADATA not in layer.metadata or KEPT in layer.metadata


def reference_plane(layer: Image, grid: Grid) -> PlaneIndex:
    """Index of the plane of a reference that is nearest to a grid."""
    position = np.rint(grid.position(layer)).astype(int)
    lengths = np.array(largest(layer).shape[: len(position)], int)
    return tuple(position.clip(0, lengths - 1).tolist())


def reference_regions(layer: Image, plane: PlaneIndex, regions: Labels, grid: Grid) -> AnyArray:
    """Labels at the pixels of a plane of a reference, at the size at which it is read."""
    size = plane_size(_level(layer), rgb=True)
    return labels_at(regions, grid_on_layer(grid, layer, plane, size))


def reference_from(layer: Image, plane: PlaneIndex, regions: AnyArray | None) -> Reference:
    """A `Reference` from a plane of a layer and the labels of its regions.

    Raises `ImageError` if the plane has no opaque pixel.
    """
    from napari_colorize.refine.palette_transfer import Reference  # torch

    return Reference(np.asarray(_level(layer)[plane]), regions)


def _level(layer: Image) -> Any:
    """The data; of a multiscale layer the smallest level with enough pixels."""
    if not layer.multiscale:
        return layer.data
    large = [level for level in layer.data if level.shape[-3] * level.shape[-2] >= ENOUGH_PIXELS]
    return large[-1] if large else layer.data[0]


def _unchanged(value: Any) -> Any:
    return value
