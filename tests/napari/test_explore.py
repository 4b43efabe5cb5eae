"""The explore panel, used as a person would: ask by clicking, judge, compare, close."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from stand_ins import HandedNetwork, TintNetwork, colorizer_of

from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.explore import ExploreWidget
from napari_colorize.napari.explore.overlay_layer import camera_of
from napari_colorize.napari.explore.panel import RENDER_FACTOR
from napari_colorize.session.words import attention_in_words, share_that_says_half


@pytest.fixture
def explore(settle) -> Iterator[Callable[[Any], ExploreWidget]]:
    """Opens the panel in a viewer, as its menu does, and waits for the first picture."""
    opened = []

    def panel(viewer: Any) -> ExploreWidget:
        widget = ExploreWidget(viewer)
        viewer.window.add_dock_widget(widget, name="Explore")
        opened.append(widget.controller)
        settle(widget.controller)
        return widget

    yield panel
    for controller in opened:
        controller.close()


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


def pixel(viewer: Any, row: float, column: float) -> QPoint:
    """Where a place of the world, in a flat view, is on the canvas."""
    canvas, camera = viewer.window._qt_viewer.canvas.native, camera_of(viewer)
    down, across = np.subtract((row, column), camera.center[-2:]) * camera.zoom
    return QPoint(round(canvas.width() / 2 + across), round(canvas.height() / 2 + down))


def test_half_is_said_by_the_fewest_places_that_say_it():
    weights = np.array([[0.1, 0.4], [0.3, 0.2]], np.float32)

    assert share_that_says_half(weights) == 0.5
    assert share_that_says_half(np.eye(10, dtype=np.float32)[:1]) == 0.1


def test_what_is_said_of_a_map_has_its_point():
    said = attention_in_words((7, 9), np.full((20, 20), 1 / 400, np.float32))

    assert said == "Row 7, column 9 hears half of it from 50 % of the picture."


def test_a_click_shows_where_attention_looks(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.waitExposed(canvas)

    callbacks = list(viewer.mouse_drag_callbacks)
    panel.attend.click()
    asked = []
    panel.controller.attention_ready.connect(asked.append)
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=pixel(viewer, 80, 120))
    qtbot.waitUntil(lambda: panel.attention.layer is not None, timeout=60_000)

    (told,) = asked
    assert np.abs(np.subtract(told.point, (80, 120))).max() <= 2
    overlay = viewer.layers["p (attention)"]
    np.testing.assert_array_equal(overlay.data, told.weights)
    np.testing.assert_allclose(overlay.scale, 256 / np.array(told.weights.shape))
    assert "hears half of it" in panel.attention_said.text()

    panel.attend.click()
    assert names(viewer) == ["p", "p (colorized)"]
    assert viewer.mouse_drag_callbacks == callbacks


def test_a_drag_asks_nothing(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    canvas = viewer.window._qt_viewer.canvas.native
    panel.attend.click()

    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=pixel(viewer, 80, 120))
    qtbot.mouseMove(canvas, pixel(viewer, 100, 140))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=pixel(viewer, 100, 140))

    assert names(viewer) == ["p", "p (colorized)"]


def test_a_place_beside_the_picture_is_told(make_napari_viewer, photo, explore):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = explore(viewer)
    panel.attend.click()

    panel.attention.ask(np.array([-3.0, 10.0]))

    assert "beside what is colorized" in panel.attention_said.text()


def test_attention_is_asked_again_of_another_plane(
    make_napari_viewer, stack, explore, qtbot, settle
):
    viewer = make_napari_viewer()
    viewer.add_image(stack, name="s", translate=(5, 0, 0))
    panel = explore(viewer)
    panel.attend.click()
    panel.attention.ask(np.array([40.0, 50.0]))
    qtbot.waitUntil(lambda: panel.attention.layer is not None, timeout=60_000)

    viewer.dims.set_current_step(0, 2)
    overlay = panel.attention.layer
    qtbot.waitUntil(lambda: overlay.data_to_world((0, 0, 0))[0] == 7, timeout=60_000)

    assert overlay.data.shape[0] == 1 and overlay is viewer.layers["s (attention)"]


def test_a_model_without_attention_says_so(make_napari_viewer, photo, explore, qtbot, settle):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = explore(viewer)
    panel.attend.click()
    panel.attention.ask(np.array([40.0, 50.0]))
    qtbot.waitUntil(lambda: panel.attention.layer is not None, timeout=60_000)

    panel.controller.session.model = colorizer_of(TintNetwork())
    qtbot.waitUntil(lambda: "has no self-attention" in panel.attention_said.text(), timeout=60_000)

    assert not panel.attention.layer.visible  # it was another model's


def test_the_expected_error_is_laid_over_and_follows(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p", scale=(2, 2))
    panel = explore(viewer)
    told = []
    panel.controller.expected_error_ready.connect(lambda result, errors: told.append(errors))

    panel.judge.click()
    qtbot.waitUntil(lambda: len(told) == 1, timeout=60_000)
    layer = viewer.layers["p (expected error)"]
    np.testing.assert_array_equal(layer.data, told[0])
    assert tuple(layer.contrast_limits) == (0, 25) and tuple(layer.scale) == (2, 2)

    panel.controller.set_settings(saturation=0.0)
    qtbot.waitUntil(lambda: len(told) == 2, timeout=60_000)
    np.testing.assert_array_equal(layer.data, told[1])
    assert np.abs(told[1] - told[0]).max() > 1


def test_the_disagreement_is_laid_over_and_follows(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p", scale=(2, 2))
    panel = explore(viewer)
    told = []
    panel.controller.disagreement_ready.connect(told.append)

    panel.ask_otherwise.click()
    qtbot.waitUntil(lambda: len(told) == 1, timeout=60_000)
    layer = viewer.layers["p (disagreement)"]
    np.testing.assert_array_equal(layer.data, told[0].map)
    assert tuple(layer.contrast_limits) == (0, 25) and tuple(layer.scale) == (2, 2)
    half, most = np.quantile(told[0].map, (0.5, 0.9))
    said = f"differs by less than {half:.0f}, a tenth by more than {most:.0f}."
    assert panel.doubt_said.text().endswith(said) and half > 0.2

    panel.controller.set_settings(saturation=0.0)
    qtbot.waitUntil(lambda: len(told) == 2, timeout=60_000)
    assert layer.data.max() < 0.01  # gray agrees with gray
    panel.ask_otherwise.click()
    assert names(viewer) == ["p", "p (colorized)"] and panel.doubt_said.text() == ""


def test_what_got_no_colour_is_marked(make_napari_viewer, explore, qtbot):
    viewer = make_napari_viewer()
    controller = get_controller(viewer)
    controller.session.model = colorizer_of(HandedNetwork())
    viewer.add_image(np.full((80, 120), 128, np.uint8), name="p", contrast_limits=(0, 255))
    panel = explore(viewer)

    panel.find_pale.click()
    qtbot.waitUntil(lambda: panel.pale.layer is not None, timeout=60_000)

    marked = panel.pale.layer.data  # all but the lower left quarter
    assert marked[:35].all() and marked[:, 70:].all() and not marked[45:, :50].any()
    assert panel.pale_said.text().startswith(f"{marked.mean():.0%}".replace("%", " % of"))
    panel.find_pale.click()
    assert names(viewer) == ["p", "p (colorized)"]


def test_comparing_ends_what_lies_over_one_picture(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    panel.draw.click()
    assert "p (curtain)" in names(viewer)

    panel.kind.setCurrentIndex(RENDER_FACTOR)
    panel.compare.click()
    qtbot.waitUntil(lambda: panel.comparison.layer is not None, timeout=60_000)
    assert names(viewer) == ["p (colorized)", "p (B: render factor 24)", "p"]

    panel.draw.click()
    assert names(viewer) == ["p", "p (colorized)", "p (before)", "p (curtain)"]
    assert not panel.compare.isChecked()


def test_the_slider_and_the_line_say_the_same(make_napari_viewer, photo, explore):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    panel.draw.click()

    panel.place.setValue(250)
    assert viewer.layers["p (before)"].data.shape == (256, 64)
    panel.curtain.move_to(0.75)
    assert panel.place.value() == 750

    viewer.layers.remove("p (before)")
    assert not panel.draw.isChecked()


def test_with_no_picture_it_says_what_to_do(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    panel = ExploreWidget(viewer)
    qtbot.addWidget(panel)

    panel.compare.click()

    assert "wait for the first picture" in panel.comparison_said.text()
    assert not panel.compare.isChecked() and "Choose a gray image" in panel.of.text()
    panel.controller.close()


def test_closing_the_panel_takes_its_layers_away(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    panel.draw.click()

    with qtbot.waitSignal(panel.destroyed):
        viewer.window.remove_dock_widget(panel)
        panel.deleteLater()

    assert names(viewer) == ["p", "p (colorized)"]
    assert panel.controller.is_closed


@pytest.mark.parametrize(
    "tool", ["draw", "attend", "judge", "ask_otherwise", "find_pale", "compare"]
)
def test_the_viewer_can_close_while_a_tool_is_on(make_napari_viewer, photo, explore, qtbot, tool):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    getattr(panel, tool).click()
    if tool == "attend":
        panel.attention.ask(np.array([40.0, 50.0]))

    with qtbot.captureExceptions() as raised:
        viewer.close()
        qtbot.wait(0)

    assert raised == []
