"""Image stacks (TIFF, DICOM, animations) as a source, and TIFF stacks and animations as a sink."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_colorize.array_types import AnyArray, PlaneIndex
from napari_colorize.errors import ImageError, OutputError, warnings_suppressed
from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.io.formats import OME, TIFF, can_hold, format_of
from napari_colorize.io.image_record import ImageRecord, Metadata
from napari_colorize.io.images import StackWriter, read_image, write_image
from napari_colorize.io.limits import refuse_animation
from napari_colorize.io.text_metadata import dropped, dropped_sentence
from napari_colorize.runtime.atomic import write_errors
from napari_colorize.video.frames import Frame, Record, ResumePoint, SequenceInfo
from napari_colorize.video.resume import ResumeState

RAW_FILE = "planes.raw"
FRAME_RATE = Fraction(25)  # frames per second of images that define no time


class Planes(Protocol):
    """The part of the array interface that a `StackSource` uses."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(..., Y, X)` or `(..., Y, X, 3|4)`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def __getitem__(self, index: PlaneIndex) -> Any:
        """The plane at an index of the leading axes, `(Y, X)` or `(Y, X, 3|4)`."""


@dataclass(frozen=True)
class StackSource:
    """Planes of a stack as frames; see `frames.FrameSource`.

    Every index of the other axes (depth, channel) has its own series along the time axis.
    """

    array: Planes
    # Its properties; `metadata.axes` has a capital letter for each leading axis, or is empty
    info: SequenceInfo
    state: Record  # size and date of the file or folder, to detect changes
    opening_notes: tuple[str, ...] = ()  # what was interpreted when the stack was opened
    version: str | None = None  # OME-Zarr version, if the stack is an OME-Zarr image
    # Leading axis along which temporal smoothing acts. Default: the axis called T, or the first.
    time_axis: int | None = None

    @classmethod
    def of(
        cls,
        path: Path,
        record: ImageRecord,
        *,
        rate: Fraction = FRAME_RATE,
        time_axis: int | None = None,
    ) -> StackSource:
        """The planes of a stack that was read from a file.

        Raises
        ------
        SettingsError
            If the stack has no such time axis.
        """
        info = sequence_info(
            path, record.array, rate, record.metadata, record.rgb, record.declared_range
        )
        if time_axis is not None:
            from napari_colorize.sequence_smoothing import checked_axis

            time_axis = checked_axis(time_axis, len(info.leading or ()))
        status = path.stat()
        state: Record = {"bytes": status.st_size, "changed": status.st_mtime_ns}
        if time_axis is not None:
            state["time_axis"] = time_axis
        return cls(record.array, info, state, record.notes, time_axis=time_axis)

    @property
    def leading(self) -> tuple[int, ...]:
        """Lengths of the axes before Y and X."""
        assert self.info.leading is not None
        return self.info.leading

    def identity(self) -> Record:
        """Path and shape, and the state of the file."""
        shape = list(self.array.shape)
        return {"stack": str(self.info.path.resolve()), "shape": shape, **self.state}

    def notes(self) -> tuple[str, ...]:
        """What was interpreted when the stack was opened."""
        return self.opening_notes

    def series(self, resume_point: ResumePoint, warm_up: int) -> Iterator[Iterator[Frame]]:
        """One series along time for each index of the other axes."""
        axis = self._series_axis
        length = self.leading[axis]
        others = list(self.leading)
        others[axis] = 1
        for number, index in enumerate(np.ndindex(*others)):
            done = min(max(resume_point.done - number * length, 0), length)
            if done < length:
                yield self._frames(index, number * length, max(0, done - warm_up), length)

    @property
    def _series_axis(self) -> int:
        if self.time_axis is not None:
            return self.time_axis
        axes = self.info.metadata.axes.upper()
        return axes.index("T") if len(axes) == len(self.leading) and "T" in axes else 0

    def _frames(
        self, index: Sequence[int], offset: int, first: int, length: int
    ) -> Iterator[Frame]:
        axis = self._series_axis
        for time in range(first, length):
            plane = (*index[:axis], time, *index[axis + 1 :])
            yield Frame(
                image=np.asarray(self.array[plane]),
                position=offset + time,
                time=time,
                duration=1,
                index=plane,
            )


def open_stack(path: Path, rate: Fraction) -> StackSource:
    """Read a TIFF, or another file with several images, as `rate` planes per second.

    Raises
    ------
    ImageError
        If the file cannot be read, or contains a single image.
    """
    record = read_image(path)
    if not record.is_stack:
        raise ImageError(
            f"{path.name} contains a single image: colorize it with `napari-colorize image`."
        )
    return StackSource.of(path, record, rate=rate)


def sequence_info(
    path: Path,
    array: Planes,
    rate: Fraction,
    metadata: Metadata,
    rgb: bool,
    declared_range: IntensityRange | None = None,
) -> SequenceInfo:
    """Properties of a stack of `rate` planes per second; no plane is read.

    `declared_range` has the values of black and white if the file declares them.
    """
    shape = tuple(array.shape)
    leading = shape[: -3 if rgb else -2]
    height, width = shape[len(leading) : len(leading) + 2]
    dtype = np.dtype(array.dtype)
    return SequenceInfo(
        path=path,
        size=(height, width),
        dtype=dtype,
        rgb=rgb,
        time_base=1 / rate,
        leading=leading,
        total=math.prod(leading),
        declared_range=declared_range,
        metadata=metadata,
    )


@dataclass
class StackFileWriter:
    """A TIFF stack or an animation as a sink; see `frames.FrameSink`.

    Planes are stored uncompressed in the work folder until all are there. This allows planes in any
    order and lets an interrupted run continue.
    """

    target: Path
    state: ResumeState  # progress, and the work folder
    metadata: Metadata  # axes, spacing, profile and frame durations
    # Lengths of the axes before Y and X; None if unknown until the end (a video)
    leading: tuple[int, ...] | None
    overwrite: bool = False  # `target` may be replaced

    def write(self, frame: Frame, rgb: AnyArray) -> None:
        """Store a plane at the offset of its index."""
        if not self.state.sink_state:
            self.state.save_sink_state(shape=list(rgb.shape), dtype=rgb.dtype.str)
        # Planes arrive series by series along time, which need not be the last axis.
        number = frame.position
        if self.leading is not None:
            number = int(np.ravel_multi_index(frame.index, self.leading))
        with write_errors(self._raw):
            self._raw.touch()
            with self._raw.open("r+b") as file:
                file.seek(number * rgb.nbytes)
                file.write(np.ascontiguousarray(rgb).data)
        self.state.advance(frame)

    def pause(self) -> None:
        """Save the number of stored planes."""
        self.state.save_progress()

    def finish(self, record: Record) -> tuple[str, ...]:
        """Write the file from the stored planes."""
        self.pause()
        stored: dict[str, Any] = dict(self.state.sink_state)
        plane_shape, dtype = tuple(stored["shape"]), np.dtype(stored["dtype"])
        leading = self.leading or (self.state.resume_point.done,)
        if format_of(self.target) in (TIFF, OME):
            with StackWriter(
                self.target,
                shape=(*leading, *plane_shape),
                dtype=dtype,
                metadata=self.metadata,
                provenance=record,
                overwrite=self.overwrite,
            ) as writer:
                for page in self._pages(plane_shape, dtype, math.prod(leading)):
                    writer.write(page)
        else:  # an animation
            stack = np.memmap(self._raw, dtype, "r", shape=(*leading, *plane_shape))
            with warnings_suppressed():  # dropped metadata are in the notes
                write_image(self.target, stack, self.metadata, record, overwrite=self.overwrite)
            del stack  # Windows does not remove a file that is mapped
        self.state.remove()
        lost = dropped(self.target, self.metadata, record)
        return (dropped_sentence([lost], of=self.target.name),) if lost.names else ()

    @property
    def _raw(self) -> Path:
        return self.state.folder / RAW_FILE

    def _pages(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], count: int
    ) -> Iterator[AnyArray]:
        with self._raw.open("rb") as file:
            for _ in range(count):
                data = file.read(math.prod(shape) * dtype.itemsize)
                yield np.frombuffer(data, dtype).reshape(shape)


def refuse_stack(
    target: Path, shape: Sequence[int], dtype: np.dtype[Any], *, has_alpha: bool, axes: int
) -> None:
    """Raise `OutputError` if the format of `target` cannot store such a stack, or memory lacks.

    `shape` is that of the gray stack, with `axes` before Y and X.
    """
    into = format_of(target)
    if not can_hold(into, dtype, has_alpha=has_alpha, is_stack=True, axes=axes):
        raise OutputError(
            f"{target.name}: {into.name} cannot store this stack of {dtype}. Choose .tif."
        )
    if into not in (TIFF, OME):
        values = math.prod(shape[: axes + 2]) * (4 if has_alpha else 3)
        refuse_animation(target, into, values * dtype.itemsize)
