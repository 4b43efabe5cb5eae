"""Buttons that show what the network does, and what they have to tell."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.errors import ColorizeError
from napari_colorize.jupyter.explore import (
    Attention,
    DisagreementTool,
    ExpectedErrorTool,
    Histogram,
    Tool,
    UncoloredTool,
)
from napari_colorize.jupyter.view import DIVIDER

if TYPE_CHECKING:
    from napari_colorize.jupyter.painting import Painting
    from napari_colorize.jupyter.view import ImageView
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession


class Toolbox(widgets.VBox):
    """A map at a time over the picture, the histogram beside it, and a button to sweep.

    Attributes
    ----------
    failed : Signal(ColorizeError)
        What cannot be shown.
    attention, confidence, doubt
        Where answers of the session go.
    """

    failed = Signal(ColorizeError)

    def __init__(self, session: ColorizeSession, view: ImageView, painting: Painting) -> None:
        self._session, self._painting = session, painting
        self.attention, self.confidence = Attention(session, view), ExpectedErrorTool(session, view)
        self.doubt, self.histogram = DisagreementTool(session, view), Histogram()
        self.attend = _toggle("Attention", "Click a place: bright is where its colour comes from.")
        self.judge = _toggle("Confidence", "How far off the true colours the model expects to be.")
        self.differ = _toggle(
            "Disagreement", "How much colours change when the model is asked in other ways."
        )
        self.mark = _toggle("Pale", "What got next to no colour.")
        self.count = _toggle("Histogram", "Which colours there are.")
        self.sweep = widgets.Button(
            description="Sweep",
            tooltip="See several render factors and take one.",
            layout=widgets.Layout(width="auto"),
        )
        self._tools: dict[widgets.ToggleButton, Tool] = {
            self.attend: self.attention,
            self.judge: self.confidence,
            self.differ: self.doubt,
            self.mark: UncoloredTool(session, view),
        }
        self.told = widgets.HTML()
        self._buttons = widgets.HBox([*self._tools, self.count, self.sweep])
        self._buttons.add_class("tools")
        legends = self.confidence.legend, self.doubt.legend
        super().__init__([self._buttons, *legends, self.told, self.histogram])
        self._connect()
        self._tell("")

    def follow(self, result: Colorized) -> None:
        """Another picture is shown."""
        for tool in self._tools.values():
            tool.follow(result)
        self.histogram.follow(result)

    def clear(self) -> None:
        """The picture is gone."""
        for tool in self._tools.values():
            tool.clear()

    def enable(self, on: bool) -> None:
        """Whether there is something to show."""
        for button in self._buttons.children:
            button.disabled = not on

    def _connect(self) -> None:
        for toggle, tool in self._tools.items():
            toggle.observe(lambda change, tool=tool: self._switch(tool, change["new"]), "value")
            tool.told.connect(self._tell)
        self.count.observe(lambda change: self._count(change["new"]), "value")
        self._painting.tool.observe(lambda change: self._let_paint(change["new"]), "value")

    def _switch(self, tool: Tool, on: bool) -> None:
        self._tell("")
        for toggle, other in self._tools.items():
            if on and other is not tool:
                toggle.value = False  # one map at a time lies over the picture
        if on and tool is self.attention:
            self._painting.tool.value = DIVIDER  # a click asks or paints
        try:
            tool.switch(on)
        except ColorizeError as error:
            self.failed.emit(error)

    def _count(self, on: bool) -> None:
        self.histogram.switch(on)
        if self._session.result is not None:
            self.histogram.follow(self._session.result)

    def _let_paint(self, tool: int) -> None:
        if tool != DIVIDER:
            self.attend.value = False

    def _tell(self, sentence: str) -> None:
        tell(self.told, sentence)


def tell(where: widgets.HTML, sentence: str, kind: str = "word") -> None:
    """Show a sentence, or nothing; what a user wrote is no markup."""
    where.value = f'<span class="{kind}">{html.escape(sentence)}</span>' if sentence else ""
    where.layout.display = "" if sentence else "none"


def _toggle(text: str, tooltip: str) -> widgets.ToggleButton:
    return widgets.ToggleButton(
        description=text, tooltip=tooltip, layout=widgets.Layout(width="auto")
    )
