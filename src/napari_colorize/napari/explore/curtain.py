"""The curtain: gray left of a line, colours right of it; the line is dragged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_colorize.napari.crop import PlaneCrop, part_seen
from napari_colorize.napari.explore.overlay_layer import (
    OverlayLayer,
    camera_of,
    canvas_pixels_per_column,
    point_at,
)

if TYPE_CHECKING:
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized

LINE_WIDTH = 2.5  # canvas pixels
REACH = 8  # canvas pixels beside the line where a press takes it


def cut(picture: NDArray[Any], share: float) -> NDArray[Any]:
    """The left columns of a picture, as many as make up a share of it; at least one."""
    return picture[:, : max(1, round(share * picture.shape[1]))]


def left_of(part: PlaneCrop, share: float, columns: int) -> PlaneCrop:
    """Where `cut` of an array with so many columns lies: its last column is whole."""
    kept = max(1, round(share * columns)) / columns
    return PlaneCrop(part.top, part.bottom, part.left, part.left + kept * (part.right - part.left))


def line_at(part: PlaneCrop, share: float, width: float) -> PlaneCrop:
    """A line of a width from top to bottom, at a share of the part's width."""
    middle = part.left + share * (part.right - part.left)
    return PlaneCrop(part.top, part.bottom, middle - width / 2, middle + width / 2)


class Curtain:
    """Gray over the left part of the result, up to a line.

    Parameters
    ----------
    desk : Desk
        Whose picture.

    Attributes
    ----------
    moved : Signal(float)
        The line is elsewhere: at this share of the width.
    told : Signal(str)
        A sentence to show.
    ended : Signal()
        It is off: the user took its layers out.
    """

    moved = Signal(float)
    told = Signal(str)
    ended = Signal()

    def __init__(self, controller: ColorizeController) -> None:
        self._controller = controller
        self._gray = OverlayLayer(
            controller.viewer, name="{} (before)", colormap="gray", contrast_limits=(0, 255)
        )
        self._line = OverlayLayer(
            controller.viewer,
            name="{} (curtain)",
            colormap="gray",
            contrast_limits=(0, 1),
            opacity=0.9,
        )
        self._gray.gone.connect(self._end)
        self._line.gone.connect(self._end)
        self._picture: NDArray[np.uint8] | None = None
        self._of: Any = None  # the plane that the gray was made of
        self.share = 0.5
        self.is_on = False

    def start(self) -> None:
        """Draw the curtain over what is shown."""
        if self.is_on:
            return
        self.is_on = True
        self._controller.viewer.mouse_drag_callbacks.append(self._drag)
        camera_of(self._controller.viewer).events.zoom.connect(self._redraw_line)
        self._controller.shown.connect(self._follow)
        self._controller.layer_changed.connect(self._clear)
        if self._controller.result is None:
            self.told.emit("There are no colours yet: wait for the first picture.")
        else:
            self._follow(self._controller.result)
            self.told.emit("Drag the line, or the slider.")

    def stop(self) -> None:
        """Take it away."""
        if not self.is_on:
            return
        self.is_on = False
        self._controller.viewer.mouse_drag_callbacks.remove(self._drag)
        camera_of(self._controller.viewer).events.zoom.disconnect(self._redraw_line)
        self._controller.shown.disconnect(self._follow)
        self._controller.layer_changed.disconnect(self._clear)
        self._clear()

    def move_to(self, share: float) -> None:
        """Put the line at a share of the width, from 0 to 1."""
        share = min(max(share, 0.0), 1.0)
        if share != self.share:
            self.share = share
            self._redraw()
            self.moved.emit(share)

    def _follow(self, result: Colorized) -> None:
        """Another picture; another saturation has the same gray."""
        if result.plane is not self._of:
            self._of = result.plane
            self._picture = np.rint(result.gray * 255).astype(np.uint8)
            self._redraw()

    def _redraw(self) -> None:
        controller = self._controller
        if not self.is_on or self._picture is None or controller.layer is None:
            return
        part = left_of(part_seen(controller), self.share, self._picture.shape[1])
        layer = self._gray.show(
            controller.layer, cut(self._picture, self.share), part, controller.plane
        )
        layer.visible = self.share > 0
        self._redraw_line()

    def _redraw_line(self, event: Any = None) -> None:
        controller = self._controller
        if self._gray.layer is None or controller.layer is None:
            return
        width = LINE_WIDTH / canvas_pixels_per_column(controller.layer, controller.viewer)
        line = line_at(part_seen(controller), self.share, width)
        self._line.show(controller.layer, np.ones((1, 1), np.uint8), line, controller.plane)

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        """A press near the line takes it along; any other moves the picture as ever."""
        if event.button != 1 or not self._is_near(event.position):
            return
        camera = camera_of(self._controller.viewer)
        could_pan, camera.mouse_pan = camera.mouse_pan, False
        yield
        while event.type == "mouse_move":
            self.move_to(self._share_at(event.position))
            yield
        camera.mouse_pan = could_pan

    def _is_near(self, position: Any) -> bool:
        controller = self._controller
        if (
            controller.layer is None
            or self._line.layer is None
            or controller.viewer.dims.ndisplay != 2
        ):
            return False
        part = part_seen(controller)
        columns = abs(self._share_at(position) - self.share) * (part.right - part.left)
        return columns * canvas_pixels_per_column(controller.layer, controller.viewer) <= REACH

    def _share_at(self, position: Any) -> float:
        assert self._controller.layer is not None
        part = part_seen(self._controller)
        column = point_at(self._controller.layer, self._controller.viewer, position)[1] + 0.5
        return float((column - part.left) / (part.right - part.left))

    def _end(self) -> None:
        self.stop()
        self.ended.emit()

    def _clear(self, layer: Any = None) -> None:
        self._picture = self._of = None
        self._gray.remove()
        self._line.remove()
