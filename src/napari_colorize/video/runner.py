"""The work itself: frames are decoded, coloured and written at the same time.

The model stays in the thread that asks. A reader thread is at most `AHEAD` frames ahead of it and
a writer thread at most `BEHIND` behind, so memory is the same for any length. Whoever asks for no
more has stopped the work; what was finished so far is kept.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import numpy as np

from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.io.image_record import fill_range
from napari_colorize.video.frames import Frame, FrameSink, FrameSource, Pixels, Record
from napari_colorize.video.resume import ResumeState

AHEAD = 8  # frames decoded before the model wants them
BEHIND = 4  # frames that wait to be written

NUMBER = re.compile(r"\d+(\.\d+)?")

Item = TypeVar("Item")
Limits = tuple[float, float] | None


class Colored(Protocol):
    """What is needed of a `Colorized`."""

    @property
    def rgb(self) -> Any:
        """(Y, X, 3 or 4) in the image's dtype."""

    @property
    def provenance(self) -> Record:
        """How it was made."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know."""


Colors = Callable[[Iterable[Any]], Iterator[Colored]]
"""`Colorizer.stream` with all but the images given: one result for each, in order."""


class NoteCounter:
    """What was said of frames: sentences that differ in their numbers alone are told once."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def add(self, sentences: Iterable[str]) -> None:
        """Hear what was said of one frame."""
        for sentence in sentences:
            kind = NUMBER.sub("#", sentence)
            self._first.setdefault(kind, sentence)
            self._counts[kind] += 1

    def sentences(self, frames: int) -> tuple[str, ...]:
        """The sentences, each with the number of frames if it was not said of all."""
        return tuple(
            sentence if self._counts[kind] == frames else f"{sentence} ({self._counts[kind]} x)"
            for kind, sentence in self._first.items()
        )


def run(
    source: FrameSource,
    sink: FrameSink,
    colors: Colors,
    ledger: ResumeState,
    *,
    run_in: int = 0,
    limits: Limits = None,
) -> Generator[int, None, tuple[str, ...]]:
    """Colorize a sequence from where the ledger says, and tell after each frame how many are done.

    Parameters
    ----------
    source, sink
        Where frames come from and go to.
    colors : callable
        See `Colors`.
    ledger : Ledger
        What is done already.
    run_in : int
        Frames before that which are coloured once more, for temporal_smoothing.
    limits : (float, float), optional
        Values between which the results lie, and which become black and white.

    Returns
    -------
    tuple of str
        What was said of its frames, and what the sink has to say of the finished result.

    Raises
    ------
    ColorizeError
        Of the source, the model or the sink; what was done stays.
    """
    tally, before, done = NoteCounter(), ledger.border.done, ledger.border.done
    write = _Write(sink)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        writing: deque[Future[None]] = deque()
        try:
            for frame, colored in _colored(source, colors, ledger, reader, run_in):
                if not ledger.record:
                    ledger.remember(_of_all(colored.provenance, source))
                pixels = _filled(np.asarray(colored.rgb), limits)
                writing.append(writer.submit(write, frame, pixels))
                tally.add(colored.notes)
                while len(writing) > BEHIND:
                    writing.popleft().result()
                done = frame.place + 1
                yield done
            while writing:
                writing.popleft().result()
        except BaseException:
            wait(writing)
            with suppress(ColorizeError):  # the first error is the one to tell
                writer.submit(sink.pause).result()
            raise
        finally:
            reader.shutdown(cancel_futures=True)
        notes = writer.submit(sink.finish, ledger.record).result()
    return (*tally.sentences(done - before), *notes)


class _Write:
    """Writes frame after frame, and none behind one that could not be written."""

    def __init__(self, sink: FrameSink) -> None:
        self._sink = sink
        self._has_failed = False

    def __call__(self, frame: Frame, pixels: Pixels) -> None:
        if self._has_failed:
            return
        self._has_failed = True
        self._sink.write(frame, pixels)
        self._has_failed = False


def _colored(
    source: FrameSource, colors: Colors, ledger: ResumeState, reader: Executor, run_in: int
) -> Iterator[tuple[Frame, Colored]]:
    """Frames with their colours; those of the run-in are left out."""
    border = ledger.border
    for series in source.series(border, run_in):
        waiting: deque[Frame] = deque()
        images = _images(_ahead(series, reader), source.info.size, waiting)
        for colored in colors(images):
            frame = waiting.popleft()
            if frame.place >= border.done:
                yield frame, colored


def _of_all(record: Record, source: FrameSource) -> Record:
    """The record of a frame as one of the whole sequence."""
    return {**record, "notes": list(source.notes())} if record else {}


def _images(
    frames: Iterator[Frame], size: tuple[int, int], waiting: deque[Frame]
) -> Iterator[Pixels]:
    for frame in frames:
        if frame.image.shape[:2] != size:
            raise ImageError(
                f"Frame {frame.place} has {frame.image.shape[1]} x {frame.image.shape[0]} pixels, "
                f"the first one {size[1]} x {size[0]}: all must be of one size."
            )
        waiting.append(frame)
        yield frame.image


def _ahead(items: Iterator[Item], executor: Executor) -> Iterator[Item]:
    """The same items, taken by a thread a few at a time before they are asked for."""
    end = object()
    taking = deque(executor.submit(next, items, end) for _ in range(AHEAD))
    while True:
        item = taking.popleft().result()
        if item is end:
            return
        taking.append(executor.submit(next, items, end))
        yield item  # type: ignore[misc]


def _filled(rgb: Pixels, limits: Limits) -> Pixels:
    """Whole numbers from black to white, as other programs take them."""
    if limits is None or rgb.dtype.kind == "f":
        return rgb
    colors = fill_range(rgb[..., :3], limits)
    if rgb.shape[-1] == 3:
        return colors
    alpha = fill_range(rgb[..., 3:], (0, np.iinfo(rgb.dtype).max))
    return np.concatenate([colors, alpha], axis=-1)
