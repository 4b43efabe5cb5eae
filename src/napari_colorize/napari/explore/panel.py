"""ExploreWidget, the panel that shows what the network does: it switches tools on and off."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import ensure_colormap
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPainter
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_colorize.analysis.colormaps import LARGEST_ERROR
from napari_colorize.errors import ColorizeError
from napari_colorize.napari.choosers import ModelChooser
from napari_colorize.napari.connections import Connections
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.controls import Number
from napari_colorize.napari.explore.attention import AttentionLayer
from napari_colorize.napari.explore.compare import Comparison, Variant
from napari_colorize.napari.explore.confidence import COLORMAP, ExpectedErrorOverlay
from napari_colorize.napari.explore.curtain import Curtain
from napari_colorize.napari.explore.doubt import DisagreementOverlay
from napari_colorize.napari.explore.overlays import AnalysisOverlay
from napari_colorize.napari.explore.pale import UncoloredOverlay

if TYPE_CHECKING:
    from napari import Viewer

ATTENTION, MODEL, RENDER_FACTOR = range(3)
KINDS = ("self-attention", "model", "render factor")
STEPS = 1000  # of the curtain's slider


class ExploreWidget(QWidget):
    """Seeing what the network does, for the picture that the Colorize panel shows.

    Closing the panel takes away what it laid over the picture.

    Parameters
    ----------
    napari_viewer : Viewer
        Whose panel it is; napari fills it in by this name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.controller = get_controller(napari_viewer)
        self.attention = AttentionLayer(self.controller)
        self.confidence = ExpectedErrorOverlay(self.controller)
        self.doubt = DisagreementOverlay(self.controller)
        self.pale = UncoloredOverlay(self.controller)
        self.comparison = Comparison(self.controller)
        self.curtain = Curtain(self.controller)
        self._links = Connections()
        self._make_widgets()
        self._lay_out()
        self._connect()
        self.controller.attach_panel(self)
        self.controller.session.warm_up()  # torch comes in the background
        self._guard(self.controller.follow_selection)
        self._show_layer()

    # What it is made of

    def _make_widgets(self) -> None:
        self.of = _words("")
        self.attend = _toggle("Ask by clicking")
        self.attention_said = _words("")
        self.judge = _toggle("Show expected error")
        self.scale = ColorBar(COLORMAP, LARGEST_ERROR)
        self.confidence_said = _words("")
        self.ask_otherwise = _toggle("Show disagreement")
        self.doubt_said = _words("")
        self.find_pale = _toggle("Show next to no colour")
        self.pale_said = _words("")
        self.kind = QComboBox()
        self.kind.addItems(KINDS)
        self.kind.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.models = ModelChooser()
        self.render_factor = Number(1, 100)
        self.render_factor.set(None, 8)
        self.compare = _toggle("Side by side")
        self.comparison_said = _words("")
        self.draw = _toggle("Draw the curtain")
        self.place = QSlider(Qt.Orientation.Horizontal)
        self.place.setRange(0, STEPS)
        self.place.setValue(STEPS // 2)
        self.curtain_said = _words("")

    def _lay_out(self) -> None:
        self._choices = QStackedWidget()
        for widget in (QWidget(), self.models, self.render_factor):
            self._choices.addWidget(widget)
        form = QFormLayout()
        form.addRow("B differs in", self.kind)
        form.addRow("B has", self._choices)
        self._choice_label = form.labelForField(self._choices)

        inside = QWidget()
        column = QVBoxLayout(inside)
        column.addWidget(self.of)
        column.addLayout(
            _section(
                "Where attention looks",
                "Self-attention lets parts of a picture far apart agree on their colours. "
                "Click a place: bright is where it hears from.",
                self.attend,
                self.attention_said,
            )
        )
        column.addLayout(
            _section(
                "How sure the model is",
                "How far off the true colours it expects its own to be, and how far its answers "
                "lie apart when it is asked otherwise, in CIEDE2000: 1 is just visible side by "
                "side, above 10 it is a guess.",
                _row(self.judge, self.ask_otherwise),
                self.scale,
                self.confidence_said,
                self.doubt_said,
                self.find_pale,
                self.pale_said,
            )
        )
        column.addLayout(_section("A beside B", "", form, self.compare, self.comparison_said))
        column.addLayout(
            _section("Before and after", "", _row(self.draw, self.place), self.curtain_said)
        )
        column.addStretch(1)
        self._area = area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self._show_choice(ATTENTION)

    def showEvent(self, event: Any) -> None:
        """Ask for room: how much is known as soon as the viewer's style is."""
        super().showEvent(event)
        self._ask_for_room()

    def _ask_for_room(self) -> None:
        bar = self._area.verticalScrollBar().sizeHint().width()
        self.setMinimumWidth(self._area.widget().minimumSizeHint().width() + bar)

    def _connect(self) -> None:
        self.attend.toggled.connect(self._switch_attention)
        for toggle, tool, said in self._maps():
            said.hide()
            toggle.toggled.connect(partial(self._switch_map, tool, said))
            self._links.add(tool.told, _says(said))
        self.compare.toggled.connect(self._switch_comparison)
        self.draw.toggled.connect(self._switch_curtain)
        self.kind.currentIndexChanged.connect(self._show_choice)
        self.models.chosen.connect(lambda _: self._compare_anew())
        self.render_factor.changed.connect(lambda _: self._compare_anew())
        self.place.valueChanged.connect(lambda value: self.curtain.move_to(value / STEPS))
        for signal, slot in (
            (self.attention.told, _says(self.attention_said)),
            (self.comparison.told, _says(self.comparison_said)),
            (self.comparison.failed, self._show_error),
            (self.comparison.ended, self._show_comparison_ended),
            (self.curtain.told, _says(self.curtain_said)),
            (self.curtain.moved, self._show_place),
            (self.curtain.ended, self._show_curtain_ended),
            (self.controller.layer_changed, self._show_layer),
            (self.controller.shown, self._show_layer),
            (self.controller.failed, self._show_failure),
        ):
            self._links.add(signal, slot)

    def close(self) -> None:
        """The panel is gone: nothing is told to it any more, and nothing of it stays."""
        self._links.end()
        for _, tool, _ in self._maps():
            tool.stop()
        for other in (self.attention, self.curtain, self.comparison):
            other.stop()

    def _maps(self) -> list[tuple[QPushButton, AnalysisOverlay, QLabel]]:
        """Maps that lie over the picture: what switches each on, and where it is told of."""
        return [
            (self.judge, self.confidence, self.confidence_said),
            (self.ask_otherwise, self.doubt, self.doubt_said),
            (self.find_pale, self.pale, self.pale_said),
        ]

    # What was clicked

    def _guard(self, colorized_layer: Callable[[], object]) -> bool:
        """Do it; what cannot be done is told in one sentence."""
        try:
            colorized_layer()
        except ColorizeError as error:
            self._show_error(error)
            return False
        return True

    def _switch_attention(self, on: bool) -> None:
        self._end_comparison(on)
        self.attention.start() if on else self.attention.stop()
        if not on:
            self.attention_said.setText("")

    def _switch_map(self, tool: AnalysisOverlay, said: QLabel, on: bool) -> None:
        self._end_comparison(on)
        tool.start() if on else tool.stop()
        if not on:
            said.clear()
            said.hide()

    def _switch_curtain(self, on: bool) -> None:
        self._end_comparison(on)
        self.curtain.start() if on else self.curtain.stop()
        if not on:
            self.curtain_said.setText("")

    def _switch_comparison(self, on: bool) -> None:
        if not on:
            self.comparison.stop()
            self.comparison_said.setText("")
            return
        maps = [toggle for toggle, _, _ in self._maps()]
        for toggle in (self.attend, *maps, self.draw):  # they lie over one picture
            toggle.setChecked(False)
        if not self._guard(lambda: self.comparison.start(self.variant())):
            self._show_comparison_ended()

    def _end_comparison(self, other_is_on: bool) -> None:
        if other_is_on:
            self.compare.setChecked(False)

    def _compare_anew(self) -> None:
        if self.comparison.is_on:
            self._guard(lambda: self.comparison.start(self.variant()))

    def variant(self) -> Variant:
        """What is chosen for B."""
        kind = self.kind.currentIndex()
        if kind == MODEL:
            return Variant(model=self.models.model)
        if kind == RENDER_FACTOR:
            return Variant(render_factor=int(self.render_factor.slider.value()))
        return Variant()

    # What is shown

    def _show_layer(self, _: Any = None) -> None:
        layer, result = self.controller.layer, self.controller.result
        if layer is None:
            self.of.setText("Choose a gray image layer: it is colorized, then explored here.")
        elif result is None:
            self.of.setText(f"{layer.name}: waiting for its first colours…")
        else:
            model, factor = result.record.get("model", ""), result.settings.render_factor
            self.of.setText(f"{layer.name}: {model}, render factor {factor}.")
            if factor is not None and self.render_factor.value() is None:
                self.render_factor.set(None, 2 * factor if factor <= 50 else factor // 2)

    def _show_choice(self, kind: int) -> None:
        self._choices.setCurrentIndex(kind)
        self._choices.setVisible(kind != ATTENTION)
        self._choice_label.setVisible(kind != ATTENTION)
        self._ask_for_room()
        self._compare_anew()

    def _show_place(self, share: float) -> None:
        with signals_blocked(self.place):
            self.place.setValue(round(share * STEPS))

    def _show_comparison_ended(self) -> None:
        with signals_blocked(self.compare):
            self.compare.setChecked(False)

    def _show_curtain_ended(self) -> None:
        with signals_blocked(self.draw):
            self.draw.setChecked(False)

    def _show_failure(self, error: ColorizeError) -> None:
        """The desk's own; the Colorize panel notifies of it."""
        if self.attention.is_on:
            self.attention_said.setText(str(error))
        for _, tool, said in self._maps():
            if tool.is_on:
                said.setText(str(error))

    def _show_error(self, error: ColorizeError) -> None:
        self.comparison_said.setText(str(error))
        show_error(str(error))


class ColorBar(QWidget):
    """A colormap with numbers under it.

    Parameters
    ----------
    colormap : str
        One of napari's.
    high : float
        The number at its right end; 0 is at the left.
    """

    MARKS = 6

    def __init__(self, colormap: str, high: float) -> None:
        super().__init__()
        colors = ensure_colormap(colormap).map(np.linspace(0, 1, 256))
        row = np.ascontiguousarray(np.rint(colors[None] * 255).astype(np.uint8))
        self._image = QImage(row.tobytes(), 256, 1, 1024, QImage.Format.Format_RGBA8888).copy()
        self._marks = [f"{value:.0f}" for value in np.linspace(0, high, self.MARKS)]
        self.setFixedHeight(self.fontMetrics().height() + 12)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def paintEvent(self, event: Any) -> None:
        """Paint it."""
        painter = QPainter(self)
        painter.drawImage(self.rect().adjusted(0, 0, 0, -self.height() + 9), self._image)
        painter.setPen(self.palette().windowText().color())
        for place, text in enumerate(self._marks):
            width = self.fontMetrics().horizontalAdvance(text)
            left = place * (self.width() - width) // (self.MARKS - 1)
            painter.drawText(left, self.height() - 1, text)
        painter.end()


def _section(title: str, text: str, *content: Any) -> QVBoxLayout:
    column = QVBoxLayout()
    heading = QLabel(f"<b>{title}</b>")
    column.addSpacing(8)
    column.addWidget(heading)
    if text:
        column.addWidget(_words(text))
    for item in content:
        (column.addWidget if isinstance(item, QWidget) else column.addLayout)(item)
    return column


def _says(label: QLabel) -> Callable[[str], None]:
    def say(sentence: str) -> None:
        label.setText(sentence)
        label.show()

    return say


def _toggle(text: str) -> QPushButton:
    button = QPushButton(text)
    button.setCheckable(True)
    return button


def _words(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    return label


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
