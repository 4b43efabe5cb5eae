"""What both programs have in common: look, help by groups, errors as one line, --version."""

from __future__ import annotations

import errno
import os
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from napari_colorize.errors import ColorizeError, SettingsError
from napari_colorize.settings import ColorizeSettings

# Titles of groups of options, in the order of the help. Options without one are the last group.
PANELS = (
    "Result",
    "Model",
    "Color",
    "Guides",
    "Input and output",
    "Encoding",
    "Speed",
)
NAMES = "|".join(
    ["overwrite", "precision", "device", "blend_with", *(f.name for f in fields(ColorizeSettings))]
)
FULL = (errno.ENOSPC, errno.EIO)  # errors of a file to which the output is redirected
# Also the line separators of Unicode, and marks that change the order of letters.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_KEYWORD = re.compile(rf'(?:set )?(?<![\w./-])({NAMES})=("\w+"|True|False|\.\.\.|[\d.]*\d)')
# Names with an underscore and no other use, such as render_factor, and others as the subject of a
# sentence about their value; not in the name of a file.
_NAME = re.compile(rf"(?<![\w./-])(?=\w+_|\w+ must be )({NAMES})(?!\.?\w)")
_RANGE = re.compile(r";? ?-?[\d.]+<=?x<=?-?[\d.]+|;? ?x>=-?[\d.]+")
_TYPES = {"str": "TEXT", "path": "PATH", "Path": "PATH", "int": "N", "float": "NUMBER"}
_TYPE = re.compile(rf" <(?:list\[)?({'|'.join(_TYPES)})[^>]*>")


class Program(TyperGroup):
    """Command group that prints errors of users as one line, and names the command for a file."""

    user_errors: ClassVar[tuple[type[Exception], ...]] = (ColorizeError,)
    usage_errors: ClassVar[tuple[type[Exception], ...]] = (SettingsError,)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; exit with 2 for usage errors, 1 for other errors, 130 for Ctrl-C."""
        try:
            return super().invoke(ctx)
        except self.user_errors as error:
            code = 2 if isinstance(error, self.usage_errors) else 1
            raise _failed(error, code) from None
        except ModuleNotFoundError as error:
            from napari_colorize.extras import missing_extra

            missing = missing_extra(error)
            if missing is None:
                raise
            raise _failed(missing, 1) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(130) from None

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program; exit with 1 if nothing can be printed, for example to a full disk."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in FULL:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
            sys.exit(f"The output cannot be printed: {error.strerror}.")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; a file in its place is a usage error that names the command for it."""
        name = args[0]
        if self.get_command(ctx, name) is None and (os.path.lexists(name) or Path(name).suffix):
            from napari_colorize.io.formats import VIDEO_SUFFIXES

            command = "video" if Path(name).suffix.lower() in VIDEO_SUFFIXES else "image"
            if self.get_command(ctx, command) is not None:
                ctx.fail(f"Name a command before the file: {ctx.command_path} {command} {name}")
        return super().resolve_command(ctx, args)


class Command(TyperCommand):
    """Command whose help lists its options by the groups in `PANELS`, defaults in brackets."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group; ranges are in the names of values."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_option = parameter.param_type_name == "option"
                title = getattr(parameter, "rich_help_panel", None) or "Other options"
                groups.setdefault(title if is_option else "Arguments", []).append(_short(*record))
        if len(groups) <= 2 and "Other options" in groups:
            groups["Options"] = groups.pop("Other options")
        known = [title for title in ("Arguments", *PANELS) if title in groups]
        for title in (*known, *(title for title in groups if title not in known)):
            with formatter.section(title):
                formatter.write_dl(groups[title], col_max=24)


def create_program(name: str, group: type[Program] = Program) -> typer.Typer:
    """A program without rich, which takes longer to import than everything else of --help."""
    return typer.Typer(
        name=name,
        cls=group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def in_shell_words(text: str) -> str:
    """A message with options in place of Python arguments: --overwrite for overwrite=True."""

    def option(found: re.Match[str]) -> str:
        name, value = found[1].replace("_", "-"), found[2].strip('"')
        if value in ("True", "False"):
            flag = f"--{'no-' * (value == 'False')}{name}"
            return f"use {flag}" if found[0].startswith("set ") else flag
        return f"--{name}" if value == "..." else f"--{name} {value}"

    text = _KEYWORD.sub(option, text)
    return _NAME.sub(lambda found: "--" + found[1].replace("_", "-"), text)


def printable(text: object) -> str:
    """Text with control characters escaped: names of files may contain line breaks and ESC."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], str(text))


def _short(names: str, help: str) -> tuple[str, str]:
    """An entry of the help without types and ranges of numbers, and with short defaults."""
    names = re.sub(r"--([\w-]+) / --no-\1\b", r"--[no-]\1", names)
    if names.startswith("--[no-]"):
        help = re.sub(r"\[default: (no-)?.*\]", lambda no: f"[{'off' if no[1] else 'on'}]", help)
    help = re.sub(r"  \[\]$", "", _RANGE.sub("", help)).replace("[default: ", "[")
    if not names.startswith("-"):
        names = names.partition(" <")[0]
    return _TYPE.sub(lambda found: " " + _TYPES[found[1]], names), re.sub(
        r"\[(\d+)\.0\]$", r"[\1]", help
    )


def _failed(error: Exception, code: int) -> typer.Exit:
    typer.echo(f"Error: {printable(in_shell_words(str(error)))}", err=True)
    return typer.Exit(code)


def _print_version(requested: bool) -> None:
    if requested:
        from napari_colorize import __version__

        typer.echo(__version__)
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]
