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
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.controls import NumberControl
from napari_colorize.napari.explore.attention import AttentionOverlay
from napari_colorize.napari.explore.compare import Comparison, Variant
from napari_colorize.napari.explore.curtain import Curtain
from napari_colorize.napari.explore.overlays import (
    ERROR_COLORMAP,
    disagreement_overlay,
    expected_error_overlay,
    uncolored_overlay,
)
from napari_colorize.napari.explore.tool import Tool
from napari_colorize.napari.panels import (
    ScrollPanel,
    add_items,
    row,
    toggle,
    tooltip,
    wrapped_label,
)
from napari_colorize.napari.signals import Connections

if TYPE_CHECKING:
    from napari import Viewer

ATTENTION, MODEL, RENDER_FACTOR = range(3)
VARIANT_KINDS = ("self-attention", "model", "render factor")
SLIDER_STEPS = 1000  # of the curtain


class ExploreWidget(ScrollPanel):
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
        self.expected_error = expected_error_overlay(self.controller)
        self.disagreement = disagreement_overlay(self.controller)
        self.uncolored = uncolored_overlay(self.controller)
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
        self.header = wrapped_label()
        self.attention_button = toggle(
            "Show attention by clicking", "Each click into the image shows the map of that pixel."
        )
        self.attention_message = wrapped_label()
        self.expected_error_button = toggle(
            "Expected error", "The error that the model expects of its own colors, pixel by pixel."
        )
        self.color_bar = ColorBar(ERROR_COLORMAP, LARGEST_ERROR)
        self.expected_error_message = wrapped_label()
        self.disagreement_button = toggle(
            "Disagreement", "How much predictions of variants of the image differ, pixel by pixel."
        )
        self.disagreement_message = wrapped_label()
        self.uncolored_button = toggle("Uncolored", "Mark pixels with almost no color.")
        self.uncolored_message = wrapped_label()
        self.kind = QComboBox()
        self.kind.addItems(VARIANT_KINDS)
        self.kind.setToolTip(tooltip("What differs between the two predictions."))
        self.kind.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.models = ModelChooser()
        self.render_factor = NumberControl(1, 100)
        self.render_factor.slider.setToolTip(tooltip("Render factor of the other prediction."))
        self.render_factor.display(None, 8)
        self.comparison_button = toggle(
            "Compare side by side", "The result, the other prediction and the source, one camera."
        )
        self.comparison_message = wrapped_label()
        self.curtain_button = toggle("Curtain", "Gray to the left of a line, colors to its right.")
        self.curtain_slider = QSlider(Qt.Orientation.Horizontal)
        self.curtain_slider.setToolTip(tooltip("Position of the line of the curtain."))
        self.curtain_slider.setRange(0, SLIDER_STEPS)
        self.curtain_slider.setValue(SLIDER_STEPS // 2)
        self.curtain_message = wrapped_label()

    def _create_layout(self) -> None:
        self._choices = QStackedWidget()
        for widget in (QWidget(), self.models, self.render_factor.native):
            self._choices.addWidget(widget)
        form = QFormLayout()
        form.addRow("B differs in", self.kind)
        form.addRow("value of B", self._choices)
        self._choice_label = form.labelForField(self._choices)

        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addWidget(self.header)
        for title, text, *items in (
            (
                "Self-attention",
                "Self-attention relates distant image regions. Click a pixel to show its map: "
                "bright regions have a high weight.",
                self.attention_button,
                self.attention_message,
            ),
            (
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
            ),
            ("Comparison", "", form, self.comparison_button, self.comparison_message),
            (
                "Before and after",
                "",
                row(self.curtain_button, self.curtain_slider),
                self.curtain_message,
            ),
        ):
            layout.addSpacing(8)
            layout.addWidget(QLabel(f"<b>{title}</b>"))
            add_items(layout, [wrapped_label(text)] * bool(text) + items)
        layout.addStretch(1)
        self.set_content(content)
        self._show_choice(ATTENTION)

    def _connect(self) -> None:
        for button, tool, label in self._tools():
            label.hide()
            button.toggled.connect(partial(self._toggle, tool, label))
            self._links.add(tool.message, partial(_show_text, label))
        self.comparison_button.toggled.connect(self._toggle_comparison)
        self.kind.currentIndexChanged.connect(self._show_choice)
        self.models.chosen.connect(lambda _: self._restart_comparison())
        self.render_factor.changed.connect(lambda _: self._restart_comparison())
        self.curtain_slider.valueChanged.connect(
            lambda value: self.curtain.move_to(value / SLIDER_STEPS)
        )
        for signal, slot in (
            (self.comparison.message, self.comparison_message.setText),
            (self.comparison.failed, self._show_error),
            (self.comparison.ended, self._uncheck_comparison),
            (self.curtain.moved, self._show_curtain_position),
            (self.curtain.ended, self._uncheck_curtain),
            (self.controller.layer_changed, self._show_layer),
            (self.controller.shown, self._show_layer),
            (self.controller.events.failed, self._show_failure),
        ):
            self._links.add(signal, slot)

    def close(self) -> None:
        """Disconnect from the controller and switch all tools off."""
        self._links.end()
        for _, tool, _ in self._tools():
            tool.stop()
        self.comparison.stop()

    def _tools(self) -> list[tuple[QPushButton, Tool, QLabel]]:
        """Button, tool and message label of each tool over the image."""
        return [
            (self.attention_button, self.attention, self.attention_message),
            (self.expected_error_button, self.expected_error, self.expected_error_message),
            (self.disagreement_button, self.disagreement, self.disagreement_message),
            (self.uncolored_button, self.uncolored, self.uncolored_message),
            (self.curtain_button, self.curtain, self.curtain_message),
        ]

    def _run_guarded(self, action: Callable[[], object]) -> bool:
        """Call a function and show its `ColorizeError`; returns whether it succeeded."""
        try:
            action()
        except ColorizeError as error:
            self._show_error(error)
            return False
        return True

    def _toggle(self, tool: Tool, label: QLabel, on: bool) -> None:
        if on:
            self.comparison_button.setChecked(False)
            tool.start()
        else:
            tool.stop()
            label.clear()
            label.hide()

    def _toggle_comparison(self, on: bool) -> None:
        if not on:
            self.comparison.stop()
            self.comparison_message.setText("")
            return
        # Overlays cover one image, and the grid would show them in cells of their own.
        for button, _, _ in self._tools():
            button.setChecked(False)
        if not self._run_guarded(lambda: self.comparison.start(self.variant())):
            self._uncheck_comparison()

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
        for _, tool, label in self._tools():
            if tool.is_on and tool is not self.curtain:
                label.setText(str(error))

    def _show_error(self, error: ColorizeError) -> None:
        self.comparison_message.setText(str(error))
        show_error(str(error))


class ColorBar(QWidget):
    """A colormap of napari with numbers below it, from 0 to `high`."""

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


def _show_text(label: QLabel, text: str) -> None:
    label.setText(text)
    label.show()
