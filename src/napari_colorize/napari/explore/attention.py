"""Attention explorer: a click into the image shows the self-attention of that pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import Colormap

from napari_colorize.analysis.maps import ATTENTION_GAMMA, attention_sentence
from napari_colorize.errors import ColorizeError
from napari_colorize.napari.crop import PlaneCrop
from napari_colorize.napari.explore.overlay_layer import OverlayLayer, point_at
from napari_colorize.napari.explore.tool import Tool
from napari_colorize.napari.layers import NO_RESULT

if TYPE_CHECKING:
    from napari_colorize.analysis.attention import AttentionMap
    from napari_colorize.array_types import Float32Array, Float64Array
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized

CLICK_TOLERANCE = 4  # canvas pixels that the mouse may move during a click
MARKER_PIXELS = 41  # side of the marker's image; odd, so that it has a center
MARKER_SHARE = 0.05  # side of the marker as a share of the shorter side of the image
MARKER_COLOR = (0.3, 1.0, 0.5)
HELP = "Click into the image."


def marker_image() -> Float32Array:
    """A ring with a dot in its center: 1 where it is drawn, else 0."""
    center = MARKER_PIXELS // 2
    radius = np.hypot(*np.indices((MARKER_PIXELS, MARKER_PIXELS)) - center) / center
    marker: Float32Array = ((abs(radius - 0.88) < 0.12) | (radius < 0.14)).astype(np.float32)
    return marker


class AttentionOverlay(Tool):
    """Self-attention map of the pixel that was clicked."""

    def __init__(self, controller: ColorizeController) -> None:
        super().__init__(controller)
        self._weights = OverlayLayer(
            controller.viewer,
            name="{} (attention)",
            colormap="inferno",
            gamma=ATTENTION_GAMMA,
            opacity=0.65,
            interpolation2d="linear",
        )
        self._marker = OverlayLayer(
            controller.viewer,
            name="{} (attention, query pixel)",
            colormap=Colormap([(*MARKER_COLOR, 0), (*MARKER_COLOR, 1)], name="marker"),
            contrast_limits=(0, 1),
        )
        self._point: Float64Array | None = None
        self._requested: Any = None  # the prediction of which the map is or will be

    @property
    def layer(self) -> Any:
        """The layer of the map, or None."""
        return self._weights.layer

    def _begin(self) -> None:
        self._controller.viewer.mouse_drag_callbacks.append(self._on_mouse_press)
        self._links.add(self._controller.events.attention_ready, self._show)
        self.message.emit(HELP)

    def _end(self) -> None:
        self._controller.viewer.mouse_drag_callbacks.remove(self._on_mouse_press)

    def request(self, point: Float64Array) -> None:
        """Request the map of a row and column of the layer; integers are pixel centers."""
        controller, result = self._controller, self._controller.result
        if controller.layer is None or result is None:
            self.message.emit(NO_RESULT)
            return
        crop = controller.crop
        if point not in crop:
            self.message.emit("This point is outside the colorized region: click inside it.")
            return
        self._point, self._requested = point, result.chroma
        row, column = crop.to_array(point, result.gray.shape)
        try:
            controller.session.request_attention((float(row), float(column)))
        except ColorizeError as error:
            self.message.emit(str(error))
        else:
            self._show_marker(point)

    def _on_mouse_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Request a map after a click; a drag pans the camera as usual."""
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        moved = np.linalg.norm(np.array(event.pos) - start)
        if event.button == 1 and moved <= CLICK_TOLERANCE and self._controller.layer is not None:
            self.request(point_at(self._controller.layer, viewer, event.position))

    def on_result(self, result: Colorized) -> None:
        """Request the map of the same pixel again if there is a new prediction."""
        if self._point is None or result.chroma is self._requested:
            return
        if self.layer is not None:
            self.layer.visible = False  # a model without attention will not replace it
        self.request(self._point)

    def _show(self, attention: AttentionMap) -> None:
        controller = self._controller
        if controller.layer is None or self._point is None:
            return
        layer = self._weights.show(
            controller.layer, attention.weights, controller.crop, controller.plane
        )
        layer.contrast_limits_range = layer.contrast_limits = (0, float(attention.weights.max()))
        layer.visible = True
        self._marker.raise_()
        row, column = np.rint(self._point)
        self.message.emit(attention_sentence((int(row), int(column)), attention.weights))

    def _show_marker(self, point: Float64Array) -> None:
        controller = self._controller
        assert controller.layer is not None
        crop = controller.crop
        side = MARKER_SHARE * min(crop.bottom - crop.top, crop.right - crop.left)
        row, column = point + 0.5
        around = PlaneCrop(row - side / 2, row + side / 2, column - side / 2, column + side / 2)
        self._marker.show(controller.layer, marker_image(), around, controller.plane)

    def _clear(self, layer: Any = None) -> None:
        self._point = self._requested = None
        self._weights.remove()
        self._marker.remove()
