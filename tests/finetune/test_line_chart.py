from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from napari_colorize.finetune.line_chart import (
    Chart,
    Level,
    Line,
    named_lines,
    render_svg,
    round_ticks,
)


def elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(tag))


def points_of(line: ElementTree.Element) -> list[tuple[float, ...]]:
    return [tuple(map(float, point.split(","))) for point in line.get("points").split()]


def test_larger_values_are_further_right_and_higher():
    svg = render_svg(Chart(lines=named_lines({"a": [(0.0, 1.0), (2.0, 3.0)]})))

    (line,) = elements(svg, "polyline")
    (x1, y1), (x2, y2) = points_of(line)
    assert x1 < x2 and y1 > y2


def test_points_that_are_not_finite_are_left_out():
    lines = named_lines({"a": [(0.0, 1.0), (1.0, float("nan")), (2.0, 3.0)]})

    (line,) = elements(render_svg(Chart(lines=lines)), "polyline")

    assert len(points_of(line)) == 2


def test_labels_and_names_are_escaped():
    chart = Chart(lines=named_lines({"<a>": [(0.0, 1.0)]}), x_label="x", y_label="y & z")

    texts = {text.text for text in elements(render_svg(chart), "text")}

    assert {"<a>", "x", "y & z"} <= texts


def test_all_parts_are_inside_the_image():
    chart = Chart(
        title="title",
        lines=[Line(points=[(3.0, -5.0), (90.0, 7.0)], color="#000000", has_markers=True)],
        levels=[Level(value=12.0, name="level", dashes="1 3")],
        ring=(50.0, 2.0),
        reference=[(0.0, 0.0), (100.0, 10.0)],
    )

    svg = render_svg(chart, width=300, height=200)

    places = [point for line in elements(svg, "polyline") for point in points_of(line)]
    places += [(float(c.get("cx")), float(c.get("cy"))) for c in elements(svg, "circle")]
    places += [(float(t.get("x")), float(t.get("y"))) for t in elements(svg, "text")]
    assert all(0 <= x <= 300 and 0 <= y <= 200 for x, y in places)


def test_charts_below_each_other_have_the_same_horizontal_axis():
    line = Line(points=[(0.0, 1.0), (10.0, 2.0)], color="#000000")
    level = Level(value=1.5, name="base", dashes="6 3")

    svg = render_svg(
        Chart(lines=[line], levels=[level], x_range=(0, 10)), Chart(lines=[line], x_range=(0, 10))
    )

    first, second = elements(svg, "polyline")
    assert [x for x, _ in points_of(first)] == [x for x, _ in points_of(second)]


def test_names_of_close_levels_do_not_overlap():
    levels = [Level(value=value, name=str(value), dashes="1 3") for value in (10.0, 10.01)]
    line = Line(points=[(0.0, 0.0), (1.0, 20.0)], color="#000000")

    svg = render_svg(Chart(lines=[line], levels=levels))

    heights = [float(text.get("y")) for text in elements(svg, "text") if "10." in text.text]
    assert abs(heights[0] - heights[1]) >= 12


def test_a_long_line_has_at_most_two_points_per_pixel():
    line = Line(points=[(float(x), 0.0) for x in range(100_000)], color="#000000")

    (drawn,) = elements(render_svg(Chart(lines=[line]), width=300), "polyline")

    assert len(points_of(drawn)) <= 2 * 300


def test_the_ink_colors_text_and_axes():
    svg = render_svg(Chart(lines=named_lines({"a": [(0.0, 1.0)]})), ink="#123456")

    assert 'fill="#123456"' in svg and 'stroke="#123456"' in svg
    assert not re.search("currentColor", svg)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (18.3, 22.1), (5, 5), (-3e-5, 2e-5), (0, 1e6)])
def test_ticks_enclose_the_values_in_round_steps(low, high):
    ticks = round_ticks(low, high)

    assert ticks[0] <= low and ticks[-1] >= high
    assert 2 <= len(ticks) <= 9
    np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-6)
