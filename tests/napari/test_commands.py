"""Commands as they are run from the command palette, a menu or the keyboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from app_model.types import KeyBinding
from napari._app_model import get_app_model
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest

import napari_colorize
from napari_colorize.napari import commands
from napari_colorize.napari.controller import get_controller
from napari_colorize.napari.widget import SHORTCUT

MANIFEST = Path(napari_colorize.__file__).with_name("napari.yaml")


@pytest.fixture(autouse=True)
def plugin(npe2pm):
    """napari knows this plugin, installed or not, and no other."""
    npe2pm.register(PluginManifest.from_file(MANIFEST))


@pytest.fixture
def viewer(plugin, make_napari_viewer, tiny_colorizer):
    """A viewer whose controller has a small network."""
    return _quick(make_napari_viewer(), tiny_colorizer)


@pytest.fixture
def notices():
    """Messages of the notifications that napari shows."""
    sentences = []

    def note(notification):
        sentences.append(notification.message)

    notification_manager.notification_ready.connect(note)
    yield sentences
    notification_manager.notification_ready.disconnect(note)


def _quick(viewer, colorizer):
    get_controller(viewer).session.model = colorizer
    return viewer


def run(name):
    """Run a command as the command palette does."""
    return get_app_model().commands.execute_command(f"napari-colorize.{name}").result()


def names(viewer):
    return [layer.name for layer in viewer.layers]


def panels(viewer):
    return [name for name in viewer.window.dock_widgets if name.startswith("Colorize")]


def test_the_selected_layer_is_colorized_and_the_panel_opens(viewer, ramp, qtbot):
    viewer.add_image(ramp, name="ramp")

    run("selected")

    qtbot.waitUntil(lambda: "ramp (colorized)" in names(viewer), timeout=60_000)
    assert panels(viewer) == ["Colorize (napari-colorize)"]


def test_there_is_one_panel_per_viewer(viewer, ramp):
    viewer.add_image(ramp)
    first = commands.open_panel(viewer)
    viewer.window.add_plugin_dock_widget("napari-colorize")
    run("selected")

    assert commands.open_panel(viewer) is first
    assert len(panels(viewer)) == 1


def test_the_topmost_of_several_selected_images_is_colorized(viewer, ramp):
    low, high = viewer.add_image(ramp, name="low"), viewer.add_image(ramp, name="high")
    labels = viewer.add_labels(np.zeros((8, 8), int))
    viewer.layers.selection = {low, high, labels}

    run("selected")

    assert get_controller(viewer).layer is high


def test_keep_can_be_undone(viewer, ramp, qtbot):
    viewer.add_image(ramp, name="ramp")
    run("selected")
    qtbot.waitUntil(lambda: get_controller(viewer).result_layer is not None, timeout=60_000)

    run("keep")
    assert len(viewer.layers) == 3
    run("undo")
    assert names(viewer) == ["ramp", "ramp (colorized)"]


def test_all_planes_are_colorized(viewer, ramp, qtbot):
    viewer.add_image(np.stack([ramp, ramp / 2, ramp / 3]), name="video")

    ended = []
    get_controller(viewer).events.run_finished.connect(ended.append)

    run("all_planes")

    qtbot.waitUntil(lambda: len(ended) > 0, timeout=60_000)
    assert (ended[0].done, ended[0].cancelled) == (3, False)


def test_a_sweep_shows_several_render_factors(viewer, ramp, qtbot):
    viewer.add_image(ramp)

    run("sweep")

    grid = commands.open_panel(viewer).grid
    qtbot.waitUntil(lambda: all(each.isEnabled() for each in grid.buttons.values()), timeout=60_000)
    assert len(grid.buttons) > 3


@pytest.mark.parametrize("name", ["selected", "all_planes", "sweep", "keep"])
def test_in_an_empty_viewer_each_command_reports_the_missing_image(viewer, notices, name):
    run(name)
    assert [sentence for sentence in notices if "There is no image to colorize" in sentence]
    assert not viewer.layers


def test_a_labels_layer_is_refused_in_one_sentence(viewer, notices):
    viewer.add_labels(np.zeros((8, 8), int), name="cells")
    run("selected")
    assert any("'cells' is a Labels layer" in sentence for sentence in notices)


def test_undo_reports_that_there_is_nothing_to_undo(viewer, notices):
    run("undo")
    assert any("nothing to undo" in sentence for sentence in notices)


def test_the_shortcut_colorizes_when_the_panel_is_open(viewer, ramp):
    # Color images are not colorized automatically.
    layer = viewer.add_image(np.dstack([ramp, ramp[::-1], ramp[:, ::-1]]), rgb=True)
    commands.open_panel(viewer)
    assert get_controller(viewer).layer is None

    viewer.keymap[KeyBinding.from_int(SHORTCUT)](viewer)

    assert get_controller(viewer).layer is layer


def test_a_command_changes_only_its_viewer(viewer, make_napari_viewer, tiny_colorizer, ramp):
    other = _quick(make_napari_viewer(), tiny_colorizer)
    viewer.add_image(ramp)
    layer = other.add_image(ramp)

    commands.colorize_selected(other)

    assert get_controller(other).layer is layer
    assert not panels(viewer)


def test_the_command_palette_does_not_offer_the_readers(viewer):
    palette = get_app_model().menus.get_menu(get_app_model().menus.COMMAND_PALETTE_ID)
    [item] = [item for item in palette if item.command.id == "napari-colorize.read_dicom"]
    assert item.command.enablement.eval({}) is False


def test_hints_are_added_to_the_selected_layer(viewer, ramp, qtbot):
    viewer.add_image(ramp, name="ramp")

    run("add_hints")

    controller = get_controller(viewer)
    hints = viewer.layers.selection.active
    assert hints.mode == "add" and controller.guiding.layer("hints") is hints
    assert controller.layer is viewer.layers["ramp"]
    assert commands.open_panel(viewer).guide_section.isExpanded()
