"""ColorizeView, one anywidget that needs neither an event loop nor the widgets of a box."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from recorder import SOON

from napari_colorize.jupyter import ColorizeView


@pytest.fixture
def view_of(tiny_colorizer):
    """Open a view with a small, fast model."""
    views = []

    def opened(source=None, **options):
        views.append(ColorizeView(source, model=tiny_colorizer, **options))
        return views[-1]

    yield opened
    for view in views:
        view.close()


def test_results_are_shown_without_a_loop_and_without_waiting(view_of, photo):
    shown = threading.Event()
    view = view_of()
    view.observe(lambda change: shown.set() if change["new"] else None, "chroma")

    view.source = photo

    assert shown.wait(SOON) and view.size == [96, 128]


def test_the_browser_changes_settings_from_any_thread(view_of, photo):
    view = view_of(photo)
    assert view.wait(SOON)

    for state in ({"saturation": 2.0}, {"render_factor": 7}, {"self_attention": False}):
        thread = threading.Thread(target=view.set_state, args=(state,))
        thread.start()
        thread.join()
    assert view.wait(SOON)

    used = view.result.settings
    assert (used.saturation, used.render_factor, used.self_attention) == (2.0, 7, False)


def test_code_changes_settings_and_the_controls_follow(view_of, photo, tiny_colorizer):
    view = view_of(photo, saturation=1.5)
    assert view.saturation == 1.5

    view.set_settings(render_factor=6)
    assert view.wait(SOON)

    assert view.render_factor == 6
    expected = tiny_colorizer(photo, saturation=1.5, render_factor=6)
    np.testing.assert_array_equal(view.result.pixels, expected.pixels)


def test_many_threads_end_in_step(view_of, photo):
    view = view_of(photo)

    def move(seed):
        for value in np.random.default_rng(seed).integers(0, 80, 100) / 20:
            view.set_state({"saturation": float(value)})

    threads = [threading.Thread(target=move, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert view.wait(SOON)

    assert view.saturation == view.settings.saturation == view.result.settings.saturation


@pytest.mark.parametrize(
    "source", ["typo.png", np.zeros(7), {"a": 1}], ids=["path", "axis", "dict"]
)
def test_a_source_that_cannot_be_opened_changes_nothing(view_of, photo, source):
    view = view_of(photo)
    assert view.wait(SOON)
    result = view.result

    view.source = source

    assert view.source is photo and view.result is result and view.message


def test_the_controls_are_in_the_view(open_view, view_of, photo):
    view = view_of(photo)
    assert view.wait(SOON)
    page = open_view(view.result, view=view)

    page.page.get_by_label("Render factor").fill("20")
    page.page.get_by_label("Render factor").press("Enter")
    page.page.get_by_label("Self-attention").uncheck()
    page.page.get_by_label("Saturation").fill("0")
    page.settle()

    values = [page.get(name) for name in ("render_factor", "self_attention", "saturation")]
    assert values == [20, False, 0]
    assert max(page.pixel(0.8, 0.5)) - min(page.pixel(0.8, 0.5)) <= 1  # composed in the browser
    page.set("message", "A sentence.")
    assert page.page.get_by_role("status").inner_text() == "A sentence."
