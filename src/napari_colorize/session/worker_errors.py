"""What goes wrong on the worker: said in one sentence, holding no memory, shown by nobody else."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable

from napari_colorize.errors import ColorizeError, ColorizeWarning, OutOfMemoryError

WORKER = "napari-colorize worker"  # a module that is nobody's


def as_colorize_error(error: Exception) -> ColorizeError:
    """An unexpected error in one sentence, itself as the cause."""
    said = " ".join(str(error).split()) or "no reason was given"
    if isinstance(error, MemoryError):
        explained: ColorizeError = OutOfMemoryError(
            "Memory ran out: close other programs, or colorize a smaller part."
        )
    else:
        kind = type(error).__name__
        explained = ColorizeError(f"Something unexpected went wrong ({kind}: {said}).")
    explained.__cause__ = error
    return explained


def clear_traceback(error: BaseException | None) -> None:
    """Let go of what an error's frames hold: tensors on a GPU whose memory ran out, say.

    Even cleared ones hold the functions that were called, and so what these were made with: the
    source. A front end may keep the error for long, so it goes without.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def without_warnings(work: Callable[[], None]) -> None:
    """Do it without a `ColorizeWarning` shown: they travel in `Colorized.notes`.

    Shown from a worker they crash Qt (napari#2598). `errors.warn` speaks in the name of whoever
    called this package. Of a thread that would be the module `threading`, as for every thread of
    others too; so the call is made from a module that exists for this only, and silence is
    asked of that one. Filters are the process's: none is removed again, that would undo what other
    threads did to them meanwhile.
    """
    warnings.filterwarnings("ignore", category=ColorizeWarning, module=rf"{WORKER}\Z")
    eval(compile("work()", f"<{WORKER}>", "eval"), {"__name__": WORKER, "work": work})
