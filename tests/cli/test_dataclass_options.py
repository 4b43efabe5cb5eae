from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from napari_colorize.cli import app
from napari_colorize.cli.dataclass_options import SettingsCommand, with_option_groups
from napari_colorize.settings import ColorizeSettings, setting_of

runner = CliRunner()
received: list[object] = []
example = typer.Typer(rich_markup_mode=None)


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(help="Width in pixels.")] = 3
    height: int = 4


@example.command(cls=SettingsCommand)
@with_option_groups
def command(
    name: str,
    *,
    settings: ColorizeSettings,
    size: Size = Size(height=5),
) -> None:
    received[:] = [settings, size]


def parse(*options: str) -> list[object]:
    """The dataclasses that the example command receives for these options."""
    outcome = runner.invoke(example, ["a.png", *options], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.stderr
    return list(received)


def without_breaks(text: str) -> str:
    """Text without the line breaks and hyphens that a narrow terminal inserts."""
    return re.sub(r"[\s-]+", "", text)


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def test_the_help_of_an_option_begins_as_that_of_the_setting() -> None:
    output = without_breaks(runner.invoke(app, ["image", "--help"]).stdout)
    for item in fields(ColorizeSettings):
        first = re.sub(r" \(.*?\)", "", setting_of(item).help.split(". ")[0])
        assert without_breaks(first) in output
        assert without_breaks(option(item.name)) in output.replace("[no]", "")


def test_without_options_each_group_has_its_defaults() -> None:
    assert parse() == [ColorizeSettings(), Size(width=3, height=5)]


def test_groups_do_not_share_options() -> None:
    assert parse("--width", "9", "--gamma", "2") == [ColorizeSettings(gamma=2), Size(9, 5)]


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--render-factor", "12"], {"render_factor": 12}),
        (["--saturation", "0"], {"saturation": 0.0}),
        (["--no-self-attention"], {"self_attention": False}),
        (["--contrast-limits", "-100", "250.5"], {"contrast_limits": (-100.0, 250.5)}),
        (["--contrast-limits", "-100,250.5"], {"contrast_limits": (-100.0, 250.5)}),
        (
            ["--contrast-limits", "0, 255", "--gamma", "2"],
            {"contrast_limits": (0, 255), "gamma": 2},
        ),
        (["--contrast-limits=0", "255"], {"contrast_limits": (0, 255)}),
        (["--contrast-limits", "auto"], {"contrast_limits": None}),
        (["--contrast-limits", "dtype"], {"contrast_limits": "dtype"}),
        (["--contrast-limits", "data"], {"contrast_limits": "data"}),
        (["--contrast-limits", "percentile"], {"contrast_limits": "percentile"}),
        (["--gamma", "0.5", "--no-provenance"], {"gamma": 0.5, "provenance": False}),
        (
            ["--fidelity", "ipol", "--no-retry-smaller"],
            {"fidelity": "ipol", "retry_smaller": False},
        ),
    ],
)
def test_options_become_settings(options: list[str], settings: dict[str, object]) -> None:
    assert parse(*options)[0] == ColorizeSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "item", [item for item in fields(ColorizeSettings) if setting_of(item).low is not None]
)
def test_a_value_outside_the_range_is_a_usage_error_with_the_option(item) -> None:
    for value in (setting_of(item).low - 1, setting_of(item).high + 1):
        outcome = runner.invoke(app, ["image", "a.png", option(item.name), f"{value:g}"])
        assert outcome.exit_code == 2
        assert option(item.name) in outcome.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--contrast-limits", "9", "1"], "the smaller first"),
        (["--contrast-limits", "9,9"], "the smaller first"),
        (["--contrast-limits", "0,inf"], "finite"),
        (["--contrast-limits", "0,1,2"], "such as 0,4095"),
        (["--contrast-limits", "best"], "percentile"),
        (["--contrast-limits", "7"], "--contrast-limits"),
        (["--gamma", "nan"], "--gamma"),
        (["--fidelity", "better"], "deoldify"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_invalid_values_are_usage_errors(options: list[str], sentence: str) -> None:
    outcome = runner.invoke(app, ["image", "a.png", *options])
    assert outcome.exit_code == 2
    assert sentence in outcome.stderr
