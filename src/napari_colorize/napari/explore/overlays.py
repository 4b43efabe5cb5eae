"""Overlays of analysis maps: expected error, disagreement and uncolored pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import Colormap
from psygnal import Signal, SignalInstance
from qtpy.QtCore import QTimer

from napari_colorize.analysis import maps
from napari_colorize.analysis.colormaps import LARGEST_ERROR
from napari_colorize.errors import ColorizeError
from napari_colorize.napari.connections import Connections
from napari_colorize.napari.explore.overlay_layer import OverlayLayer
from napari_colorize.napari.layers import NO_RESULT

if TYPE_CHECKING:
    from napari_colorize.analysis.disagreement import Disagreement
    from napari_colorize.analysis.maps import AnalysisMap
    from napari_colorize.array_types import Float32Array
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized

UPDATE_DELAY_MS = 300  # after the last new result, before its map is computed
ERROR_COLORMAP = "viridis"
UNCOLORED_SIDE = 1024  # pixels of a side that are evaluated; takes about 0.1 s in the GUI thread


class AnalysisOverlay(ABC):
    """A map over the displayed image that is updated when the image changes.

    Subclasses define which map it is.

    Parameters
    ----------
    controller : ColorizeController
        The controller whose result is analyzed.
    waiting : str
        Message until the map is computed.
    answer : tuple of SignalInstance and callable, optional
        Signal of the controller that brings the requested map, and the slot that shows it.
    **attributes
        Attributes of the layer, see `OverlayLayer`.

    Attributes
    ----------
    message : Signal(str)
        A sentence about the map, or the reason why there is none.
    """

    message = Signal(str)

    def __init__(
        self,
        controller: ColorizeController,
        *,
        waiting: str,
        answer: tuple[SignalInstance, Callable[..., None]] | None = None,
        **attributes: Any,
    ) -> None:
        self._controller, self._waiting, self._answer = controller, waiting, answer
        self._overlay = OverlayLayer(controller.viewer, **attributes)
        self._requested: Colorized | None = None  # the result of which the map is or will be
        self._delay = QTimer()
        self._delay.setSingleShot(True)
        self._delay.setInterval(UPDATE_DELAY_MS)
        self._delay.timeout.connect(self._request_map)
        self._links = Connections()
        self.is_on = False

    @abstractmethod
    def request(self, result: Colorized) -> None:
        """Request the map of a result, or compute and `show` it."""

    @property
    def layer(self) -> Any:
        """The layer of the map, or None."""
        return self._overlay.layer

    def start(self) -> None:
        """Switch the overlay on and request its map."""
        if self.is_on:
            return
        self.is_on = True
        if self._answer is not None:
            self._links.add(*self._answer)
        self._links.add(self._controller.shown, self._on_result)
        self._links.add(self._controller.layer_changed, self._clear)
        self._request_map()

    def stop(self) -> None:
        """Switch the overlay off and remove its layer."""
        if not self.is_on:
            return
        self.is_on = False
        self._links.end()
        self._clear()

    def show(self, analysis_map: AnalysisMap) -> None:
        """Show a map and emit its sentence."""
        controller = self._controller
        if controller.layer is None:
            return
        values = analysis_map.values
        if values.dtype == np.bool_:
            values = values.astype(np.uint8)
        layer = self._overlay.show(controller.layer, values, controller.crop, controller.plane)
        layer.visible = True
        self.message.emit(analysis_map.sentence)

    def _request_map(self) -> None:
        result = self._requested = self._controller.result
        if result is None:
            self.message.emit(NO_RESULT)
            return
        self.message.emit(self._waiting)
        try:
            self.request(result)
        except ColorizeError as error:
            self.message.emit(str(error))

    def _on_result(self, result: Colorized) -> None:
        before = self._requested
        if result is before:
            return
        # The map of an earlier prediction is wrong, and there may be none of the new one.
        if self.layer is not None and (before is None or result.chroma is not before.chroma):
            self.layer.visible = False
        self._delay.start()

    def _clear(self, layer: Any = None) -> None:
        self._delay.stop()
        self._requested = None
        self._overlay.remove()


class ExpectedErrorOverlay(AnalysisOverlay):
    """The error that the model expects of its colors, in CIEDE2000."""

    def __init__(self, controller: ColorizeController) -> None:
        super().__init__(
            controller,
            waiting="Estimating the error…",
            answer=(controller.expected_error_ready, self._on_errors),
            name="{} (expected error)",
            colormap=ERROR_COLORMAP,
            contrast_limits=(0, LARGEST_ERROR),
            opacity=0.7,
        )

    def request(self, result: Colorized) -> None:
        """Request the errors from the session."""
        self._controller.session.request_expected_error()

    def _on_errors(self, result: Colorized, errors: Float32Array) -> None:
        self.show(maps.expected_error_map(errors))


class DisagreementOverlay(AnalysisOverlay):
    """Differences between predictions for flips, render factors and models, in CIEDE2000."""

    def __init__(self, controller: ColorizeController) -> None:
        super().__init__(
            controller,
            waiting="Computing several predictions…",
            answer=(controller.disagreement_ready, self._on_disagreement),
            name="{} (disagreement)",
            colormap=ERROR_COLORMAP,
            contrast_limits=(0, LARGEST_ERROR),
            opacity=0.7,
        )

    def request(self, result: Colorized) -> None:
        """Request the predictions from the session."""
        self._controller.session.request_disagreement()

    def _on_disagreement(self, disagreement: Disagreement) -> None:
        self.show(maps.disagreement_map(disagreement))


class UncoloredOverlay(AnalysisOverlay):
    """Pixels with almost no chroma, in a color that photographs do not have."""

    def __init__(self, controller: ColorizeController) -> None:
        color = tuple(channel / 255 for channel in maps.UNCOLORED_COLOR)
        super().__init__(
            controller,
            waiting="Searching for uncolored pixels…",
            name="{} (uncolored)",
            colormap=Colormap([(*color, 0), (*color, 1)], name="uncolored"),
            contrast_limits=(0, 1),
            opacity=0.5,
        )

    def request(self, result: Colorized) -> None:
        """Compute the map and show it."""
        self.show(maps.uncolored_map(result, max_side=UNCOLORED_SIDE))
