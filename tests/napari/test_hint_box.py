"""Hints by a click on a swatch and a click into the image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

import napari_colorize as nc
from napari_colorize.napari.hint_box import CLICK, SWATCHES


class Click:
    """A mouse press as napari passes it to callbacks."""

    def __init__(self, position):
        self.position = position


def test_two_clicks_color_a_place(make_napari_viewer, panel_of, settle, photo, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(photo, name="p")
    panel = panel_of(viewer)
    settle(panel.controller)
    before = np.array(panel.controller.result_layer.data)

    panel.hints.swatches["yellow"].click()
    points = panel.controller.guiding.layer("hints")
    assert points.mode == "add" and viewer.layers.selection.active is points
    assert panel.hints.message.text() == CLICK and "Brightness is kept" in CLICK
    points.add((120, 60))
    qtbot.waitUntil(lambda: panel.controller.session.guides is not None, timeout=60_000)
    settle(panel.controller)

    after = np.asarray(panel.controller.result_layer.data)
    assert np.abs(after.astype(int) - before).max() > 20
    yellow = [int(SWATCHES["yellow"][at : at + 2], 16) / 255 for at in (1, 3, 5)]
    np.testing.assert_allclose(points.face_color[0, :3], yellow, atol=0.01)
    assert str(points.symbol[0]) == "ring"  # hollow

    panel.hints.swatches["blue"].click()  # another color for the next point only
    points.add((10, 10))
    np.testing.assert_allclose(points.face_color[0, :3], yellow, atol=0.01)
    assert len(viewer.layers) == 3

    for left in (1, 0):
        panel.undo.click()
        assert len(points.data) == left
    assert not panel.undo.isEnabled()


def test_a_color_is_picked_from_an_image(make_napari_viewer, panel_of, settle, photo):
    viewer = make_napari_viewer()
    colors = viewer.add_image(data.astronaut(), name="colors")
    viewer.add_image(photo, name="p")
    panel = panel_of(viewer)
    settle(panel.controller)
    panel.controller.result_layer.visible = False

    panel.hints.pick.click()
    viewer.mouse_drag_callbacks[-1](viewer, Click((400, 200)))

    points = panel.controller.guiding.layer("hints")
    expected = colors.data[400, 200] / 255
    np.testing.assert_allclose(
        np.asarray(points.current_face_color.lstrip("#") and points._face.current_color[:3]),
        expected,
        atol=0.01,
    )
    assert points.mode == "add"


@pytest.mark.parametrize("hinted", ["coat", "sky", "grass"])
def test_one_hint_does_not_leak_over_strong_edges(hinted):
    areas = {
        "coat": ((250, 200), np.s_[200:300, 170:230]),
        "sky": ((60, 60), np.s_[5:90, 20:180]),
        "grass": ((450, 450), np.s_[440:500, 330:500]),
    }
    gray = data.camera()
    result = nc.colorize(gray)
    hints = nc.Hints.from_points([areas[hinted][0]], [(0.9, 0.2, 0.6)], 15, gray.shape)

    changed = result.with_(guides=nc.Guides(hints=hints)).rgb.astype(int) - result.rgb

    for area, (_, pixels) in areas.items():
        mean = np.abs(changed[pixels]).max(axis=-1).mean()
        assert mean > 15 if area == hinted else mean < 2, area
