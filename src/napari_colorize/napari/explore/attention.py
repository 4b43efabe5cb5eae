"""The attention explorer: click into the picture and see from where that place hears."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import Colormap
from numpy.typing import NDArray
from psygnal import Signal

from napari_colorize.errors import ColorizeError
from napari_colorize.napari.connections import Connections
from napari_colorize.napari.crop import Floats, PlaneCrop, part_seen
from napari_colorize.napari.explore.overlay_layer import OverlayLayer, point_at
from napari_colorize.session.words import attention_in_words

if TYPE_CHECKING:
    from napari_colorize.analysis.attention import AttentionMap
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized

SLOP = 4  # canvas pixels that a hand moves during a click
MARK = 41  # pixels of the mark's picture, odd
MARK_SHARE = 0.05  # the mark's size, of the shorter side of the picture
MARK_COLOR = (0.3, 1.0, 0.5)
GAMMA = 0.5  # of the weights: a few are large, and the many small ones matter too


def ring() -> NDArray[np.float32]:
    """A mark: a ring with a dot in the middle, 1 where it is drawn."""
    radius = np.hypot(*np.indices((MARK, MARK)) - MARK // 2) / (MARK // 2)
    mark: NDArray[np.float32] = ((abs(radius - 0.88) < 0.12) | (radius < 0.14)).astype(np.float32)
    return mark


class AttentionLayer:
    """While it is on, a click into the picture shows where self-attention looks from there.

    Parameters
    ----------
    desk : Desk
        Whose picture and model.

    Attributes
    ----------
    told : Signal(str)
        A sentence to show.
    """

    told = Signal(str)

    def __init__(self, controller: ColorizeController) -> None:
        self._controller = controller
        self._weights = OverlayLayer(
            controller.viewer,
            name="{} (attention)",
            colormap="inferno",
            gamma=GAMMA,
            opacity=0.65,
            interpolation2d="linear",
        )
        self._mark = OverlayLayer(
            controller.viewer,
            name="{} (attention, from here)",
            colormap=Colormap([(*MARK_COLOR, 0), (*MARK_COLOR, 1)], name="mark"),
            contrast_limits=(0, 1),
        )
        self._point: Floats | None = None
        self._asked: Any = None  # about which prediction
        self._links = Connections()
        self.is_on = False

    @property
    def layer(self) -> Any:
        """The overlay, or None."""
        return self._weights.layer

    def start(self) -> None:
        """Listen to clicks."""
        if self.is_on:
            return
        self.is_on = True
        self._controller.viewer.mouse_drag_callbacks.append(self._listen)
        self._links.add(self._controller.attention_ready, self._show)
        self._links.add(self._controller.shown, self._ask_again)
        self._links.add(self._controller.layer_changed, self._clear)
        self.told.emit("Click into the picture.")

    def stop(self) -> None:
        """Take the overlay away and listen no longer."""
        if not self.is_on:
            return
        self.is_on = False
        self._controller.viewer.mouse_drag_callbacks.remove(self._listen)
        self._links.end()
        self._clear()

    def ask(self, point: Floats) -> None:
        """Ask about a row and column of the layer, whole in the middle of a pixel."""
        controller, result = self._controller, self._controller.result
        if controller.layer is None or result is None:
            self.told.emit("There are no colours yet: wait for the first picture.")
            return
        part = part_seen(controller)
        if point not in part:
            self.told.emit("That is beside what is colorized: click into it.")
            return
        self._point, self._asked = point, result.chroma
        row, column = part.within(point, result.gray.shape)
        try:
            controller.session.request_attention((float(row), float(column)))
        except ColorizeError as error:
            self.told.emit(str(error))
        else:
            self._show_mark(point)

    def _listen(self, viewer: Any, event: Any) -> Iterator[None]:
        """A press that is let go of where it was; a drag moves the picture as ever."""
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        moved = np.linalg.norm(np.array(event.pos) - start)
        if event.button == 1 and moved <= SLOP and self._controller.layer is not None:
            self.ask(point_at(self._controller.layer, viewer, event.position))

    def _ask_again(self, result: Colorized) -> None:
        """Another prediction: what attention says of it is another thing."""
        if self._point is None or result.chroma is self._asked:
            return
        if self.layer is not None:
            self.layer.visible = False  # a model without attention will not replace it
        self.ask(self._point)

    def _show(self, told: AttentionMap) -> None:
        controller = self._controller
        if controller.layer is None or self._point is None:
            return
        layer = self._weights.show(
            controller.layer, told.weights, part_seen(controller), controller.plane
        )
        layer.contrast_limits_range = layer.contrast_limits = (0, float(told.weights.max()))
        layer.visible = True
        self._mark.raise_()
        row, column = np.rint(self._point)
        self.told.emit(attention_in_words((int(row), int(column)), told.weights))

    def _show_mark(self, point: Floats) -> None:
        controller = self._controller
        assert controller.layer is not None
        whole = part_seen(controller)
        side = MARK_SHARE * min(whole.bottom - whole.top, whole.right - whole.left)
        row, column = point + 0.5
        around = PlaneCrop(row - side / 2, row + side / 2, column - side / 2, column + side / 2)
        self._mark.show(controller.layer, ring(), around, controller.plane)

    def _clear(self, layer: Any = None) -> None:
        self._point = self._asked = None
        self._weights.remove()
        self._mark.remove()
