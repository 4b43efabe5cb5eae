"""Painted hints: the brush in a real browser, and the conversion to hints in the kernel."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_colorize.jupyter import browser_encoding, hint_pixels
from napari_colorize.jupyter.paint_panel import PaintPanel
from napari_colorize.jupyter.view import BRUSH, ERASER, ImageView
from napari_colorize.refine.hints import Hints

COLOR = "#3070d0"
BLUE = [0x30, 0x70, 0xD0]


@pytest.fixture
def result(tiny_colorizer):
    """Dark on the left, bright on the right; uint8 (60, 90), displayed at 400 x 267."""
    return tiny_colorizer(np.tile(np.linspace(20, 235, 90), (60, 1)).astype(np.uint8))


@pytest.fixture
def open_painted(open_view, result):
    """Open the view with the brush selected."""

    def opened():
        page = open_view(result)
        page.set("brush_color", COLOR)
        page.set("brush_size", 20)
        page.set("tool", BRUSH)
        return page

    return opened


def pixels(shape, *indices):
    """RGBA `(*shape, 4)` that is blue at these indices and transparent elsewhere."""
    rgba = np.zeros((*shape, 4), np.uint8)
    for index in indices:
        rgba[index] = (*BLUE, 255)
    return rgba


# Browser


def test_a_stroke_has_the_color_and_size_of_the_brush_without_blended_edges(open_painted):
    page = open_painted()

    page.drag((0.2, 0.5), (0.3, 0.5))

    rgba = page.paint()
    assert rgba.shape == (60, 90, 4)
    assert {tuple(pixel) for pixel in rgba.reshape(-1, 4)} == {(*BLUE, 255), (0, 0, 0, 0)}
    rows, columns = np.nonzero(rgba[..., 3])
    assert (rows.min(), rows.max()) == (28, 31)  # 20 of 400 pixels are 4.5 of 90
    assert (columns.min(), columns.max()) == (16, 28)


def test_strokes_are_drawn_over_color_only_until_the_result_contains_them(open_painted, result):
    page = open_painted()
    page.drag((0.1, 0.5), (0.9, 0.5))
    assert page.pixel(0.3, 0.5) == page.pixel(0.7, 0.5) == BLUE

    page.paint()
    page.show(result.with_(shadows=0.1))
    assert page.pixel(0.3, 0.5) == BLUE != page.pixel(0.7, 0.5)
    page.set("tool", ERASER)
    assert page.pixel(0.7, 0.5) == BLUE  # visible for erasing
    page.set("tool", 0)
    assert BLUE not in (page.pixel(0.3, 0.5), page.pixel(0.7, 0.5))


def test_the_eraser_removes_paint(open_painted):
    page = open_painted()
    page.drag((0.1, 0.5), (0.5, 0.5))
    before = page.paint()

    page.set("tool", ERASER)
    page.drag((0.3, 0.2), (0.3, 0.8))

    after = page.paint()
    assert not after[:, 25:29].any()
    np.testing.assert_array_equal(after[:, :23], before[:, :23])
    np.testing.assert_array_equal(after[:, 31:], before[:, 31:])


def test_with_the_brush_the_divider_moves_only_by_its_handle(open_painted):
    page = open_painted()

    page.drag((0.5, 0.2), (0.8, 0.2))
    assert page.get("divider") == 0.5 and page.paint()[12, 45:70, 3].all()

    before = page.paint()
    page.drag((0.5, 0.5), (0.8, 0.5))
    assert page.get("divider") == pytest.approx(0.8, abs=0.01)
    np.testing.assert_array_equal(page.paint(), before)


def test_alt_click_picks_a_color(open_painted):
    page = open_painted()
    page.drag((0.1, 0.5), (0.2, 0.5))
    before = page.paint()
    drawn = "#{:02x}{:02x}{:02x}".format(*page.pixel(0.75, 0.25))

    page.page.keyboard.down("Alt")
    page.page.mouse.click(*page.position(0.75, 0.25))
    page.page.keyboard.up("Alt")

    picked = page.get("brush_color")
    difference = [int(picked[at : at + 2], 16) - int(drawn[at : at + 2], 16) for at in (1, 3, 5)]
    assert np.abs(difference).max() <= 3  # drawn pixels are interpolated
    np.testing.assert_array_equal(page.paint(), before)


def test_paint_of_the_kernel_is_displayed_and_extended(open_painted):
    page = open_painted()
    page.view.show_paint(hint_pixels.to_png(pixels((60, 90), np.s_[40:50, 10:20])))
    page.page.evaluate("(state) => model.set('paint', withBytes(state).paint)", page.state())
    page.wait_pixel(15 / 90, 45 / 60, BLUE)

    page.drag((0.1, 0.2), (0.3, 0.2))

    assert page.paint()[45, 15].tolist() == [*BLUE, 255] == page.paint()[12, 18].tolist()


# Kernel


@pytest.fixture
def painting():
    """Panel, its view with an image (60, 90), and the emitted hints."""
    view = ImageView()
    view._result = SimpleNamespace(plane=SimpleNamespace(gray=np.zeros((60, 90))))
    panel = PaintPanel(view)
    emitted: list[Hints | None] = []
    panel.changed.connect(emitted.append)
    return panel, view, emitted


def send(view, rgba, stroke):
    """Set paint as the browser does."""
    view.set_state({"paint": memoryview(hint_pixels.to_png(rgba)), "stroke_count": stroke})


def test_strokes_become_hints_with_their_pixels_and_colors(painting):
    _, view, emitted = painting

    send(view, pixels((60, 90), np.s_[10:12, 20:30]), 1)

    (hints,) = emitted
    assert np.argwhere(hints.mask).min(0).tolist() == [10, 20] and hints.mask.sum() == 20
    np.testing.assert_allclose(hints.rgb[hints.mask], np.tile(BLUE, (20, 1)) / 255, atol=1e-6)


def test_undo_reverts_one_stroke_even_if_it_arrived_in_pieces(painting):
    panel, view, emitted = painting
    first, begun, done = (pixels((60, 90), np.s_[4, 4 : 4 + length]) for length in (3, 6, 9))
    for rgba, stroke in ((first, 1), (begun, 2), (done, 2)):
        send(view, rgba, stroke)

    panel.undo.click()
    assert emitted[-1].mask.sum() == 3
    np.testing.assert_array_equal(hint_pixels.from_png(view.paint, (60, 90)), first)
    panel.undo.click()

    assert emitted[-1] is None and view.paint == b"" and panel.undo.disabled


def test_clear_removes_all_strokes_and_can_be_undone(painting):
    panel, view, emitted = painting
    send(view, pixels((60, 90), np.s_[4, 4:9]), 1)

    panel.clear_all.click()
    assert emitted[-1] is None and view.paint == b"" and panel.clear_all.disabled
    panel.undo.click()

    assert emitted[-1].mask.sum() == 5


def test_hints_set_by_code_are_displayed_and_extended_by_painting(painting):
    panel, view, emitted = painting
    mask = np.zeros((60, 90), bool)
    mask[7, 7] = True
    panel.show(Hints(mask, np.ones((60, 90, 3), np.float32)))
    shown = hint_pixels.from_png(view.paint, (60, 90))
    assert emitted == [] and shown[7, 7].tolist() == [255] * 4

    shown[30, 40:45] = (*BLUE, 255)
    send(view, shown, 1)

    assert emitted[-1].mask.sum() == 6 and emitted[-1].rgb[7, 7].tolist() == [1, 1, 1]


def test_at_reduced_display_size_strokes_cover_full_pixels_and_finer_hints_stay(
    painting, monkeypatch
):
    monkeypatch.setattr(browser_encoding, "MAX_PIXELS", 60 * 90 // 9)
    panel, view, emitted = painting
    mask = np.zeros((60, 90), bool)
    mask[8, 8] = True
    panel.show(Hints(mask, np.ones((60, 90, 3), np.float32)))
    shown = hint_pixels.from_png(view.paint, (20, 30))
    assert shown.shape == (20, 30, 4) and shown[2, 2, 3] == 255  # a single hinted pixel is not lost

    shown[10, 10:12] = (*BLUE, 255)
    send(view, shown, 1)

    hints = emitted[-1]
    assert hints.mask[30:33, 30:36].all() and hints.mask.sum() == 18 + 1
    assert hints.mask[8, 8] and hints.rgb[8, 8].tolist() == [1, 1, 1]


def test_a_swatch_selects_the_brush_and_its_color(painting):
    panel, view, _ = painting
    swatch = next(
        one for one in panel.children[2].children if "sky" in str(getattr(one, "tooltip", ""))
    )

    swatch.click()

    assert view.tool == BRUSH and view.brush_color == panel.color.value == "#7fb2e5"
