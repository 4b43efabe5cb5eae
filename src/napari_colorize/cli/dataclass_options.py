"""Command-line options from dataclasses: a command takes one object in place of many options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from napari_colorize.settings import ColorizeSettings, setting_of


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
        if group.annotation is ColorizeSettings:
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
        min=setting.low,
        max=setting.high,
        help=setting.help,
        show_default=item.default is not None,
        rich_help_panel=None,
    )
