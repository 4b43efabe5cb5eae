"""Errors and warnings, with messages that front ends display unchanged.

Errors that a user can cause are `ColorizeError`s; the message states what was expected, what was
found and what to do. Information about a result is given as a warning: `ColorizeWarning` if the
result may be wrong, `ColorizeNote` if the input was interpreted (an image with colors, contrast
limits taken from the data).
"""

import difflib
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = str(Path(__file__).parent)

_suppressed = threading.local()


class ColorizeError(Exception):
    """Base class of the errors that napari-colorize raises."""


class SettingsError(ColorizeError, ValueError):
    """A setting is unknown, out of range, or not supported by the network."""


class UnknownSettingError(SettingsError, TypeError):
    """There is no setting of this name; also a TypeError, like any unknown keyword argument."""


class ImageError(ColorizeError, ValueError):
    """The input is not an image that can be colorized, or a guide does not fit it."""


class UnknownModelError(ColorizeError, LookupError):
    """A name is neither in the catalogue nor a file."""


class CheckpointError(ColorizeError):
    """A file does not contain weights of a known network architecture."""


class DownloadError(ColorizeError):
    """A checkpoint could not be downloaded, or the download is damaged.

    Parameters
    ----------
    message : str
        The whole message, with causes and addresses.
    summary : str, optional
        One sentence for a narrow panel. Default: the message.
    """

    def __init__(self, message: str, summary: str = "") -> None:
        super().__init__(message)
        self.summary = summary or message


class OutOfMemoryError(ColorizeError, MemoryError):
    """A prediction does not fit into memory with any permitted fallback."""


class OutputError(ColorizeError, OSError):
    """A result could not be written to the given path."""


class MissingExtraError(ColorizeError, ImportError):
    """A package of an extra is not installed; the message has the command that installs it."""


class ColorizeWarning(UserWarning):
    """The result may be wrong: almost no color, a smaller render factor, NaN."""


class ColorizeNote(ColorizeWarning):
    """The input was interpreted: colors were removed, or limits were taken from the data."""


@contextmanager
def warnings_suppressed() -> Iterator[None]:
    """Ignore `warn` in the current thread; other threads and other warnings are not affected.

    For worker threads of front ends: a warning shown from such a thread crashes Qt (napari#2598),
    and the same sentences are in `Colorized.notes`. Warning filters would not do, because they
    belong to the process.
    """
    before, _suppressed.is_active = getattr(_suppressed, "is_active", False), True
    try:
        yield
    finally:
        _suppressed.is_active = before


def warn(message: str, category: type[ColorizeWarning] = ColorizeWarning) -> None:
    """Issue a warning that is attributed to the caller of this package."""
    if getattr(_suppressed, "is_active", False):
        return
    # The first frame outside this package is the line that the user can change.
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Sentence that names the most similar of the known names, or all of them if none is."""
    names = list(known)
    lower = {each.lower(): each for each in names}
    similar = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.8)
    if similar:
        return f"Did you mean {lower[similar[0]]!r}?"
    return f"Choose one of: {', '.join(names)}."


def as_colorize_error(error: Exception) -> ColorizeError:
    """An unexpected error as a ColorizeError with a one-sentence message and `error` as cause."""
    message = " ".join(str(error).split()) or "no reason was given"
    if isinstance(error, MemoryError):
        converted: ColorizeError = OutOfMemoryError(
            "Memory ran out: close other programs, or colorize a smaller part."
        )
    else:
        kind = type(error).__name__
        converted = ColorizeError(f"An unexpected error occurred ({kind}: {message}).")
    converted.__cause__ = error
    return converted


def clear_traceback(error: BaseException | None) -> None:
    """Remove the frames of an error and of its causes, which keep tensors and sources alive.

    A front end may keep the error for a long time. Clearing the frames is not enough: a cleared
    frame still refers to its function, and so to a source that the function was made with.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
