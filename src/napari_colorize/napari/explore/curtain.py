"""Before/after curtain: gray to the left of a draggable line, colors to the right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import Colormap
from psygnal import Signal

from napari_colorize.napari.crop import PlaneCrop
from napari_colorize.napari.explore.overlay_layer import (
    OverlayLayer,
    camera_of,
    canvas_pixels_per_column,
    point_at,
)
from napari_colorize.napari.explore.tool import Tool
from napari_colorize.napari.layers import NO_RESULT

if TYPE_CHECKING:
    from napari_colorize.array_types import AnyArray, UInt8Array
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized

LINE_WIDTH = 2.5  # canvas pixels
LINE_CELLS = 4096  # across the image, of which the line covers some
GRAB_DISTANCE = 8  # canvas pixels beside the line within which a press grabs it


def left_part(image: AnyArray, share: float) -> AnyArray:
    """The left columns of an image, a share of its width; at least one column."""
    return image[:, : max(1, round(share * image.shape[1]))]


def left_crop(crop: PlaneCrop, share: float, columns: int) -> PlaneCrop:
    """The crop that `left_part` of an array with so many columns covers, in whole columns."""
    kept = max(1, round(share * columns)) / columns
    return PlaneCrop(crop.top, crop.bottom, crop.left, crop.left + kept * (crop.right - crop.left))


def draw_line(cells: UInt8Array, share: float, width: float) -> None:
    """Draw a line into `cells`, shape (1, N), at a share of the width; `width` is a share too."""
    count = cells.shape[1]
    covered = min(max(1, round(width * count)), count)
    first = min(max(0, round(share * count - covered / 2)), count - covered)
    cells[...] = 0
    cells[:, first : first + covered] = 1


class Curtain(Tool):
    """Gray over the left part of the result, up to a line."""

    moved = Signal(float)  # the line was moved to this share of the width
    ended = Signal()  # the user removed one of its layers, and the curtain was switched off

    def __init__(self, controller: ColorizeController) -> None:
        super().__init__(controller)
        self._gray = OverlayLayer(
            controller.viewer, name="{} (before)", colormap="gray", contrast_limits=(0, 255)
        )
        self._line = OverlayLayer(
            controller.viewer,
            name="{} (curtain)",
            colormap=Colormap([(0, 0, 0, 0), (1, 1, 1, 1)], name="line"),
            contrast_limits=(0, 1),
            opacity=0.9,
        )
        self._cells = np.zeros((1, LINE_CELLS), np.uint8)
        self._gray.removed.connect(self._on_layer_removed)
        self._line.removed.connect(self._on_layer_removed)
        self._image: UInt8Array | None = None
        self._plane: Any = None  # of which `_image` was made
        self.share = 0.5

    def _begin(self) -> None:
        self._controller.viewer.mouse_drag_callbacks.append(self._on_mouse_press)
        self._links.add(camera_of(self._controller.viewer).events.zoom, self._redraw_line)
        if self._controller.result is None:
            self.message.emit(NO_RESULT)
        else:
            self.on_result(self._controller.result)
            self.message.emit("Drag the line, or move the slider.")

    def _end(self) -> None:
        self._controller.viewer.mouse_drag_callbacks.remove(self._on_mouse_press)

    def move_to(self, share: float) -> None:
        """Move the line to a share of the width, clipped to 0 to 1."""
        share = min(max(share, 0.0), 1.0)
        if share != self.share:
            self.share = share
            self._redraw()
            self.moved.emit(share)

    def on_result(self, result: Colorized) -> None:
        """Cover another result; a change of saturation keeps the gray image."""
        from napari_colorize.imaging.color import to_uint8  # torch is imported by then

        if result.plane is not self._plane:
            self._plane = result.plane
            self._image = to_uint8(result.gray)
            self._redraw()

    def _redraw(self) -> None:
        controller = self._controller
        if not self.is_on or self._image is None or controller.layer is None:
            return
        crop = left_crop(controller.crop, self.share, self._image.shape[1])
        image = left_part(self._image, self.share)
        layer = self._gray.show(controller.layer, image, crop, controller.plane)
        if layer.visible != (self.share > 0):  # napari redraws a layer for an equal value too
            layer.visible = self.share > 0
        self._redraw_line()

    def _redraw_line(self, event: Any = None) -> None:
        controller = self._controller
        if self._gray.layer is None or controller.layer is None:
            return
        crop = controller.crop
        width = LINE_WIDTH / canvas_pixels_per_column(controller.layer, controller.viewer)
        draw_line(self._cells, self.share, width / (crop.right - crop.left))
        layer = self._line.show(controller.layer, self._cells, crop, controller.plane)
        # Much cheaper than to move a layer: napari then computes the extent of all layers anew.
        layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _on_mouse_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Move the line with the mouse if it was grabbed; another drag pans the camera."""
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
        is_drawn = controller.layer is not None and self._line.layer is not None
        if not is_drawn or controller.viewer.dims.ndisplay != 2:
            return False
        assert controller.layer is not None
        crop = controller.crop
        columns = abs(self._share_at(position) - self.share) * (crop.right - crop.left)
        distance = columns * canvas_pixels_per_column(controller.layer, controller.viewer)
        return distance <= GRAB_DISTANCE

    def _share_at(self, position: Any) -> float:
        assert self._controller.layer is not None
        crop = self._controller.crop
        column = point_at(self._controller.layer, self._controller.viewer, position)[1] + 0.5
        return float((column - crop.left) / (crop.right - crop.left))

    def _on_layer_removed(self) -> None:
        self.stop()
        self.ended.emit()

    def _clear(self, layer: Any = None) -> None:
        self._image = self._plane = None
        self._gray.remove()
        self._line.remove()
