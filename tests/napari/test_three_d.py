"""Into three dimensions and back with the panel open; the whole stack as three layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_colorize.errors import ImageError


@pytest.fixture
def opened(make_napari_viewer, panel_of, settle, stack) -> tuple[Any, Any]:
    """A viewer and its controller, with the middle plane of a stack colorized."""
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="s")
    controller = panel_of(viewer).controller
    settle(controller)
    return viewer, controller


@pytest.fixture
def failures(opened) -> list[Any]:
    """What went wrong."""
    errors: list[Any] = []
    opened[1].events.failed.connect(errors.append)
    return errors


def screenshot_of(viewer: Any) -> np.ndarray:
    """The canvas, all layers in it, without its alpha."""
    viewer.reset_view()
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


def colorfulness(screenshot: np.ndarray) -> float:
    """Color in the middle of the canvas."""
    top, start = screenshot.shape[0] // 2 - 60, screenshot.shape[1] // 2 - 60
    return float(np.ptp(screenshot[top : top + 120, start : start + 120], axis=-1).mean())


def colorize_all(controller: Any, settle: Any, qtbot: Any) -> None:
    controller.colorize_all()
    qtbot.waitUntil(lambda: controller.colors.array() is not None, timeout=60_000)
    qtbot.waitUntil(lambda: not controller.presenter.is_running, timeout=60_000)
    settle(controller)


def test_the_image_is_the_same_after_a_3d_view(opened, failures, settle):
    viewer, controller = opened
    layer, plane, before = controller.result_layer, controller.plane, screenshot_of(viewer)

    viewer.dims.ndisplay = 3
    assert screenshot_of(viewer).any() and "As three channels" in controller.notes
    viewer.dims.ndisplay = 2
    settle(controller)
    assert "As three channels" not in controller.notes

    assert controller.result_layer is layer and controller.plane == plane and not failures
    np.testing.assert_array_equal(layer.data[plane], controller.result.pixels)
    assert colorfulness(screenshot_of(viewer)) == pytest.approx(colorfulness(before), rel=0.1)


def test_a_setting_changed_in_a_3d_view_is_applied(opened, failures, settle):
    viewer, controller = opened
    viewer.dims.ndisplay = 3

    controller.presenter.set_settings(saturation=0)
    settle(controller)
    viewer.dims.ndisplay = 2
    settle(controller)

    shown = np.asarray(controller.result_layer.data[controller.plane]).astype(int)
    assert np.ptp(shown, axis=-1).max() <= 1 and not failures


def test_a_layer_added_in_a_3d_view_is_colorized(make_napari_viewer, panel_of, settle, stack):
    viewer = make_napari_viewer(show=True)
    viewer.dims.ndisplay = 3
    controller = panel_of(viewer).controller
    failures: list[Any] = []
    controller.events.failed.connect(failures.append)

    viewer.add_image(stack, name="late")
    settle(controller)
    viewer.dims.ndisplay = 2
    viewer.dims.set_current_step(0, 3)
    settle(controller)

    assert "late (colorized)" in viewer.layers and not failures
    np.testing.assert_array_equal(controller.result_layer.data[3], controller.result.pixels)


def test_a_time_step_in_a_3d_view_is_followed_afterwards(
    make_napari_viewer, panel_of, settle, stack
):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.stack([stack, stack[::-1], stack]))
    controller = panel_of(viewer).controller
    settle(controller)
    viewer.dims.ndisplay = 3

    viewer.dims.set_current_step(0, 0)
    settle(controller)
    assert controller.plane[0] == 1  # a 3-D view displays no plane
    viewer.dims.ndisplay = 2
    settle(controller)

    assert controller.plane == tuple(viewer.dims.current_step[:2]) and controller.plane[0] == 0
    np.testing.assert_array_equal(
        controller.result_layer.data[controller.plane], controller.result.pixels
    )


def test_channels_need_the_whole_stack(opened):
    viewer, controller = opened

    with pytest.raises(ImageError, match="all planes first"):
        controller.actions.add_channels()

    assert [layer.name for layer in viewer.layers] == ["s", "s (colorized)"]


def test_three_channels_are_displayed_like_the_image(opened, settle, qtbot):
    viewer, controller = opened
    colorize_all(controller, settle, qtbot)
    screenshot = screenshot_of(viewer)

    added = controller.actions.add_channels()

    assert [layer.name for layer in added] == ["s (red)", "s (green)", "s (blue)"]
    assert np.abs(screenshot_of(viewer) - screenshot).mean() < 3
    controller.actions.undo()
    assert [layer.name for layer in viewer.layers if layer.visible] == ["s", "s (colorized)"]
    assert np.abs(screenshot_of(viewer) - screenshot).mean() < 1


def test_three_channels_are_in_color_in_a_3d_view(opened, failures, settle, qtbot):
    viewer, controller = opened
    colorize_all(controller, settle, qtbot)
    added = controller.actions.add_channels()

    viewer.dims.ndisplay = 3
    volume = screenshot_of(viewer)
    for layer in added:
        layer.visible = False
    empty = screenshot_of(viewer)

    assert colorfulness(volume) > colorfulness(empty) + 1 and not failures
    controller.actions.undo()
    viewer.dims.ndisplay = 2
    settle(controller)
    assert controller.result_layer.visible
