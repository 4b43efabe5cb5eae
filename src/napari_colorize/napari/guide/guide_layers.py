"""Guiding: the layers that were chosen to guide the colours, and what they say of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_colorize.napari.connections import Connections
from napari_colorize.napari.guide.guide_values import GuideReader, StackGuides
from napari_colorize.napari.guide.layer_snapshot import is_empty, state_of, where

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

    from napari_colorize.napari.guide.grid import Grid
    from napari_colorize.napari.guide.guide_values import Role
    from napari_colorize.refine.guides import Guides

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


class GuideLayers:
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
        self._links: dict[Role, Connections] = {}
        self._versions: dict[Role, int] = {}  # of a layer's values: they change in place
        self._reader = GuideReader(self._layers, self._versions)
        self._stack: StackGuides | None = None
        self._rest = QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(MILLISECONDS_TO_REST)
        self._rest.timeout.connect(self.changed.emit)
        viewer.layers.events.removed.connect(self._forget_removed)

    def close(self) -> None:
        """Follow no layer any more."""
        self._rest.stop()
        self._viewer.layers.events.removed.disconnect(self._forget_removed)
        for role in list(self._layers):
            self._disconnect(role)

    def layer(self, role: Role) -> Any:
        """The layer in a role, or None."""
        return self._layers.get(role)

    def assign(self, role: Role, layer: Layer | None) -> None:
        """Give a layer a role, in the place of another; None for none."""
        if layer is self.layer(role):
            return
        self._disconnect(role)
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
            layer.ndim > 2
            for role, layer in self._layers.items()
            if role != "reference_regions" and not is_empty(layer)
        )

    def read(self, grid: Grid) -> Guides | StackGuides | None:
        """What the layers say of a grid's plane, or of each plane if these differ.

        The same object as long as they say the same.
        """
        if not self.are_of_one_plane:
            self._stack = None
            return self._reader.on(grid)
        state = self._state_on(grid)
        if self._stack is None or self._stack.state != state:
            hints = dict(state[1:]).get("hints")
            self._stack = StackGuides(state, hints, self._layers, grid)
        return self._stack

    def check(self, grid: Grid) -> None:
        """Say it if the layers cannot be followed in a grid's plane.

        Raises
        ------
        ImageError
            In one sentence.
        """
        self._reader.reference_on(grid)

    def _state_on(self, grid: Grid) -> tuple[Any, ...]:
        """Tells what the layers say of all planes from what they said before."""
        outside = tuple(grid.point[: -grid.layer.ndim].tolist())
        source = (id(grid.layer), where(grid.layer), grid.part, grid.size, outside)
        said = (
            (role, state_of(layer, self._versions.get(role, 0), in_color=role == "hints"))
            for role, layer in sorted(self._layers.items())
            if not is_empty(layer)
        )
        return source, *said

    def _follow(self, role: Role, layer: Layer) -> None:
        links = self._links[role] = Connections()

        def look_again(event: Any = None) -> None:
            self._rest.start()

        def renew(event: Any = None) -> None:
            self._versions[role] = self._versions.get(role, 0) + 1
            look_again()

        # A picture is drawn anew whenever another plane is looked at; its values change by `data`.
        names = ("data",) if role == "reference" else DRAWN_BY
        for name in names:
            emitter = getattr(layer.events, name, None)
            if emitter is not None:  # the data are set whenever another plane is looked at, too
                links.add(emitter, look_again if name == "set_data" else renew)

    def _disconnect(self, role: Role) -> None:
        links = self._links.pop(role, None)
        if links is not None:
            links.end()
        self._layers.pop(role, None)
        self._reader.forget(role)
        self._stack = None
        self._versions[role] = self._versions.get(role, 0) + 1

    def _forget_removed(self, event: Any) -> None:
        lost = [role for role, layer in self._layers.items() if layer is event.value]
        for role in lost:
            self._disconnect(role)
        if lost:
            self.changed.emit()
