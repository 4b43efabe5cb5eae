"""A frame, and what gives and takes frames: every kind of sequence is one of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_colorize.io.image_record import Metadata

Pixels = NDArray[Any]
Record = dict[str, object]

RUN_IN = 24
"""Frames before a resume point that are colorized again to restore the smoothing state."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a sequence.

    Parameters
    ----------
    image : array, shape (Y, X), (Y, X, 3) or (Y, X, 4)
        As the model is shown it: upright.
    place : int
        Its number in the order of work, from 0.
    time : int
        When it is shown, in the source's time base.
    duration : int
        For how long; 0 if that is not said.
    luma : array, optional
        Its luminance in a film's own code values, lying as the film stores it.
    index : tuple of int
        Where it belongs on the source's leading axes.
    name : str
        Of its file, if it has one of its own.
    metadata : Metadata, optional
        Of that file.
    """

    image: Pixels
    place: int
    time: int
    duration: int = 0
    luma: Pixels | None = None
    index: tuple[int, ...] = ()
    name: str = ""
    metadata: Metadata | None = None


@dataclass(frozen=True)
class ResumePoint:
    """Up to where work is done: how many frames, and the time of the last of them."""

    done: int = 0
    time: int | None = None


@dataclass(frozen=True, kw_only=True)
class SequenceInfo:
    """What a sequence is, known before its frames are read.

    Parameters
    ----------
    path : Path
        Where it comes from.
    size : (int, int)
        Height and width of an image.
    dtype : np.dtype
        Of the images.
    rgb : bool
        Whether images have colours, in a last axis.
    time_base : Fraction
        Seconds that a frame's time counts.
    leading : tuple of int, optional
        Lengths of the axes before Y and X; None if only the end will tell (a film).
    total : int, optional
        How many frames there are about.
    limits : (float, float), optional
        Values of black and white, where the dtype does not say.
    metadata : Metadata
        What travels into a stack or pictures: axes, spacing, profile.
    """

    path: Path
    size: tuple[int, int]
    dtype: np.dtype[Any]
    time_base: Fraction
    rgb: bool = False
    leading: tuple[int, ...] | None = None
    total: int | None = None
    limits: tuple[float, float] | None = None
    metadata: Metadata = field(default_factory=Metadata)


class FrameSource(Protocol):
    """Gives frames in order of time."""

    @property
    def info(self) -> SequenceInfo:
        """What is known of all of them."""

    def identity(self) -> Record:
        """What tells it from another, or from what it was before it changed; plain values."""

    def series(self, border: ResumePoint, run_in: int) -> Iterator[Iterator[Frame]]:
        """Sequences of frames behind a border, each preceded by up to `run_in` from before it.

        Those before have places below `border.done`; their colours are not wanted again.
        """

    def notes(self) -> tuple[str, ...]:
        """What was interpreted so far."""


class FrameSink(Protocol):
    """Takes coloured frames, and keeps what it has through an interruption."""

    def write(self, frame: Frame, rgb: Pixels) -> None:
        """Take the next frame; `rgb` is `(Y, X, 3|4)`, upright."""

    def pause(self) -> None:
        """Put what came so far where a next run finds it."""

    def finish(self, record: Record) -> tuple[str, ...]:
        """Make the result of all frames appear; gives notes."""
