"""Small line charts as inline SVG, in the ink of the page they stand on."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

# Colours that stay apart for most colour-blind eyes, on white and on black (Wong 2011, eased).
LINES = ("#0b84c6", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#7a6ff0")
Points = Sequence[tuple[float, float]]
CHART = (560, 320)  # px
PAD = (60, 16, 130, 44)  # px: left, top, right (names of the lines), bottom


def chart(
    lines: dict[str, list[tuple[float, float]]],
    x_label: str,
    y_label: str,
    *,
    mark: tuple[float, float] | None = None,
    ideal: Points = (),
) -> str:
    """Lines of points as inline SVG, named at the right; `mark` is a ring, `ideal` is dashed."""
    lines = {
        name: [point for point in line if all(map(math.isfinite, point))]
        for name, line in lines.items()
    }
    everything = [*(point for line in lines.values() for point in line), *ideal]
    if mark is not None:
        everything.append(mark)
    axes = _Axes(everything)
    parts = [axes.frame(x_label, y_label)]
    if ideal:
        parts.append(
            f'<polyline points="{axes.points(ideal)}" fill="none" class="axis" '
            'stroke-dasharray="4 4"/>'
        )
    for number, (name, line) in enumerate(lines.items()):
        parts.append(_line(axes, name, line, number))
    if mark is not None:
        x, y = axes.place(mark)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="none" class="axis"/>')
    width, height = CHART
    return (
        f'<svg role="img" aria-label="{html.escape(y_label)} over {html.escape(x_label)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        + "".join(parts)
        + "</svg>"
    )


def _line(axes: _Axes, name: str, line: Points, number: int) -> str:
    color = LINES[number % len(LINES)]
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>'
        for x, y in map(axes.place, line)
    )
    top = PAD[1] + 14 + 18 * number
    left = CHART[0] - PAD[2] + 10
    return (
        f'<polyline points="{axes.points(line)}" fill="none" stroke="{color}" stroke-width="2"/>'
        f'{dots}<circle cx="{left}" cy="{top - 4}" r="4" fill="{color}"/>'
        f'<text x="{left + 10}" y="{top}">{html.escape(name[:18])}</text>'
    )


class _Axes:
    """Where values lie on a chart."""

    def __init__(self, points: Points) -> None:
        xs, ys = zip(*points, strict=True)
        self.x, self.y = _ticks(min(xs), max(xs)), _ticks(min(ys), max(ys))

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        """Pixels from the left and from the top."""
        left, top, right, bottom = PAD
        across = (point[0] - self.x[0]) / (self.x[-1] - self.x[0])
        up = (point[1] - self.y[0]) / (self.y[-1] - self.y[0])
        width, height = CHART[0] - left - right, CHART[1] - top - bottom
        return left + across * width, top + (1 - up) * height

    def points(self, line: Points) -> str:
        """As a polyline has them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.place, line))

    def frame(self, x_label: str, y_label: str) -> str:
        """Ticks with their rules, and the names of both axes."""
        left, top, right, bottom = PAD
        width, height = CHART
        parts = []
        for value in self.x:
            x, _ = self.place((value, self.y[0]))
            parts.append(
                f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{value:g}'
                "</text>"
            )
        for value in self.y:
            _, y = self.place((self.x[0], value))
            parts.append(
                f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" class="rule"/>'
                f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
            )
        middle = (left + width - right) / 2
        parts.append(
            f'<text x="{middle}" y="{height - 8}" text-anchor="middle">{html.escape(x_label)}'
            "</text>"
        )
        height_middle = (top + height - bottom) / 2
        parts.append(
            f'<text transform="translate(14 {height_middle}) rotate(-90)" text-anchor="middle">'
            f"{html.escape(y_label)}</text>"
        )
        return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers that enclose a range."""
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]
