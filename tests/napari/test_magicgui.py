"""Controls for settings, and `colorize_layer` and `ColorizeSettings` in magicgui widgets.

The annotations are evaluated: magicgui resolves strings without the names of this module.
"""

from dataclasses import fields

import numpy as np
import pytest
from magicgui import magicgui
from magicgui.widgets import CheckBox, ComboBox, Container, create_widget
from qtpy.QtWidgets import QLineEdit

from napari_colorize.colorizer import Colorizer
from napari_colorize.napari import ColorizeSettings, colorize_layer
from napari_colorize.napari.controls import (
    LAYER_SETTINGS,
    NumberControl,
    SettingControls,
    control_for,
)
from napari_colorize.settings import setting_of


@pytest.fixture(autouse=True)
def application(qapp):
    """magicgui widgets need a Qt application."""


def test_every_setting_but_the_layers_has_a_control_of_its_range():
    controls = SettingControls().controls

    names = {item.name for item in fields(ColorizeSettings)} - set(LAYER_SETTINGS)
    assert controls.keys() == names
    for name, control in controls.items():
        described = setting_of(name)
        if isinstance(control, NumberControl):
            limits = control.slider.minimum(), control.slider.maximum()
            assert limits == (described.low, described.high)
        elif described.choices is not None:
            assert isinstance(control, ComboBox) and control.choices == described.choices
        else:
            assert isinstance(control, CheckBox)
        assert described.help in control.tooltip and control.label == described.label


@pytest.mark.parametrize("value", [0.55, 1.15, 2.3, 4.0])
def test_a_number_is_the_one_that_was_entered(value):
    control = control_for("saturation")

    control.slider.setValue(value)

    assert control.value == value


def test_a_new_control_displays_the_default():
    control = control_for("hue_from")
    assert control.value == control.slider.value() == 290 and not control.reset.enabled


def test_reset_restores_the_recommended_value():
    control = control_for("render_factor")
    values = []
    control.changed.connect(values.append)
    assert control.value is None and not control.reset.enabled

    control.slider.setValue(20)
    assert control.reset.enabled
    control.reset.native.click()

    assert values == [20, None] and not control.reset.enabled


def test_displaying_a_recommended_value_chooses_nothing():
    control = control_for("saturation")
    values = []
    control.changed.connect(values.append)

    control.display(None, recommended=1.5)

    assert control.slider.value() == 1.5 and control.value is None and values == []


def test_a_recommended_value_that_is_unknown_is_displayed_as_a_word():
    control = control_for("saturation")
    field = control.slider.findChild(QLineEdit)
    assert field.text() == "" and field.placeholderText() == "auto"

    control.slider.setValue(0.5)
    chosen = field.text()
    control.display(None, recommended=0)
    recommended = field.text()

    assert (chosen, recommended) == ("0.50", "0.00")


def test_a_changed_control_reports_its_field_and_value():
    controls, changes = SettingControls(names=("saturation", "edges", "fidelity")), []
    controls.setting_changed.connect(lambda name, value: changes.append((name, value)))

    controls.controls["saturation"].value = 2
    controls.controls["edges"].native.click()
    controls.controls["fidelity"].value = "ipol"

    assert changes == [("saturation", 2), ("edges", False), ("fidelity", "ipol")]


def test_settings_without_a_control_keep_their_value():
    controls = SettingControls(names=("saturation",))
    settings = ColorizeSettings(saturation=2.0, edges=False, gamma=0.5)

    controls.value = settings

    assert controls.value == settings


def test_a_disabled_control_has_the_reason_as_its_tooltip():
    controls = SettingControls(names=("edges",))
    control = controls.controls["edges"]

    controls.disable("edges", "The image is finished.")
    assert not control.enabled and control.tooltip == "<p>The image is finished.</p>"
    controls.disable("edges", None)

    assert control.enabled and setting_of("edges").help in control.tooltip


def test_settings_are_a_parameter_of_any_magicgui_function():
    default = ColorizeSettings(saturation=2.0)

    @magicgui
    def used(scale: int = 3, settings: ColorizeSettings = default):
        return settings

    assert isinstance(used.settings, SettingControls)
    assert used() == ColorizeSettings(saturation=2.0)
    used.settings.saturation.slider.setValue(0.5)
    used.settings.edges.value = False

    assert used() == ColorizeSettings(saturation=0.5, edges=False)


def test_a_container_gets_the_settings_widget_from_the_annotation():
    container = Container(widgets=[create_widget(annotation=ColorizeSettings, name="settings")])
    assert container.settings.value == ColorizeSettings()


def test_colorize_layer_is_a_widget_of_the_viewer(make_napari_viewer, photo):
    viewer = make_napari_viewer()
    layer = viewer.add_image(photo, name="p", scale=(2, 3), contrast_limits=(20, 200), gamma=0.5)
    dock = viewer.window.add_function_widget(colorize_layer)
    widget = dock.inner_widget()
    widget.settings.saturation.value = 2.0

    widget(layer=layer)

    colors = viewer.layers["p (colorized)"]
    model = Colorizer.from_pretrained("embedded")
    expected = model(photo, saturation=2.0, contrast_limits=(20, 200), gamma=0.5)
    np.testing.assert_array_equal(colors.data, expected.pixels)
    np.testing.assert_array_equal(colors.scale, (2, 3))
    assert colors.rgb and colors.metadata["napari-colorize"] == expected.provenance


def test_a_second_call_updates_the_layer(make_napari_viewer, photo):
    viewer = make_napari_viewer()
    layer = viewer.add_image(photo, name="p")
    widget = magicgui(colorize_layer)
    viewer.window.add_dock_widget(widget)

    widget(layer=layer)
    widget(layer=layer, settings=ColorizeSettings(saturation=0.0))

    assert [each.name for each in viewer.layers] == ["p", "p (colorized)"]
    assert np.ptp(viewer.layers[1].data.astype(int), axis=-1).max() <= 1


def test_colorize_layer_works_in_another_container(make_napari_viewer, stack):
    viewer = make_napari_viewer()
    layer = viewer.add_image(stack, name="s", translate=(1, 2, 3))
    part = magicgui(colorize_layer)
    container = Container(widgets=[create_widget(annotation=int, name="other"), part])
    viewer.window.add_dock_widget(container.native)

    data, attributes, layer_type = part(layer=layer)

    assert data.shape == (*stack.shape, 3) and layer_type == "image"
    assert attributes["name"] == "s (colorized)"
    np.testing.assert_array_equal(attributes["translate"], (1, 2, 3))
