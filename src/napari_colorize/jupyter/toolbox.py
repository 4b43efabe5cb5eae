"""Toolbox: buttons of the analysis tools and the message of the active one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.errors import ColorizeError
from napari_colorize.jupyter.controls import show_message
from napari_colorize.jupyter.explore import (
    AttentionTool,
    Histogram,
    OverlayTool,
    UncoloredTool,
    disagreement_tool,
    expected_error_tool,
)
from napari_colorize.jupyter.view import DIVIDER

if TYPE_CHECKING:
    from napari_colorize.jupyter.paint_panel import PaintPanel
    from napari_colorize.jupyter.view import ImageView
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession


class Toolbox(widgets.VBox):
    """Toggle buttons for one map at a time, a histogram, and a button that starts a sweep.

    Attributes
    ----------
    attention, expected_error, disagreement : OverlayTool
        Tools whose `show` displays an answer of the session.
    """

    failed = Signal(ColorizeError)  # a map cannot be computed

    def __init__(self, session: ColorizeSession, view: ImageView, painting: PaintPanel) -> None:
        self._session, self._painting = session, painting
        self.attention = AttentionTool(session, view)
        self.expected_error = expected_error_tool(session, view)
        self.disagreement, self.histogram = disagreement_tool(session, view), Histogram()
        self.attention_button = _toggle(
            "Attention", "Click a pixel: bright regions influence its color most."
        )
        self.expected_error_button = _toggle(
            "Expected error", "Expected CIEDE2000 error of the predicted colors."
        )
        self.disagreement_button = _toggle(
            "Disagreement", "Variation of the prediction under flips and other render factors."
        )
        self.uncolored_button = _toggle("Uncolored", "Mark pixels with almost no chroma.")
        self.histogram_button = _toggle("Histogram", "Histogram of the predicted chroma.")
        self.sweep_button = widgets.Button(
            description="Sweep",
            tooltip="Colorize with several render factors and choose one.",
            layout=widgets.Layout(width="auto"),
        )
        self._tools: dict[widgets.ToggleButton, OverlayTool] = {
            self.attention_button: self.attention,
            self.expected_error_button: self.expected_error,
            self.disagreement_button: self.disagreement,
            self.uncolored_button: UncoloredTool(session, view),
        }
        self.message = widgets.HTML()
        self._buttons = widgets.HBox([*self._tools, self.histogram_button, self.sweep_button])
        self._buttons.add_class("tools")
        legends = self.expected_error.legend, self.disagreement.legend
        super().__init__([self._buttons, *legends, self.message, self.histogram])
        self._connect()
        show_message(self.message, "")

    def on_result(self, result: Colorized) -> None:
        """Update the active tool and the histogram: another result is displayed."""
        for tool in self._tools.values():
            tool.on_result(result)
        self.histogram.on_result(result)

    def clear(self) -> None:
        """Remove all maps: no result is displayed."""
        for tool in self._tools.values():
            tool.clear()

    def set_enabled(self, on: bool) -> None:
        """Enable or disable all buttons."""
        for button in self._buttons.children:
            button.disabled = not on

    def _connect(self) -> None:
        for toggle, tool in self._tools.items():
            toggle.observe(lambda change, tool=tool: self._set_active(tool, change["new"]), "value")
            tool.message.connect(partial(show_message, self.message))
        self.histogram_button.observe(lambda change: self._set_histogram(change["new"]), "value")
        self._painting.tool.observe(lambda change: self._on_paint_tool(change["new"]), "value")

    def _set_active(self, tool: OverlayTool, on: bool) -> None:
        show_message(self.message, "")
        for toggle, other in self._tools.items():
            if on and other is not tool:
                toggle.value = False  # the view displays one overlay at a time
        if on and tool is self.attention:
            self._painting.tool.value = DIVIDER  # a click cannot paint and query at once
        try:
            tool.set_active(on)
        except ColorizeError as error:
            self.failed.emit(error)

    def _set_histogram(self, on: bool) -> None:
        self.histogram.set_active(on)
        if self._session.result is not None:
            self.histogram.on_result(self._session.result)

    def _on_paint_tool(self, tool: int) -> None:
        if tool != DIVIDER:
            self.attention_button.value = False


def _toggle(text: str, tooltip: str) -> widgets.ToggleButton:
    return widgets.ToggleButton(
        description=text, tooltip=tooltip, layout=widgets.Layout(width="auto")
    )
