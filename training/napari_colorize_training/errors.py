"""Errors of the training package."""

from napari_colorize.errors import ColorizeError


class TrainingError(ColorizeError):
    """A training run cannot start or continue; the message gives the reason and the remedy."""
