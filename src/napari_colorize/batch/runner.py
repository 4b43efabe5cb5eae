"""Colorize many image files: one is decoded and one is written while the network processes a third.

The network stays in the calling thread; see `runtime.reader_writer`. Progress is reported as
events. Closing the generator stops the batch; files are written completely or not at all, and an
unfinished stack is resumed by the next run. `task` defines what is done to one image.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from napari_colorize.batch.naming import Job
from napari_colorize.batch.task import Output, Processing, Task
from napari_colorize.errors import ColorizeError
from napari_colorize.io.images import ImageRecord, read_image
from napari_colorize.io.text_metadata import Dropped
from napari_colorize.runtime.atomic import remove_abandoned
from napari_colorize.runtime.reader_writer import read_ahead, reader_and_writer

READ_AHEAD = 2  # decoded images that wait for the network
WRITE_BEHIND = 2  # colorized images that wait for the writer


@dataclass(frozen=True)
class OpenedJob:
    """An image was decoded; `steps` (planes, or images of a sheet) will follow."""

    job: Job
    steps: int


@dataclass(frozen=True)
class StepDone:
    """One step of a job is done."""

    job: Job


@dataclass(frozen=True)
class ImageWritten:
    """A result is complete; `seconds` include decoding, processing and writing.

    `dropped` are the metadata that its format cannot hold; None for a result of an earlier task.
    """

    job: Job
    path: Path
    seconds: float
    notes: tuple[str, ...]
    dropped: Dropped | None = None


@dataclass(frozen=True)
class ImageFailed:
    """An image could not be read, colorized or written."""

    job: Job
    error: ColorizeError | MemoryError


Event = OpenedJob | StepDone | ImageWritten | ImageFailed


class BatchRunner(Processing):
    """Applies one kind of processing to many image files; see `Processing` for the parameters."""

    def run(
        self, jobs: Sequence[Job], *, remove_leftovers: bool = True
    ) -> Generator[Event, None, None]:
        """Process all jobs; yields the steps of each job and finally its outcome.

        An image that fails does not affect the others; only a full disk ends the batch.

        Parameters
        ----------
        jobs : sequence of Job
            Images and the names of their results.
        remove_leftovers : bool
            Whether temporary files of killed runs are removed from the result folders first.
        """
        if remove_leftovers:
            for folder in {job.folder for job in jobs}:
                remove_abandoned(folder)
        # The events are closed before the threads, so that an open result is closed in order.
        with (
            reader_and_writer() as (reader, writer),
            closing(self._events(jobs, reader, writer)) as events,
        ):
            for event in events:
                yield event
                if isinstance(event, ImageFailed) and is_disk_full(event.error):
                    return

    def _events(
        self, jobs: Sequence[Job], reader: Executor, writer: Executor
    ) -> Generator[Event, None, None]:
        results: deque[_Result] = deque()
        images = read_ahead(map(_read, [job.source for job in jobs]), reader, READ_AHEAD)
        for job, reading in zip(jobs, images, strict=True):
            try:
                results.append((yield from self._process(job, reading, writer)))
            except (ColorizeError, MemoryError) as error:
                yield ImageFailed(job, error)
            while results and (len(results) > WRITE_BEHIND or results[0].is_complete()):
                yield results.popleft().outcome()
        for result in results:
            yield result.outcome()

    def _process(
        self, job: Job, reading: Future[_Read], writer: Executor
    ) -> Generator[Event, None, _Result]:
        """Run the steps of one job and queue its result for the writer."""
        read = reading.result()
        started = perf_counter() - read.seconds
        task = Task(self, job, read.image, writer)
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
    image: ImageRecord
    seconds: float


@dataclass(frozen=True)
class _Result:
    """A processed image, which may not be written yet."""

    job: Job
    started: float
    output: Output

    def is_complete(self) -> bool:
        return self.output.finished.done()

    def outcome(self) -> ImageWritten | ImageFailed:
        """Result of writing; waits for the writer."""
        try:
            seconds = self.output.finished.result() - self.started
        except (ColorizeError, MemoryError) as error:
            return ImageFailed(self.job, error)
        output = self.output
        return ImageWritten(self.job, output.path, seconds, output.notes, output.dropped)


def _read(path: Path) -> _Read:
    started = perf_counter()
    image = read_image(path)
    return _Read(image, perf_counter() - started)


def is_disk_full(error: BaseException) -> bool:
    """Whether writing failed because the disk is full, so that further writes would fail, too."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
