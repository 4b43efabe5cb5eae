"""Seeing what the network does: maps over the picture, and which colours there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_colorize.analysis import maps
from napari_colorize.analysis.colormaps import LARGEST_ERROR, VIRIDIS
from napari_colorize.jupyter.maps import MAX_SIDE, as_png, chroma_histogram, css_gradient

if TYPE_CHECKING:
    from napari_colorize.analysis.attention import AttentionMap
    from napari_colorize.analysis.disagreement import Disagreement
    from napari_colorize.jupyter.view import ImageView
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession

OPACITY = 0.65


class Tool:
    """What lies over the picture while it is on.

    Attributes
    ----------
    told : Signal(str)
        A sentence to show.
    """

    told = Signal(str)

    def __init__(self, session: ColorizeSession, view: ImageView) -> None:
        self._session, self._view = session, view
        self.is_on = False

    def switch(self, on: bool) -> None:
        """Show it for the picture that is there, or take it away."""
        self.is_on = on
        if not on:
            self.clear()
        elif self._session.result is not None:
            self.follow(self._session.result)

    def follow(self, result: Colorized) -> None:
        """Another picture is shown."""
        raise NotImplementedError

    def clear(self) -> None:
        """The picture is gone: forget what was asked about it."""
        self._view.lay(None)

    def _show_map(self, analysis_map: maps.AnalysisMap) -> None:
        self._view.lay(analysis_map.rgba(MAX_SIDE), OPACITY)
        self.told.emit(analysis_map.sentence)


class Attention(Tool):
    """While it is on, a click into the picture shows where self-attention looks from there."""

    def __init__(self, session: ColorizeSession, view: ImageView) -> None:
        super().__init__(session, view)
        self._point: tuple[float, float] | None = None  # shares of height and width
        self._asked: Any = None  # about which prediction
        view.clicked.connect(self.ask)

    def switch(self, on: bool) -> None:
        """Listen to clicks, or take the map away and listen no longer."""
        self.is_on = self._view.asks = on
        if on:
            self.told.emit("Click into the picture.")
        else:
            self.clear()

    def ask(self, row: float, column: float) -> None:
        """Ask about a place, in shares of the picture's height and width."""
        result = self._session.result
        if not self.is_on or result is None or not (0 <= row < 1 and 0 <= column < 1):
            return
        self._point, self._asked = (row, column), result.chroma
        height, width = result.plane.gray.shape
        self._view.mark = [row, column]
        self._session.request_attention((int(row * height), int(column * width)))

    def follow(self, result: Colorized) -> None:
        """Another picture is shown: of another prediction attention says another thing."""
        if self.is_on and self._point is not None and result.chroma is not self._asked:
            self._view.lay(None)  # a model without attention will not replace it
            self.ask(*self._point)

    def show(self, told: AttentionMap) -> None:
        """The answer."""
        if self.is_on and self._point is not None:
            self._show_map(maps.attention_map(told))

    def clear(self) -> None:
        """Forget what was asked."""
        self._point = self._asked = None
        self._view.mark = []
        super().clear()


class ExpectedErrorTool(Tool):
    """While it is on, the error expected of the picture's colours lies over it and follows it."""

    def __init__(self, session: ColorizeSession, view: ImageView) -> None:
        super().__init__(session, view)
        self._judged: Colorized | None = None  # the picture that the map is of, or will be
        self.legend = legend("1 is just visible side by side, above 10 a colour is a guess.")

    def switch(self, on: bool) -> None:
        """Ask and show what comes, or take the map away."""
        self.is_on = on
        self.legend.layout.display = "" if on else "none"
        if on:
            self.told.emit("Asking the model…")
            self._ask()
        else:
            self.clear()

    def follow(self, result: Colorized) -> None:
        """Another picture is shown: the session judges the newest when it is idle."""
        if not self.is_on or result is self._judged:
            return
        if self._judged is None or result.chroma is not self._judged.chroma:
            self._view.lay(None)  # of other colours, which may not be judged at all
        self._ask()

    def show(self, result: Colorized, errors: NDArray[np.float32]) -> None:
        """The answer."""
        if self.is_on and self._session.result is not None:
            self._show_map(maps.expected_error_map(errors))

    def clear(self) -> None:
        """Forget what was asked."""
        self._judged = None
        super().clear()

    def _ask(self) -> None:
        self._judged = self._session.result
        if self._judged is not None:
            self._session.request_expected_error()


class DisagreementTool(Tool):
    """While it is on, the disagreement of several answers lies over the picture.

    It takes as long as several predictions, so only another prediction asks again; another
    saturation does not.
    """

    def __init__(self, session: ColorizeSession, view: ImageView) -> None:
        super().__init__(session, view)
        self._asked: tuple[Any, Any] | None = None  # about which predictions
        self.legend = legend("0 where all answers agree, above 10 the colour is a guess.")

    def switch(self, on: bool) -> None:
        """Ask and show what comes, or take the map away."""
        self.legend.layout.display = "" if on else "none"
        super().switch(on)

    def follow(self, result: Colorized) -> None:
        """Another picture is shown."""
        asked = result.chroma, result.second_chroma
        if not self.is_on or asked == self._asked:
            return
        self._asked = asked
        self._view.lay(None)
        self.told.emit("Asking in several ways…")
        self._session.request_disagreement()

    def show(self, doubt: Disagreement) -> None:
        """The answer."""
        if self.is_on and self._asked is not None:
            self._show_map(maps.disagreement_map(doubt))

    def clear(self) -> None:
        """Forget what was asked."""
        self._asked = None
        super().clear()


class UncoloredTool(Tool):
    """While it is on, what got next to no colour is marked and followed."""

    def follow(self, result: Colorized) -> None:
        """Another picture is shown."""
        if self.is_on:
            self._show_map(maps.uncolored_map(result, max_side=MAX_SIDE))


def legend(tooltip: str) -> widgets.HTML:
    """What the colours of a map of errors mean; hidden at first."""
    made = widgets.HTML(
        f'<div class="legend"><span>0</span><i style="background:'
        f'{css_gradient(VIRIDIS)}"></i><span>{LARGEST_ERROR:.0f} CIEDE2000</span></div>',
        layout=widgets.Layout(display="none"),
    )
    made.tooltip = tooltip
    return made


class Histogram(widgets.HBox):
    """Which U and V the model predicted, at the saturation that is shown."""

    def __init__(self) -> None:
        self._picture = widgets.Image(format="png", layout=widgets.Layout(width="144px"))
        self._picture.add_class("histogram")
        said = widgets.HTML(
            '<span class="word">U to the right, V upward, gray in the middle.</span>'
        )
        super().__init__([self._picture, said], layout=widgets.Layout(display="none"))
        self.is_on = False

    def switch(self, on: bool) -> None:
        """Show it or hide it."""
        self.is_on = on
        self.layout.display = "" if on else "none"

    def follow(self, result: Colorized) -> None:
        """Another picture is shown."""
        if not self.is_on:
            return
        shown = chroma_histogram(result)
        self._picture.layout.display = "none" if shown is None else ""
        if shown is not None:
            self._picture.value = as_png(shown)
