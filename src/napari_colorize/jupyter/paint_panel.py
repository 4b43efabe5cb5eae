"""PaintPanel: brush controls for hints, with undo."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np
from psygnal import Signal

from napari_colorize.array_types import UInt8Array
from napari_colorize.jupyter import hint_pixels
from napari_colorize.jupyter.browser_encoding import display_size
from napari_colorize.jupyter.controls import flexible_layout, labeled_row
from napari_colorize.jupyter.view import BRUSH, DIVIDER, ERASER

if TYPE_CHECKING:
    from napari_colorize.jupyter.view import ImageView
    from napari_colorize.refine.hints import Hints

UNDO_STEPS = 50
SWATCHES = {
    "skin": "#d9a083",
    "hair": "#6b4a2f",
    "sky": "#7fb2e5",
    "leaves": "#5d8a3a",
    "earth": "#9a7350",
    "brick": "#a8452f",
    "blue": "#2f4f9e",
    "yellow": "#d8b23a",
}


class PaintPanel(widgets.VBox):
    """Controls for painting hints in an `ImageView`."""

    changed = Signal(object)  # Hints or None: all painted hints, after a stroke, undo or clear

    def __init__(self, view: ImageView) -> None:
        self._view = view
        self._rgba: UInt8Array | None = None  # paint at the full image size
        # Each step holds the pixels as they were before it, in pieces as they arrived.
        self._undo_steps: deque[list[hint_pixels.PaintedPixels]] = deque(maxlen=UNDO_STEPS)
        self._last_stroke = 0  # `stroke_count` of the view when paint last arrived
        self.tool = widgets.ToggleButtons(
            options=[("Off", DIVIDER), ("Paint", BRUSH), ("Erase", ERASER)],
            tooltips=(
                "Dragging moves the divider.",
                "Dragging paints hints; move the divider by its handle.",
                "Dragging erases hints.",
            ),
            style={"button_width": "62px"},
        )
        self.color = widgets.ColorPicker(concise=True, layout=widgets.Layout(width="40px"))
        self.size = widgets.IntSlider(12, 1, 80, layout=flexible_layout())
        self.size.tooltip = "Brush diameter in screen pixels. Zoom in to paint finer strokes."
        self.undo, self.clear_all = _button("Undo"), _button("Clear")
        self._links = [  # in the browser, so that no round trip to the kernel is needed
            widgets.jslink((self.tool, "index"), (view, "tool")),
            widgets.jslink((self.color, "value"), (view, "brush_color")),
            widgets.jslink((self.size, "value"), (view, "brush_size")),
        ]
        self.color.value = view.brush_color
        caption = widgets.HTML(
            '<span class="message">Colors spread to similar neighboring pixels; luminance is '
            "preserved. Alt and a click picks a color from the image.</span>"
        )
        tools = widgets.HBox([self.tool, self.undo, self.clear_all])
        swatches = (self._swatch(*swatch) for swatch in SWATCHES.items())
        colors = labeled_row("color", self.color, *swatches)
        for container in (tools, colors):
            container.layout = widgets.Layout(flex_flow="row wrap", align_items="center")
        super().__init__([caption, tools, colors, labeled_row("brush", self.size)])
        self.tool.observe(lambda change: setattr(view, "tool", change["new"]), "index")
        self.undo.on_click(lambda _: self._undo())
        self.clear_all.on_click(lambda _: self._clear())
        view.painted.connect(self._on_painted)
        self._update_buttons()

    def show(self, hints: Hints | None) -> None:
        """Display hints that were set by code, without a signal."""
        self._rgba = None if hints is None else hint_pixels.paint_from_hints(hints)
        self._undo_steps.clear()
        self._send_paint()

    def close(self) -> None:
        """Remove the links to the view and close the widget."""
        for link in self._links:
            link.close()
        super().close()

    def _on_painted(self, png: bytes) -> None:
        """Apply paint from the browser, which is drawn at display size."""
        size = self._view.full_size
        if size is None:
            return
        if self._rgba is None or self._rgba.shape[:2] != size:
            self._rgba = np.zeros((*size, 4), np.uint8)
        before, after = (
            hint_pixels.to_display_size(self._rgba),
            hint_pixels.from_png(png, display_size(*size)),
        )
        if before.shape == after.shape and (before != after).any():
            stroke = self._view.stroke_count
            is_new, self._last_stroke = stroke != self._last_stroke, stroke
            self._apply(hint_pixels.changed_pixels(before, after, size), is_new=is_new)

    def _apply(self, pixels: hint_pixels.PaintedPixels, *, is_new: bool) -> None:
        """Set pixels, as a new undo step or as a part of the last one."""
        assert self._rgba is not None
        rows, columns, colors = pixels
        if is_new or not self._undo_steps:
            self._undo_steps.append([])
        self._undo_steps[-1].append((rows, columns, self._rgba[rows, columns]))
        self._rgba[rows, columns] = colors
        self._emit_changed()

    def _undo(self) -> None:
        assert self._rgba is not None
        for rows, columns, colors in reversed(self._undo_steps.pop()):
            self._rgba[rows, columns] = colors
        self._send_paint()
        self._emit_changed()

    def _clear(self) -> None:
        assert self._rgba is not None
        rows, columns = np.nonzero(self._rgba[..., 3])
        self._apply((rows, columns, np.zeros((len(rows), 4), np.uint8)), is_new=True)
        self._send_paint()

    def _send_paint(self) -> None:
        rgba = self._rgba
        self._view.show_paint(
            b"" if rgba is None else hint_pixels.to_png(hint_pixels.to_display_size(rgba))
        )
        self._update_buttons()

    def _emit_changed(self) -> None:
        self._update_buttons()
        self.changed.emit(None if self._rgba is None else hint_pixels.hints_from_paint(self._rgba))

    def _update_buttons(self) -> None:
        self.undo.disabled = not self._undo_steps
        self.clear_all.disabled = self._rgba is None or not self._rgba[..., 3].any()

    def _swatch(self, name: str, color: str) -> widgets.Button:
        button = widgets.Button(tooltip=f"{name}: {color}", style={"button_color": color})
        button.add_class("swatch")
        button.on_click(lambda _: self._choose_color(color))
        return button

    def _choose_color(self, color: str) -> None:
        self.color.value = self._view.brush_color = color
        self.tool.value = BRUSH


def _button(text: str) -> widgets.Button:
    return widgets.Button(description=text, layout=widgets.Layout(width="auto"))
