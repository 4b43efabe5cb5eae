"""Guides from layers: hints, mask, reference, second model, temporal smoothing; no window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.colormaps import DirectLabelColormap
from stand_ins import HintedNetwork, TintNetwork, UnevenNetwork, colorizer_of

from napari_colorize.napari.controller import ColorizeController, get_controller

RED, GREEN = (1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0)


@pytest.fixture
def halves() -> np.ndarray:
    """An image (96, 128), dark at the left and bright at the right, with a sharp edge."""
    image = np.full((96, 128), 90, np.uint8)
    image[:, 64:] = 180
    return image


@pytest.fixture
def started(qtbot, settle) -> Iterator[Callable[..., ColorizeController]]:
    """A controller that has colorized the given layers with a small network."""
    controllers = []

    def begin(data: np.ndarray, **options: Any) -> ColorizeController:
        viewer = ViewerModel()
        controller = get_controller(viewer)
        controllers.append(controller)
        controller.session.model = colorizer_of(TintNetwork())
        controller.choose_layer(viewer.add_image(data, name="gray", **options))
        settle(controller)
        return controller

    yield begin
    for controller in controllers:
        controller.close()


@pytest.fixture
def guided(qtbot, settle) -> Callable[..., np.ndarray]:
    """Waits until the result has the guides of the displayed plane, and returns its pixels."""

    def wait(controller: ColorizeController) -> np.ndarray:
        rest = controller.guiding._delay
        qtbot.waitUntil(lambda: not rest.is_active, timeout=60_000)
        settle(controller)
        qtbot.waitUntil(lambda: controller.colors.is_current(controller.plane), timeout=60_000)
        displayed = (
            controller.colors.data[0] if controller.colors.multiscale else controller.colors.data
        )
        return np.asarray(displayed[controller.plane] if controller.plane else displayed)

    return wait


def hint(controller: ColorizeController, *where: float, color: Any = RED) -> Any:
    layer = controller.guiding.layer("hints") or controller.add_hints()
    layer.current_face_color = color
    layer.add([where])
    return layer


def redness(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0].astype(int) - pixels[..., 1]


def test_a_hint_changes_only_similar_pixels(started, guided, halves):
    controller = started(halves)
    before = guided(controller)

    hint(controller, 48, 20)
    after = guided(controller)

    assert (redness(after)[:, :56] > 60).all()
    np.testing.assert_array_equal(after[:, 76:], before[:, 76:])


def test_colors_follow_hints_that_are_drawn_and_removed(started, guided, halves):
    controller = started(halves)
    before = guided(controller)
    points = hint(controller, 48, 20)
    red = guided(controller)

    points.face_color = [GREEN]
    green = guided(controller)
    points.data = np.zeros((0, 2))
    nothing = guided(controller)

    assert redness(red)[48, 20] > 60 and redness(green)[48, 20] < -60
    np.testing.assert_array_equal(nothing, before)


def test_a_removed_layer_has_no_hints(started, guided, halves):
    controller = started(halves)
    before = guided(controller)
    points = hint(controller, 48, 20)
    guided(controller)

    controller.viewer.layers.remove(points)

    np.testing.assert_array_equal(guided(controller), before)
    assert controller.guiding.layer("hints") is None and controller.session.guides is None


def test_painted_labels_are_hints_in_their_colors(started, guided, halves):
    controller = started(halves)
    colormap = DirectLabelColormap(color_dict={None: (0, 0, 0, 0), 1: RED})
    labels = controller.viewer.add_labels(np.zeros((96, 128), int), colormap=colormap)
    controller.guiding.assign("hints", labels)
    before = guided(controller)

    labels.brush_size = 6
    labels.paint((48, 20), 1)
    painted = guided(controller)
    labels.undo()

    assert redness(painted)[48, 20] > 60
    np.testing.assert_array_equal(guided(controller), before)


def test_shapes_are_hints_in_their_colors(started, guided, halves):
    controller = started(halves)
    shapes = controller.viewer.add_shapes()
    controller.guiding.assign("hints", shapes)

    shapes.add_paths([[40, 10], [50, 40]], edge_width=4, edge_color=[RED])

    assert redness(guided(controller))[45, 25] > 60


def test_hints_move_with_the_image_and_with_their_layer(started, guided, halves):
    controller = started(halves, scale=(2, 2), translate=(10, 0))
    points = hint(controller, 48, 20)
    left = guided(controller)

    points.translate = (10, 140)  # 70 pixels to the right
    right = guided(controller)
    controller.layer.translate = (10, 140)
    together = guided(controller)

    assert redness(left)[48, 20] > 60 > redness(left)[48, 100]
    assert redness(right)[48, 90] > 60 > redness(right)[48, 20]
    np.testing.assert_array_equal(together, left)


def test_unchanged_guides_compose_nothing_again(started, guided, halves, qtbot):
    controller = started(halves)
    points = hint(controller, 48, 20)
    guided(controller)
    guides = controller.session.guides

    points.refresh()
    points.symbol = "square"
    guided(controller)

    assert controller.session.guides is guides


def test_outside_a_mask_the_image_stays_gray(started, guided, halves):
    controller = started(halves)
    labels = controller.viewer.add_labels(np.zeros((96, 128), int))
    colored = guided(controller).copy()
    controller.guiding.assign("mask", labels)

    labels.data[20:40, 30:90] = 3
    labels.refresh()
    masked = guided(controller)

    gray = np.repeat(halves[..., None], 3, axis=-1)
    np.testing.assert_array_equal(masked[20:40, 30:90], colored[20:40, 30:90])
    gray[20:40, 30:90] = masked[20:40, 30:90]
    np.testing.assert_array_equal(masked, gray)
    assert np.ptp(colored.astype(int), axis=-1).min() > 2


def test_a_reference_transfers_its_palette_by_its_strength(started, guided, halves):
    controller = started(halves)
    before = guided(controller)
    green = np.zeros((30, 40, 3), np.uint8) + np.array([60, 120, 60], np.uint8)
    green[::2] += 20

    reference = controller.viewer.add_image(green, rgb=True, visible=False)
    controller.guiding.assign("reference", reference)
    taken = guided(controller)
    controller.presenter.set_settings(reference_strength=0.0)

    assert redness(taken).mean() < redness(before).mean() - 10
    np.testing.assert_array_equal(guided(controller), before)


def test_each_region_takes_the_palette_of_its_label(started, guided, halves):
    controller = started(halves)
    two = np.zeros((30, 40, 3), np.uint8)
    two[:, :20], two[:, 20:] = (60, 120, 60), (140, 60, 60)
    numbers = np.repeat([[1, 2]], 64, axis=1).repeat(96, axis=0).astype(int)
    viewer = controller.viewer

    controller.guiding.assign("regions", viewer.add_labels(numbers))
    there = np.repeat([[2, 1]], 20, axis=1).repeat(30, axis=0).astype(int)
    controller.guiding.assign("reference_regions", viewer.add_labels(there, translate=(200, 0)))
    controller.guiding.assign("reference", viewer.add_image(two, rgb=True, translate=(200, 0)))
    taken = guided(controller)

    assert redness(taken)[:, 10:50].mean() > 20 and redness(taken)[:, 80:120].mean() < -20


def test_a_second_model_is_blended_by_its_weight(started, guided, halves):
    controller = started(halves)
    first = guided(controller)
    controller.session.blend_with = colorizer_of(UnevenNetwork(), name="handed")
    half = guided(controller)

    controller.presenter.set_settings(blend=1.0)
    second = guided(controller)

    alone = colorizer_of(UnevenNetwork())(halves, contrast_limits=controller.layer.contrast_limits)
    np.testing.assert_array_equal(second, alone.pixels)
    between = (first.astype(float) + second) / 2
    assert np.abs(half - between).mean() < 2 < np.abs(half - first.astype(float)).mean()


def test_guides_of_a_region_are_cropped_to_its_window(started, guided, halves):
    controller = started(halves)
    window = controller.viewer.add_shapes([[[20, 10], [20, 50], [79, 50], [79, 10]]], name="window")

    controller.use_region(window)
    hint(controller, 40, 20)
    pixels = guided(controller)

    assert controller.result.pixels.shape[:2] == (60, 41)
    assert redness(pixels)[40, 20] > 60 and redness(pixels)[25, 45] > 60
    assert np.ptp(pixels[:18].astype(int), axis=-1).max() == 0


def test_guides_of_a_multiscale_image_have_the_displayed_size(started, guided):
    large = np.full((1720, 2600), 90, np.uint8)
    large[:, 1300:] = 180
    controller = started([large, large[::2, ::2], large[::4, ::4]], multiscale=True)

    labels = controller.viewer.add_labels((large == 90).astype(int))
    controller.guiding.assign("mask", labels)
    hint(controller, 800, 600)
    pixels = guided(controller)

    seen = controller.colors.source.shape
    assert controller.session.guides.mask.shape == seen != large.shape
    assert (redness(pixels)[780:820, 1180:1198] > 60).all()
    assert np.ptp(pixels[780:820, 1302:1320].astype(int), axis=-1).max() == 0


def test_a_kept_copy_of_a_large_image_is_the_displayed_one(started, guided):
    large = np.full((3000, 3000), 90, np.uint8)
    controller = started(large)
    mask = controller.viewer.add_labels((np.indices((30, 30))[0] < 9).astype(int), scale=(100, 100))
    mask.translate = (49.5, 49.5)
    window = controller.viewer.add_shapes([[[200, 300], [200, 1400], [1700, 1400], [1700, 300]]])

    controller.guiding.assign("mask", mask)
    controller.use_region(window)
    displayed = guided(controller)[::20, ::20]
    kept = controller.actions.keep()
    controller.guiding.assign("mask", None)
    guided(controller)

    np.testing.assert_array_equal(np.asarray(kept.data[0])[::20, ::20], displayed)
    colored = np.ptp(displayed.astype(int), axis=-1) > 2
    expected = np.zeros((150, 150), bool)
    expected[10:45, 15:71] = True  # within the window, and where the mask is
    assert (colored ^ expected).sum() < 150  # pixels at the rims


def test_hints_of_a_stack_are_for_their_plane(started, guided, halves, settle):
    controller = started(np.stack([halves] * 4))
    controller.viewer.dims.set_current_step(0, 1)
    before = guided(controller).copy()

    hint(controller, 1, 48, 20)
    hinted = guided(controller).copy()
    controller.viewer.dims.set_current_step(0, 2)
    other = guided(controller).copy()
    controller.viewer.dims.set_current_step(0, 1)

    assert redness(hinted)[48, 20] > 60
    np.testing.assert_array_equal(other, before)
    np.testing.assert_array_equal(guided(controller), hinted)


def test_guides_assigned_after_a_run_apply_to_the_whole_stack(started, guided, halves, qtbot):
    controller = started(np.stack([halves, halves[:, ::-1], halves]))
    controller.colorize_all()
    qtbot.waitUntil(lambda: controller.colors.array() is not None, timeout=60_000)
    inside = np.zeros((96, 128), int)
    inside[:48] = 1

    controller.guiding.assign("mask", controller.viewer.add_labels(inside))
    assert controller.colors.array() is None  # what is known is old
    qtbot.waitUntil(lambda: controller.colors.array() is not None, timeout=60_000)

    whole = controller.colors.array().astype(int)
    assert np.ptp(whole[:, 48:], axis=-1).max() == 0 and np.ptp(whole[:, :48], axis=-1).min() > 2


def whole(controller: ColorizeController, qtbot: Any) -> np.ndarray:
    """All planes, once they are what is wanted now."""
    qtbot.waitUntil(
        lambda: not controller.presenter.is_update_pending and not controller.presenter.is_running,
        timeout=60_000,
    )
    qtbot.waitUntil(lambda: controller.colors.array() is not None, timeout=60_000)
    return controller.colors.array().copy()


def colorized_whole(controller: ColorizeController, qtbot: Any) -> np.ndarray:
    controller.colorize_all()
    return whole(controller, qtbot)


def changed_planes(one: np.ndarray, other: np.ndarray) -> list[int]:
    return np.flatnonzero((one != other).any(axis=(1, 2, 3))).tolist()


def test_a_hint_in_a_plane_changes_that_plane_of_a_whole_stack(started, guided, halves, qtbot):
    controller = started(np.stack([halves, halves[:, ::-1], halves]))
    before, errors = colorized_whole(controller, qtbot), []
    controller.events.failed.connect(errors.append)

    points = hint(controller, controller.plane[0], 48, 20)
    guided(controller)
    hinted = whole(controller, qtbot)
    controller.viewer.layers.remove(points)
    qtbot.waitUntil(lambda: controller.colors.array() is None, timeout=60_000)

    assert changed_planes(hinted, before) == [controller.plane[0]] and errors == []
    assert changed_planes(whole(controller, qtbot), before) == []


def test_guides_across_planes_apply_to_each_plane(started, guided, halves, qtbot):
    controller = started(np.stack([halves] * 4))
    viewer = controller.viewer
    mask = viewer.add_labels(np.ones((4, 96, 128), int))
    controller.guiding.assign("mask", mask)
    guided(controller)
    before = colorized_whole(controller, qtbot)

    flat = viewer.add_points([[48, 20]], size=4, face_color=[RED])  # beside a mask with planes
    controller.guiding.assign("hints", flat)
    assert changed_planes(whole(controller, qtbot), before) == [0, 1, 2, 3]

    controller.guiding.assign("hints", None)
    assert changed_planes(whole(controller, qtbot), before) == []
    mask.data[1:3] = 0  # by a script
    mask.refresh()
    guided(controller)
    assert changed_planes(whole(controller, qtbot), before) == [1, 2]


def test_guides_per_plane_follow_another_region_and_layer(started, guided, halves, qtbot):
    controller = started(np.stack([halves] * 3))
    viewer, errors = controller.viewer, []
    controller.events.failed.connect(errors.append)
    viewer.dims.set_current_step(0, 1)
    hint(controller, 0, 48, 20)
    guided(controller)

    window = viewer.add_shapes([[[20, 10], [20, 50], [79, 50], [79, 10]]], name="window")
    controller.use_region(window)
    inside = colorized_whole(controller, qtbot)
    controller.use_region(None)
    controller.choose_layer(viewer.add_image(np.stack([halves[:60, :80]] * 2), name="small"))
    guided(controller)
    small = colorized_whole(controller, qtbot)

    assert errors == []
    assert redness(inside[0])[48, 20] > 60 > redness(inside[1])[48, 20]
    assert redness(small[0])[48, 20] > 60 > redness(small[1])[48, 20]


def test_points_added_during_a_run_are_in_its_planes(started, guided, halves, qtbot):
    controller = started(np.stack([halves] * 40))
    errors = []
    controller.events.failed.connect(errors.append)
    hint(controller, 0, 48, 20)
    guided(controller)

    controller.colorize_all()
    for plane in range(1, 30, 4):
        hint(controller, plane, 48, 20)
        qtbot.wait(20)
    qtbot.waitUntil(lambda: not controller.guiding._delay.is_active, timeout=60_000)
    pixels = whole(controller, qtbot)

    red = [plane for plane in range(40) if redness(pixels[plane])[48, 20] > 60]
    assert red == [0, *range(1, 30, 4)] and errors == []


def test_a_network_with_hint_input_gets_the_hints_of_each_plane(started, guided, halves, qtbot):
    controller = started(np.stack([halves] * 6))
    errors = []
    controller.events.failed.connect(errors.append)
    controller.session.model = colorizer_of(HintedNetwork(), architecture="zhang-siggraph17")
    for plane in range(0, 6, 2):
        controller.viewer.dims.set_current_step(0, plane)
        hint(controller, plane, 48, 20)
        guided(controller)

    pixels = colorized_whole(controller, qtbot)
    for plane in (5, 4, 3, 2, 1, 0):
        controller.viewer.dims.set_current_step(0, plane)
        guided(controller)

    assert errors == []
    red = [plane for plane in range(6) if redness(pixels[plane])[48, 20] > 60]
    assert red == [0, 2, 4]
    # The test network gives the whole plane the color of its hints.
    assert [bool((redness(each)[:, 100] > 20).all()) for each in pixels] == [True, False] * 3


def test_removed_layers_are_released(started, guided, halves):
    controller = started(np.stack([halves] * 3))
    hint(controller, 0, 48, 20)
    guided(controller)
    assert controller.guiding._stack is not None

    controller.viewer.layers.remove(controller.guiding.layer("hints"))

    assert controller.guiding._stack is None and controller.session.guides is None


def test_a_whole_stack_has_the_hints_of_each_plane(started, guided, halves, qtbot):
    controller = started(np.stack([halves] * 4))
    for plane in (0, 2):
        controller.viewer.dims.set_current_step(0, plane)
        hint(controller, plane, 48, 20)
        guided(controller)

    pixels = colorized_whole(controller, qtbot)
    assert [bool(redness(each)[48, 20] > 60) for each in pixels] == [True, False, True, False]

    controller.guiding.layer("hints").translate = (1, 0, 0)  # every dot a plane further
    qtbot.waitUntil(lambda: controller.colors.array() is None, timeout=60_000)
    np.testing.assert_array_equal(whole(controller, qtbot), np.roll(pixels, 1, axis=0))


def test_masks_painted_per_plane_apply_to_the_whole_stack(started, guided, halves, qtbot):
    controller = started(np.stack([halves] * 3))
    inside = np.zeros((3, 96, 128), int)
    inside[1, :48] = 1
    labels = controller.viewer.add_labels(inside)
    controller.guiding.assign("mask", labels)
    controller.viewer.dims.set_current_step(0, 1)
    guided(controller)
    before = colorized_whole(controller, qtbot)

    labels.brush_size = 10
    labels.paint((1, 80, 20), 1)
    guided(controller)
    painted = whole(controller, qtbot)
    controller.viewer.dims.set_current_step(0, 2)
    guided(controller)
    labels.undo()  # in a plane that is not displayed
    guided(controller)

    colored = np.ptp(before.astype(int), axis=-1) > 2
    assert colored.any(axis=(1, 2)).tolist() == [False, True, False] and colored[1, :48].all()
    assert changed_planes(painted, before) == [1] and np.ptp(painted[1, 80, 20].astype(int)) > 2
    assert changed_planes(whole(controller, qtbot), before) == []


@pytest.mark.parametrize("shape", [(4, 96, 128), (96, 128)])
def test_displaying_other_planes_computes_nothing_again(started, guided, halves, qtbot, shape):
    controller = started(np.stack([halves] * 4))
    labels = controller.viewer.add_labels(np.ones(shape, int))
    controller.guiding.assign("mask", labels)
    if len(shape) == 3:
        hint(controller, 0, 48, 20)
    guided(controller)
    colorized_whole(controller, qtbot)
    guides, runs = controller.session.guides, []
    controller.events.run_finished.connect(runs.append)

    for plane in (1, 2, 3, 0, 2):
        controller.viewer.dims.set_current_step(0, plane)
        guided(controller)
    labels.new_colormap()  # of a mask: that it is there counts
    labels.selected_label = 3
    if len(shape) == 2:
        controller.add_hints()  # with nothing in it
    guided(controller)

    assert controller.session.guides is guides and runs == []
    assert controller.colors.array() is not None


@pytest.mark.parametrize("changes", [{"edges": False}, {"shadows": 1.0}, {"blend": 0.9}])
def test_settings_of_the_composition_apply_to_the_whole_stack(started, halves, qtbot, changes):
    controller = started(np.stack([halves, halves[:, ::-1], halves]))
    controller.session.blend_with = second = colorizer_of(UnevenNetwork(), name="handed")
    controller.colorize_all()
    qtbot.waitUntil(lambda: controller.colors.array() is not None, timeout=60_000)

    controller.presenter.set_settings(**changes)
    qtbot.waitUntil(lambda: controller.colors.array() is not None, timeout=60_000)

    limits = tuple(controller.layer.contrast_limits)
    model = controller.session.model
    for plane, pixels in zip(controller.layer.data, controller.colors.array(), strict=True):
        expected = model(plane, blend_with=second, contrast_limits=limits, **changes).pixels
        np.testing.assert_array_equal(pixels, expected)


@pytest.fixture
def flicker() -> np.ndarray:
    """Two videos (z, t, y, x) whose brightness changes from plane to plane."""
    noise = np.random.default_rng(0).normal(0, 25, (2, 6, 1, 1))
    ramp = np.linspace(60, 200, 64 * 64).reshape(64, 64)
    return (ramp + noise).clip(0, 255).astype(np.uint8)


def test_colors_are_smoothed_while_a_stack_is_played(started, guided, flicker):
    controller = started(flicker[0])
    controller.viewer.dims.set_current_step(0, 0)
    controller.presenter.set_settings(temporal_smoothing=0.8)

    displayed = []
    for plane in range(6):
        controller.viewer.dims.set_current_step(0, plane)
        displayed.append(guided(controller).copy())

    model, limits = controller.session.model, tuple(controller.layer.contrast_limits)
    held = model.iter_planes(flicker[0], temporal_smoothing=0.8, contrast_limits=limits)
    for pixels, (_, result) in zip(displayed, held, strict=True):
        np.testing.assert_array_equal(pixels, result.pixels)
    alone = [model(plane, contrast_limits=limits).pixels for plane in flicker[0]]
    assert np.abs(np.stack(displayed[1:]).astype(int) - alone[1:]).max(axis=(1, 2, 3)).min() > 2


def test_a_run_smooths_colors_along_the_time_axis(started, qtbot, flicker):
    controller = started(flicker)

    controller.set_time_axis(1)
    controller.presenter.set_settings(temporal_smoothing=0.8)
    controller.colorize_all()
    qtbot.waitUntil(lambda: controller.colors.array() is not None, timeout=60_000)

    limits = tuple(controller.layer.contrast_limits)
    expected = controller.session.model.iter_planes(
        flicker, time_axis=1, temporal_smoothing=0.8, contrast_limits=limits
    )
    for index, result in expected:
        np.testing.assert_array_equal(controller.colors.array()[index], result.pixels)


def test_the_axes_of_a_stack_have_names(started, halves):
    controller = started(np.stack([[halves] * 2] * 3), axis_labels=("t", "z", "y", "x"))
    assert controller.axes == ["t", "z"] and controller.time_axis == 0

    controller.set_time_axis(1)

    assert controller.session.time_axis == 1 and controller.time_axis == 1


def test_an_unusable_reference_is_reported_in_one_sentence(started, halves, guided):
    controller = started(halves)
    errors = []
    controller.events.failed.connect(errors.append)
    clear = np.zeros((8, 9, 4), np.uint8)

    controller.guiding.assign("reference", controller.viewer.add_image(clear, rgb=True))

    assert len(errors) == 1 and "opaque" in str(errors[0])


def test_a_closed_controller_follows_no_layer(started, halves, guided):
    controller = started(halves)
    points = hint(controller, 48, 20)
    guided(controller)

    controller.close()
    points.add([[10, 10]])

    assert not controller.guiding._delay.is_active
