"""Layers chosen as guides: follows their changes and reads `Guides` from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points
from psygnal import Signal

from napari_colorize.napari.crop import plane_size
from napari_colorize.napari.guide.guide_values import GuideReader, StackGuides
from napari_colorize.napari.guide.layer_snapshot import content_key, is_empty, placement_key
from napari_colorize.napari.layers import largest
from napari_colorize.napari.signals import Connections, SingleShotTimer
from napari_colorize.napari.transforms import placement

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

    from napari_colorize.napari.guide.grid import Grid
    from napari_colorize.napari.guide.guide_values import Role
    from napari_colorize.refine.guides import Guides

UPDATE_DELAY_MS = 120  # after the last stroke
CHANGE_EVENTS = (
    "data",
    "set_data",  # emitted by undo and by scripts
    "paint",
    "labels_update",  # emitted while a stroke is painted
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

HINTS_NAME = "hints"
HINTS_COLOR = "#c84b31"  # brick red; the user chooses others in napari's layer controls
POINT_SHARE = 0.03  # size of a new point as a share of the shorter side of the image
MINIMUM_POINT_SIZE = 2.0


class GuideLayers:
    """The layers of one viewer that guide the colors, at most one per role.

    A layer that is removed from the viewer loses its role.

    Attributes
    ----------
    changed : Signal()
        A layer was assigned, or the content of a layer changed and the user paused drawing.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layers: dict[Role, Layer] = {}
        self._links: dict[Role, Connections] = {}
        # Counts changes of each layer: napari changes arrays in place, so that identity of an
        # array does not show whether its values changed.
        self._versions: dict[Role, int] = {}
        self._reader = GuideReader(self._layers, self._versions)
        self._stack: StackGuides | None = None
        self._delay = SingleShotTimer(self.changed.emit, UPDATE_DELAY_MS)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    def close(self) -> None:
        """Stop following layers."""
        self._delay.stop()
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        for role in list(self._layers):
            self._disconnect(role)

    def layer(self, role: Role) -> Any:
        """The layer in a role, or None."""
        return self._layers.get(role)

    def assign(self, role: Role, layer: Layer | None) -> None:
        """Assign a layer to a role in place of the present one; None clears the role."""
        if layer is self.layer(role):
            return
        self._disconnect(role)
        if layer is not None:
            self._layers[role] = layer
            self._follow(role, layer)
        self.changed.emit()

    def has(self, layer: Layer) -> bool:
        """Whether a layer has any role."""
        return any(each is layer for each in self._layers.values())

    @property
    def has_layers(self) -> bool:
        """Whether any role has a layer."""
        return bool(self._layers)

    @property
    def depend_on_plane(self) -> bool:
        """Whether the guides can differ between the planes of a stack."""
        return any(
            layer.ndim > 2
            for role, layer in self._layers.items()
            if role != "reference_regions" and not is_empty(layer)
        )

    def read(self, grid: Grid) -> Guides | StackGuides | None:
        """Guides of a grid's plane, or of all planes if they can differ.

        Returns the same object as long as the content of the layers is the same.
        """
        if not self.depend_on_plane:
            self._stack = None
            return self._reader.read(grid)
        state = self._stack_state(grid)
        if self._stack is None or self._stack.state != state:
            hints = dict(state[1:]).get("hints")
            self._stack = StackGuides(state, hints, self._layers, grid)
        return self._stack

    def check(self, grid: Grid) -> None:
        """Raise `ImageError` if the reference has no opaque pixel in a grid's plane."""
        self._reader.reference(grid)

    def _stack_state(self, grid: Grid) -> tuple[Any, ...]:
        """Key that changes when the guides of any plane change."""
        outside = tuple(grid.point[: -grid.layer.ndim].tolist())
        source = (id(grid.layer), placement_key(grid.layer), grid.crop, grid.size, outside)
        contents = (
            (role, content_key(layer, self._versions.get(role, 0), in_color=role == "hints"))
            for role, layer in sorted(self._layers.items())
            if not is_empty(layer)
        )
        return source, *contents

    def _follow(self, role: Role, layer: Layer) -> None:
        links = self._links[role] = Connections()

        def schedule_update(event: Any = None) -> None:
            self._delay.start()

        def count_change(event: Any = None) -> None:
            self._versions[role] = self._versions.get(role, 0) + 1
            schedule_update()

        # An image emits `set_data` whenever another plane is displayed; its values change only
        # with `data`. For the other layers `set_data` can mean both, and is not counted.
        names = ("data",) if role == "reference" else CHANGE_EVENTS
        for name in names:
            emitter = getattr(layer.events, name, None)
            if emitter is not None:
                links.add(emitter, schedule_update if name == "set_data" else count_change)

    def _disconnect(self, role: Role) -> None:
        links = self._links.pop(role, None)
        if links is not None:
            links.end()
        self._layers.pop(role, None)
        self._reader.forget(role)
        self._stack = None
        self._versions[role] = self._versions.get(role, 0) + 1

    def _on_layer_removed(self, event: Any) -> None:
        roles = [role for role, layer in self._layers.items() if layer is event.value]
        for role in roles:
            self._disconnect(role)
        if roles:
            self.changed.emit()


def add_hints(viewer: Viewer, source: Image) -> Points:
    """Add an empty Points layer on top, placed like the source, in the mode for adding points."""
    side = min(plane_size(largest(source), source.rgb))
    added = Points(
        np.zeros((0, source.ndim)),
        ndim=source.ndim,
        name=HINTS_NAME,
        size=max(MINIMUM_POINT_SIZE, round(POINT_SHARE * side)),
        face_color=HINTS_COLOR,
        border_width=0,
        symbol="ring",  # hollow: the color below stays visible
        **placement(source),
    )
    viewer.layers.append(added)
    viewer.layers.selection.active = added
    added.mode = "add"
    return added
