"""Some layers side by side in napari's grid, under one camera; the view is restored afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_colorize.napari.explore.overlay_layer import camera_of

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

GAP = 0.02  # between two images, as a share of the size of one


@dataclass(frozen=True)
class _ViewState:
    """State of a viewer that is restored."""

    order: list[Layer]
    visible: dict[Layer, bool]
    grid: dict[str, Any]
    camera: dict[str, Any]


class SideBySide:
    """Shows some layers of a viewer in its grid and hides the others.

    The cells of napari's grid share one camera, so that all images pan and zoom together.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._before: _ViewState | None = None
        self._shown: list[Layer] = []

    def show(self, shown: Sequence[Layer]) -> None:
        """Show these layers from left to right, then from top to bottom."""
        if list(shown) == self._shown:
            return
        if self._before is None:
            self._before = self._state()
        self._shown = list(shown)
        # Before napari 0.9 hidden layers occupy cells too, and layers beyond the last cell start
        # again at the first. Layers at the bottom of the list get the first cells.
        self._reorder([*shown, *(layer for layer in self._viewer.layers if layer not in shown)])
        for layer in self._viewer.layers:
            layer.visible = layer in shown
            _set_name_overlay(layer, layer in shown)
        grid = grid_of(self._viewer)
        grid.shape, grid.stride, grid.spacing = self._grid_shape(shown), 1, GAP
        grid.enabled = True
        self._viewer.reset_view()

    def restore(self) -> None:
        """Restore the view; layers that were added or removed meanwhile stay so."""
        before, self._before = self._before, None
        shown, self._shown = self._shown, []
        if before is None:
            return
        for layer in shown:
            _set_name_overlay(layer, False)
        present = list(self._viewer.layers)
        known = [layer for layer in before.order if layer in present]
        self._reorder([*known, *(layer for layer in present if layer not in known)])
        for layer in known:
            layer.visible = before.visible[layer]
        _set_attributes(grid_of(self._viewer), before.grid)
        _set_attributes(camera_of(self._viewer), before.camera)

    def _grid_shape(self, shown: Sequence[Layer]) -> tuple[int, int]:
        canvas = getattr(self._viewer, "canvas", None)  # new in napari 0.9
        if canvas is None:
            return 1, len(shown)
        extent = shown[0].extent.world
        height, width = (extent[1] - extent[0])[list(self._viewer.dims.displayed[-2:])]
        return rows_and_columns(len(shown), tuple(canvas.size), (height, width))

    def _state(self) -> _ViewState:
        grid, camera = grid_of(self._viewer), camera_of(self._viewer)
        return _ViewState(
            order=list(self._viewer.layers),
            visible={layer: layer.visible for layer in self._viewer.layers},
            grid={name: getattr(grid, name) for name in ("shape", "stride", "spacing", "enabled")},
            camera={name: getattr(camera, name) for name in ("center", "zoom", "angles")},
        )

    def _reorder(self, order: Sequence[Layer]) -> None:
        layers = self._viewer.layers
        for position, layer in enumerate(order):
            if layers[position] is not layer:
                layers.move(layers.index(layer), position)


def rows_and_columns(
    count: int, canvas: tuple[float, float], image: tuple[float, float]
) -> tuple[int, int]:
    """The grid in which images are largest on a canvas; of equal ones that with fewer rows.

    `canvas` and `image` are height and width.
    """

    def zoom(rows: int) -> float:
        columns = -(-count // rows)
        return min(canvas[0] / rows / image[0], canvas[1] / columns / image[1])

    rows = max(range(1, count + 1), key=zoom)
    return rows, -(-count // rows)


def grid_of(viewer: Viewer) -> Any:
    """The grid of a viewer; an attribute of its canvas since napari 0.9."""
    return viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid


def _set_name_overlay(layer: Layer, visible: bool) -> None:
    """Show or hide the layer's name on its image, where napari (0.9) supports it."""
    overlay = getattr(layer, "name_overlay", None)
    if overlay is not None:
        overlay.visible = visible


def _set_attributes(model: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(model, name, value)
