"""The command line with a fast network in place of the real one; can send itself a signal.

    python program.py [--signal NAME MOMENT NUMBER] image ...

NAME is SIGINT, SIGTERM or SIGKILL. MOMENT is `network` (during inference) or `publish` (a result
is written, but not yet renamed to its final name) or `print` (the event of a result has arrived,
but is not printed). NUMBER counts these moments from 1.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from typing import Any

from stand_ins import TintNetwork, colorizer_of, tint_spec
from torch import Tensor

from napari_colorize.cli import main
from napari_colorize.cli.console import BatchConsole
from napari_colorize.colorizer import Colorizer
from napari_colorize.model_spec import ModelSpec
from napari_colorize.runtime import atomic


def send_signal_at(name: str, moment: str, number: int) -> None:
    """Send a signal to this process at the given moment."""
    owner, function = {
        "network": (TintNetwork, "forward"),
        "publish": (atomic, "_publish"),
        "print": (BatchConsole, "_print_result"),
    }[moment]
    original = getattr(owner, function)
    calls = count(1)

    def interrupted(*positional: Any, **named: Any) -> Tensor | None:
        if next(calls) == number:
            os.kill(os.getpid(), getattr(signal, name))
        result: Tensor | None = original(*positional, **named)
        return result

    setattr(owner, function, interrupted)


if __name__ == "__main__":
    if sys.argv[1] == "--signal":
        name, moment, number = sys.argv[2:5]
        del sys.argv[1:5]
        # A background job of a shell ignores SIGINT, and one that was started by nohup SIGHUP.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if name == "SIGHUP":
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        send_signal_at(name, moment, int(number))
    Colorizer.from_pretrained = lambda *_, **__: colorizer_of(TintNetwork())  # type: ignore[method-assign]
    ModelSpec.from_model = tint_spec  # type: ignore[method-assign,assignment]
    main()
