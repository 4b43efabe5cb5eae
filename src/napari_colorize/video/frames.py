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

from napari_colorize.array_types import AnyArray, PlaneIndex
from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.io.image_record import Metadata

Record = dict[str, object]

WARM_UP_FRAMES = 24
"""Frames before a resume point that are colorized again to restore the smoothing state."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a sequence."""

    # Shape (Y, X), (Y, X, 3) or (Y, X, 4): input of the model, in display orientation
    image: AnyArray
    position: int  # number of the frame in processing order, from 0
    time: int  # in units of the source's time base
    duration: int = 0  # in the same units; 0 if unknown
    # Rec. 601 luminance in the video's own code values and stored orientation.
    luma: AnyArray | None = None
    index: PlaneIndex = ()  # of the plane on the source's leading axes
    name: str = ""  # name of the result, if each frame has its own file
    metadata: Metadata | None = None  # of that file


@dataclass(frozen=True)
class ResumePoint:
    """Number of finished frames, and the time of the last of them."""

    done: int = 0
    time: int | None = None


@dataclass(frozen=True, kw_only=True)
class SequenceInfo:
    """Properties of a sequence that are known before its frames are read."""

    path: Path  # the input file or folder
    size: tuple[int, int]  # height and width of a frame
    dtype: np.dtype[Any]  # type of the frames
    time_base: Fraction  # seconds per unit of `Frame.time`
    rgb: bool = False  # whether frames have a last axis with 3 or 4 color channels
    # Lengths of the axes before Y and X; None if unknown until the end (a video)
    leading: tuple[int, ...] | None = None
    total: int | None = None  # approximate number of frames
    # Values of black and white if the source declares them; videos declare the range of their dtype
    declared_range: IntensityRange | None = None
    # Metadata to copy into a stack or into images: axes, spacing, profile
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
