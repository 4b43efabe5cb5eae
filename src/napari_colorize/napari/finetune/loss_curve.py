"""What a training has reached so far, as two curves over its steps; painted by hand."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_colorize.finetune.curves import Points, smooth

ERROR_COLOR = QColor(
    "#e8833a"
)  # both are told apart on dark and light ground, by the colour-blind too
LOSS_COLOR = QColor("#4aa3df")
FAINT = 130  # of 255: the single steps behind it
ROOM = 0.08  # of the range, above and below a curve
TICKS = 3


class LossCurve(QWidget):
    """Above, the colour error on pictures held back; below, the loss on those it learns from."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.losses: Points = []
        self.errors: Points = []
        self._measures: dict[int, float] = {}
        self.gray: float | None = None
        self.steps = 1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setMinimumHeight(200)
        self.setToolTip(
            "Above: how far the colours of pictures that are never trained on are off, as the eye "
            "sees it (CIEDE2000; about 1 is just visible). The line of dashes is the base model, "
            "the line of dots a picture left gray. The ring is what would become the model: little "
            "error, and neither too little colour nor too much.\n"
            "Below: the loss on the pictures that it learns from."
        )

    def sizeHint(self) -> QSize:
        """Wide and low."""
        return QSize(320, 240)

    def clear(self) -> None:
        """Begin anew."""
        self.losses, self.errors, self.gray, self.steps = [], [], None, 1
        self._measures = {}
        self.update()

    def go_back(self, step: int) -> None:
        """Forget what came after a step: the run goes on from there."""
        self.losses = [point for point in self.losses if point[0] <= step]
        self.errors = [point for point in self.errors if point[0] <= step]
        self.update()

    def add_loss(self, step: int, loss: float) -> None:
        """Of one step."""
        self.losses.append((step, loss))
        self.update()

    def add_error(self, step: int, error: float, gray: float, measure: float) -> None:
        """On the pictures held back: CIEDE2000 of the model and of no colour, and what decides."""
        self._measures[step] = measure
        self.errors = [point for point in self.errors if point[0] != step] + [(step, error)]
        self.gray = gray
        self.update()

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and error of the best so far, as the training judges."""
        return min(self.errors, key=lambda point: self._measures[point[0]], default=None)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Both curves, one above the other."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = self.height() * 0.56
        above = QRectF(0, 0, self.width(), middle)
        below = QRectF(0, middle, self.width(), self.height() - middle)
        last = max([self.steps, *(step for step, _ in [*self.losses[-1:], *self.errors[-1:]])])
        self._paint_errors(_Plot(painter, above, self._ink(), last))
        self._paint_losses(_Plot(painter, below, self._ink(), last))
        painter.end()

    def _ink(self) -> QColor:
        return self.palette().windowText().color()

    def _paint_errors(self, plot: _Plot) -> None:
        plot.title("Colour error on pictures held back", ERROR_COLOR)
        if not self.errors:
            plot.say("comes with the first look at them")
            return
        levels = [self.errors[0][1], *([] if self.gray is None else [self.gray])]
        plot.scale([error for _, error in self.errors] + levels)
        plot.level(self.errors[0][1], "base", Qt.PenStyle.DashLine)
        if self.gray is not None:
            plot.level(self.gray, "gray", Qt.PenStyle.DotLine)
        plot.line(self.errors, ERROR_COLOR, 2)
        plot.dots(self.errors, ERROR_COLOR)
        if self.best is not None:
            plot.ring(self.best)

    def _paint_losses(self, plot: _Plot) -> None:
        plot.title("Loss while learning", LOSS_COLOR)
        if not self.losses:
            plot.say("comes with the first steps")
            return
        plot.scale([loss for _, loss in self.losses])
        faint = QColor(LOSS_COLOR)
        faint.setAlpha(FAINT)
        plot.line(self.losses, faint, 1)
        plot.line(smooth(self.losses), LOSS_COLOR, 2)
        plot.steps()


class _Plot:
    """One pair of axes on a painter."""

    def __init__(self, painter: QPainter, place: QRectF, ink: QColor, last: int) -> None:
        self._painter, self._last, self._ink = painter, last, ink
        self._faint = QColor(ink)
        self._faint.setAlpha(FAINT)
        metrics = QFontMetricsF(painter.font())
        self._line_height = metrics.height()
        self._left = metrics.horizontalAdvance("00.00 ")
        self._place = place
        self._inner = place.adjusted(
            self._left, self._line_height * 1.3, -self._left, -self._line_height * 1.4
        )
        self._low, self._high = 0.0, 1.0

    def title(self, text: str, color: QColor) -> None:
        painter, top = self._painter, self._place.top() + self._line_height
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        painter.drawEllipse(QPointF(5, top - self._line_height / 3), 4, 4)
        painter.setPen(self._ink)
        painter.drawText(QPointF(14, top), text)

    def say(self, text: str) -> None:
        self._painter.setPen(self._faint)
        self._painter.drawText(self._inner, Qt.AlignmentFlag.AlignCenter, text)

    def scale(self, values: Sequence[float]) -> None:
        """Choose the range and write it down."""
        low, high = min(values), max(values)
        room = (high - low or abs(high) or 1) * ROOM
        self._low, self._high = low - room, high + room
        painter, inner = self._painter, self._inner
        painter.setPen(QPen(self._faint, 1))
        painter.drawLine(inner.bottomLeft(), inner.bottomRight())
        painter.drawLine(inner.topLeft(), inner.bottomLeft())
        painter.setPen(self._ink)
        for value in (low, high):
            y = self._at(0, value).y()
            box = QRectF(0, y - self._line_height / 2, self._left - 4, self._line_height)
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(box, right, f"{value:.3g}")

    def level(self, value: float, name: str, style: Qt.PenStyle) -> None:
        painter, inner = self._painter, self._inner
        y = self._at(0, value).y()
        painter.setPen(QPen(self._faint, 1, style))
        painter.drawLine(QPointF(inner.left(), y), QPointF(inner.right(), y))
        painter.setPen(self._ink)
        painter.drawText(QPointF(inner.right() + 4, y + self._line_height / 3), name)

    def steps(self) -> None:
        """Numbers of steps under the axis."""
        painter, inner = self._painter, self._inner
        painter.setPen(self._ink)
        for tick in range(TICKS):
            step = round(self._last * tick / (TICKS - 1))
            text = "step 0" if not tick else str(step)
            wide = QFontMetricsF(painter.font()).horizontalAdvance(text)
            x = self._at(step, self._low).x() - wide * tick / (TICKS - 1)
            painter.drawText(QPointF(x, inner.bottom() + self._line_height), text)

    def line(self, points: Points, color: QColor, width: float) -> None:
        self._painter.setPen(QPen(color, width))
        self._painter.drawPolyline(QPolygonF([self._at(*point) for point in self._fewer(points)]))

    def dots(self, points: Points, color: QColor) -> None:
        self._painter.setPen(Qt.PenStyle.NoPen)
        self._painter.setBrush(color)
        for point in points:
            self._painter.drawEllipse(self._at(*point), 3, 3)

    def ring(self, point: tuple[int, float]) -> None:
        self._painter.setPen(QPen(self._ink, 1.5))
        self._painter.setBrush(Qt.BrushStyle.NoBrush)
        self._painter.drawEllipse(self._at(*point), 6, 6)

    def _fewer(self, points: Points) -> Points:
        """No more than two on a pixel."""
        stride = max(1, len(points) // max(1, round(2 * self._inner.width())))
        return points[::stride]

    def _at(self, step: int, value: float) -> QPointF:
        inner = self._inner
        share = (value - self._low) / (self._high - self._low)
        return QPointF(
            inner.left() + inner.width() * step / self._last,
            inner.bottom() - inner.height() * share,
        )
