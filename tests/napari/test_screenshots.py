"""Screenshots of the panels; `make screenshots` writes them to docs/images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qtpy.QtWidgets import QDockWidget
from skimage import data

from napari_colorize.napari.widget import STACK
from napari_colorize.result import UNLIKE, Colorized

VARIABLE = "NAPARI_COLORIZE_SCREENSHOTS"
SIZE = (1300, 860)


@pytest.fixture
def shoot(tmp_path, qtbot):
    """Writes a screenshot of a whole window, and looks whether something is in it."""
    folder = Path(os.environ.get(VARIABLE, tmp_path))

    def write(viewer, name: str) -> np.ndarray:
        qtbot.wait(200)  # fades and layouts
        window = viewer.window._qt_window
        docks = [dock for dock in window.findChildren(QDockWidget) if dock.isVisible()]
        qtbot.waitUntil(
            lambda: all(dock.width() >= dock.widget().minimumWidth() for dock in docks),
            timeout=60_000,
        )
        path = folder / f"napari-{name}.png"
        viewer.screenshot(path=str(path), canvas_only=False, flash=False)
        with Image.open(path) as screenshot:
            small = screenshot.convert("RGB")
            # A third of the bytes. The other methods lose the colors of small parts.
            small.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2).save(path, optimize=True)
            return np.asarray(small)

    return write


@pytest.fixture
def window(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(*SIZE)
    return viewer


def colorfulness(screenshot: np.ndarray) -> float:
    return float(np.ptp(screenshot.astype(int), axis=-1).mean())


def test_the_panel(window, panel_of, settle, shoot, qtbot):
    window.add_image(data.camera(), name="camera")
    panel = panel_of(window)
    settle(panel.controller)
    typical_error = panel.controller.typical_error
    qtbot.waitUntil(lambda: typical_error.value is not None, timeout=60_000)

    screenshot = shoot(window, "panel")
    panel.controller.result_layer.visible = False
    gray = shoot(window, "gray")

    assert screenshot.shape[:2] >= (800, 1200)
    assert colorfulness(screenshot) > 1.5 * colorfulness(gray)


def test_the_sweep(window, panel_of, settle, shoot, qtbot):
    window.add_image(data.chelsea()[..., 1], name="chelsea")
    panel = panel_of(window)
    settle(panel.controller)

    panel.sweep.click()
    qtbot.waitUntil(lambda: all(b.isEnabled() for b in panel.grid.buttons.values()), timeout=60_000)

    def shows_thumbnails() -> bool:
        return colorfulness(shoot(window, "sweep")[:, 950:]) > 5

    qtbot.waitUntil(shows_thumbnails, timeout=60_000)


def test_a_run_over_a_stack(window, panel_of, settle, shoot, qtbot):
    video = np.stack([np.roll(data.camera(), 20 * k, axis=1) for k in range(100)])
    window.add_image(video, name="video")
    panel = panel_of(window)
    settle(panel.controller)
    panel.more_section.expand(animate=False)

    panel.target.setCurrentIndex(STACK)
    shoot(window, "stack")
    panel.all.click()
    qtbot.waitUntil(lambda: "Plane" in panel.state.text(), timeout=60_000)
    shoot(window, "run")
    panel.stop_keep.click()
    qtbot.waitUntil(lambda: not panel.controller.presenter.is_running, timeout=60_000)

    assert "kept" in panel.state.text()


def test_hints(window, panel_of, settle, shoot, qtbot):
    window.add_image(data.astronaut()[..., 1], name="astronaut")
    panel = panel_of(window)
    settle(panel.controller)
    before = panel.controller.result_layer.data.astype(int)
    panel.guide_section.expand(animate=False)

    panel.guide.new.click()
    hints = window.layers.selection.active
    for color, places in (
        ("#e0701c", [(270, 80), (390, 70), (470, 60), (310, 150), (380, 292), (310, 340)]),  # suit
        ("#3c6ea5", [(60, 330)]),  # what is behind her
    ):
        hints.selected_data = set()  # the selected point would change its color too
        hints.current_face_color = color
        for place in places:
            hints.add([place])
    qtbot.waitUntil(lambda: panel.controller.session.guides is not None, timeout=60_000)
    settle(panel.controller)
    shoot(window, "hints")

    changed = np.abs(panel.controller.result_layer.data - before).max(axis=-1)
    assert changed[400, 75] > 50 and changed[150, 250] < 5  # the suit, and not her face


def test_the_guides_of_a_stack(window, panel_of, settle, shoot, qtbot, monkeypatch):
    video = window.open_sample("napari-colorize", "video")[0]
    window.add_image(data.coffee(), name="coffee", visible=False)
    panel = panel_of(window)
    panel.controller.choose_layer(video)
    settle(panel.controller)
    panel.guide_section.expand(animate=False)
    unlike = property(lambda result: UNLIKE in result.notes)  # other tests have no such images
    monkeypatch.setattr(Colorized, "is_unlike_photographs", unlike)

    panel.controller.guiding.assign("reference", window.layers["coffee"])
    panel.controller.blend_with("embedded")
    panel.controller.presenter.set_settings(
        temporal_smoothing=0.8, hue_damping=0.4, reference_strength=0.5
    )
    settle(panel.controller)
    shoot(window, "guide")

    shown = [
        panel.guide.temporal_smoothing.native,
        panel.guide.blend.native,
        panel.guide.palette.native,
    ]
    assert all(widget.isVisible() for widget in shown)


def test_explore(window, panel_of, settle, shoot, qtbot):
    from napari_colorize.napari import ExploreWidget

    window.add_image(data.astronaut()[..., 1], name="astronaut")
    panel = panel_of(window)
    explore = ExploreWidget(window)
    window.window.add_dock_widget(explore, name="Explore", tabify=True)
    settle(panel.controller)

    explore.attention_button.click()
    explore.attention.request(np.array([300.0, 100.0]))
    qtbot.waitUntil(lambda: "astronaut (attention)" in window.layers, timeout=60_000)
    attention = shoot(window, "attention")
    explore.attention_button.click()
    explore.expected_error_button.click()
    qtbot.waitUntil(lambda: "astronaut (expected error)" in window.layers, timeout=60_000)
    error = shoot(window, "expected-error")
    explore.expected_error_button.click()
    explore.disagreement_button.click()
    qtbot.waitUntil(lambda: "astronaut (disagreement)" in window.layers, timeout=60_000)
    shoot(window, "disagreement")
    explore.disagreement_button.click()
    explore.uncolored_button.click()
    qtbot.waitUntil(lambda: "astronaut (uncolored)" in window.layers, timeout=60_000)
    shoot(window, "uncolored")
    explore.uncolored_button.click()
    explore.curtain_button.click()
    curtain = shoot(window, "curtain")
    explore.curtain_button.click()
    explore.comparison_button.click()
    qtbot.waitUntil(lambda: any("B:" in layer.name for layer in window.layers), timeout=60_000)
    shoot(window, "compare")
    explore.comparison_button.click()

    assert not np.array_equal(attention, error) and not np.array_equal(error, curtain)
    assert [layer.name for layer in window.layers] == ["astronaut", "astronaut (colorized)"]


def test_finetune(window, shoot, tmp_path):
    from napari_colorize.napari import FinetuneWidget

    images = tmp_path / "slides"
    images.mkdir()
    for left in (0, 128, 256, 384):
        tile = data.immunohistochemistry()[:128, left : left + 128]
        Image.fromarray(tile).save(images / f"{left}.png")
    window.add_image(data.immunohistochemistry(), rgb=True, name="ihc")
    widget = FinetuneWidget(window)
    window.window.add_dock_widget(widget, name="Fine-tune")

    widget.setup.data.add_folder(images)
    screenshot = shoot(window, "finetune")

    assert screenshot.shape[:2] >= (800, 1200)
    widget.controller.close()
