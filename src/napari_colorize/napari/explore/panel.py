"""ExploreWidget: dock widget with tools that show how the network arrives at its colors."""

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
from napari_colorize.napari.controls import NumberControl
from napari_colorize.napari.explore.attention import AttentionOverlay
from napari_colorize.napari.explore.compare import Comparison, Variant
from napari_colorize.napari.explore.curtain import Curtain
from napari_colorize.napari.explore.overlays import (
    ERROR_COLORMAP,
    AnalysisOverlay,
    DisagreementOverlay,
    ExpectedErrorOverlay,
    UncoloredOverlay,
)
from napari_colorize.napari.layouts import row

if TYPE_CHECKING:
    from napari import Viewer

ATTENTION, MODEL, RENDER_FACTOR = range(3)
VARIANT_KINDS = ("self-attention", "model", "render factor")
SLIDER_STEPS = 1000  # of the curtain


class ExploreWidget(QWidget):
    """Tools to explore the image that the Colorize panel displays.

    Closing the widget removes its layers.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer; napari passes it by this name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.controller = get_controller(napari_viewer)
        self.attention = AttentionOverlay(self.controller)
        self.expected_error = ExpectedErrorOverlay(self.controller)
        self.disagreement = DisagreementOverlay(self.controller)
        self.uncolored = UncoloredOverlay(self.controller)
        self.comparison = Comparison(self.controller)
        self.curtain = Curtain(self.controller)
        self._links = Connections()
        self._create_widgets()
        self._create_layout()
        self._connect()
        self.controller.attach_panel(self)
        self.controller.session.warm_up()  # imports torch in the worker thread
        self._run_guarded(self.controller.follow_selection)
        self._show_layer()

    def _create_widgets(self) -> None:
        self.header = _wrapped_label("")
        self.attention_button = _toggle("Show attention by clicking")
        self.attention_message = _wrapped_label("")
        self.expected_error_button = _toggle("Expected error")
        self.color_bar = ColorBar(ERROR_COLORMAP, LARGEST_ERROR)
        self.expected_error_message = _wrapped_label("")
        self.disagreement_button = _toggle("Disagreement")
        self.disagreement_message = _wrapped_label("")
        self.uncolored_button = _toggle("Uncolored")
        self.uncolored_message = _wrapped_label("")
        self.kind = QComboBox()
        self.kind.addItems(VARIANT_KINDS)
        self.kind.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.models = ModelChooser()
        self.render_factor = NumberControl(1, 100)
        self.render_factor.display(None, 8)
        self.comparison_button = _toggle("Compare side by side")
        self.comparison_message = _wrapped_label("")
        self.curtain_button = _toggle("Curtain")
        self.curtain_slider = QSlider(Qt.Orientation.Horizontal)
        self.curtain_slider.setRange(0, SLIDER_STEPS)
        self.curtain_slider.setValue(SLIDER_STEPS // 2)
        self.curtain_message = _wrapped_label("")

    def _create_layout(self) -> None:
        self._choices = QStackedWidget()
        for widget in (QWidget(), self.models, self.render_factor.native):
            self._choices.addWidget(widget)
        form = QFormLayout()
        form.addRow("B differs in", self.kind)
        form.addRow("value of B", self._choices)
        self._choice_label = form.labelForField(self._choices)

        content = QWidget()
        column = QVBoxLayout(content)
        column.addWidget(self.header)
        column.addLayout(
            _section(
                "Self-attention",
                "Self-attention relates distant image regions. Click a pixel to show its map: "
                "bright regions have a high weight.",
                self.attention_button,
                self.attention_message,
            )
        )
        column.addLayout(
            _section(
                "Reliability",
                "Expected error of the colors, and disagreement between several predictions, in "
                "CIEDE2000: a difference of 1 is just visible, above 10 the color is unreliable. "
                "Uncolored marks pixels with almost no chroma.",
                row(self.expected_error_button, self.disagreement_button),
                self.color_bar,
                self.expected_error_message,
                self.disagreement_message,
                self.uncolored_button,
                self.uncolored_message,
            )
        )
        column.addLayout(
            _section("Comparison", "", form, self.comparison_button, self.comparison_message)
        )
        column.addLayout(
            _section(
                "Before and after",
                "",
                row(self.curtain_button, self.curtain_slider),
                self.curtain_message,
            )
        )
        column.addStretch(1)
        self._area = area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self._show_choice(ATTENTION)

    def showEvent(self, event: Any) -> None:
        """Set the minimum width; the viewer's style, on which it depends, is known now."""
        super().showEvent(event)
        self._update_minimum_width()

    def _update_minimum_width(self) -> None:
        bar = self._area.verticalScrollBar().sizeHint().width()
        self.setMinimumWidth(self._area.widget().minimumSizeHint().width() + bar)

    def _connect(self) -> None:
        self.attention_button.toggled.connect(self._toggle_attention)
        for button, overlay, label in self._overlays():
            label.hide()
            button.toggled.connect(partial(self._toggle_overlay, overlay, label))
            self._links.add(overlay.message, _text_setter(label))
        self.comparison_button.toggled.connect(self._toggle_comparison)
        self.curtain_button.toggled.connect(self._toggle_curtain)
        self.kind.currentIndexChanged.connect(self._show_choice)
        self.models.chosen.connect(lambda _: self._restart_comparison())
        self.render_factor.changed.connect(lambda _: self._restart_comparison())
        self.curtain_slider.valueChanged.connect(
            lambda value: self.curtain.move_to(value / SLIDER_STEPS)
        )
        for signal, slot in (
            (self.attention.message, _text_setter(self.attention_message)),
            (self.comparison.message, _text_setter(self.comparison_message)),
            (self.comparison.failed, self._show_error),
            (self.comparison.ended, self._uncheck_comparison),
            (self.curtain.message, _text_setter(self.curtain_message)),
            (self.curtain.moved, self._show_curtain_position),
            (self.curtain.ended, self._uncheck_curtain),
            (self.controller.layer_changed, self._show_layer),
            (self.controller.shown, self._show_layer),
            (self.controller.failed, self._show_failure),
        ):
            self._links.add(signal, slot)

    def close(self) -> None:
        """Disconnect from the controller and switch all tools off."""
        self._links.end()
        for _, overlay, _ in self._overlays():
            overlay.stop()
        for tool in (self.attention, self.curtain, self.comparison):
            tool.stop()

    def _overlays(self) -> list[tuple[QPushButton, AnalysisOverlay, QLabel]]:
        """Button, overlay and message label of each analysis map."""
        return [
            (self.expected_error_button, self.expected_error, self.expected_error_message),
            (self.disagreement_button, self.disagreement, self.disagreement_message),
            (self.uncolored_button, self.uncolored, self.uncolored_message),
        ]

    def _run_guarded(self, action: Callable[[], object]) -> bool:
        """Call a function and show its `ColorizeError`; returns whether it succeeded."""
        try:
            action()
        except ColorizeError as error:
            self._show_error(error)
            return False
        return True

    def _toggle_attention(self, on: bool) -> None:
        self._end_comparison(on)
        self.attention.start() if on else self.attention.stop()
        if not on:
            self.attention_message.setText("")

    def _toggle_overlay(self, overlay: AnalysisOverlay, label: QLabel, on: bool) -> None:
        self._end_comparison(on)
        overlay.start() if on else overlay.stop()
        if not on:
            label.clear()
            label.hide()

    def _toggle_curtain(self, on: bool) -> None:
        self._end_comparison(on)
        self.curtain.start() if on else self.curtain.stop()
        if not on:
            self.curtain_message.setText("")

    def _toggle_comparison(self, on: bool) -> None:
        if not on:
            self.comparison.stop()
            self.comparison_message.setText("")
            return
        # Overlays cover one image, and the grid would show them in cells of their own.
        buttons = [button for button, _, _ in self._overlays()]
        for button in (self.attention_button, *buttons, self.curtain_button):
            button.setChecked(False)
        if not self._run_guarded(lambda: self.comparison.start(self.variant())):
            self._uncheck_comparison()

    def _end_comparison(self, other_is_on: bool) -> None:
        if other_is_on:
            self.comparison_button.setChecked(False)

    def _restart_comparison(self) -> None:
        if self.comparison.is_on:
            self._run_guarded(lambda: self.comparison.start(self.variant()))

    def variant(self) -> Variant:
        """The variant that is chosen for B."""
        kind = self.kind.currentIndex()
        if kind == MODEL:
            return Variant(model=self.models.model)
        if kind == RENDER_FACTOR:
            return Variant(render_factor=int(self.render_factor.slider.value()))
        return Variant()

    def _show_layer(self, _: Any = None) -> None:
        layer, result = self.controller.layer, self.controller.result
        if layer is None:
            self.header.setText("Choose a grayscale image layer in the Colorize panel.")
        elif result is None:
            self.header.setText(f"{layer.name}: waiting for the first result…")
        else:
            model, factor = result.record.get("model", ""), result.settings.render_factor
            self.header.setText(f"{layer.name}: {model}, render factor {factor}.")
            if factor is not None and self.render_factor.value is None:
                self.render_factor.display(None, 2 * factor if factor <= 50 else factor // 2)

    def _show_choice(self, kind: int) -> None:
        self._choices.setCurrentIndex(kind)
        self._choices.setVisible(kind != ATTENTION)
        self._choice_label.setVisible(kind != ATTENTION)
        self._update_minimum_width()
        self._restart_comparison()

    def _show_curtain_position(self, share: float) -> None:
        with signals_blocked(self.curtain_slider):
            self.curtain_slider.setValue(round(share * SLIDER_STEPS))

    def _uncheck_comparison(self) -> None:
        with signals_blocked(self.comparison_button):
            self.comparison_button.setChecked(False)

    def _uncheck_curtain(self) -> None:
        with signals_blocked(self.curtain_button):
            self.curtain_button.setChecked(False)

    def _show_failure(self, error: ColorizeError) -> None:
        """Show an error of the controller, of which the Colorize panel notifies the user."""
        if self.attention.is_on:
            self.attention_message.setText(str(error))
        for _, overlay, label in self._overlays():
            if overlay.is_on:
                label.setText(str(error))

    def _show_error(self, error: ColorizeError) -> None:
        self.comparison_message.setText(str(error))
        show_error(str(error))


class ColorBar(QWidget):
    """A colormap with numbers below it.

    Parameters
    ----------
    colormap : str
        Name of one of napari's colormaps.
    high : float
        Value at the right end; the left end is 0.
    """

    TICKS = 6

    def __init__(self, colormap: str, high: float) -> None:
        super().__init__()
        colors = ensure_colormap(colormap).map(np.linspace(0, 1, 256))
        strip = np.ascontiguousarray(np.rint(colors[None] * 255).astype(np.uint8))
        self._image = QImage(strip.tobytes(), 256, 1, 1024, QImage.Format.Format_RGBA8888).copy()
        self._ticks = [f"{value:.0f}" for value in np.linspace(0, high, self.TICKS)]
        self.setFixedHeight(self.fontMetrics().height() + 12)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def paintEvent(self, event: Any) -> None:
        """Paint the colors and the numbers."""
        painter = QPainter(self)
        painter.drawImage(self.rect().adjusted(0, 0, 0, -self.height() + 9), self._image)
        painter.setPen(self.palette().windowText().color())
        for tick, text in enumerate(self._ticks):
            width = self.fontMetrics().horizontalAdvance(text)
            left = tick * (self.width() - width) // (self.TICKS - 1)
            painter.drawText(left, self.height() - 1, text)
        painter.end()


def _section(title: str, text: str, *content: Any) -> QVBoxLayout:
    column = QVBoxLayout()
    heading = QLabel(f"<b>{title}</b>")
    column.addSpacing(8)
    column.addWidget(heading)
    if text:
        column.addWidget(_wrapped_label(text))
    for item in content:
        (column.addWidget if isinstance(item, QWidget) else column.addLayout)(item)
    return column


def _text_setter(label: QLabel) -> Callable[[str], None]:
    def set_text(message: str) -> None:
        label.setText(message)
        label.show()

    return set_text


def _toggle(text: str) -> QPushButton:
    button = QPushButton(text)
    button.setCheckable(True)
    return button


def _wrapped_label(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    return label
