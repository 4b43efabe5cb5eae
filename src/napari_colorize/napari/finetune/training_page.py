"""Second page of the Fine-tune panel: progress of a run and buttons to control it."""

from __future__ import annotations

from qtpy.QtCore import QByteArray, QRectF, QSize
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QCheckBox, QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from napari_colorize.finetune.monitor import BUTTONS, RunMonitor
from napari_colorize.finetune.training_curves import EXPLANATION, TrainingCurves
from napari_colorize.napari.panels import add_items, button, row, wrapped_label


class TrainingPage(QWidget):
    """Progress bar, message, curves and buttons of a training run."""

    def __init__(self) -> None:
        super().__init__()
        self._title = QLabel()
        self._title.setStyleSheet("font-weight: bold;")
        self._bar = QProgressBar()
        self._message = wrapped_label()
        self._figures = wrapped_label()
        self.curve = LossCurve()
        self.buttons = {key: button(*BUTTONS[key]) for key in BUTTONS if key != "resume"}
        self._previews = QCheckBox("Show previews in the viewer")
        self._previews.setChecked(True)
        self._previews.setToolTip(
            "Adds a layer with validation images: grayscale, current prediction and true colors."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        add_items(
            layout,
            (
                self._title,
                self._bar,
                self._message,
                self.curve,
                self._figures,
                row(*self.buttons.values()),
                self._previews,
            ),
        )

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
        for key, shown in self.buttons.items():
            shown.setVisible(key in keys)
        self._previews.setVisible("pause" in keys)


class LossCurve(QWidget):
    """Validation error above, training loss below.

    The SVG is made for the size of the widget, so that its text keeps its size.
    """

    def __init__(self) -> None:
        super().__init__()
        self._curves = TrainingCurves()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setMinimumHeight(200)
        self.setToolTip(EXPLANATION)

    def sizeHint(self) -> QSize:
        """Preferred size in px."""
        return QSize(320, 250)

    def show_curves(self, curves: TrainingCurves) -> None:
        """Display these curves."""
        self._curves = curves
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Render the SVG in the text color of the theme."""
        ink = self.palette().windowText().color().name()
        svg = self._curves.svg(self.width(), self.height(), ink)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(self.rect()))
        painter.end()
