"""Overlays of analysis maps: expected error, disagreement and uncolored pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import Colormap
from psygnal import SignalInstance

from napari_colorize.analysis import maps
from napari_colorize.analysis.colormaps import LARGEST_ERROR
from napari_colorize.errors import ColorizeError
from napari_colorize.napari.explore.overlay_layer import OverlayLayer
from napari_colorize.napari.explore.tool import Tool
from napari_colorize.napari.layers import NO_RESULT
from napari_colorize.napari.signals import SingleShotTimer

if TYPE_CHECKING:
    from napari_colorize.analysis.maps import AnalysisMap
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized

UPDATE_DELAY_MS = 300  # after the last new result, before its map is computed
ERROR_COLORMAP = "viridis"
ERROR_ATTRIBUTES = {
    "colormap": ERROR_COLORMAP,
    "contrast_limits": (0, LARGEST_ERROR),
    "opacity": 0.7,
}
UNCOLORED_SIDE = 1024  # pixels of a side that are evaluated; takes about 0.1 s in the GUI thread


class AnalysisOverlay(Tool):
    """A map over the displayed image that is updated when the image changes.

    Parameters
    ----------
    controller : ColorizeController
        The controller whose result is analyzed.
    request : callable
        Requests the map of a result from the session, or computes and returns it.
    waiting : str
        Message until the map is computed.
    answer : tuple of SignalInstance and callable, optional
        Signal of the controller that answers the request, and a function from its arguments to the
        map.
    **attributes
        Attributes of the layer, see `OverlayLayer`.
    """

    def __init__(
        self,
        controller: ColorizeController,
        request: Callable[[Colorized], AnalysisMap | None],
        *,
        waiting: str,
        answer: tuple[SignalInstance, Callable[..., AnalysisMap]] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(controller)
        self._request, self._waiting, self._answer = request, waiting, answer
        self._overlay = OverlayLayer(controller.viewer, **attributes)
        self._requested: Colorized | None = None  # the result of which the map is or will be
        self._delay = SingleShotTimer(self._request_map, UPDATE_DELAY_MS)

    @property
    def layer(self) -> Any:
        """The layer of the map, or None."""
        return self._overlay.layer

    def on_result(self, result: Colorized) -> None:
        """Request another map after a delay; the map of an earlier prediction is hidden."""
        before = self._requested
        if result is before:
            return
        # There may be no map of the new prediction.
        if self.layer is not None and (before is None or result.chroma is not before.chroma):
            self.layer.visible = False
        self._delay.start()

    def _begin(self) -> None:
        if self._answer is not None:
            signal, to_map = self._answer
            self._links.add(signal, lambda *values: self._show(to_map(*values)))
        self._request_map()

    def _request_map(self) -> None:
        result = self._requested = self._controller.result
        if result is None:
            self.message.emit(NO_RESULT)
            return
        self.message.emit(self._waiting)
        try:
            analysis_map = self._request(result)
        except ColorizeError as error:
            self.message.emit(str(error))
            return
        if analysis_map is not None:
            self._show(analysis_map)

    def _show(self, analysis_map: AnalysisMap) -> None:
        controller = self._controller
        if controller.layer is None:
            return
        values = analysis_map.values
        if values.dtype == np.bool_:
            values = values.astype(np.uint8)
        layer = self._overlay.show(controller.layer, values, controller.crop, controller.plane)
        layer.visible = True
        self.message.emit(analysis_map.sentence)

    def _clear(self, layer: Any = None) -> None:
        self._delay.stop()
        self._requested = None
        self._overlay.remove()


def expected_error_overlay(controller: ColorizeController) -> AnalysisOverlay:
    """The error that the model expects of its colors, in CIEDE2000."""
    return AnalysisOverlay(
        controller,
        lambda _: controller.session.request_expected_error(),
        waiting="Estimating the error…",
        answer=(
            controller.events.expected_error_ready,
            lambda _, errors: maps.expected_error_map(errors),
        ),
        name="{} (expected error)",
        **ERROR_ATTRIBUTES,
    )


def disagreement_overlay(controller: ColorizeController) -> AnalysisOverlay:
    """Differences between predictions for flips, render factors and models, in CIEDE2000."""
    return AnalysisOverlay(
        controller,
        lambda _: controller.session.request_disagreement(),
        waiting="Computing several predictions…",
        answer=(controller.events.disagreement_ready, maps.disagreement_map),
        name="{} (disagreement)",
        **ERROR_ATTRIBUTES,
    )


def uncolored_overlay(controller: ColorizeController) -> AnalysisOverlay:
    """Pixels with almost no chroma, in a color that photographs do not have."""
    color = tuple(channel / 255 for channel in maps.UNCOLORED_COLOR)
    return AnalysisOverlay(
        controller,
        lambda result: maps.uncolored_map(result, max_side=UNCOLORED_SIDE),
        waiting="Searching for uncolored pixels…",
        name="{} (uncolored)",
        colormap=Colormap([(*color, 0), (*color, 1)], name="uncolored"),
        contrast_limits=(0, 1),
        opacity=0.5,
    )
