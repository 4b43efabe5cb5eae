"""What can go wrong, in sentences that a front end can show as they are.

Every error that a user can meet is a `ColorizeError` whose message says what was expected, what
came and what to do. What a user should know about a result that did come out is a warning:
`ColorizeWarning` where the result may not be what was wanted, `ColorizeNote` where the input was
interpreted (an image that had colour, limits taken from the data).
"""

import sys
import warnings
from pathlib import Path

PACKAGE = str(Path(__file__).parent)


class ColorizeError(Exception):
    """Base of all errors that napari-colorize raises on purpose."""


class SettingsError(ColorizeError, ValueError):
    """A setting is out of its range, or the chosen network has no such knob."""


class ImageError(ColorizeError, ValueError):
    """The input is not an image that can be colorized."""


class UnknownModelError(ColorizeError, LookupError):
    """A name is neither in the catalogue nor a file."""


class CheckpointError(ColorizeError):
    """A file does not hold the weights of a network that we know."""


class DownloadError(ColorizeError):
    """A checkpoint could not be fetched, or arrived damaged."""


class OutOfMemoryError(ColorizeError, MemoryError):
    """A prediction does not fit into memory and no permitted retry did either."""


class OutputError(ColorizeError, OSError):
    """A result could not be written where it was asked for."""


class ColorizeWarning(UserWarning):
    """The result may not be what was wanted: almost no colour, a smaller render factor, NaN."""


class ColorizeNote(ColorizeWarning):
    """The input was interpreted in a way worth knowing: decoloured first, limits from the data."""


def warn(sentence: str, category: type[ColorizeWarning] = ColorizeWarning) -> None:
    """Warn in the name of whoever called this package, so that the line shown is theirs."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, category, stacklevel=level)
