"""Widget that displays the curves of a training run."""

from __future__ import annotations

from qtpy.QtCore import QByteArray, QRectF, QSize
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_colorize.finetune.training_curves import EXPLANATION, TrainingCurves


class LossCurve(QWidget):
    """Validation error above, training loss below.

    The SVG is made for the size of the widget, so that its text keeps its size.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
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
