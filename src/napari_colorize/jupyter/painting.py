"""Painting hints: a brush for the view, and what became of its strokes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np
from psygnal import Signal

from napari_colorize.jupyter import paint
from napari_colorize.jupyter.controls import growing, row
from napari_colorize.jupyter.transfer import shown_size
from napari_colorize.jupyter.view import BRUSH, DIVIDER, ERASER

if TYPE_CHECKING:
    from napari_colorize.jupyter.view import ImageView
    from napari_colorize.refine.hints import Hints

REMEMBERED = 50  # steps back
# Colours that many pictures have, to begin with.
INKS = {
    "skin": "#d9a083",
    "hair": "#6b4a2f",
    "sky": "#7fb2e5",
    "leaves": "#5d8a3a",
    "earth": "#9a7350",
    "brick": "#a8452f",
    "blue": "#2f4f9e",
    "yellow": "#d8b23a",
}


class Painting(widgets.VBox):
    """Colours painted into the view; `changed` brings the hints that there are, or None."""

    changed = Signal(object)

    def __init__(self, view: ImageView) -> None:
        self._view = view
        self._rgba: paint.Bytes | None = None  # at the picture's size
        self._steps: deque[list[paint.Pixels]] = deque(maxlen=REMEMBERED)  # what was there before
        self._stroke = 0  # of the browser, the last that came
        self.tool = widgets.ToggleButtons(
            options=[("Off", DIVIDER), ("Paint", BRUSH), ("Erase", ERASER)],
            tooltips=(
                "The mouse moves the divider.",
                "Paint colours on the picture; the divider moves by its grip.",
                "Rub strokes out.",
            ),
            style={"button_width": "62px"},
        )
        self.ink = widgets.ColorPicker(concise=True, layout=widgets.Layout(width="40px"))
        self.size = widgets.IntSlider(12, 1, 80, layout=growing())
        self.size.tooltip = "In pixels of the screen: zoom in for finer strokes."
        self.undo, self.clear_all = _button("Undo"), _button("Clear")
        self._links = [  # in the browser: no kernel has to be asked
            widgets.jslink((self.tool, "index"), (view, "tool")),
            widgets.jslink((self.ink, "value"), (view, "ink")),
            widgets.jslink((self.size, "value"), (view, "brush")),
        ]
        self.ink.value = view.ink
        said = widgets.HTML(
            '<span class="word">Colours spread to what belongs to them; luminance stays. Alt and a '
            "click take a colour up from the picture.</span>"
        )
        tools = widgets.HBox([self.tool, self.undo, self.clear_all])
        colors = row("colour", self.ink, *(self._swatch(*ink) for ink in INKS.items()))
        for made in (tools, colors):
            made.layout = widgets.Layout(flex_flow="row wrap", align_items="center")
        super().__init__([said, tools, colors, row("brush", self.size)])
        self.tool.observe(lambda change: setattr(view, "tool", change["new"]), "index")
        self.undo.on_click(lambda _: self._step_back())
        self.clear_all.on_click(lambda _: self._clear())
        view.painted.connect(self._take)
        self._show_buttons()

    def show(self, hints: Hints | None) -> None:
        """Show hints that were not painted here, silently."""
        self._rgba = None if hints is None else paint.to_paint(hints)
        self._steps.clear()
        self._lay()

    def close(self) -> None:
        """Unlink it from the view."""
        for link in self._links:
            link.close()
        super().close()

    def _take(self, png: bytes) -> None:
        """Strokes have come from a browser, drawn at the size that is shown."""
        size = self._view.full_size
        if size is None:
            return
        if self._rgba is None or self._rgba.shape[:2] != size:
            self._rgba = np.zeros((*size, 4), np.uint8)
        before, after = paint.as_shown(self._rgba), paint.from_png(png, shown_size(*size))
        if before.shape == after.shape and (before != after).any():
            is_new, self._stroke = self._view.stroke != self._stroke, self._view.stroke
            self._put(paint.changed(before, after, size), is_new=is_new)

    def _put(self, pixels: paint.Pixels, *, is_new: bool) -> None:
        """Paint pixels, as a step of its own or as a part of the last."""
        assert self._rgba is not None
        rows, columns, colors = pixels
        if is_new or not self._steps:
            self._steps.append([])
        self._steps[-1].append((rows, columns, self._rgba[rows, columns]))
        self._rgba[rows, columns] = colors
        self._tell()

    def _step_back(self) -> None:
        assert self._rgba is not None
        for rows, columns, colors in reversed(self._steps.pop()):
            self._rgba[rows, columns] = colors
        self._lay()
        self._tell()

    def _clear(self) -> None:
        assert self._rgba is not None
        rows, columns = np.nonzero(self._rgba[..., 3])
        self._put((rows, columns, np.zeros((len(rows), 4), np.uint8)), is_new=True)
        self._lay()

    def _lay(self) -> None:
        rgba = self._rgba
        self._view.lay_paint(b"" if rgba is None else paint.to_png(paint.as_shown(rgba)))
        self._show_buttons()

    def _tell(self) -> None:
        self._show_buttons()
        self.changed.emit(None if self._rgba is None else paint.to_hints(self._rgba))

    def _show_buttons(self) -> None:
        self.undo.disabled = not self._steps
        self.clear_all.disabled = self._rgba is None or not self._rgba[..., 3].any()

    def _swatch(self, name: str, color: str) -> widgets.Button:
        button = widgets.Button(tooltip=f"{name}: {color}", style={"button_color": color})
        button.add_class("swatch")
        button.on_click(lambda _: self._dip(color))
        return button

    def _dip(self, color: str) -> None:
        self.ink.value = self._view.ink = color
        self.tool.value = BRUSH


def _button(text: str) -> widgets.Button:
    return widgets.Button(description=text, layout=widgets.Layout(width="auto"))
