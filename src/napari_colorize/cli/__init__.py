"""The command line program `napari-colorize`; each command is a module.

Options and help texts import neither torch nor an image library, so that --help is fast. A command
imports what it needs when it runs. Results are printed to stdout, everything else to stderr.
"""

from __future__ import annotations

import os
import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from napari_colorize.cli import image, models, video
from napari_colorize.cli.dataclass_options import SettingsCommand
from napari_colorize.errors import ColorizeError, SettingsError


class ErrorReportingGroup(TyperGroup):
    """Command group that reports a `ColorizeError` as one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; exit with 2 for usage errors, 1 for other errors, 130 for Ctrl-C."""
        try:
            return super().invoke(ctx)
        except ColorizeError as error:
            from napari_colorize.cli.console import printable

            typer.echo(f"Error: {printable(error)}", err=True)
            raise typer.Exit(2 if isinstance(error, SettingsError) else 1) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="napari-colorize",
    cls=ErrorReportingGroup,
    no_args_is_help=True,
    add_completion=False,
    # Both would import rich, which takes longer than everything else that --help needs.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=SettingsCommand)(image.image)
app.command(cls=SettingsCommand)(video.video)
app.add_typer(models.app, name="models")


def _print_version(requested: bool) -> None:
    if requested:
        from napari_colorize import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def napari_colorize(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Colorize grayscale images. Colors are predicted by a neural network, not measured."""


def main() -> None:
    """Entry point of the program."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A path may contain bytes or characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace" if os.name == "nt" else "surrogateescape")
    signal.signal(signal.SIGTERM, _interrupt)  # `kill` cleans up like Ctrl-C
    # Globs are expanded by `plan_batch`, which keeps sub-folders and works in every shell.
    app(prog_name="napari-colorize", windows_expand_args=False)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
