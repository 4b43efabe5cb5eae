"""Guiding: the layers that were chosen to guide the colours, and what they say of a picture."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_colorize.napari.guide.labels import labels_on
from napari_colorize.napari.guide.palette import (
    plane_of_reference,
    reference_of,
    regions_of_reference,
)
from napari_colorize.napari.guide.scribbles import Scribbles, scribbles_of
from napari_colorize.napari.links import Links

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

    from napari_colorize.napari.guide.grid import Grid, Index
    from napari_colorize.napari.guide.labels import Array
    from napari_colorize.refine.guides import Guides
    from napari_colorize.refine.hints import Hints
    from napari_colorize.refine.reference import Reference

Role = Literal["hints", "mask", "reference", "regions", "reference_regions"]

MILLISECONDS_TO_REST = 120  # without another stroke, before what was drawn is taken over
DRAWN_BY = (
    "data",
    "set_data",  # undone, or changed by a script
    "paint",
    "labels_update",  # while a stroke is painted
    "colormap",
    "face_color",
    "current_face_color",
    "edge_color",
    "current_edge_color",
    "edge_width",
    "current_edge_width",
    "size",
    "current_size",
    "scale",
    "translate",
    "rotate",
    "shear",
    "affine",
    "units",
)


class Guiding:
    """Follows the layers chosen in one viewer, each in a role; a layer that is removed has none.

    Parameters
    ----------
    viewer : Viewer
        Whose layers.

    Attributes
    ----------
    changed : Signal()
        Other layers were chosen, or what they show changed and has rested since.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layers: dict[Role, Layer] = {}
        self._links: dict[Role, Links] = {}
        self._versions: dict[Role, int] = {}  # of a layer's values: they change in place
        self._known: dict[str, tuple[Any, Any]] = {}  # what was seen last, and what it became
        self._guides: Guides | None = None
        self._rest = QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(MILLISECONDS_TO_REST)
        self._rest.timeout.connect(self.changed.emit)
        viewer.layers.events.removed.connect(self._forget_removed)

    def close(self) -> None:
        """Follow no layer any more."""
        self._rest.stop()
        self._viewer.layers.events.removed.disconnect(self._forget_removed)
        for links in self._links.values():
            links.end()
        self._layers.clear()

    def layer(self, role: Role) -> Any:
        """The layer in a role, or None."""
        return self._layers.get(role)

    def use(self, role: Role, layer: Layer | None) -> None:
        """Give a layer a role, in the place of another; None for none."""
        if layer is self.layer(role):
            return
        self._let_go(role)
        if layer is not None:
            self._layers[role] = layer
            self._follow(role, layer)
        self.changed.emit()

    @property
    def has_layers(self) -> bool:
        """Whether any was chosen."""
        return bool(self._layers)

    @property
    def are_of_one_plane(self) -> bool:
        """Whether other planes of a stack have other guides."""
        return any(
            layer.ndim > 2 for role, layer in self._layers.items() if role != "reference_regions"
        )

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
            "reference": self._reference(grid),
            "regions": self._regions(grid),
        }
        before = self._guides
        if before is None or any(vars(before)[name] is not part for name, part in parts.items()):
            self._guides = Guides(**parts)
        return self._guides or None

    def _mask(self, grid: Grid) -> Array | None:
        layer = self.layer("mask")
        if layer is None:
            return None
        return self._made("mask", labels_on(layer, grid) != 0, np.array_equal, _as_it_is)

    def _hints(self, grid: Grid) -> Hints | None:
        layer = self.layer("hints")
        if layer is None:
            return None
        drawn, made = scribbles_of(layer, grid), Scribbles.hints
        hints: Hints | None = self._made("hints", drawn, Scribbles.is_same, made)
        return hints

    def _reference(self, grid: Grid) -> Reference | None:
        layer = self.layer("reference")
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
        regions = self.layer("reference_regions")
        if regions is None:
            return None
        seen = np.array(regions_of_reference(layer, plane, regions, grid))
        return self._made("reference_regions", seen, np.array_equal, _as_it_is)

    def _regions(self, grid: Grid) -> Array | None:
        layer = self.layer("regions")
        if layer is None or self.layer("reference") is None:
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

    def _follow(self, role: Role, layer: Layer) -> None:
        links = self._links[role] = Links()

        def renew(event: Any = None) -> None:
            self._versions[role] = self._versions.get(role, 0) + 1
            self._rest.start()

        # A picture is drawn anew whenever another plane is looked at; its values change by `data`.
        names = ("data",) if role == "reference" else DRAWN_BY
        for name in names:
            emitter = getattr(layer.events, name, None)
            if emitter is not None:
                links.add(emitter, renew)

    def _let_go(self, role: Role) -> None:
        links = self._links.pop(role, None)
        if links is not None:
            links.end()
        self._layers.pop(role, None)
        self._versions[role] = self._versions.get(role, 0) + 1

    def _forget_removed(self, event: Any) -> None:
        lost = [role for role, layer in self._layers.items() if layer is event.value]
        for role in lost:
            self._let_go(role)
        if lost:
            self.changed.emit()


def _as_it_is(seen: Any) -> Any:
    return seen
