"""Run a sequence through the model: decode, colorize and write at the same time.

The model stays in the calling thread; a reader thread is at most `READ_AHEAD` frames ahead and a
writer thread at most `WRITE_BEHIND` behind. Closing the generator stops the run; finished frames
are kept for a later run.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits
from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.io.image_record import fill_range
from napari_colorize.provenance import with_request
from napari_colorize.runtime.reader_writer import WriteQueue, read_ahead, reader_and_writer
from napari_colorize.video.frames import Frame, FrameSink, FrameSource, Record
from napari_colorize.video.resume import ResumeState

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

READ_AHEAD = 8  # decoded frames that wait for the model
WRITE_BEHIND = 4  # colorized frames that wait for the writer

NUMBER = re.compile(r"\d+(\.\d+)?")

Stream = Callable[[Iterable[Any]], Iterator["Colorized"]]
"""`Colorizer.stream` with all arguments except the images bound."""


class NoteCounter:
    """Collects notes about frames; notes that differ only in numbers are counted as one."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def add(self, sentences: Iterable[str]) -> None:
        """Count the notes of one frame."""
        for sentence in sentences:
            kind = NUMBER.sub("#", sentence)
            self._first.setdefault(kind, sentence)
            self._counts[kind] += 1

    def sentences(self, frames: int) -> tuple[str, ...]:
        """Each note once, with the number of frames unless it applies to all of them."""
        return tuple(
            sentence if self._counts[kind] == frames else f"{sentence} ({self._counts[kind]} x)"
            for kind, sentence in self._first.items()
        )


def run(
    source: FrameSource,
    sink: FrameSink,
    stream: Stream,
    state: ResumeState,
    *,
    warm_up: int = 0,
    limits: Limits | None = None,
) -> Generator[int, None, tuple[str, ...]]:
    """Colorize a sequence from its resume point; yields the number of finished frames.

    `warm_up` frames before the resume point are colorized again for temporal smoothing. If `limits`
    are given, integer results are stretched from them to black and white. Returns notes about the
    frames and about the finished result. An error of the source, the model or the sink is raised as
    it is; finished frames are kept.
    """
    notes, resumed = NoteCounter(), state.resume_point.done
    done = resumed
    has_record = bool(state.record)
    with reader_and_writer() as (reader, writer):
        writes = WriteQueue(writer, WRITE_BEHIND)
        try:
            for frame, colorized in _colorize(source, stream, state, reader, warm_up):
                if not has_record:  # all frames share one record, and describing one takes time
                    state.save_record(_sequence_record(colorized.provenance, source, state))
                    has_record = True
                writes.submit(sink.write, frame, _fill_range(np.asarray(colorized.rgb), limits))
                notes.add(colorized.notes)
                done = frame.position + 1
                yield done
            writes.drain()
        except BaseException:
            writes.wait()
            with suppress(ColorizeError):  # report the first error only
                writer.submit(sink.pause).result()
            raise
        if not done:
            raise ImageError(f"{source.info.path} has no frames: nothing was written.")
        finish_notes = writer.submit(sink.finish, state.record).result()
    return (*notes.sentences(done - resumed), *finish_notes)


def _colorize(
    source: FrameSource, stream: Stream, state: ResumeState, reader: Executor, warm_up: int
) -> Iterator[tuple[Frame, Colorized]]:
    """Frames after the resume point with their results; warm-up frames are left out."""
    resume_point = state.resume_point
    for series in source.series(resume_point, warm_up):
        pending: deque[Frame] = deque()
        frames = (future.result() for future in read_ahead(series, reader, READ_AHEAD))
        # `stream` may take several images before it returns the first result.
        for colorized in stream(_images(frames, source.info.size, pending)):
            frame = pending.popleft()
            if frame.position >= resume_point.done:
                yield frame, colorized


def _sequence_record(record: Record, source: FrameSource, state: ResumeState) -> Record:
    """The provenance record of a frame as the record of the whole sequence."""
    if not record:
        return {}
    settings: Any = state.identity["settings"]
    guides = state.identity.get("guides")
    requested = with_request(record, settings["contrast_limits"], guides)
    return {**requested, "notes": list(source.notes())}


def _images(
    frames: Iterator[Frame], size: tuple[int, int], pending: deque[Frame]
) -> Iterator[AnyArray]:
    for frame in frames:
        if frame.image.shape[:2] != size:
            raise ImageError(
                f"Frame {frame.position} has {frame.image.shape[1]} x {frame.image.shape[0]} "
                f"pixels, the first one {size[1]} x {size[0]}: all must have the same size."
            )
        pending.append(frame)
        yield frame.image


def _fill_range(rgb: AnyArray, limits: Limits | None) -> AnyArray:
    """Integers stretched from `limits` to black and white, alpha included; floats unchanged."""
    if limits is None or rgb.dtype.kind == "f":
        return rgb
    colors = fill_range(rgb[..., :3], limits)
    if rgb.shape[-1] == 3:
        return colors
    alpha = fill_range(rgb[..., 3:], (0, np.iinfo(rgb.dtype).max))
    return np.concatenate([colors, alpha], axis=-1)
