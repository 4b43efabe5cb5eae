"""Line charts as SVG text, for the napari and Jupyter panels and for reports.

Only attributes that Qt's SVG Tiny renderer supports are used: no style sheets, no classes.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Distinguishable with most forms of color blindness, on white and on black (after Wong 2011).
PALETTE = ("#0b84c6", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#7a6ff0")
FONT_SIZE = 12  # px
MARGIN = 12  # px, at the right edge
TICK_WIDTH = 46  # px, left of the vertical axis
LEGEND_WIDTH = 142  # px, right of the plot if lines are named
LEVEL_WIDTH = 40  # px, right of the plot if only levels are named
LINE_HEIGHT = 18  # px
NAME_LENGTH = 18  # letters of a name in the legend

Point = tuple[float, float]
Points = Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A polyline; named lines are listed in a legend."""

    points: Points
    color: str
    name: str = ""
    width: float = 2.0  # px
    opacity: float = 1.0
    has_markers: bool = False


@dataclass(frozen=True, kw_only=True)
class Level:
    """A horizontal reference line with a name at its right end."""

    value: float
    name: str
    dashes: str  # as in stroke-dasharray


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Content of one pair of axes."""

    lines: Sequence[Line] = ()  # points with a coordinate that is not finite are left out
    title: str = ""  # above the plot, behind a dot in `color`
    x_label: str = ""
    y_label: str = ""
    levels: Sequence[Level] = ()
    ring: Point | None = None  # marked with a ring
    reference: Points = ()  # dashed line without a name
    x_range: tuple[float, float] | None = None  # default: round numbers around the data
    color: str = ""
    placeholder: str = ""  # displayed while there are no points


def named_lines(points: Mapping[str, Points]) -> list[Line]:
    """Lines with markers, one for each name, in the colors of `PALETTE`."""
    return [
        Line(points=line, name=name, color=PALETTE[number % len(PALETTE)], has_markers=True)
        for number, (name, line) in enumerate(points.items())
    ]


def render_svg(
    *charts: Chart, width: int = 560, height: int = 320, ink: str = "currentColor", alt: str = ""
) -> str:
    """Draw charts below each other.

    Parameters
    ----------
    *charts : Chart
        From top to bottom.
    width, height : int
        Size of the whole image in px.
    ink : str
        Color of text and axes.
    alt : str
        Description for screen readers. Default: made from the labels of the first chart.

    Returns
    -------
    str
        An `svg` element.
    """
    alt = alt or f"{charts[0].y_label} over {charts[0].x_label}"
    row = height / len(charts)
    right = width - MARGIN - max(map(_names_width, charts))  # horizontal axes of equal length
    drawn = "".join(
        f'<g transform="translate(0 {row * number:.1f})">{_Plot(chart, right, row, ink).svg()}</g>'
        for number, chart in enumerate(charts)
    )
    return (
        f'<svg role="img" aria-label="{html.escape(alt)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="{FONT_SIZE}" fill="{ink}">{drawn}</svg>'
    )


class _Plot:
    """One chart at a size: maps values to pixels and draws the parts."""

    def __init__(self, chart: Chart, right: float, height: float, ink: str) -> None:
        self._chart, self._right, self._ink = chart, right, ink
        self._lines = [
            (line, [point for point in line.points if all(map(math.isfinite, point))])
            for line in chart.lines
        ]
        self._left = TICK_WIDTH + (LINE_HEIGHT if chart.y_label else 0)
        self._top = LINE_HEIGHT * 1.4 if chart.title else LINE_HEIGHT / 2
        self._bottom = height - LINE_HEIGHT * (2.2 if chart.x_label else 1.2)
        self._x_ticks, self._y_ticks = self._set_ranges()

    def svg(self) -> str:
        """All parts of the chart."""
        chart = self._chart
        parts = [self._title()]
        if not self._y_ticks:
            x, y = (self._left + self._right) / 2, (self._top + self._bottom) / 2
            return "".join([*parts, _text(x, y, chart.placeholder, anchor="middle")])
        parts += [self._frame(), self._labels(), *self._levels()]
        if chart.reference:
            parts.append(self._polyline(chart.reference, self._ink, 1, 0.5, "4 4"))
        for number, (line, points) in enumerate(self._lines):
            parts += self._line(line, points, number)
        if chart.ring is not None:
            parts.append(_circle(*self._place(chart.ring), 6, "none", self._ink))
        return "".join(parts)

    def _set_ranges(self) -> tuple[list[float], list[float]]:
        """Set the ranges of both axes and return their ticks; no ticks without points."""
        chart = self._chart
        points = [*(point for _, line in self._lines for point in line), *chart.reference]
        points += [] if chart.ring is None else [chart.ring]
        if not points:
            return [], []
        xs, ys = zip(*points, strict=True)
        values = [*ys, *(level.value for level in chart.levels)]
        y_ticks = round_ticks(min(values), max(values))
        x_ticks = round_ticks(*(chart.x_range or (min(xs), max(xs))))
        self._x_range = chart.x_range or (x_ticks[0], x_ticks[-1])
        self._y_range = y_ticks[0], y_ticks[-1]
        return [x for x in x_ticks if self._x_range[0] <= x <= self._x_range[1]], y_ticks

    def _place(self, point: Point) -> Point:
        """Pixels from the left and from the top."""
        (x_low, x_high), (y_low, y_high) = self._x_range, self._y_range
        across = (point[0] - x_low) / ((x_high - x_low) or 1)
        up = (point[1] - y_low) / (y_high - y_low)
        return (
            self._left + across * (self._right - self._left),
            self._bottom - up * (self._bottom - self._top),
        )

    def _title(self) -> str:
        chart = self._chart
        if not chart.title:
            return ""
        dot = _circle(6, FONT_SIZE - 4, 4, chart.color) if chart.color else ""
        return dot + _text(16 if chart.color else 0, FONT_SIZE, chart.title)

    def _frame(self) -> str:
        """Tick labels and horizontal grid lines."""
        parts = []
        # Every second label where neighbors would touch each other.
        width = max(len(f"{value:g}") for value in self._x_ticks) * FONT_SIZE * 0.7
        gap = (self._right - self._left) / len(self._x_ticks)
        for value in self._x_ticks[:: 1 if gap >= width else 2]:
            x, _ = self._place((value, 0))
            parts.append(_text(x, self._bottom + 16, f"{value:g}", anchor="middle"))
        gap = (self._bottom - self._top) / (len(self._y_ticks) - 1)
        stride = 1 if gap >= FONT_SIZE else 2
        for number, value in enumerate(self._y_ticks):
            _, y = self._place((0, value))
            parts.append(self._rule(y, 0.5 if number == 0 else 0.2))
            if number % stride == 0:
                parts.append(_text(self._left - 6, y + 4, f"{value:g}", anchor="end"))
        return "".join(parts)

    def _rule(self, y: float, opacity: float, dashes: str = "") -> str:
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        return (
            f'<line x1="{self._left}" x2="{self._right}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{self._ink}" stroke-opacity="{opacity}"{dashed}/>'
        )

    def _labels(self) -> str:
        chart = self._chart
        parts = []
        if chart.x_label:
            middle = (self._left + self._right) / 2
            parts.append(_text(middle, self._bottom + 34, chart.x_label, anchor="middle"))
        if chart.y_label:
            y = (self._top + self._bottom) / 2
            rotated = _text(0, 0, chart.y_label, anchor="middle")
            parts.append(f'<g transform="translate(14 {y:.1f}) rotate(-90)">{rotated}</g>')
        return "".join(parts)

    def _levels(self) -> list[str]:
        parts = []
        name_y = self._bottom + FONT_SIZE  # above the labels of the horizontal axis
        for level in sorted(self._chart.levels, key=lambda level: level.value):
            _, y = self._place((0, level.value))
            parts.append(self._rule(y, 0.7, level.dashes))
            name_y = min(y + 4, name_y - FONT_SIZE)  # names of close levels do not overlap
            parts.append(_text(self._right + 4, name_y, level.name))
        return parts

    def _line(self, line: Line, points: Points, number: int) -> list[str]:
        parts = [self._polyline(points, line.color, line.width, line.opacity)] if points else []
        if line.has_markers:
            parts += [_circle(*self._place(point), 3, line.color) for point in points]
        if line.name:
            x, y = self._right + 12, self._top + LINE_HEIGHT * (number + 0.7)
            parts.append(_circle(x, y - 4, 4, line.color))
            parts.append(_text(x + 10, y, line.name[:NAME_LENGTH]))
        return parts

    def _polyline(
        self, points: Points, color: str, width: float, opacity: float, dashes: str = ""
    ) -> str:
        stride = max(1, len(points) // int(2 * (self._right - self._left)))  # two per px suffice
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self._place, points[::stride]))
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        return (
            f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="{width}" '
            f'stroke-opacity="{opacity}"{dashed}/>'
        )


def round_ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers that enclose a range."""
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    # 1e-9: a bound that is a tick up to rounding needs no further tick.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _names_width(chart: Chart) -> float:
    """Width right of the plot for a legend or for the names of levels, in px."""
    if any(line.name for line in chart.lines):
        return LEGEND_WIDTH
    return LEVEL_WIDTH if chart.levels else 0


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _circle(x: float, y: float, radius: float, fill: str, stroke: str = "none") -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{stroke}"/>'
