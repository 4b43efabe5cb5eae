"""The Guide section of the panel, used as a person would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.widget import ColorizeWidget


@pytest.fixture
def opened(make_napari_viewer, panel_of, settle, photo) -> Callable[..., ColorizeWidget]:
    """The panel of a viewer with one layer, colorized by a small network."""

    def begin(data: np.ndarray = photo, **options: Any) -> ColorizeWidget:
        viewer = make_napari_viewer(show=True)
        get_controller(viewer).session.model = colorizer_of(TintNetwork())
        viewer.add_image(data, name="gray", **options)
        panel = panel_of(viewer)
        controller = panel.controller
        controller.session.model = colorizer_of(
            TintNetwork()
        )  # the panel begins with the user's own
        settle(controller)
        panel.guide_section.expand(animate=False)
        return panel

    return begin


def choose(chooser: Any, name: str) -> None:
    """Choose an entry as a click into the list does."""
    at = chooser.findText(name)
    chooser.setCurrentIndex(at)
    chooser.activated.emit(at)


def test_new_hints_are_in_the_mode_for_adding_points(opened, settle):
    panel = opened()
    viewer = panel.controller.viewer

    panel.guide.new.click()
    layer = viewer.layers.selection.active
    layer.add([100, 100])
    panel.controller.guiding._delay._timer.timeout.emit()
    settle(panel.controller)

    assert layer.name == "hints" and layer.mode == "add" and viewer.layers[-1] is layer
    assert panel.guide.choosers["hints"].currentText() == "hints"
    assert panel.controller.layer.name == "gray"  # what is worked on stays
    shown = panel.controller.result_layer.data[100, 100].astype(int)
    assert shown[0] - shown[2] > 30  # reddish


def test_layers_of_the_right_type_are_listed_and_can_be_cleared(opened, photo):
    panel = opened()
    viewer, choosers, guiding = (
        panel.controller.viewer,
        panel.guide.choosers,
        panel.controller.guiding,
    )
    labels = viewer.add_labels(np.ones((256, 256), int), name="numbers")
    viewer.add_image(np.dstack([photo] * 3), name="colors")

    choose(choosers["mask"], "numbers")
    choose(choosers["reference"], "colors")

    listed = {
        role: [chooser.itemText(at) for at in range(chooser.count())]
        for role, chooser in choosers.items()
    }
    assert listed["hints"] == listed["mask"] == ["none", "numbers"]
    assert listed["reference"] == ["none", "colors"]  # not our own result
    assert guiding.layer("mask") is labels and panel.guide.palette.visible
    viewer.layers.remove(labels)
    choose(choosers["reference"], "none")
    assert choosers["mask"].currentText() == "none" and guiding.layer("mask") is None
    assert guiding.layer("reference") is None and not panel.guide.palette.visible


def test_a_second_model_shows_its_settings(opened, settle):
    panel = opened()
    models = panel.guide.models
    assert models.model == "" and not panel.guide.blend.visible

    models.show_model("embedded")
    models.chosen.emit("embedded")
    settle(panel.controller)

    assert panel.controller.session.blend_with == "embedded" and panel.guide.blend.visible
    assert panel.controller.result.second_chroma is not None
    models.show_model("")
    models.chosen.emit("")
    settle(panel.controller)
    assert panel.controller.session.blend_with is None and not panel.guide.blend.visible


def test_temporal_smoothing_is_shown_for_stacks_only(opened, stack, settle):
    panel = opened(np.stack([stack] * 2), axis_labels=("t", "z", "y", "x"))
    axis = panel.guide.axis
    assert [axis.itemText(at) for at in range(axis.count())] == ["t", "z"]

    choose(axis, "z")
    assert panel.controller.time_axis == panel.controller.session.time_axis == 1
    panel.controller.viewer.add_image(stack[0], name="flat")

    assert panel.controller.layer.name == "flat"
    assert not axis.isVisible() and not panel.guide.temporal_smoothing.visible


def test_reset_restores_the_default(opened, settle):
    panel = opened()
    control = panel.guide.colors.controls["shadows"]
    assert not control.reset.enabled

    control.slider.setValue(0.5)
    assert panel.controller.presenter.settings.shadows == 0.5 and control.reset.enabled
    control.reset.native.click()

    assert panel.controller.presenter.settings.shadows == 0 and not control.reset.enabled


def test_the_hue_range_is_shown_when_hues_are_damped(opened):
    panel = opened()
    colors = panel.guide.colors
    assert not colors.controls["hue_from"].visible
    before = colors.native.height()

    colors.controls["hue_damping"].value = 0.5

    assert colors.controls["hue_from"].visible and panel.guide_section.isExpanded()
    assert colors.native.sizeHint().height() > before


def test_a_kept_copy_has_the_hints(opened, settle, qtbot):
    panel = opened()
    controller = panel.controller
    panel.guide.new.click()
    hints = controller.viewer.layers.selection.active
    hints.add([100, 100])
    qtbot.waitUntil(lambda: controller.session.guides is not None, timeout=60_000)
    settle(controller)
    hinted = controller.result_layer.data.copy()

    panel.keep.click()
    kept = controller.viewer.layers[controller.viewer.layers.index(controller.layer) + 1]
    controller.viewer.layers.remove(hints)
    settle(controller)

    np.testing.assert_array_equal(kept.data, hinted)
    assert np.abs(controller.result_layer.data.astype(int) - hinted).max() > 9
    assert kept.metadata["napari-colorize"]["guides"]["hints"].endswith("pixels")
