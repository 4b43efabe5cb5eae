"""Texts and buttons of the Colorize panel follow from the present state of the viewer."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PillowImage
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QListWidget,
    QSlider,
)
from skimage import data

from napari_colorize.napari import ColorizeWidget, ExploreWidget, FinetuneWidget
from napari_colorize.napari.automatic import has_one_tone
from napari_colorize.napari.typical_error import TypicalError
from napari_colorize.napari.widget import STACK
from napari_colorize.session.events import SessionSignals
from napari_colorize.settings import ColorizeSettings

SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])


def rgb_of(gray: np.ndarray) -> np.ndarray:
    return np.stack([gray] * 3, axis=-1)


def sepia_of(gray: np.ndarray) -> np.ndarray:
    return (rgb_of(gray) @ SEPIA.T).clip(0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    PillowImage.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(PillowImage.open(file))


def cyanotype_of(gray: np.ndarray) -> np.ndarray:
    tones = ((0, 120, 235), (49, 130, 240), (83, 170, 250))
    return np.stack([np.interp(gray, (0, 128, 255), tone) for tone in tones], axis=-1)


def noisy(image: np.ndarray) -> np.ndarray:
    return (image + np.random.default_rng(0).normal(0, 5, image.shape)).clip(0, 255)


BLACK_AND_WHITE = {
    "gray": rgb_of,
    "gray with noise": lambda gray: noisy(rgb_of(gray)),
    "gray with JPEG errors": lambda gray: jpeg(rgb_of(gray), 30),
    "sepia": sepia_of,
    "sepia with JPEG errors": lambda gray: jpeg(sepia_of(gray), 50),
    "cyanotype": cyanotype_of,
    "black": lambda gray: np.zeros((*gray.shape, 3)),
}


@pytest.mark.parametrize("kind", BLACK_AND_WHITE)
def test_toned_photographs_have_one_tone(kind):
    pixels = BLACK_AND_WHITE[kind](data.camera()).reshape(-1, 3) / 255
    assert has_one_tone(pixels[:: len(pixels) // 30_000])


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "retina", "rocket"])
def test_photographs_in_color_have_more_than_one_tone(name):
    pixels = getattr(data, name)()[..., :3].reshape(-1, 3) / 255
    assert not has_one_tone(pixels[:: len(pixels) // 30_000])


def test_one_color_channel_is_not_a_toned_photograph():
    green = np.zeros((*data.camera().shape, 3))
    green[..., 1] = data.camera()
    assert not has_one_tone(green.reshape(-1, 3)[::7] / 255)


@pytest.mark.parametrize("make", [rgb_of, sepia_of, lambda gray: np.stack([rgb_of(gray)] * 3)])
def test_a_black_and_white_photograph_in_rgb_is_colorized(
    make_napari_viewer, panel_of, settle, photo, make
):
    viewer = make_napari_viewer()
    viewer.add_image(make(photo), name="scan")

    panel = panel_of(viewer)
    settle(panel.controller)

    assert "scan (colorized)" in viewer.layers and panel.layers.currentText() == "scan"


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_color_image_waits_for_colorize_anyway(
    make_napari_viewer, panel_of, settle, qtbot, dtype
):
    viewer = make_napari_viewer()
    image = data.astronaut()[::2, ::2]
    viewer.add_image(image.astype(dtype) * (257 if dtype == np.uint16 else 1 / 255), name="photo")
    panel = panel_of(viewer)

    assert len(viewer.layers) == 1
    assert "'photo' has colors" in panel.state.text()
    assert panel.colorize.text() == "Colorize anyway" and panel.colorize.isEnabled()
    assert panel.layers.currentText() == "photo"

    panel.colorize.click()
    settle(panel.controller)

    assert "photo (colorized)" in viewer.layers and panel.colorize.text() == "Colorize"
    viewer.add_labels(np.zeros(image.shape[:2], int), name="cells")
    assert "'cells' is not colorized" in panel.state.text() and panel.notes.text() == ""


def test_no_text_waits_for_what_is_not_coming(make_napari_viewer, panel_of, settle, photo, qtbot):
    viewer = make_napari_viewer()
    panel = panel_of(viewer)
    qtbot.waitUntil(lambda: panel.controller.session.wait(0), timeout=60_000)
    qtbot.wait(1)
    assert "open an image" in panel.state.text()

    viewer.add_image(photo, name="p")
    viewer.layers.clear()
    qtbot.waitUntil(lambda: panel.controller.session.wait(0), timeout=60_000)
    qtbot.wait(1)
    assert "open an image" in panel.state.text() and not panel.colorize.isEnabled()

    viewer.add_image(data.astronaut(), name="colors")
    viewer.add_image(data.coffee(), name="more colors")
    viewer.layers.selection.clear()
    assert "select one" in panel.state.text()
    viewer.layers.selection.active = viewer.layers["colors"]
    assert "'colors' has colors" in panel.state.text()


def test_the_only_image_is_colorized_if_nothing_is_selected(
    make_napari_viewer, panel_of, settle, photo
):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    viewer.layers.selection.clear()

    panel = panel_of(viewer)
    settle(panel.controller)

    assert "p (colorized)" in viewer.layers


@pytest.mark.parametrize(
    "options",
    [
        {"colormap": "green"},
        {"blending": "additive"},
        {"channel_axis": 0, "name": ["dapi", "gfp"]},
    ],
)
def test_a_channel_waits_for_the_button(make_napari_viewer, panel_of, settle, photo, options):
    viewer = make_napari_viewer()
    image = np.stack([photo, photo[::-1]]) if "channel_axis" in options else photo
    viewer.add_image(image, **options)
    number = len(viewer.layers)

    panel = panel_of(viewer)
    for layer in list(viewer.layers):
        viewer.layers.selection.active = layer
    assert len(viewer.layers) == number and "press Colorize" in panel.state.text()

    panel.colorize.click()
    settle(panel.controller)
    assert len(viewer.layers) == number + 1


def test_live_is_a_checkbox(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    panel = panel_of(viewer)
    panel.live.click()
    viewer.add_image(photo, name="p")
    assert panel.controller.layer is None and "Press Colorize" in panel.state.text()

    panel.live.click()
    settle(panel.controller)

    assert "p (colorized)" in viewer.layers


def reopened(viewer, panel, panel_of):
    panel.controller.close()
    viewer.window.remove_dock_widget(panel)
    return panel_of(viewer)


def test_a_reopened_panel_adopts_the_result(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo, name="p")
    panel = panel_of(viewer)
    settle(panel.controller)
    colors = panel.controller.result_layer
    viewer.layers.move(1, 0)  # the user puts the result below its source, and renames both
    gray.name, colors.name = "source", "mine"

    panel = reopened(viewer, panel, panel_of)
    viewer.layers.selection.active = gray
    panel.main_settings.controls["saturation"].value = 0
    settle(panel.controller)

    assert list(viewer.layers) == [gray, colors] and colors.name == "mine"
    assert np.ptp(np.asarray(colors.data).astype(int), axis=-1).max() <= 1


def test_a_reopened_panel_keeps_the_colors_of_a_whole_stack(
    make_napari_viewer, panel_of, settle, stack, qtbot
):
    viewer = make_napari_viewer()
    gray = viewer.add_image(stack, name="s")
    panel = panel_of(viewer)
    settle(panel.controller)
    panel.target.setCurrentIndex(STACK)
    panel.all.click()
    qtbot.waitUntil(lambda: panel.controller.colors.array() is not None, timeout=60_000)
    qtbot.waitUntil(lambda: not panel.controller.presenter.is_running, timeout=60_000)
    before = panel.controller.colors.array().copy()

    panel = reopened(viewer, panel, panel_of)
    viewer.layers.selection.active = gray
    settle(panel.controller)

    assert len(viewer.layers) == 2
    np.testing.assert_array_equal(np.asarray(panel.controller.result_layer.data[3]), before[3])


def test_a_reopened_panel_leaves_kept_copies_alone(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    gray = viewer.add_image(photo, name="p")
    panel = panel_of(viewer)
    settle(panel.controller)
    panel.keep.click()
    kept = next(layer for layer in viewer.layers if "kept" in layer.name)
    pixels = kept.data.copy()
    assert viewer.layers.selection.active is gray
    viewer.layers.remove(panel.controller.result_layer)

    panel = reopened(viewer, panel, panel_of)
    panel.main_settings.controls["saturation"].value = 0
    settle(panel.controller)

    np.testing.assert_array_equal(kept.data, pixels)
    assert viewer.layers.index(panel.controller.result_layer) == viewer.layers.index(gray) + 1


def test_the_typical_error_is_always_displayed(make_napari_viewer, panel_of, settle, photo, qtbot):
    viewer = make_napari_viewer()
    panel = panel_of(viewer)
    assert panel.error_line.text() == "Predicted colors; typical error not known"

    viewer.add_image(photo)
    typical_error = panel.controller.typical_error
    qtbot.waitUntil(lambda: typical_error.value is not None, timeout=60_000)

    assert f"typical error about {typical_error.value:.0f} (CIEDE2000)" in panel.error_line.text()
    assert ("background" in panel.error_line.styleSheet()) is (round(typical_error.value) > 10)
    typical_error.value = 4.0
    typical_error.changed.emit()
    assert panel.error_line.styleSheet() == ""
    typical_error.value = 12.4
    typical_error.changed.emit()
    assert "about 12" in panel.error_line.text() and "#e3b617" in panel.error_line.styleSheet()


def test_the_line_says_that_an_image_is_unlike_photographs(qtbot):
    events, lines = SessionSignals(), []
    typical_error = TypicalError(SimpleNamespace(), events)
    photograph = SimpleNamespace(
        chroma=object(), settings=ColorizeSettings(), is_unlike_photographs=False, record={}
    )
    events.result_ready.emit(photograph)
    typical_error.value = 4.0
    typical_error.changed.connect(lambda: lines.append(typical_error.text))

    # The same chroma, with the note of a second model.
    events.result_ready.emit(SimpleNamespace(**{**vars(photograph), "is_unlike_photographs": True}))

    assert "unlike" in lines[-1] and typical_error.is_high
    typical_error.close()


def test_the_typical_error_stays_after_a_run(make_napari_viewer, panel_of, settle, stack, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(stack)
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.controller.colorize_all()
    qtbot.waitUntil(lambda: panel.state.text() == "Done: 5 of 5.", timeout=60_000)
    qtbot.waitUntil(lambda: "typical error about" in panel.error_line.text(), timeout=60_000)

    assert panel.state.text() == "Done: 5 of 5."


def test_a_single_image_has_no_dead_controls(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)

    assert not panel.target.isVisibleTo(panel) and not panel.all.isVisibleTo(panel)


@pytest.mark.parametrize("widget", [ColorizeWidget, ExploreWidget, FinetuneWidget])
def test_every_control_has_a_tooltip(make_napari_viewer, photo, qtbot, widget):
    viewer = make_napari_viewer()
    panel = widget(viewer)
    viewer.window.add_dock_widget(panel)

    controls = (
        *panel.findChildren(QAbstractButton),
        *panel.findChildren(QComboBox),
        *panel.findChildren(QSlider),
        *panel.findChildren(QAbstractSpinBox),
        *panel.findChildren(QLineEdit),
        *panel.findChildren(QListWidget),
    )
    # Parts of a labeled control have the tooltip of their row; internal scroll buttons have none.
    missing = [
        control
        for control in controls
        if not any(each.toolTip() for each in (control, *parents_below(control, panel)))
    ]
    assert controls and not missing
    panel.controller.close()


def parents_below(control, panel):
    parents, parent = [], control.parent()
    while parent is not None and parent is not panel:
        parents.append(parent)
        parent = parent.parent()
    return parents


def test_the_panel_names_the_time_axis(make_napari_viewer, panel_of, settle, stack, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(np.stack([stack, stack[::-1]]), axis_labels=("c", "t", "y", "x"))
    panel = panel_of(viewer)
    settle(panel.controller)
    assert panel.time_axis.isVisibleTo(panel)
    assert [panel.time_axis.itemText(at) for at in range(2)] == ["c (2 planes)", "t (5 planes)"]

    assert panel.controller.time_axis == panel.controller.session.time_axis == 1

    panel.time_axis.setCurrentIndex(0)
    panel.time_axis.activated.emit(0)

    assert panel.controller.session.time_axis == 0
    panel.target.setCurrentIndex(STACK)
    assert "all 10 planes (about" in panel.all.text() and "kB" in panel.all.text()


def test_the_panel_is_narrow_and_low(make_napari_viewer, panel_of, settle, photo, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)
    qtbot.wait(1)

    content = panel._area.widget()
    assert content.minimumSizeHint().width() <= 250
    assert content.sizeHint().height() <= 700


def test_thumbnails_of_the_sweep_are_as_wide_as_the_image(
    make_napari_viewer, panel_of, settle, photo
):
    viewer = make_napari_viewer()
    viewer.add_image(photo[: len(photo) // 2])
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.grid.begin([8])
    panel.grid.show_result(8, panel.controller.result)

    size = panel.grid.buttons[8].iconSize()
    assert size.width() == pytest.approx(2 * size.height(), abs=2)


def test_the_sweep_can_be_closed(make_napari_viewer, panel_of, settle, photo, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo)
    panel = panel_of(viewer)
    settle(panel.controller)

    panel.sweep.click()
    assert panel.grid.isVisibleTo(panel)
    panel.grid.close_button.click()
    assert not panel.grid.isVisibleTo(panel)
    qtbot.waitUntil(lambda: panel.controller.session.wait(0), timeout=60_000)
