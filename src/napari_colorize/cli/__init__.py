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

from napari_colorize.cli import image, models, video
from napari_colorize.cli.dataclass_options import SettingsCommand
from napari_colorize.cli.program import Version, create_program

app = create_program("napari-colorize")
app.command(cls=SettingsCommand)(image.image)
app.command(cls=SettingsCommand)(video.video)
app.add_typer(models.app, name="models")


@app.callback()
def napari_colorize(version: Version = False) -> None:
    """Colorize grayscale images. Colors are predicted by a neural network, not measured."""


def main() -> None:
    """Entry point of the program."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A path may contain bytes or characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace" if os.name == "nt" else "surrogateescape")
    for name in ("SIGTERM", "SIGHUP"):  # `kill` and a closed terminal clean up like Ctrl-C
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as after nohup
            signal.signal(number, _interrupt)
    # Globs are expanded by `plan_batch`, which keeps sub-folders and works in every shell.
    app(prog_name="napari-colorize", windows_expand_args=False)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
