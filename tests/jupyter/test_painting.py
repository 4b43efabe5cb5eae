"""Hints painted into the view: the brush in a real browser, and what the kernel makes of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_colorize.jupyter import paint, transfer
from napari_colorize.jupyter.painting import Painting
from napari_colorize.jupyter.view import BRUSH, ERASER, ImageView
from napari_colorize.refine.hints import Hints

INK = "#3070d0"
BLUE = [0x30, 0x70, 0xD0]


@pytest.fixture
def result(tiny_colorizer):
    """Dark on the left, bright on the right; uint8 (60, 90), shown at 400 x 267."""
    return tiny_colorizer(np.tile(np.linspace(20, 235, 90), (60, 1)).astype(np.uint8))


@pytest.fixture
def open_painted(open_view, result):
    """Opens the view with the brush in the hand."""

    def opened():
        page = open_view(result)
        page.set("ink", INK)
        page.set("brush", 20)
        page.set("tool", BRUSH)
        return page

    return opened


def pixels(shape, *places):
    """Paint `(*shape, 4)` with a blue pixel at each of these places."""
    rgba = np.zeros((*shape, 4), np.uint8)
    for place in places:
        rgba[place] = (*BLUE, 255)
    return rgba


# In the browser


def test_a_stroke_has_the_brushs_colour_and_size_and_nothing_in_between(open_painted):
    page = open_painted()

    page.drag((0.2, 0.5), (0.3, 0.5))

    rgba = page.paint()
    assert rgba.shape == (60, 90, 4)
    assert {tuple(pixel) for pixel in rgba.reshape(-1, 4)} == {(*BLUE, 255), (0, 0, 0, 0)}
    rows, columns = np.nonzero(rgba[..., 3])
    assert (rows.min(), rows.max()) == (28, 31)  # 20 of 400 pixels are 4.5 of 90
    assert (columns.min(), columns.max()) == (16, 28)


def test_strokes_lie_over_gray_and_over_colours_until_these_have_them(open_painted, result):
    page = open_painted()
    page.drag((0.1, 0.5), (0.9, 0.5))
    assert page.pixel(0.3, 0.5) == page.pixel(0.7, 0.5) == BLUE

    page.paint()
    page.show(result.with_(shadows=0.1))
    assert page.pixel(0.3, 0.5) == BLUE != page.pixel(0.7, 0.5)
    page.set("tool", ERASER)
    assert page.pixel(0.7, 0.5) == BLUE  # to be seen and rubbed out
    page.set("tool", 0)
    assert BLUE not in (page.pixel(0.3, 0.5), page.pixel(0.7, 0.5))


def test_the_eraser_rubs_out_what_it_touches(open_painted):
    page = open_painted()
    page.drag((0.1, 0.5), (0.5, 0.5))
    whole = page.paint()

    page.set("tool", ERASER)
    page.drag((0.3, 0.2), (0.3, 0.8))

    left = page.paint()
    assert not left[:, 25:29].any()
    np.testing.assert_array_equal(left[:, :23], whole[:, :23])
    np.testing.assert_array_equal(left[:, 31:], whole[:, 31:])


def test_the_brush_leaves_the_divider_alone_but_for_its_grip(open_painted):
    page = open_painted()

    page.drag((0.5, 0.2), (0.8, 0.2))
    assert page.get("divider") == 0.5 and page.paint()[12, 45:70, 3].all()

    before = page.paint()
    page.drag((0.5, 0.5), (0.8, 0.5))
    assert page.get("divider") == pytest.approx(0.8, abs=0.01)
    np.testing.assert_array_equal(page.paint(), before)


def test_alt_takes_a_colour_up(open_painted):
    page = open_painted()
    page.drag((0.1, 0.5), (0.2, 0.5))
    before = page.paint()
    there = "#{:02x}{:02x}{:02x}".format(*page.pixel(0.75, 0.25))

    page.page.keyboard.down("Alt")
    page.page.mouse.click(*page.place(0.75, 0.25))
    page.page.keyboard.up("Alt")

    picked = page.get("ink")
    away = [int(picked[at : at + 2], 16) - int(there[at : at + 2], 16) for at in (1, 3, 5)]
    assert np.abs(away).max() <= 3  # drawn, pixels are joined
    np.testing.assert_array_equal(page.paint(), before)


def test_what_the_kernel_painted_is_shown_and_painted_on(open_painted):
    page = open_painted()
    page.view.lay_paint(paint.to_png(pixels((60, 90), np.s_[40:50, 10:20])))
    page.page.evaluate("(state) => model.set('paint', whole(state).paint)", page.state())
    page.wait_pixel(15 / 90, 45 / 60, BLUE)

    page.drag((0.1, 0.2), (0.3, 0.2))

    assert page.paint()[45, 15].tolist() == [*BLUE, 255] == page.paint()[12, 18].tolist()


# In the kernel


@pytest.fixture
def painting():
    """A panel, its view with a picture (60, 90), and what it told."""
    view = ImageView()
    view._result = SimpleNamespace(plane=SimpleNamespace(gray=np.zeros((60, 90))))
    made = Painting(view)
    told: list[Hints | None] = []
    made.changed.connect(told.append)
    return made, view, told


def send(view, rgba, stroke):
    """As a browser does it."""
    view.set_state({"paint": memoryview(paint.to_png(rgba)), "stroke": stroke})


def test_strokes_become_hints_of_their_pixels_and_colours(painting):
    _, view, told = painting

    send(view, pixels((60, 90), np.s_[10:12, 20:30]), 1)

    (hints,) = told
    assert np.argwhere(hints.mask).min(0).tolist() == [10, 20] and hints.mask.sum() == 20
    np.testing.assert_allclose(hints.rgb[hints.mask], np.tile(BLUE, (20, 1)) / 255, atol=1e-6)


def test_strokes_are_undone_one_by_one_however_often_they_were_sent(painting):
    made, view, told = painting
    first, begun, done = (pixels((60, 90), np.s_[4, 4 : 4 + length]) for length in (3, 6, 9))
    for rgba, stroke in ((first, 1), (begun, 2), (done, 2)):
        send(view, rgba, stroke)

    made.undo.click()
    assert told[-1].mask.sum() == 3
    np.testing.assert_array_equal(paint.from_png(view.paint, (60, 90)), first)
    made.undo.click()

    assert told[-1] is None and view.paint == b"" and made.undo.disabled


def test_all_strokes_are_cleared_and_brought_back(painting):
    made, view, told = painting
    send(view, pixels((60, 90), np.s_[4, 4:9]), 1)

    made.clear_all.click()
    assert told[-1] is None and view.paint == b"" and made.clear_all.disabled
    made.undo.click()

    assert told[-1].mask.sum() == 5


def test_hints_from_code_are_shown_and_painting_adds_to_them(painting):
    made, view, told = painting
    mask = np.zeros((60, 90), bool)
    mask[7, 7] = True
    made.show(Hints(mask, np.ones((60, 90, 3), np.float32)))
    shown = paint.from_png(view.paint, (60, 90))
    assert told == [] and shown[7, 7].tolist() == [255] * 4

    shown[30, 40:45] = (*BLUE, 255)
    send(view, shown, 1)

    assert told[-1].mask.sum() == 6 and told[-1].rgb[7, 7].tolist() == [1, 1, 1]


def test_in_a_larger_picture_strokes_grow_and_finer_hints_stay(painting, monkeypatch):
    monkeypatch.setattr(transfer, "MOST", 60 * 90 // 9)
    made, view, told = painting
    mask = np.zeros((60, 90), bool)
    mask[8, 8] = True
    made.show(Hints(mask, np.ones((60, 90, 3), np.float32)))
    shown = paint.from_png(view.paint, (20, 30))
    assert shown.shape == (20, 30, 4) and shown[2, 2, 3] == 255  # however small, it is seen

    shown[10, 10:12] = (*BLUE, 255)
    send(view, shown, 1)

    hints = told[-1]
    assert hints.mask[30:33, 30:36].all() and hints.mask.sum() == 18 + 1
    assert hints.mask[8, 8] and hints.rgb[8, 8].tolist() == [1, 1, 1]


def test_a_swatch_takes_the_brush_into_the_hand(painting):
    made, view, _ = painting
    swatch = next(
        one for one in made.children[2].children if "sky" in str(getattr(one, "tooltip", ""))
    )

    swatch.click()

    assert view.tool == BRUSH and view.ink == made.ink.value == "#7fb2e5"
