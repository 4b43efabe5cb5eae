from __future__ import annotations

import re
from dataclasses import fields

import pytest
import typer
from typer.testing import CliRunner

from napari_colorize.cli import app
from napari_colorize.cli.setting_options import with_setting_options
from napari_colorize.settings import ColorizeSettings, setting_of

runner = CliRunner()
said: list[ColorizeSettings] = []
small = typer.Typer(rich_markup_mode=None)


@small.command()
@with_setting_options
def colorize(name: str, *, settings: ColorizeSettings) -> None:
    said.append(settings)


def given(*options: str) -> ColorizeSettings:
    said.clear()
    outcome = runner.invoke(small, ["a.png", *options], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.stderr
    return said[0]


def words(text: str) -> str:
    """Text without the line breaks and hyphens that a narrow terminal puts into it."""
    return re.sub(r"[\s-]+", "", text)


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.mark.parametrize("item", fields(ColorizeSettings), ids=lambda item: item.name)
def test_help_is_that_of_the_knob(item) -> None:
    shown = runner.invoke(app, ["image", "--help"]).stdout
    assert words(setting_of(item).help) in words(shown)
    assert option(item.name) in shown


def test_without_options_settings_are_their_defaults() -> None:
    assert given() == ColorizeSettings()


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--render-factor", "12"], {"render_factor": 12}),
        (["--saturation", "0"], {"saturation": 0.0}),
        (["--no-self-attention"], {"self_attention": False}),
        (["--contrast-limits", "-100", "250.5"], {"contrast_limits": (-100.0, 250.5)}),
        (["--gamma", "0.5", "--no-provenance"], {"gamma": 0.5, "provenance": False}),
        (
            ["--fidelity", "ipol", "--no-retry-smaller"],
            {"fidelity": "ipol", "retry_smaller": False},
        ),
    ],
)
def test_options_become_settings(options: list[str], settings: dict[str, object]) -> None:
    assert given(*options) == ColorizeSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "item", [item for item in fields(ColorizeSettings) if setting_of(item).low is not None]
)
def test_a_value_out_of_range_is_a_usage_error_that_names_the_option(item) -> None:
    for value in (setting_of(item).low - 1, setting_of(item).high + 1):
        outcome = runner.invoke(app, ["image", "a.png", option(item.name), f"{value:g}"])
        assert outcome.exit_code == 2
        assert option(item.name) in outcome.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--contrast-limits", "9", "1"], "contrast_limits must be two"),
        (["--gamma", "nan"], "--gamma"),
        (["--fidelity", "better"], "deoldify"),
        (["--no-such-knob"], "--no-such-knob"),
    ],
)
def test_nonsense_is_a_usage_error(options: list[str], sentence: str) -> None:
    outcome = runner.invoke(app, ["image", "a.png", *options])
    assert outcome.exit_code == 2
    assert sentence in outcome.stderr
