"""Second page of the Fine-tune panel: progress of a run and buttons to control it."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_colorize.finetune.monitor import BUTTONS, RunMonitor
from napari_colorize.finetune.training_curves import TrainingCurves
from napari_colorize.napari.finetune.loss_curve import LossCurve


class TrainingPage(QWidget):
    """Progress bar, message, curves and buttons of a training run."""

    def __init__(self) -> None:
        super().__init__()
        self._title = QLabel()
        self._title.setStyleSheet("font-weight: bold;")
        self._bar = QProgressBar()
        self._message = wrapped_label("")
        self._figures = wrapped_label("")
        self.curve = LossCurve()
        self.buttons = {key: labeled_button(*BUTTONS[key]) for key in BUTTONS if key != "resume"}
        self._previews = QCheckBox("Show previews in the viewer")
        self._previews.setChecked(True)
        self._previews.setToolTip(
            "Adds a layer with validation images: grayscale, current prediction and true colors."
        )
        self._arrange()

    @property
    def shows_preview(self) -> bool:
        """Whether previews are displayed in the viewer."""
        return self._previews.isChecked()

    @property
    def text(self) -> str:
        """The displayed message."""
        return self._message.text()

    def begin(self, name: str, message: str) -> None:
        """Display a run that has no events yet."""
        self._title.setText(f"Training {name}")
        self.curve.show_curves(TrainingCurves())
        self._figures.setText("")
        self._bar.setRange(0, 0)  # busy
        self.show_message(message)
        self._show_buttons(("pause", "finish", "stop"))

    def show_message(self, text: str) -> None:
        """Display a message."""
        self._message.setText(text)

    def show_run(self, monitor: RunMonitor) -> None:
        """Display the current state of a run."""
        status = monitor.status
        self._title.setText(monitor.title)
        self.curve.show_curves(monitor.curves)
        self._figures.setText(status.figures)
        if monitor.end_state is None:
            self._bar.setRange(0, status.total)
            self._bar.setValue(status.done)
        else:
            self._bar.setRange(0, 1)
            self._bar.setValue(1)
        self.buttons["pause"].setText(monitor.pause_label)
        self.show_message(status.sentence)
        self._show_buttons(monitor.buttons)

    def _show_buttons(self, keys: tuple[str, ...]) -> None:
        for key, button in self.buttons.items():
            button.setVisible(key in keys)
        self._previews.setVisible("pause" in keys)

    def _arrange(self) -> None:
        row = QHBoxLayout()
        for button in self.buttons.values():
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self._title, self._bar, self._message, self.curve, self._figures):
            column.addWidget(part)
        column.addLayout(row)
        column.addWidget(self._previews)


def wrapped_label(text: str) -> QLabel:
    """Label whose text is wrapped."""
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def labeled_button(text: str, tooltip: str) -> QPushButton:
    """Button with a tooltip."""
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button
