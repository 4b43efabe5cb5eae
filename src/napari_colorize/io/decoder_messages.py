"""Messages of file libraries: kept off the terminal, where they would not name the file.

tifffile logs, Pillow and pydicom warn. While a thread is inside `collected`, its messages are
counted instead of shown; those of other threads are not affected. `logging` has filters for this.
Filters of `warnings` belong to the process, so that `warnings.catch_warnings` in a reader thread
would also change what the main thread shows; therefore a filter that asks for the thread.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NOTE = "Parts of the file are damaged or unusual and were ignored."

# A filter of a logger does not apply to its children, so those of Pillow are listed.
_LOGGERS = ("tifffile", "pydicom", "PIL.ImageFile", "PIL.PngImagePlugin", "PIL.TiffImagePlugin")
_thread = threading.local()


@contextmanager
def collected() -> Iterator[list[str]]:
    """Collect the warnings of file libraries in the current thread.

    Yields
    ------
    list of str
        Messages at level WARNING and above, complete when the block ends.
    """
    _install()
    before, _thread.messages = getattr(_thread, "messages", None), []
    try:
        yield _thread.messages
    finally:
        _thread.messages = before


class _LogFilter(logging.Filter):
    """Takes the records of a thread that collects, and passes all others."""

    def filter(self, record: logging.LogRecord) -> bool:
        messages = getattr(_thread, "messages", None)
        if messages is None:
            return True
        if record.levelno >= logging.WARNING:
            messages.append(record.getMessage())
        return False


class _AnyMessage:
    """The message pattern of a warning filter; matches in a thread that collects."""

    def match(self, text: str) -> bool:
        messages = getattr(_thread, "messages", None)
        if messages is not None:
            messages.append(text)
        return messages is not None


_LOG_FILTER = _LogFilter()
# Other categories, such as DeprecationWarning, say nothing about the file.
_WARNING_FILTERS: list[Any] = [
    ("ignore", _AnyMessage(), category, None, 0) for category in (UserWarning, RuntimeWarning)
]


def _install() -> None:
    """Add the filters, or put them first again, for example after `catch_warnings`."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_LOG_FILTER)  # once, however often it is called
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    if filters[: len(_WARNING_FILTERS)] != _WARNING_FILTERS:
        others = [each for each in filters if each not in _WARNING_FILTERS]
        filters[:] = [*_WARNING_FILTERS, *others]
