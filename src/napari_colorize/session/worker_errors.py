"""Errors of the worker thread: converted to one sentence, without references to large objects."""

from __future__ import annotations

import traceback

from napari_colorize.errors import ColorizeError, OutOfMemoryError


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
