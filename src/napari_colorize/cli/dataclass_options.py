"""Command-line options from dataclasses: a command takes one object in place of many options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from napari_colorize.cli.program import Command
from napari_colorize.errors import SettingsError
from napari_colorize.settings import ColorizeSettings, ContrastLimits, setting_of

LIMITS_OPTION = "--contrast-limits"
PANELS = {
    "Prediction": "Color",
    "Edges and damping": "Color",
    "Second model": "Model",
    "Reference image": "Guides",
    "Video and stacks": "Color",
    "Input range": "Input and output",
    "Output and memory": "Input and output",
}
METAVARS = {"blend_by": "RULE", "reference_method": "METHOD", "fidelity": "KIND"}

"""Groups of options in the help, of groups of settings that have another title there."""


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of its parameters that are dataclasses.

    The command is called with the dataclass instances. A parameter's default value, if it has
    one, gives the defaults of the options. A combination of values that the dataclass refuses
    raises its `SettingsError`.
    """
    own = inspect.signature(command, eval_str=True).parameters
    groups = {name: each for name, each in own.items() if is_dataclass(each.annotation)}

    @wraps(command)
    def wrapper(**values: Any) -> None:
        for name, group in groups.items():
            names = [item.name for item in fields(group.annotation)]
            values[name] = group.annotation(**{each: values.pop(each) for each in names})
        command(**values)

    options = [
        option
        for name, parameter in own.items()
        for option in (_options_of(parameter) if name in groups else [parameter])
    ]
    # typer reads the signature for order and defaults, and the annotations for types.
    wrapper.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {option.name: option.annotation for option in options}
    return wrapper


def _options_of(group: inspect.Parameter) -> list[inspect.Parameter]:
    """The fields of a dataclass as keyword parameters that typer makes options of."""
    hints = get_type_hints(group.annotation, include_extras=True)
    has_default = group.default is not inspect.Parameter.empty
    options = []
    for item in fields(group.annotation):
        default = getattr(group.default, item.name) if has_default else item.default
        annotation = hints[item.name]
        if item.name == "contrast_limits":
            annotation = Annotated[str | None, _setting_option(item)]
        elif group.annotation is ColorizeSettings:
            annotation = Annotated[annotation, _setting_option(item)]
        options.append(
            inspect.Parameter(
                item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        )
    return options


def _setting_option(item: Field[Any]) -> Any:
    """The option of a setting: name, range and help text."""
    setting = setting_of(item)
    name = item.name.replace("_", "-")
    flag = f"--{name}/--no-{name}" if isinstance(item.default, bool) else f"--{name}"
    return typer.Option(
        flag,
        metavar=_metavar(item),
        parser=contrast_limits if item.name == "contrast_limits" else None,
        help=_help(item),
        show_default=item.default is not None,
        rich_help_panel=PANELS.get(setting.group, setting.group),
    )


def _help(item: Field[Any]) -> str:
    """The first sentence of a setting's help, with choices all of it; the default if it varies."""
    setting = setting_of(item)
    if setting.choices and item.name != "contrast_limits":
        return setting.help
    first, *others = setting.help.split(". ")
    first = re.sub(r" \([^)]*\)", "", first)
    default = [text for text in others if text.startswith("Default:")]
    return ". ".join([first.rstrip("."), *default]).rstrip(".") + "."


def _metavar(item: Field[Any]) -> str | None:
    setting = setting_of(item)
    if item.name == "contrast_limits":
        return "LIMITS"
    if setting.choices:
        return METAVARS.get(item.name, "|".join(setting.choices))
    return None if setting.high is None else f"{setting.low:g}-{setting.high:g}"


def contrast_limits(text: str) -> ContrastLimits:
    """Parse the value of --contrast-limits: a word, or two numbers and a comma or a space.

    Raises
    ------
    typer.BadParameter
        If it is neither, or the numbers do not increase.
    """
    parts = text.replace(",", " ").split()
    try:
        given = tuple(map(_number, parts)) if len(parts) == 2 else text.strip().lower()
        return ColorizeSettings(contrast_limits=given).contrast_limits  # type: ignore[arg-type]
    except (ValueError, SettingsError):
        raise typer.BadParameter(
            f"{text!r} is neither {', '.join(setting_of('contrast_limits').choices or ())} nor two "
            "finite numbers, the smaller first, such as 0,4095."
        ) from None


def _number(text: str) -> float:
    """A whole number as int, so that limits of integers are exact."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


class SettingsCommand(Command):
    """Command whose option --contrast-limits also takes its two numbers as two arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the two numbers with a comma, then parse as usual."""
        return super().parse_args(ctx, _with_joined_limits(args))


def _with_joined_limits(args: list[str]) -> list[str]:
    joined: list[str] = []
    for arg in args:
        option, _, value = joined[-1].partition("=") if joined else ("", "", "")
        if option == LIMITS_OPTION and _is_number(value) and _is_number(arg):
            joined[-1] = f"{joined[-1]},{arg}"
        elif joined and joined[-1] == LIMITS_OPTION:
            joined[-1] = f"{LIMITS_OPTION}={arg}"
        else:
            joined.append(arg)
    return joined


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
