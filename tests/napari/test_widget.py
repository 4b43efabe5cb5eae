"""The Colorize panel, used through its controls."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.napari import ExploreWidget
from napari_colorize.napari.controller import existing_controller
from napari_colorize.napari.widget import PLANE, SHAPES, STACK


def test_the_selected_layer_is_colorized_automatically(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo, name="portrait")

    panel = panel_of(viewer)
    settle(panel.controller)

    colors = viewer.layers["portrait (colorized)"]
    assert colors.rgb and colors.data.shape == (256, 256, 3)
    assert np.ptp(colors.data.astype(int), axis=-1).mean() > 5  # not gray
    assert viewer.layers.selection.active is gray
    assert viewer.layers.index(colors) == viewer.layers.index(gray) + 1


def test_a_layer_that_is_added_later_is_colorized(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    panel = panel_of(viewer)
    assert "open an image" in panel.state.text()

    viewer.add_image(photo, name="late")
    settle(panel.controller)

    assert "late (colorized)" in viewer.layers


def test_saturation_runs_no_network(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)
    before, layer = panel.controller.result, panel.controller.result_layer

    panel.main_settings.controls["saturation"].value = 0
    settle(panel.controller)

    assert panel.controller.result.chroma is before.chroma
    assert panel.controller.result_layer is layer
    assert np.ptp(layer.data.astype(int), axis=-1).max() <= 1  # gray now


def test_another_render_factor_updates_the_result_layer(
    make_napari_viewer, panel_of, settle, photo
):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)
    before, layer = panel.controller.result, panel.controller.result_layer

    for factor in (5, 9, 7):  # a drag: the newest wins
        panel.main_settings.controls["render_factor"].value = factor
    np.testing.assert_array_equal(layer.data, before.pixels)  # the last one stays meanwhile
    settle(panel.controller)

    assert panel.controller.result.chroma.render_factor == 7
    assert len(viewer.layers) == 2 and panel.controller.result_layer is layer


def test_self_attention_can_be_switched_off(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)
    before = panel.controller.result_layer.data

    panel.more_settings.controls["self_attention"].native.click()
    settle(panel.controller)

    assert np.abs(panel.controller.result_layer.data.astype(int) - before).max() > 3
    assert "self-attention off" in panel.state.text()


def test_keep_adds_a_layer_and_undo_removes_it(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.keep.click()
    kept = viewer.layers["p (kept: embedded, render factor 12, saturation 1)"]
    pixels = kept.data.copy()
    panel.main_settings.controls["saturation"].value = 0
    settle(panel.controller)

    np.testing.assert_array_equal(kept.data, pixels)
    assert kept is not panel.controller.result_layer
    panel.undo.click()
    assert kept not in viewer.layers and not panel.undo.isEnabled()


def test_replace_removes_the_gray_layer_and_undo_restores_it(
    make_napari_viewer, panel_of, settle, photo
):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="below")
    gray = viewer.add_image(photo, name="p")
    viewer.add_image(photo, name="above")
    panel = panel_of(viewer)
    panel.controller.choose_layer(gray)
    settle(panel.controller)

    panel.replace.click()
    assert gray not in viewer.layers
    assert [layer.rgb for layer in viewer.layers[:3]] == [False, True, False]

    panel.undo.click()
    assert [layer.name for layer in viewer.layers][:3] == ["below", "p", "above"]


def test_a_click_in_the_sweep_sets_its_render_factor(
    make_napari_viewer, panel_of, settle, photo, qtbot
):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.sweep.click()
    qtbot.waitUntil(lambda: all(b.isEnabled() for b in panel.grid.buttons.values()), timeout=60_000)
    smallest = min(panel.grid.buttons)
    panel.grid.buttons[smallest].click()
    settle(panel.controller)

    assert panel.controller.result.chroma.render_factor == smallest
    assert panel.main_settings.controls["render_factor"].slider.value() == smallest


def test_the_displayed_plane_of_a_stack_is_colorized(
    make_napari_viewer, panel_of, settle, stack, qtbot
):
    viewer = make_napari_viewer()
    viewer.add_image(stack, name="s")
    panel = panel_of(viewer)
    settle(panel.controller)

    viewer.dims.set_current_step(0, 3)
    settle(panel.controller)

    colors = panel.controller.result_layer
    assert colors.data.shape == (5, 128, 96, 3)
    np.testing.assert_array_equal(np.asarray(colors.data[3]), panel.controller.result.pixels)
    assert panel.controller.plane == (3,)


def test_the_whole_stack_is_colorized_on_demand(make_napari_viewer, panel_of, settle, stack, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(stack)
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.target.setCurrentIndex(STACK)
    assert "all 5 planes" in panel.all.text() and "kB" in panel.all.text()
    panel.all.click()
    qtbot.waitUntil(lambda: panel.controller.colors.array() is not None, timeout=60_000)

    whole = panel.controller.colors.array()
    assert whole.shape == (5, 128, 96, 3)
    assert all(np.ptp(plane.astype(int), axis=-1).mean() > 2 for plane in whole)


@pytest.mark.parametrize("keep", [True, False])
def test_a_stopped_run_keeps_or_discards_finished_planes(
    make_napari_viewer, panel_of, settle, stack, qtbot, keep
):
    viewer = make_napari_viewer()
    viewer.add_image(np.concatenate([stack] * 40))
    panel = panel_of(viewer)
    settle(panel.controller)
    ends = []
    panel.controller.events.run_finished.connect(ends.append)

    panel.controller.colorize_all()
    qtbot.waitUntil(lambda: panel.controller.colors.is_current((2,)), timeout=60_000)
    (panel.stop_keep if keep else panel.stop_drop).click()
    qtbot.waitUntil(lambda: bool(ends), timeout=60_000)

    assert ends[0].cancelled and ends[0].done < 200
    assert panel.controller.colors.is_current((2,)) is keep
    assert not panel.controller.presenter.is_running and panel.main_settings.enabled


def test_only_the_inside_of_shapes_is_colorized(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo)
    viewer.add_shapes([[[40, 50], [40, 200], [160, 200], [160, 50]]], shape_type="rectangle")
    panel = panel_of(viewer)
    panel.controller.choose_layer(gray)
    settle(panel.controller)

    panel.target.setCurrentIndex(SHAPES)
    settle(panel.controller)

    spread = np.ptp(np.asarray(panel.controller.result_layer.data).astype(int), axis=-1)
    assert spread[45:155, 55:195].mean() > 3
    assert spread[:38].max() == 0 and spread[:, 204:].max() == 0
    panel.target.setCurrentIndex(PLANE)
    settle(panel.controller)
    assert np.ptp(panel.controller.result_layer.data.astype(int), axis=-1)[:38].mean() > 1


def test_contrast_limits_of_the_layer_are_used(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)

    gray.contrast_limits = (20, 120)
    gray.gamma = 0.5
    settle(panel.controller)

    expected = ((photo.astype(float) - 20) / 100).clip(0, 1) ** 0.5
    np.testing.assert_allclose(panel.controller.result.gray, expected, atol=1e-3)
    assert tuple(panel.controller.result_layer.contrast_limits) == (20, 120)
    assert panel.controller.result_layer.gamma == 1


def test_contrast_limits_that_were_used_before_are_not_predicted_again(
    make_napari_viewer, panel_of, settle, photo
):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo, contrast_limits=(0, 255))
    panel = panel_of(viewer)
    settle(panel.controller)
    before = panel.controller.result
    gray.contrast_limits = (20, 120)
    settle(panel.controller)

    gray.contrast_limits = (0, 255)
    settle(panel.controller)

    assert panel.controller.result.chroma is before.chroma
    np.testing.assert_array_equal(panel.controller.result_layer.data, before.pixels)
    assert tuple(panel.controller.result_layer.contrast_limits) == (0, 255)


def test_layers_that_cannot_be_colorized_are_reported(make_napari_viewer, panel_of, photo):
    viewer = make_napari_viewer()
    panel = panel_of(viewer)

    viewer.add_labels(np.zeros((8, 8), int), name="cells")

    assert panel.state.text().count(".") == 1 and "cells" in panel.state.text()
    assert not panel.keep.isEnabled()


def test_the_source_may_be_deleted_during_a_run(make_napari_viewer, panel_of, settle, stack, qtbot):
    viewer = make_napari_viewer()
    gray = viewer.add_image(np.concatenate([stack] * 40))
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.controller.colorize_all()
    viewer.layers.remove(gray)
    qtbot.waitUntil(lambda: panel.controller.session.wait(0), timeout=60_000)

    assert panel.controller.layer is None and not panel.controller.presenter.is_running
    viewer.add_image(stack[0], name="next")
    settle(panel.controller)
    assert "next (colorized)" in viewer.layers


def test_two_viewers_have_two_controllers(make_napari_viewer, panel_of, settle, photo):
    first, second = make_napari_viewer(), make_napari_viewer()
    first.add_image(photo, name="one")
    second.add_image(photo.T.copy(), name="two")
    panels = panel_of(first), panel_of(second)
    for panel in panels:
        settle(panel.controller)

    panels[0].main_settings.controls["saturation"].value = 0
    settle(panels[0].controller)

    assert [layer.name for layer in first.layers] == ["one", "one (colorized)"]
    assert np.ptp(second.layers["two (colorized)"].data.astype(int), axis=-1).mean() > 3


def test_the_result_layer_follows_the_transform_of_the_source(
    make_napari_viewer, panel_of, settle, photo
):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo, scale=(2, 3), units=("um", "um"))
    panel = panel_of(viewer)
    settle(panel.controller)

    gray.scale = (0.5, 0.25)
    gray.translate = (7, -3)
    gray.rotate = 30

    corners = [(0, 0), (255, 0), (17, 200)]
    for corner in corners:
        np.testing.assert_allclose(
            panel.controller.result_layer.data_to_world(corner), gray.data_to_world(corner)
        )
    assert [str(unit) for unit in panel.controller.result_layer.units] == ["micrometer"] * 2


def test_the_control_of_an_unsupported_setting_is_disabled_with_a_reason(
    make_napari_viewer, panel_of, settle, photo
):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)
    panel.more_settings.controls["self_attention"].native.click()
    settle(panel.controller)

    deaf = TintNetwork()
    deaf.has_self_attention = False
    panel.controller.session.model = colorizer_of(deaf)
    settle(panel.controller)

    control = panel.more_settings.controls["self_attention"]
    assert not control.enabled and "no self-attention" in control.tooltip
    panel.controller.use_model("embedded")
    settle(panel.controller)
    assert control.enabled


def close_by_x(qtbot, viewer, panel) -> None:
    """Close a dock as its close button does."""
    dock = next(d for d in viewer.window.dock_widgets.values() if d is panel).parent()
    while not hasattr(dock, "destroyOnClose"):
        dock = dock.parent()
    with qtbot.waitSignal(panel.destroyed, timeout=60_000):
        dock.destroyOnClose()


def test_closing_the_panel_closes_the_controller_and_leaves_the_layers(
    make_napari_viewer, panel_of, settle, photo, qtbot
):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = panel_of(viewer)
    settle(panel.controller)
    controller = panel.controller

    close_by_x(qtbot, viewer, panel)

    assert (
        controller.is_closed
        and controller.session.is_closed
        and existing_controller(viewer) is None
    )
    viewer.add_image(photo, name="later")
    assert [layer.name for layer in viewer.layers] == ["p", "p (colorized)", "later"]


def test_the_explore_panel_keeps_the_controller_open(
    make_napari_viewer, panel_of, settle, photo, qtbot
):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = panel_of(viewer)
    explore = ExploreWidget(viewer)
    viewer.window.add_dock_widget(explore, name="Explore")
    settle(panel.controller)
    controller = panel.controller
    explore.curtain_button.click()

    close_by_x(qtbot, viewer, panel)
    controller.presenter.set_settings(saturation=0.5)
    settle(controller)
    assert not controller.is_closed and "p (curtain)" in viewer.layers

    close_by_x(qtbot, viewer, explore)
    assert controller.is_closed and "p (curtain)" not in viewer.layers


def test_a_run_that_replaces_another_is_the_valid_one(
    make_napari_viewer, panel_of, settle, stack, qtbot
):
    viewer = make_napari_viewer()
    viewer.add_image(np.concatenate([stack] * 6))
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.controller.colorize_all()
    qtbot.waitUntil(lambda: panel.controller.colors.is_current((1,)), timeout=60_000)
    panel.controller.colorize_all()
    qtbot.waitUntil(lambda: not panel.controller.presenter.is_running, timeout=60_000)

    assert panel.controller.colors.array() is not None


def test_another_layer_is_colorized_after_the_first_was_deleted_during_its_run(
    make_napari_viewer, panel_of, settle, stack, photo
):
    viewer = make_napari_viewer()
    first = viewer.add_image(np.concatenate([stack] * 40), name="first")
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.controller.colorize_all()
    viewer.add_image(photo, name="second")
    viewer.layers.remove(first)
    settle(panel.controller)

    assert "second (colorized)" in viewer.layers and not panel.controller.presenter.is_running


def test_a_layer_that_changed_while_it_was_not_displayed_is_read_again(
    make_napari_viewer, panel_of, settle, photo
):
    viewer = make_napari_viewer()
    first = viewer.add_image(photo, name="first")
    panel = panel_of(viewer)
    settle(panel.controller)
    second = viewer.add_image(photo.T.copy(), name="second")
    settle(panel.controller)

    first.scale, first.contrast_limits = (2, 2), (20, 120)
    panel.controller.choose_layer(first)
    settle(panel.controller)

    colors = viewer.layers["first (colorized)"]
    np.testing.assert_array_equal(colors.scale, (2, 2))
    assert tuple(colors.contrast_limits) == (20, 120)
    assert second.name == "second"


def test_prefetched_planes_are_stored_for_their_own_layer(
    make_napari_viewer, panel_of, settle, stack, photo, qtbot
):
    viewer = make_napari_viewer()
    viewer.add_image(np.concatenate([stack] * 3), name="stack")
    panel = panel_of(viewer)
    settle(panel.controller)

    viewer.dims.set_current_step(0, 8)
    viewer.dims.set_current_step(0, 9)
    other = viewer.add_image(np.stack([photo] * 12)[:, :64, :64], name="other")
    settle(panel.controller)
    qtbot.waitUntil(lambda: panel.controller.session.wait(0), timeout=60_000)

    assert panel.controller.layer is other
    assert all(np.asarray(panel.controller.colors.data[k]).shape == (64, 64, 3) for k in range(12))


def test_renaming_the_source_renames_the_result_layer(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo, name="before")
    panel = panel_of(viewer)
    settle(panel.controller)

    gray.name = "after"

    assert panel.controller.result_layer.name == "after (colorized)"
    assert panel.layers.currentText() == "after"


def test_a_cancelled_first_result_can_be_requested_again(
    make_napari_viewer, panel_of, settle, photo, qtbot
):
    viewer = make_napari_viewer()
    panel = panel_of(viewer)
    viewer.add_image(photo)
    panel.controller.presenter.cancel()
    qtbot.waitUntil(lambda: panel.state.text() == "Stopped.", timeout=60_000)

    panel.colorize.click()
    settle(panel.controller)

    assert "embedded" in panel.state.text()


def test_replace_does_not_lose_a_stack(make_napari_viewer, panel_of, settle, stack):
    viewer = make_napari_viewer()
    gray = viewer.add_image(stack)
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.replace.click()

    assert gray in viewer.layers and "whole stack first" in panel.state.text()


def test_deleting_the_shapes_selects_the_whole_plane(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo)
    shapes = viewer.add_shapes([[[40, 50], [40, 200], [160, 200], [160, 50]]])
    panel = panel_of(viewer)
    panel.controller.choose_layer(gray)
    panel.target.setCurrentIndex(SHAPES)
    settle(panel.controller)

    viewer.layers.remove(shapes)
    settle(panel.controller)

    assert panel.target.currentIndex() == PLANE
    assert (
        np.ptp(np.asarray(panel.controller.result_layer.data).astype(int), axis=-1)[:38].mean() > 1
    )
