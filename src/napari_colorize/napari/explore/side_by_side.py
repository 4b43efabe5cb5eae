"""A few layers side by side under one camera, and everything as it was afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_colorize.napari.explore.overlay_layer import camera_of

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

GAP = 0.02  # between two pictures, of one's size


@dataclass(frozen=True)
class _Before:
    """How the viewer looked."""

    order: list[Layer]
    visible: dict[Layer, bool]
    grid: dict[str, Any]
    camera: dict[str, Any]


class SideBySide:
    """Shows layers of a viewer in its grid; hides the others.

    The grid of napari has one camera for all its places, so that moving one picture moves all.

    Parameters
    ----------
    viewer : Viewer
        Whose grid.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._before: _Before | None = None
        self._shown: list[Layer] = []

    def show(self, shown: Sequence[Layer]) -> None:
        """Show these, from left to right and from top to bottom."""
        if list(shown) == self._shown:
            return
        if self._before is None:
            self._before = self._state()
        self._shown = list(shown)
        # Before napari 0.9 hidden layers take up places too, and go on with the first when all are
        # taken: so those shown are at the bottom of the list.
        self._reorder([*shown, *(layer for layer in self._viewer.layers if layer not in shown)])
        for layer in self._viewer.layers:
            layer.visible = layer in shown
            _show_name(layer, layer in shown)
        grid = grid_of(self._viewer)
        grid.shape, grid.stride, grid.spacing = self._shape(shown), 1, GAP
        grid.enabled = True
        self._viewer.reset_view()

    def restore(self) -> None:
        """All as it was, but for what was added or removed meanwhile."""
        before, self._before = self._before, None
        shown, self._shown = self._shown, []
        if before is None:
            return
        for layer in shown:
            _show_name(layer, False)
        here = list(self._viewer.layers)
        known = [layer for layer in before.order if layer in here]
        self._reorder([*known, *(layer for layer in here if layer not in known)])
        for layer in known:
            layer.visible = before.visible[layer]
        _set(grid_of(self._viewer), before.grid)
        _set(camera_of(self._viewer), before.camera)

    def _shape(self, shown: Sequence[Layer]) -> tuple[int, int]:
        canvas = getattr(self._viewer, "canvas", None)  # napari 0.9
        if canvas is None:
            return 1, len(shown)
        extent = shown[0].extent.world
        height, width = (extent[1] - extent[0])[list(self._viewer.dims.displayed[-2:])]
        return rows_and_columns(len(shown), tuple(canvas.size), (height, width))

    def _state(self) -> _Before:
        grid, camera = grid_of(self._viewer), camera_of(self._viewer)
        return _Before(
            order=list(self._viewer.layers),
            visible={layer: layer.visible for layer in self._viewer.layers},
            grid={name: getattr(grid, name) for name in ("shape", "stride", "spacing", "enabled")},
            camera={name: getattr(camera, name) for name in ("center", "zoom", "angles")},
        )

    def _reorder(self, wanted: Sequence[Layer]) -> None:
        layers = self._viewer.layers
        for place, layer in enumerate(wanted):
            if layers[place] is not layer:
                layers.move(layers.index(layer), place)


def rows_and_columns(
    count: int, canvas: tuple[float, float], picture: tuple[float, float]
) -> tuple[int, int]:
    """The grid in which pictures (height, width) are largest on a canvas; a row if in doubt."""

    def size(rows: int) -> float:
        columns = -(-count // rows)
        return min(canvas[0] / rows / picture[0], canvas[1] / columns / picture[1])

    rows = max(range(1, count + 1), key=size)
    return rows, -(-count // rows)


def grid_of(viewer: Viewer) -> Any:
    """The grid; it belongs to the canvas since napari 0.9."""
    return viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid


def _show_name(layer: Layer, visible: bool) -> None:
    """Write a layer's name onto its picture, where napari (0.9) can."""
    overlay = getattr(layer, "name_overlay", None)
    if overlay is not None:
        overlay.visible = visible


def _set(model: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(model, name, value)
