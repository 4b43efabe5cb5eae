"""Analysis tools of a box: maps overlaid on the image, and a histogram of chroma."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.analysis import maps
from napari_colorize.analysis.colormaps import LARGEST_ERROR, VIRIDIS
from napari_colorize.array_types import Float32Array
from napari_colorize.jupyter.thumbnails import MAX_SIDE, as_png, chroma_histogram, css_gradient

if TYPE_CHECKING:
    from napari_colorize.analysis.attention import AttentionMap
    from napari_colorize.analysis.disagreement import Disagreement
    from napari_colorize.jupyter.view import ImageView
    from napari_colorize.result import Colorized
    from napari_colorize.session import ColorizeSession

OPACITY = 0.65


class OverlayTool:
    """Base class of tools that overlay a map on the image while they are active.

    Attributes
    ----------
    message : Signal(str)
        Sentence to display below the buttons.
    """

    message = Signal(str)

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


class ExpectedErrorTool(OverlayTool):
    """Map of the expected color error; follows the displayed result."""

    def __init__(self, session: ColorizeSession, view: ImageView) -> None:
        super().__init__(session, view)
        self._queried_result: Colorized | None = None
        self.legend = legend(
            "CIEDE2000: about 1 is just visible side by side; above 10 a color is a guess."
        )

    def set_active(self, on: bool) -> None:
        """Request and show the map, or remove it."""
        self.is_active = on
        self.legend.layout.display = "" if on else "none"
        if on:
            self.message.emit("Estimating the expected error…")
            self._query()
        else:
            self.clear()

    def on_result(self, result: Colorized) -> None:
        """Request the map of another result; the session computes it when it is idle."""
        if not self.is_active or result is self._queried_result:
            return
        if self._queried_result is None or result.chroma is not self._queried_result.chroma:
            # The map belongs to another prediction, and the new one may get no map.
            self._view.show_overlay(None)
        self._query()

    def show(self, result: Colorized, errors: Float32Array) -> None:
        """Display the map that the session computed."""
        if self.is_active and self._session.result is not None:
            self._show_map(maps.expected_error_map(errors))

    def clear(self) -> None:
        """Remove the map and discard its query."""
        self._queried_result = None
        super().clear()

    def _query(self) -> None:
        self._queried_result = self._session.result
        if self._queried_result is not None:
            self._session.request_expected_error()


class DisagreementTool(OverlayTool):
    """Map of the disagreement between predictions of the same image.

    It costs as much as several predictions, so it is computed again only for another prediction,
    not for another saturation.
    """

    def __init__(self, session: ColorizeSession, view: ImageView) -> None:
        super().__init__(session, view)
        self._queried_chroma: tuple[Any, Any] | None = None
        self.legend = legend(
            "CIEDE2000: 0 where all predictions agree; above 10 a color is a guess."
        )

    def set_active(self, on: bool) -> None:
        """Request and show the map, or remove it."""
        self.legend.layout.display = "" if on else "none"
        super().set_active(on)

    def on_result(self, result: Colorized) -> None:
        """Request the map again if the result has another prediction."""
        chroma = result.chroma, result.second_chroma
        if not self.is_active or chroma == self._queried_chroma:
            return
        self._queried_chroma = chroma
        self._view.show_overlay(None)
        self.message.emit("Predicting several variants…")
        self._session.request_disagreement()

    def show(self, answer: Disagreement) -> None:
        """Display the map that the session computed."""
        if self.is_active and self._queried_chroma is not None:
            self._show_map(maps.disagreement_map(answer))

    def clear(self) -> None:
        """Remove the map and discard its query."""
        self._queried_chroma = None
        super().clear()


class UncoloredTool(OverlayTool):
    """Marks pixels with almost no chroma."""

    def on_result(self, result: Colorized) -> None:
        """Mark the pixels of another result."""
        if self.is_active:
            self._show_map(maps.uncolored_map(result, max_side=MAX_SIDE))


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
