"""Frames of a sequence, and the interfaces of the sources that read and the sinks that write them.

Each kind of sequence (video, folder of images, stack, zarr) has one source and one sink.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_colorize.array_types import AnyArray, Limits, PlaneIndex
from napari_colorize.io.image_record import Metadata

Record = dict[str, object]

WARM_UP_FRAMES = 24
"""Frames before a resume point that are colorized again to restore the smoothing state."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a sequence.

    Parameters
    ----------
    image : array, shape (Y, X), (Y, X, 3) or (Y, X, 4)
        Input of the model, in display orientation.
    position : int
        Number of the frame in processing order, from 0.
    time : int
        Presentation time in units of the source's time base.
    duration : int
        Duration in the same units; 0 if unknown.
    luma : array, optional
        Rec. 601 luminance in the video's own code values and stored orientation.
    index : tuple of int
        Index of the plane on the source's leading axes.
    name : str
        Name of the frame's file, if each frame has its own file.
    metadata : Metadata, optional
        Metadata of that file.
    """

    image: AnyArray
    position: int
    time: int
    duration: int = 0
    luma: AnyArray | None = None
    index: PlaneIndex = ()
    name: str = ""
    metadata: Metadata | None = None


@dataclass(frozen=True)
class ResumePoint:
    """Number of finished frames, and the time of the last of them."""

    done: int = 0
    time: int | None = None


@dataclass(frozen=True, kw_only=True)
class SequenceInfo:
    """Properties of a sequence that are known before its frames are read.

    Parameters
    ----------
    path : Path
        The input file or folder.
    size : (int, int)
        Height and width of a frame.
    dtype : np.dtype
        Type of the frames.
    rgb : bool
        Whether frames have a last axis with 3 or 4 color channels.
    time_base : Fraction
        Seconds per unit of `Frame.time`.
    leading : tuple of int, optional
        Lengths of the axes before Y and X; None if unknown until the end (a video).
    total : int, optional
        Approximate number of frames.
    limits : (float, float), optional
        Values of black and white, for dtypes that do not define them.
    limits_note : str, optional
        Sentence for the user if `limits` were computed from the data.
    has_window : bool
        Whether `limits` are stored in the file (a DICOM window) rather than computed from the data.
    metadata : Metadata
        Metadata to copy into a stack or into images: axes, spacing, profile.
    """

    path: Path
    size: tuple[int, int]
    dtype: np.dtype[Any]
    time_base: Fraction
    rgb: bool = False
    leading: tuple[int, ...] | None = None
    total: int | None = None
    limits: Limits | None = None
    limits_note: str | None = None
    has_window: bool = False
    metadata: Metadata = field(default_factory=Metadata)


class FrameSource(Protocol):
    """Reads the frames of a sequence in temporal order."""

    @property
    def info(self) -> SequenceInfo:
        """Properties of the sequence."""

    def identity(self) -> Record:
        """JSON values that change if the input changes; stored to validate a resumed run."""

    def series(self, resume_point: ResumePoint, warm_up: int) -> Iterator[Iterator[Frame]]:
        """Temporal series of frames after a resume point.

        Each series starts with up to `warm_up` frames from before the resume point, whose positions
        are below `resume_point.done`. They restore the smoothing state and are not written.
        """

    def notes(self) -> tuple[str, ...]:
        """One sentence for each thing that was interpreted or changed so far."""


class FrameSink(Protocol):
    """Writes color frames, so that an interrupted run can be resumed."""

    def write(self, frame: Frame, rgb: AnyArray) -> None:
        """Write the next frame; `rgb` has shape (Y, X, 3|4) and display orientation."""

    def pause(self) -> None:
        """Save all frames written so far for a later run."""

    def finish(self, record: Record) -> tuple[str, ...]:
        """Create the result from all frames, with the provenance record; returns notes."""
