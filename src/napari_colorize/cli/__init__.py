"""The command line, `napari-colorize`: one file per command.

Options and help need neither torch nor an image library; a command imports what it uses when it
runs. Results go to stdout, all else to stderr.
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
from napari_colorize.errors import ColorizeError, SettingsError


class OneSentence(TyperGroup):
    """Commands that end in one sentence where they cannot go on."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn what the user can mend into a line and an exit code."""
        try:
            return super().invoke(ctx)
        except ColorizeError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, SettingsError) else 1) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="napari-colorize",
    cls=OneSentence,
    no_args_is_help=True,
    add_completion=False,
    # Both would import rich, which takes longer than all the rest of --help.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(image.image)
app.command()(video.video)
app.add_typer(models.app, name="models")


def _tell_version(wanted: bool) -> None:
    if wanted:
        from napari_colorize import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def napari_colorize(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Colour for grayscale images. Colours are predicted by a neural network, not measured."""


def main() -> None:
    """Run the command line as the program `napari-colorize`."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A path may hold bytes or signs that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace" if os.name == "nt" else "surrogateescape")
    signal.signal(signal.SIGTERM, _interrupt)  # `kill` ends as orderly as Ctrl-C
    # We expand globs ourselves: ours keep the sub-folders, and work in every shell.
    app(prog_name="napari-colorize", windows_expand_args=False)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
