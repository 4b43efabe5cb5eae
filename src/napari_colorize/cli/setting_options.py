"""Command-line options built from `ColorizeSettings`, so that no knob is written down twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from napari_colorize.settings import ColorizeSettings, setting_of

SETTINGS = "settings"  # the parameter of a command that the knobs take the place of


def with_setting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option per knob; it receives them whole, as its `settings`.

    What the ranges of single options cannot say (limits in the wrong order) is a `SettingsError`.
    """
    knobs = [option_for(item) for item in fields(ColorizeSettings)]

    @wraps(command)
    def wrapper(**given: Any) -> None:
        chosen = {item.name: given.pop(item.name) for item in fields(ColorizeSettings)}
        command(**given, **{SETTINGS: ColorizeSettings(**chosen)})

    own = inspect.signature(command, eval_str=True).parameters
    others = [each for name, each in own.items() if name != SETTINGS]
    # typer reads the signature for order and defaults, and the annotations for types.
    wrapper.__signature__ = inspect.Signature(others + knobs)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in others + knobs}
    return wrapper


def option_for(item: Field[Any]) -> inspect.Parameter:
    """One knob as a parameter that typer makes an option of: name, type, range, default, help."""
    wanted = setting_of(item)
    option = typer.Option(
        *_flags(item),
        min=wanted.low,
        max=wanted.high,
        help=wanted.help,
        show_default=item.default is not None,
        rich_help_panel=None,
    )
    return inspect.Parameter(
        item.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=item.default,
        annotation=Annotated[get_type_hints(ColorizeSettings)[item.name], option],
    )


def _flags(item: Field[Any]) -> tuple[str, ...]:
    """`--self-attention/--no-self-attention` for a switch, `--gamma` for a value."""
    name = item.name.replace("_", "-")
    return (f"--{name}/--no-{name}",) if isinstance(item.default, bool) else (f"--{name}",)
