from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

from napari_colorize.errors import SettingsError
from napari_colorize.settings import (
    REFINING,
    SETTING_GROUPS,
    ColorizeSettings,
    setting_of,
    settings_from,
    with_current_names,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("render_factor", 0),
        ("render_factor", 101),
        ("render_factor", 3.5),
        ("render_factor", True),
        ("render_factor", "ten"),
        ("saturation", -0.1),
        ("saturation", 4.01),
        ("saturation", float("nan")),
        ("saturation", "strong"),
        ("self_attention", 1),
        ("gamma", 0),
        ("fidelity", "colorful"),
        ("contrast_limits", (1, 1)),
        ("contrast_limits", (2, 1)),
        ("contrast_limits", (0, float("inf"))),
        ("contrast_limits", (float("nan"), 1)),
        ("contrast_limits", 7),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_name(name, value):
    with pytest.raises(SettingsError, match=f"^{name} must be .*got .*\\.$"):
        ColorizeSettings(**{name: value})


@pytest.mark.parametrize("name", ["render_factor", "saturation"])
def test_both_ends_of_a_range_are_allowed(name):
    setting = setting_of(name)

    assert getattr(ColorizeSettings(**{name: setting.low}), name) == setting.low
    assert getattr(ColorizeSettings(**{name: setting.high}), name) == setting.high


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"render_factor": np.uint8(20)}, {"render_factor": 20}),
        ({"render_factor": 8.0}, {"render_factor": 8}),
        ({"saturation": np.float32(1.5)}, {"saturation": 1.5}),
        ({"saturation": np.array(2)}, {"saturation": 2.0}),
        ({"self_attention": np.False_}, {"self_attention": False}),
        ({"contrast_limits": np.array([0, 255])}, {"contrast_limits": (0, 255)}),
        ({"contrast_limits": [np.int8(-100), np.int8(100)]}, {"contrast_limits": (-100, 100)}),
    ],
)
def test_numpy_numbers_become_python_numbers(chosen, expected):
    settings = ColorizeSettings(**chosen)

    for name, value in expected.items():
        kept = getattr(settings, name)
        assert kept == value
        assert json.dumps(kept)
        assert type(kept) is type(value)


@pytest.mark.parametrize("limits", [("0", "255"), "07", (True, 2), (0, 10**400), {0: 1, 2: 3}])
def test_limits_that_are_not_numbers_are_refused(limits):
    with pytest.raises(SettingsError, match="contrast_limits must be two"):
        ColorizeSettings(contrast_limits=limits)


def test_an_unknown_setting_gives_a_list_of_all_settings():
    with pytest.raises(SettingsError, match="no setting 'color'.*saturation"):
        settings_from({"color": 1})


def test_the_docstring_contains_every_setting_with_its_help_text():
    for item in fields(ColorizeSettings):
        assert f"    {item.name} : " in ColorizeSettings.__doc__
        assert setting_of(item).help in ColorizeSettings.__doc__


def test_every_setting_has_a_help_text_and_a_label():
    described = [setting_of(item) for item in fields(ColorizeSettings)]

    assert all(setting.help.endswith(".") for setting in described)
    assert len({setting.label for setting in described}) == len(described)


def test_the_settings_of_a_group_are_declared_together():
    grouped = [name for names in SETTING_GROUPS.values() for name in names]

    assert grouped == [item.name for item in fields(ColorizeSettings)]


def test_only_the_settings_of_the_refinement_recompose_without_the_network():
    assert set(REFINING) == {
        *("edges", "shadows", "hue_damping", "hue_from", "hue_to", "temporal_smoothing"),
        *("blend", "blend_by", "reference_strength", "reference_method"),
    }


def test_every_number_has_a_step_smaller_than_its_range():
    numbers = [item for item in map(setting_of, fields(ColorizeSettings)) if item.low is not None]

    assert numbers
    assert all(0 < number.step < number.high - number.low for number in numbers)


def test_a_unit_is_part_of_the_label():
    described = [setting_of(item) for item in fields(ColorizeSettings)]

    assert all(setting.unit in setting.label for setting in described)
    assert setting_of("hue_from").unit == "degrees"


def test_settings_of_earlier_versions_get_their_present_names():
    assert with_current_names({"steadiness": 0.4, "gamma": 1}) == {
        "temporal_smoothing": 0.4,
        "gamma": 1,
    }
