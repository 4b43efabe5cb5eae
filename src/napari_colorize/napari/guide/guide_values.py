"""What layers in their roles say of a plane."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from operator import is_
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_colorize.errors import ColorizeError
from napari_colorize.napari.guide.labels import labels_on
from napari_colorize.napari.guide.layer_snapshot import LayerSnapshot
from napari_colorize.napari.guide.palette import (
    plane_of_reference,
    reference_of,
    regions_of_reference,
)
from napari_colorize.napari.guide.scribbles import Scribbles, scribbles_of

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_colorize.napari.guide.grid import Grid, Index
    from napari_colorize.napari.guide.labels import Array
    from napari_colorize.refine.guides import Guides
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.palette_transfer import Reference

Role = Literal["hints", "mask", "reference", "regions", "reference_regions"]


class GuideReader:
    """Makes guides of layers; parts that say the same twice are one object.

    Parameters
    ----------
    layers : mapping of str to Layer
        By role; the mapping may change.
    versions : mapping of str to int
        Of each layer's values, which change in place.
    """

    def __init__(self, layers: Mapping[Role, Layer], versions: Mapping[Role, int]) -> None:
        self._layers, self._versions = layers, versions
        self._known: dict[str, tuple[Any, Any]] = {}  # what was seen last, and what it became
        self._made_of: dict[str, Any] | None = None
        self._guides: Guides | None = None

    def on(self, grid: Grid) -> Guides | None:
        """What the layers say of a grid's plane; the same object as long as they say the same.

        Raises
        ------
        ImageError
            If they cannot be followed, in one sentence.
        """
        from napari_colorize.refine.guides import Guides  # torch

        parts: dict[str, Any] = {
            "mask": self._mask(grid),
            "hints": self._hints(grid),
            "reference": self.reference_on(grid),
            "regions": self._regions(grid),
        }
        before = self._made_of
        if before is None or any(before[name] is not part for name, part in parts.items()):
            self._made_of, self._guides = parts, Guides(**parts)
        return self._guides or None

    def forget(self, role: Role) -> None:
        """Let go of what was made of the layer in a role."""
        self._known.pop(role, None)

    def _layer(self, role: Role) -> Any:
        return self._layers.get(role)

    def _mask(self, grid: Grid) -> Array | None:
        layer = self._layer("mask")
        if layer is None:
            return None
        return self._made("mask", labels_on(layer, grid) != 0, np.array_equal, _as_it_is)

    def _hints(self, grid: Grid) -> Hints | None:
        layer = self._layer("hints")
        if layer is None:
            return None
        drawn, made = scribbles_of(layer, grid), Scribbles.hints
        hints: Hints | None = self._made("hints", drawn, Scribbles.is_same, made)
        return hints

    def reference_on(self, grid: Grid) -> Reference | None:
        """The picture in colour that belongs to a grid's plane, if there is one.

        Raises
        ------
        ImageError
            If nothing of it is opaque.
        """
        layer = self._layer("reference")
        if layer is None:
            return None
        plane = plane_of_reference(layer, grid)
        regions = self._regions_of(layer, plane, grid)
        seen = (layer, regions, plane, self._versions["reference"])
        reference: Reference = self._made(
            "reference",
            seen,
            lambda one, other: all(map(is_, one[:2], other[:2])) and one[2:] == other[2:],
            lambda _: reference_of(layer, plane, regions),
        )
        return reference

    def _regions_of(self, layer: Image, plane: Index, grid: Grid) -> Array | None:
        regions = self._layer("reference_regions")
        if regions is None:
            return None
        seen = np.array(regions_of_reference(layer, plane, regions, grid))
        return self._made("reference_regions", seen, np.array_equal, _as_it_is)

    def _regions(self, grid: Grid) -> Array | None:
        layer = self._layer("regions")
        if layer is None or self._layer("reference") is None:
            return None
        return self._made("regions", np.array(labels_on(layer, grid)), np.array_equal, _as_it_is)

    def _made(
        self,
        name: str,
        seen: Any,
        is_same: Callable[[Any, Any], bool],
        make: Callable[[Any], Any],
    ) -> Any:
        """What was made before of the same, else made now."""
        known = self._known.get(name)
        if known is None or not is_same(known[0], seen):
            known = self._known[name] = seen, make(seen)
        return known[1]


class StackGuides:
    """Guides of each plane of a stack, as the layers were at one moment; for any thread.

    Parameters
    ----------
    state : hashable
        Tells what the layers say from what they said before.
    hints : hashable or None
        The same of the hints alone: networks may be shown them.
    layers : mapping of str to Layer
        By role.
    grid : Grid
        Of one of the planes.
    """

    def __init__(
        self, state: Hashable, hints: Hashable, layers: Mapping[Role, Layer], grid: Grid
    ) -> None:
        self.state, self.hints = state, hints
        self._grid = grid
        stills: dict[Role, Any] = {role: LayerSnapshot(layer) for role, layer in layers.items()}
        self._reader = GuideReader(stills, dict.fromkeys(stills, 0))
        self._turn = Lock()
        self._layers = tuple(layers.values())  # what `state` tells apart by its id stays alive

    def __call__(self, plane: Index) -> Guides | None:
        """Of the plane at an index; None if they cannot be followed there."""
        with self._turn, suppress(ColorizeError):  # said in a sentence where it is looked at
            return self._reader.on(replace(self._grid, plane=plane))
        return None


def _as_it_is(seen: Any) -> Any:
    return seen
