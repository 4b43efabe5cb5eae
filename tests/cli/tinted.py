"""The command line with a stand-in for the network; it can be told to be struck by a signal.

    python tinted.py [--strike NAME MOMENT NUMBER] image ...

NAME is SIGINT, SIGTERM or SIGKILL. MOMENT is `network` (while it computes) or `publish` (a result
is written completely, but does not have its name yet). NUMBER counts them from 1.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from typing import Any

from stand_ins import TintNetwork, colorizer_of
from torch import Tensor

from napari_colorize.cli import main
from napari_colorize.colorizer import Colorizer
from napari_colorize.runtime import atomic


def strike(name: str, moment: str, number: int) -> None:
    """Arrange for this process to get a signal."""
    here = TintNetwork if moment == "network" else atomic
    what = "forward" if moment == "network" else "_publish"
    undisturbed = getattr(here, what)
    calls = count(1)

    def struck(*positional: Any, **named: Any) -> Tensor | None:
        if next(calls) == number:
            os.kill(os.getpid(), getattr(signal, name))
        result: Tensor | None = undisturbed(*positional, **named)
        return result

    setattr(here, what, struck)


if __name__ == "__main__":
    if sys.argv[1] == "--strike":
        name, moment, number = sys.argv[2:5]
        del sys.argv[1:5]
        # A shell that starts the tests in the background lets its children ignore SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        strike(name, moment, int(number))
    Colorizer.from_pretrained = lambda *_, **__: colorizer_of(TintNetwork())  # type: ignore[method-assign]
    main()
