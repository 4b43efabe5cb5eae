"""Analysis tools of a box: maps overlaid on the image, and a histogram of chroma."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.analysis import maps
from napari_colorize.analysis.colormaps import LARGEST_ERROR, VIRIDIS
from napari_colorize.jupyter.thumbnails import MAX_SIDE, as_png, chroma_histogram, css_gradient

if TYPE_CHECKING:
    from napari_colorize.analysis.attention import AttentionMap
    from napari_colorize.jupyter.view import ImageView
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession

OPACITY = 0.65


class OverlayTool:
    """Base class of tools that overlay a map on the image while they are active."""

    message = Signal(str)  # sentence to display below the buttons

    def __init__(self, session: ColorizeSession, view: ImageView) -> None:
        self._session, self._view = session, view
        self.is_active = False

    def set_active(self, on: bool) -> None:
        """Show the map of the current result, or remove it."""
        self.is_active = on
        if not on:
            self.clear()
        elif self._session.result is not None:
            self.on_result(self._session.result)

    def on_result(self, result: Colorized) -> None:
        """Update the map: another result is displayed."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove the map and discard its query."""
        self._view.show_overlay(None)

    def _show_map(self, analysis_map: maps.AnalysisMap) -> None:
        self._view.show_overlay(analysis_map.rgba(MAX_SIDE), OPACITY)
        self.message.emit(analysis_map.sentence)


class AttentionTool(OverlayTool):
    """Self-attention map of the clicked pixel."""

    def __init__(self, session: ColorizeSession, view: ImageView) -> None:
        super().__init__(session, view)
        self._point: tuple[float, float] | None = None  # fractions of height and width
        self._queried_chroma: Any = None  # prediction of the last query
        view.clicked.connect(self.query)

    def set_active(self, on: bool) -> None:
        """Start to react to clicks, or remove the map and ignore clicks."""
        self.is_active = self._view.emits_clicks = on
        if on:
            self.message.emit("Click a pixel of the image to show its self-attention map.")
        else:
            self.clear()

    def query(self, row: float, column: float) -> None:
        """Request the map of a position, given as fractions of height and width."""
        result = self._session.result
        if not self.is_active or result is None or not (0 <= row < 1 and 0 <= column < 1):
            return
        self._point, self._queried_chroma = (row, column), result.chroma
        height, width = result.plane.gray.shape
        self._view.marker = [row, column]
        self._session.request_attention((int(row * height), int(column * width)))

    def on_result(self, result: Colorized) -> None:
        """Request the map again if the result has another prediction."""
        if self.is_active and self._point is not None and result.chroma is not self._queried_chroma:
            # A model without self-attention gives no answer that would replace the old map.
            self._view.show_overlay(None)
            self.query(*self._point)

    def show(self, answer: AttentionMap) -> None:
        """Display the map that the session computed."""
        if self.is_active and self._point is not None:
            self._show_map(maps.attention_map(answer))

    def clear(self) -> None:
        """Remove the map and the marked position."""
        self._point = self._queried_chroma = None
        self._view.marker = []
        super().clear()


class QueryTool(OverlayTool):
    """Map that the session computes, with a legend; follows the displayed result.

    `request` asks the session for the map, and `to_map` converts its answer. `follows_rendering`:
    the map changes with settings that need no other prediction, such as saturation.
    """

    def __init__(
        self,
        session: ColorizeSession,
        view: ImageView,
        request: Callable[[], None],
        to_map: Callable[..., maps.AnalysisMap],
        *,
        waiting: str,
        explanation: str,
        follows_rendering: bool,
    ) -> None:
        super().__init__(session, view)
        self._request, self._to_map = request, to_map
        self._waiting, self._follows_rendering = waiting, follows_rendering
        self._queried: Colorized | None = None
        self.legend = legend(explanation)

    def set_active(self, on: bool) -> None:
        """Request and show the map, or remove it."""
        self.legend.layout.display = "" if on else "none"
        super().set_active(on)

    def on_result(self, result: Colorized) -> None:
        """Request the map of another result; the session computes it when it is idle."""
        before = self._queried
        if not self.is_active or result is before:
            return
        if before is None or _prediction(result) != _prediction(before):
            # The map belongs to another prediction, and the new one may get no map.
            self._view.show_overlay(None)
        elif not self._follows_rendering:
            return
        self._queried = result
        self.message.emit(self._waiting)
        self._request()

    def show(self, *answer: Any) -> None:
        """Display the map that the session computed."""
        if self.is_active and self._queried is not None:
            self._show_map(self._to_map(*answer))

    def clear(self) -> None:
        """Remove the map and discard its query."""
        self._queried = None
        super().clear()


def expected_error_tool(session: ColorizeSession, view: ImageView) -> QueryTool:
    """Map of the expected color error."""
    return QueryTool(
        session,
        view,
        session.request_expected_error,
        lambda _, errors: maps.expected_error_map(errors),
        waiting="Estimating the expected error…",
        explanation="CIEDE2000: about 1 is just visible side by side; above 10 a color is a guess.",
        follows_rendering=True,
    )


def disagreement_tool(session: ColorizeSession, view: ImageView) -> QueryTool:
    """Map of the disagreement between predictions, which costs as much as several predictions."""
    return QueryTool(
        session,
        view,
        session.request_disagreement,
        maps.disagreement_map,
        waiting="Predicting several variants…",
        explanation="CIEDE2000: 0 where all predictions agree; above 10 a color is a guess.",
        follows_rendering=False,
    )


class UncoloredTool(OverlayTool):
    """Marks pixels with almost no chroma."""

    def on_result(self, result: Colorized) -> None:
        """Mark the pixels of another result."""
        if self.is_active:
            self._show_map(maps.uncolored_map(self._view.shown.result(result), max_side=MAX_SIDE))


def _prediction(result: Colorized) -> tuple[Any, Any]:
    return result.chroma, result.second_chroma


def legend(tooltip: str) -> widgets.HTML:
    """Color bar of an error map; hidden at first."""
    bar = widgets.HTML(
        f'<div class="legend"><span>0</span><i style="background:'
        f'{css_gradient(VIRIDIS)}"></i><span>{LARGEST_ERROR:.0f} CIEDE2000</span></div>',
        layout=widgets.Layout(display="none"),
    )
    bar.tooltip = tooltip
    return bar


class Histogram(widgets.HBox):
    """Two-dimensional histogram of predicted U and V at the displayed saturation."""

    def __init__(self) -> None:
        self._image = widgets.Image(format="png", layout=widgets.Layout(width="144px"))
        self._image.add_class("histogram")
        caption = widgets.HTML(
            '<span class="message">Horizontal axis: U. Vertical axis: V. Center: gray.</span>'
        )
        super().__init__([self._image, caption], layout=widgets.Layout(display="none"))
        self.is_active = False

    def set_active(self, on: bool) -> None:
        """Show or hide the histogram."""
        self.is_active = on
        self.layout.display = "" if on else "none"

    def on_result(self, result: Colorized) -> None:
        """Display the histogram of another result."""
        if not self.is_active:
            return
        histogram = chroma_histogram(result)
        self._image.layout.display = "none" if histogram is None else ""
        if histogram is not None:
            self._image.value = as_png(histogram)
