"""The plugin manifest agrees with the code, and preferences are read."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import napari.settings
import pytest
from npe2 import PluginManifest

import napari_colorize
from napari_colorize.napari.preferences import PLUGIN, Preferences, preferences
from napari_colorize.settings import ColorizeSettings, setting_of
from napari_colorize.zoo import CATALOGUE

PATH = Path(napari_colorize.__file__).with_name("napari.yaml")

needs_plugin_settings = pytest.mark.skipif(
    not hasattr(napari.settings, "get_plugin_settings"), reason="napari 0.9 brought them"
)


@pytest.fixture
def manifest():
    return PluginManifest.from_file(PATH)


@pytest.fixture
def panel(npe2pm, plugin_settings, manifest):
    """What the user set under Preferences; kept in a folder of the test."""
    npe2pm.register(manifest)
    return napari.settings.get_plugin_settings(PLUGIN).panel


def test_every_name_can_be_imported(manifest):
    manifest.validate_imports()


def test_the_installed_package_has_the_entry_point():
    found = importlib.metadata.entry_points(group="napari.manifest", name=PLUGIN)
    assert {entry.value for entry in found} == {"napari_colorize:napari.yaml"}


def test_colorize_is_the_first_panel(manifest):
    widgets = manifest.contributions.widgets
    assert [each.display_name for each in widgets] == ["Colorize", "Fine-tune", "Explore"]


def test_the_display_name_is_the_package_name(manifest):
    # napari names it by the plugin's display name in menus, by its name elsewhere.
    assert manifest.display_name == manifest.name == PLUGIN


def test_plugins_may_contribute_to_every_menu(manifest):
    from napari._app_model.constants._menus import is_menu_contributable

    assert all(map(is_menu_contributable, manifest.contributions.menus))


def test_the_models_are_those_of_the_catalogue(manifest):
    model = manifest.contributions.configurations["panel"].properties["model"]
    assert model.enum == list(CATALOGUE)


@pytest.mark.parametrize("name", ["render_factor", "saturation"])
def test_preferences_have_the_range_of_the_setting(manifest, name):
    described = next(setting_of(item) for item in fields(ColorizeSettings) if item.name == name)
    written = manifest.contributions.configurations["panel"].properties[name]
    assert (written.minimum, written.maximum, written.default) == (0, described.high, 0)


@needs_plugin_settings
def test_unset_preferences_are_the_defaults(panel):
    assert preferences() == Preferences()


@needs_plugin_settings
def test_preferences_are_read(panel):
    panel.model, panel.render_factor, panel.saturation = "deoldify-stable", 20, 1.5
    panel.live = False

    assert preferences() == Preferences("deoldify-stable", 20, 1.5, live=False)


def test_without_plugin_settings_the_defaults_apply(monkeypatch):
    monkeypatch.delattr(napari.settings, "get_plugin_settings", raising=False)
    assert preferences() == Preferences()


def test_of_an_unknown_plugin_the_defaults_apply(npe2pm):
    assert preferences() == Preferences()


def test_importing_the_plugin_imports_no_large_package():
    code = "import sys, napari_colorize.napari; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    assert not {"torch", "numpy", "qtpy", "napari", "magicgui"} & set(loaded)
