"""The Explore panel, used with mouse clicks: attention, maps, comparison, curtain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from stand_ins import TintNetwork, UnevenNetwork, colorizer_of

from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.explore import ExploreWidget
from napari_colorize.napari.explore.overlay_layer import camera_of
from napari_colorize.napari.explore.panel import RENDER_FACTOR


@pytest.fixture
def explore(settle) -> Iterator[Callable[[Any], ExploreWidget]]:
    """Opens the panel in a viewer, as its menu does, and waits for the first result."""
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


def test_a_click_shows_the_attention_of_that_pixel(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.waitExposed(canvas, timeout=60_000)

    callbacks = list(viewer.mouse_drag_callbacks)
    panel.attention_button.click()
    answers = []
    panel.controller.events.attention_ready.connect(answers.append)
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=pixel(viewer, 80, 120))
    qtbot.waitUntil(lambda: panel.attention.layer is not None, timeout=60_000)

    (attention,) = answers
    assert np.abs(np.subtract(attention.point, (80, 120))).max() <= 2
    overlay = viewer.layers["p (attention)"]
    np.testing.assert_array_equal(overlay.data, attention.weights)
    np.testing.assert_allclose(overlay.scale, 256 / np.array(attention.weights.shape))
    assert "half of the attention" in panel.attention_message.text()

    panel.attention_button.click()
    assert names(viewer) == ["p", "p (colorized)"]
    assert viewer.mouse_drag_callbacks == callbacks


def test_a_drag_requests_no_map(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    canvas = viewer.window._qt_viewer.canvas.native
    panel.attention_button.click()

    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=pixel(viewer, 80, 120))
    qtbot.mouseMove(canvas, pixel(viewer, 100, 140))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=pixel(viewer, 100, 140))

    assert names(viewer) == ["p", "p (colorized)"]


def test_a_click_outside_the_image_is_reported(make_napari_viewer, photo, explore):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = explore(viewer)
    panel.attention_button.click()

    panel.attention.request(np.array([-3.0, 10.0]))

    assert "outside the colorized region" in panel.attention_message.text()


def test_attention_is_computed_again_for_another_plane(
    make_napari_viewer, stack, explore, qtbot, settle
):
    viewer = make_napari_viewer()
    viewer.add_image(stack, name="s", translate=(5, 0, 0))
    panel = explore(viewer)
    panel.attention_button.click()
    panel.attention.request(np.array([40.0, 50.0]))
    qtbot.waitUntil(lambda: panel.attention.layer is not None, timeout=60_000)

    viewer.dims.set_current_step(0, 2)
    overlay = panel.attention.layer
    qtbot.waitUntil(lambda: overlay.data_to_world((0, 0, 0))[0] == 7, timeout=60_000)

    assert overlay.data.shape[0] == 1 and overlay is viewer.layers["s (attention)"]


def test_a_model_without_attention_is_reported(make_napari_viewer, photo, explore, qtbot, settle):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = explore(viewer)
    panel.attention_button.click()
    panel.attention.request(np.array([40.0, 50.0]))
    qtbot.waitUntil(lambda: panel.attention.layer is not None, timeout=60_000)

    panel.controller.session.model = colorizer_of(TintNetwork())
    qtbot.waitUntil(
        lambda: "has no self-attention" in panel.attention_message.text(), timeout=60_000
    )

    assert not panel.attention.layer.visible  # it was another model's


def test_the_expected_error_follows_the_image(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p", scale=(2, 2))
    panel = explore(viewer)
    answers = []
    panel.controller.events.expected_error_ready.connect(
        lambda result, errors: answers.append(errors)
    )

    panel.expected_error_button.click()
    qtbot.waitUntil(lambda: len(answers) == 1, timeout=60_000)
    layer = viewer.layers["p (expected error)"]
    np.testing.assert_array_equal(layer.data, answers[0])
    assert tuple(layer.contrast_limits) == (0, 25) and tuple(layer.scale) == (2, 2)

    panel.controller.presenter.set_settings(saturation=0.0)
    qtbot.waitUntil(lambda: len(answers) == 2, timeout=60_000)
    np.testing.assert_array_equal(layer.data, answers[1])
    assert np.abs(answers[1] - answers[0]).max() > 1


def test_the_disagreement_follows_the_image(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p", scale=(2, 2))
    panel = explore(viewer)
    answers = []
    panel.controller.events.disagreement_ready.connect(answers.append)

    panel.disagreement_button.click()
    qtbot.waitUntil(lambda: len(answers) == 1, timeout=60_000)
    layer = viewer.layers["p (disagreement)"]
    np.testing.assert_array_equal(layer.data, answers[0].map)
    assert tuple(layer.contrast_limits) == (0, 25) and tuple(layer.scale) == (2, 2)
    half, most = np.quantile(answers[0].map, (0.5, 0.9))
    expected = f"half of the image is below {half:.0f}, a tenth above {most:.0f}."
    assert panel.disagreement_message.text().endswith(expected) and half > 0.2

    panel.controller.presenter.set_settings(saturation=0.0)
    qtbot.waitUntil(lambda: len(answers) == 2, timeout=60_000)
    assert layer.data.max() < 0.01  # gray agrees with gray
    panel.disagreement_button.click()
    assert names(viewer) == ["p", "p (colorized)"] and panel.disagreement_message.text() == ""


def test_uncolored_pixels_are_marked(make_napari_viewer, explore, qtbot):
    viewer = make_napari_viewer()
    controller = get_controller(viewer)
    controller.session.model = colorizer_of(UnevenNetwork())
    viewer.add_image(np.full((80, 120), 128, np.uint8), name="p", contrast_limits=(0, 255))
    panel = explore(viewer)

    panel.uncolored_button.click()
    qtbot.waitUntil(lambda: panel.uncolored.layer is not None, timeout=60_000)

    marked = panel.uncolored.layer.data  # all but the lower left quarter
    assert marked[:35].all() and marked[:, 70:].all() and not marked[45:, :50].any()
    assert panel.uncolored_message.text().startswith(f"{marked.mean():.0%}".replace("%", " % of"))
    panel.uncolored_button.click()
    assert names(viewer) == ["p", "p (colorized)"]


def test_a_comparison_switches_the_overlays_off(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    panel.curtain_button.click()
    assert "p (curtain)" in names(viewer)

    panel.kind.setCurrentIndex(RENDER_FACTOR)
    panel.comparison_button.click()
    qtbot.waitUntil(lambda: panel.comparison.layer is not None, timeout=60_000)
    assert names(viewer) == ["p (colorized)", "p (B: render factor 24)", "p"]

    panel.curtain_button.click()
    assert names(viewer) == ["p", "p (colorized)", "p (before)", "p (curtain)"]
    assert not panel.comparison_button.isChecked()


def test_the_slider_and_the_line_have_the_same_position(make_napari_viewer, photo, explore):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    panel.curtain_button.click()

    panel.curtain_slider.setValue(250)
    assert viewer.layers["p (before)"].data.shape == (256, 64)
    panel.curtain.move_to(0.75)
    assert panel.curtain_slider.value() == 750

    viewer.layers.remove("p (before)")
    assert not panel.curtain_button.isChecked()


def test_without_an_image_the_panel_shows_what_to_do(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    panel = ExploreWidget(viewer)
    qtbot.addWidget(panel)

    panel.comparison_button.click()

    assert "wait until the first image" in panel.comparison_message.text()
    assert (
        not panel.comparison_button.isChecked()
        and "Choose a grayscale image" in panel.header.text()
    )
    panel.controller.close()


def test_closing_the_panel_removes_its_layers(make_napari_viewer, photo, explore, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    panel.curtain_button.click()

    with qtbot.waitSignal(panel.destroyed, timeout=60_000):
        viewer.window.remove_dock_widget(panel)
        panel.deleteLater()

    assert names(viewer) == ["p", "p (colorized)"]
    assert panel.controller.is_closed


@pytest.mark.parametrize(
    "tool", ["curtain", "attention", "expected_error", "disagreement", "uncolored", "comparison"]
)
def test_the_viewer_can_close_while_a_tool_is_on(make_napari_viewer, photo, explore, qtbot, tool):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = explore(viewer)
    getattr(panel, f"{tool}_button").click()
    if tool == "attention":
        panel.attention.request(np.array([40.0, 50.0]))

    with qtbot.captureExceptions() as raised:
        viewer.close()
        qtbot.wait(0)

    assert raised == []
