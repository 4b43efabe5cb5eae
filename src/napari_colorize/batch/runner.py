"""Colorize many files: one is decoded and one is written while the network has a third.

The network stays in the thread that asks. A reader thread is at most `AHEAD` pictures ahead of it
and a writer thread at most `BEHIND` behind, so memory stays bounded; a stack goes through plane by
plane. What happens is told in events. Whoever asks for no more of them has stopped the work, and
nothing half-written stays behind. What is done to one picture stands in `task`.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from napari_colorize.analysis.maps import MapKind
from napari_colorize.batch.naming import Job
from napari_colorize.batch.task import (
    BEHIND,
    NO_EXTRAS,
    Colors,
    Extras,
    Output,
    Task,
)
from napari_colorize.errors import ColorizeError
from napari_colorize.io.images import ImageRecord, read_image
from napari_colorize.runtime.atomic import remove_abandoned
from napari_colorize.settings import ColorizeSettings

AHEAD = 2  # pictures decoded before the network wants them


@dataclass(frozen=True)
class OpenedJob:
    """A picture was decoded; `steps` (planes, or pictures of a sheet) lie before it."""

    job: Job
    steps: int


@dataclass(frozen=True)
class StepDone:
    """One of its steps was taken."""

    job: Job


@dataclass(frozen=True)
class ImageWritten:
    """Its result is complete, `seconds` after the network took it up, its decoding added."""

    job: Job
    path: Path
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ImageFailed:
    """It could not be read, colorized or written."""

    job: Job
    error: ColorizeError | MemoryError


Event = OpenedJob | StepDone | ImageWritten | ImageFailed


@dataclass(frozen=True, kw_only=True)
class BatchRunner:
    """How all pictures of a batch are treated.

    Parameters
    ----------
    colorizer : Colorizer
        The network.
    settings : ColorizeSettings
        For every picture.
    sweep : tuple of int
        Render factors to show on contact sheets. Empty: the pictures themselves are colorized.
    overwrite : bool
        Whether results may replace files.
    beside : Beside
        Guides and a second model, for every picture.
    map : {"disagreement", "error", "uncolored"}, optional
        Draw this map of each picture instead of colorizing it.
    """

    colorizer: Colors
    settings: ColorizeSettings
    sweep: tuple[int, ...] = ()
    overwrite: bool = False
    extras: Extras = NO_EXTRAS
    map: MapKind | None = None

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """Colorize, and tell what happens: of each job its steps and at last its outcome.

        A picture that fails leaves the others alone; only a full disk ends them all.
        """
        for folder in {job.folder for job in jobs}:
            remove_abandoned(folder)
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            try:
                # Closed before the threads are: an open file ends in order.
                with closing(self.events(jobs, reader, writer)) as events:
                    for event in events:
                        yield event
                        if isinstance(event, ImageFailed) and is_disk_full(event.error):
                            return
            finally:  # what waits is dropped, what runs comes to its end
                reader.shutdown(cancel_futures=True)
                writer.shutdown(cancel_futures=True)

    def events(
        self, jobs: Sequence[Job], reader: Executor, writer: Executor
    ) -> Generator[Event, None, None]:
        """As `run`, on threads that are there, and without a look at what lies in the folders."""
        results: deque[_Result] = deque()
        for job, reading in _read_ahead(jobs, reader):
            try:
                results.append((yield from self._make(job, reading, writer)))
            except (ColorizeError, MemoryError) as error:
                yield ImageFailed(job, error)
            while results and (len(results) > BEHIND or results[0].is_complete()):
                yield results.popleft().outcome()
        for result in results:
            yield result.outcome()

    def _make(
        self, job: Job, reading: Future[_Read], writer: Executor
    ) -> Generator[Event, None, _Result]:
        """Take a picture through the network, step by step, and hand it to the writer."""
        read = reading.result()
        started = perf_counter() - read.seconds
        task = Task(
            job=job,
            picture=read.picture,
            colorizer=self.colorizer,
            settings=self.settings,
            sweep=self.sweep,
            overwrite=self.overwrite,
            writer=writer,
            extras=self.extras,
            map=self.map,
        )
        yield OpenedJob(job, task.steps)
        with closing(task.run()) as steps:
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    return _Result(job, started, end.value)
                yield StepDone(job)


@dataclass(frozen=True)
class _Read:
    picture: ImageRecord
    seconds: float


@dataclass(frozen=True)
class _Result:
    """A picture that has left the network; perhaps it is still being written."""

    job: Job
    started: float
    made: Output

    def is_complete(self) -> bool:
        return self.made.finished.done()

    def outcome(self) -> ImageWritten | ImageFailed:
        """How it ended; waits for the writer."""
        try:
            seconds = self.made.finished.result() - self.started
        except (ColorizeError, MemoryError) as error:
            return ImageFailed(self.job, error)
        return ImageWritten(self.job, self.made.path, seconds, self.made.notes)


def _read_ahead(jobs: Sequence[Job], reader: Executor) -> Iterator[tuple[Job, Future[_Read]]]:
    """The jobs in order, each with its picture, decoded or about to be."""
    ahead: deque[tuple[Job, Future[_Read]]] = deque()
    for job in jobs:
        ahead.append((job, reader.submit(_read, job.source)))
        if len(ahead) > AHEAD:
            yield ahead.popleft()
    while ahead:  # popped, so that a picture lives no longer than it is needed
        yield ahead.popleft()


def _read(path: Path) -> _Read:
    started = perf_counter()
    picture = read_image(path)
    return _Read(picture, perf_counter() - started)


def is_disk_full(error: BaseException) -> bool:
    """Whether a result did not find room on the disk: then no other one would."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
