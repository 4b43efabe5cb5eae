"""What a training has reached so far, as two curves over its steps: a picture in SVG."""

from __future__ import annotations

from typing import Any

from napari_colorize.finetune.curves import Points, smooth

WIDTH, HEIGHT = 640, 120  # of one of the two
LEFT, RIGHT, TOP, BOTTOM = 48, 40, 26, 18  # of them without a curve
ERROR_COLOR, LOSS_COLOR = "#e8833a", "#4aa3df"  # the colour-blind tell them apart, too
ROOM = 0.08  # of the range, above and below a curve


class Curves:
    """Above, the colour error on pictures held back; below, the loss on those it learns from."""

    def __init__(self) -> None:
        self.losses: Points = []
        self.errors: Points = []
        self.gray: float | None = None  # the error of no colour
        self.steps = 1
        self._measures: dict[int, float] = {}  # which decide what is best

    def hear(self, event: dict[str, Any]) -> bool:
        """Take in one event of a training; whether there is something new to see."""
        kind, step = event["event"], event.get("step", 0)
        if kind == "start":
            self.steps = event["steps"]
            self.losses = [point for point in self.losses if point[0] <= step]
            self.errors = [point for point in self.errors if point[0] <= step]
        elif kind == "step":
            self.losses.append((step, event["losses"].get("G", 0.0)))
        elif kind == "validation":
            self.errors = [point for point in self.errors if point[0] != step]
            self.errors.append((step, event["validation_ciede2000"]))
            self.gray = event["validation_ciede2000_gray"]
            self._measures[step] = event["validation_measure"]
        return kind in ("start", "step", "validation")

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and error of the best so far, as the training judges."""
        return min(self.errors, key=lambda point: self._measures[point[0]], default=None)

    def svg(self) -> str:
        """Both, one above the other."""
        last = max([self.steps, *(step for step, _ in [*self.losses[-1:], *self.errors[-1:]])])
        parts = [*self._errors(last), f'<g transform="translate(0 {HEIGHT})">']
        parts += [*self._losses(last), "</g>"]
        return (
            f'<svg viewBox="0 0 {WIDTH} {2 * HEIGHT}" role="img" style="width:100%;max-width:'
            f'{WIDTH}px;font:12px sans-serif" fill="currentColor" stroke-width="1">'
            f"<title>Colour error and loss</title>{''.join(parts)}</svg>"
        )

    def _errors(self, last: int) -> list[str]:
        title = _title("Colour error (CIEDE2000) on pictures held back", ERROR_COLOR)
        if not self.errors:
            return [title, _text(LEFT, HEIGHT / 2, "comes with the first look at them")]
        base = self.errors[0][1]
        levels = [base, *([] if self.gray is None else [self.gray])]
        plot = _Plot([error for _, error in self.errors] + levels, last)
        parts = [title, plot.axes(), plot.level(base, "base", "6 3")]
        if self.gray is not None:
            parts.append(plot.level(self.gray, "gray", "1 3"))
        parts.append(plot.line(self.errors, ERROR_COLOR, 2))
        parts += [plot.dot(point, 3, f'fill="{ERROR_COLOR}"') for point in self.errors]
        if self.best is not None:
            parts.append(plot.dot(self.best, 6, 'fill="none" stroke="currentColor"'))
        return parts

    def _losses(self, last: int) -> list[str]:
        title = _title("Loss while learning", LOSS_COLOR)
        if not self.losses:
            return [title, _text(LEFT, HEIGHT / 2, "comes with the first steps")]
        plot = _Plot([loss for _, loss in self.losses], last)
        return [
            title,
            plot.axes(),
            plot.line(self.losses, LOSS_COLOR, 1, 'stroke-opacity="0.5"'),
            plot.line(smooth(self.losses), LOSS_COLOR, 2),
            _text(LEFT, HEIGHT - 4, "step 0"),
            _text(WIDTH - RIGHT, HEIGHT - 4, str(last), 'text-anchor="end"'),
        ]


class _Plot:
    """One pair of axes."""

    def __init__(self, values: list[float], last: int) -> None:
        self._values, self._last = (min(values), max(values)), last
        low, high = self._values
        room = (high - low or abs(high) or 1) * ROOM
        self._low, self._high = low - room, high + room

    def axes(self) -> str:
        """The axes, and between which values the curve goes."""
        corner = f"M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"
        numbers = [
            _text(LEFT - 6, self._y(value) + 4, f"{value:.3g}", 'text-anchor="end"')
            for value in dict.fromkeys(self._values)
        ]
        return f'<path d="{corner}" fill="none" stroke="currentColor" stroke-opacity="0.5"/>' + (
            "".join(numbers)
        )

    def level(self, value: float, name: str, dashes: str) -> str:
        y = self._y(value)
        line = f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="currentColor"'
        return f'{line} stroke-opacity="0.5" stroke-dasharray="{dashes}"/>' + (
            _text(WIDTH - RIGHT + 4, y + 4, name)
        )

    def line(self, points: Points, color: str, width: float, more: str = "") -> str:
        stride = max(1, len(points) // (2 * WIDTH))  # no more than two on a pixel
        places = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points[::stride])
        return (
            f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="{width}" '
            f"{more}/>"
        )

    def dot(self, point: tuple[int, float], radius: float, look: str) -> str:
        x, y = self._x(point[0]), self._y(point[1])
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {look}/>'

    def _x(self, step: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / self._last

    def _y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _title(text: str, color: str) -> str:
    return f'<circle cx="6" cy="10" r="4" fill="{color}"/>' + _text(16, 14, text)


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{text}</text>'
