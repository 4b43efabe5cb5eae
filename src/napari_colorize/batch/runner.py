"""Colorize many image files: one is decoded and one is written while the network processes a third.

The network stays in the calling thread; see `runtime.reader_writer`. Progress is reported as
events. Closing the generator stops the batch; files are written completely or not at all, and an
unfinished stack is resumed by the next run. After Ctrl-C, results that are complete or being
written are reported before KeyboardInterrupt is raised. `task` defines what is done to one image.

Several processes can run the same batch. Each claims an image before it reads it, and leaves out
images that another one has claimed. At the end it waits for those, and processes what is missing
because a process was killed.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time

from napari_colorize.batch.naming import Job
from napari_colorize.batch.task import Output, Processing, Task
from napari_colorize.errors import ColorizeError, OutputError, as_colorize_error
from napari_colorize.io.images import ImageRecord, read_image
from napari_colorize.io.text_metadata import Dropped
from napari_colorize.runtime.atomic import remove_abandoned
from napari_colorize.runtime.claims import Claims, remove_abandoned_claims
from napari_colorize.runtime.reader_writer import read_ahead, reader_and_writer

logger = logging.getLogger(__name__)

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
class ImageKept:
    """Another process has written the result of this run meanwhile."""

    job: Job
    path: Path


@dataclass(frozen=True)
class ImageFailed:
    """An image could not be read, colorized or written."""

    job: Job
    error: ColorizeError | MemoryError


Event = OpenedJob | StepDone | ImageWritten | ImageKept | ImageFailed


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
                remove_abandoned_claims(folder)
        # The events are closed before the threads, so that an open result is closed in order.
        with (
            closing(_JobClaims(overwrite=self.overwrite)) as claims,
            reader_and_writer() as (reader, writer),
            closing(self._events(jobs, claims, reader, writer)) as events,
        ):
            for event in events:
                try:
                    yield event
                except KeyboardInterrupt as interruption:
                    yield from _interrupt(events, interruption)
                if isinstance(event, ImageFailed) and is_disk_full(event.error):
                    return

    def _events(
        self, jobs: Sequence[Job], claims: _JobClaims, reader: Executor, writer: Executor
    ) -> Generator[Event, None, None]:
        taken: list[Job] = []  # by other processes
        yield from self._pass(jobs, taken, claims, reader, writer)
        for job in taken:
            claims.take(job, wait=True)  # in the main thread, where Ctrl-C ends it
            yield from self._pass([job], [], claims, reader, writer)

    def _pass(
        self,
        jobs: Sequence[Job],
        taken: list[Job],
        claims: _JobClaims,
        reader: Executor,
        writer: Executor,
    ) -> Generator[Event, None, None]:
        """Process the jobs that can be claimed; the others are appended to `taken`."""
        results: deque[_Result] = deque()
        images = read_ahead(map(claims.read, jobs), reader, READ_AHEAD)
        try:
            for job, reading in zip(jobs, images, strict=True):
                try:
                    read = reading.result()
                    if isinstance(read, _Read):
                        results.append((yield from self._process(job, read)))
                        # Only now, so that no written result is missing from `results`.
                        if not results[-1].is_complete():
                            writer.submit(results[-1].output.finish)
                    elif read is None:
                        taken.append(job)
                    else:
                        yield claims.ended(ImageKept(job, read))
                # Any error of one image, so that no file ends the batch.
                except Exception as error:  # noqa: BLE001
                    yield claims.ended(_failure(job, error))
                while results and (len(results) > WRITE_BEHIND or results[0].is_complete()):
                    yield claims.ended(_first_outcome(results))
            while results:
                yield claims.ended(_first_outcome(results))
        except KeyboardInterrupt:
            while results:
                if results[0].output.finished.cancel():  # not begun
                    results.popleft()
                else:
                    yield claims.ended(_first_outcome(results))
            raise

    def _process(self, job: Job, read: _Read) -> Generator[Event, None, _Result]:
        """Run the steps of one job."""
        started = perf_counter() - read.seconds
        task = Task(self, job, read.image)
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
        except Exception as error:  # noqa: BLE001
            return _failure(self.job, error)
        output = self.output
        return ImageWritten(self.job, output.path, seconds, output.notes, output.dropped)


def _failure(job: Job, error: Exception) -> ImageFailed:
    if isinstance(error, (ColorizeError, MemoryError)):
        return ImageFailed(job, error)
    logger.debug("%s failed", job.source, exc_info=error)
    return ImageFailed(job, as_colorize_error(error))


def _interrupt(
    events: Generator[Event, None, None], interruption: KeyboardInterrupt
) -> Generator[Event, None, None]:
    """Raise Ctrl-C of the consumer in a generator; yields its last events before it is raised."""
    yield events.throw(interruption)
    yield from events


def _first_outcome(results: deque[_Result]) -> ImageWritten | ImageFailed:
    """Remove the first result when it is written, so that Ctrl-C while waiting does not lose it."""
    outcome = results[0].outcome()
    results.popleft()
    return outcome


class _JobClaims:
    """Claims of jobs, and results that other processes have written during this run.

    Parameters
    ----------
    overwrite : bool
        Whether results that are older than this run are replaced.
    """

    def __init__(self, *, overwrite: bool) -> None:
        self._claims = Claims()
        self._start = time() if overwrite else 0.0

    def take(self, job: Job, *, wait: bool = False) -> bool:
        """See `Claims.take`."""
        return self._claims.take(job.claim, wait=wait)

    def read(self, job: Job) -> _Read | Path | None:
        """The image, the result that another process has written, or None if one has claimed it."""
        if not self.take(job):
            return None
        return self._new_result(job) or _read(job.source)

    def ended(self, event: Event) -> Event:
        """Release the claim of the job of an event, which is its last one."""
        # On file systems without locks, another process may have written the result.
        if isinstance(event, ImageFailed) and isinstance(event.error, OutputError):
            path = self._new_result(event.job)
            event = event if path is None else ImageKept(event.job, path)
        self._claims.release(event.job.claim)
        return event

    def close(self) -> None:
        """Release all claims."""
        self._claims.release_all()

    def _new_result(self, job: Job) -> Path | None:
        path = job.result()
        return path if path is not None and path.lstat().st_mtime >= self._start else None


def _read(path: Path) -> _Read:
    started = perf_counter()
    image = read_image(path)
    return _Read(image, perf_counter() - started)


def is_disk_full(error: BaseException) -> bool:
    """Whether writing failed because the disk is full, so that further writes would fail, too."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
