"""Process many files on the workers of a dask scheduler, local or remote.

Only file names are sent: for each task a worker reads, colorizes and writes a few files with a
`BatchRunner` and returns its events. A limited number of tasks is submitted at a time. Files that
are done or have failed are recorded in a `Manifest`.

The run tolerates crashes: the task of a lost worker is given to another one, which skips finished
files, and a killed program continues when it is repeated, because existing results are skipped.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_colorize.batch.discovery import is_folder
from napari_colorize.batch.manifest import Manifest, ManifestEntry
from napari_colorize.batch.naming import Job, is_file_name
from napari_colorize.batch.runner import (
    BatchRunner,
    Event,
    ImageFailed,
    ImageKept,
    ImageWritten,
    OpenedJob,
    StepDone,
    is_disk_full,
)
from napari_colorize.errors import ColorizeError, ColorizeWarning, warn
from napari_colorize.extras import install_command
from napari_colorize.runtime.atomic import remove_abandoned

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local"
MAX_FILES_PER_TASK = 16  # submitting a task takes about as long as colorizing a small image
TASKS_PER_THREAD = 4  # minimum if there are enough files, so that all workers end together
TASKS_IN_FLIGHT = 2  # submitted tasks per worker thread: the current one and the next
CONNECT_TIMEOUT = 30  # seconds for the scheduler to answer, and then for its first worker
LOG_LEVEL = logging.CRITICAL  # dask logs many errors when workers are stopped
NO_TLS = (
    "Other users of this machine can connect to the local workers and run code as you. To prevent "
    "this: pip install cryptography."
)
WORKER_MEMORY = 4 * 2**30  # bytes of memory for each local worker
# glibc settings that keep freed memory in the process. With dask's own settings, the megabytes that
# a network allocates per image cost 16,000 page faults and nearly twice the time.
MALLOC_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": 2**28, "MALLOC_MMAP_THRESHOLD_": 2**25}
# Ctrl-C in a terminal reaches the workers, too; they ignore it because this program stops them.
IGNORE_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@dataclass(frozen=True, kw_only=True)
class ClusterBatch:
    """Runs a batch on a cluster.

    Parameters
    ----------
    address : str
        Address of a scheduler, `tcp://machine:8786`, whose workers have the files at the same
        paths. `local` starts workers on this machine, one per core; `local:4` starts four.
    make : callable
        Called by a worker for each task; returns the `BatchRunner`. It is pickled, so it must load
        the network rather than contain it (see `ModelSpec.load`).
    manifest : Path
        Folder of the manifest; see `manifest_folder`.
    retry : bool
        Whether images that failed in an earlier run are processed again.
    """

    address: str
    make: Callable[[], BatchRunner]
    manifest: Path
    retry: bool = True

    def run(self, jobs: Sequence[Job], kept: Sequence[Job] = ()) -> Generator[Event, None, None]:
        """Process all jobs; yields the events of `BatchRunner.run`, in no particular order.

        Parameters
        ----------
        jobs : sequence of Job
            Images to process.
        kept : sequence of Job
            Images whose results exist; those missing in the manifest are added to it.

        Raises
        ------
        ColorizeError
            If there is no scheduler or no worker, or an error concerns all images.
        """
        for folder in {job.folder for job in jobs}:
            remove_abandoned(folder)
        manifest = Manifest(self.manifest)
        todo = yield from self._without_failed(jobs, manifest)
        with ExitStack() as resources:
            # Before the manifest is written, which would else be empty without a scheduler.
            client = resources.enter_context(connected(self.address)) if todo else None
            resources.enter_context(manifest)
            _record_existing(kept, manifest)
            if client is None:
                return
            for event in resources.enter_context(closing(self._run(todo, client))):
                _record(event, manifest)
                yield event

    def _without_failed(
        self, jobs: Sequence[Job], manifest: Manifest
    ) -> Generator[Event, None, list[Job]]:
        """Report images that failed before, unless they are retried; returns the other jobs."""
        if self.retry:
            return list(jobs)
        todo = []
        for job in jobs:
            entry = manifest.known.get(_absolute_name(job.source))
            if entry is None or entry.error is None:
                todo.append(job)
            else:
                error = ColorizeError(f"It failed in an earlier run: {entry.error}")
                yield ImageFailed(job, error)
        return todo

    def _run(self, jobs: Sequence[Job], client: Client) -> Generator[Event, None, None]:
        """Submit tasks and yield their events; ends early if the disk is full."""
        from distributed import as_completed

        # A task itself, so that it is sent to each worker once, and again if its worker is lost.
        make = client.submit(_unchanged, self.make, pure=False)
        tasks = deque(_split(jobs, _threads(client)))
        pending: dict[Future[TaskResult], Sequence[Job]] = {}
        completed = as_completed(loop=client.loop)
        try:
            while tasks or pending:
                while tasks and len(pending) < TASKS_IN_FLIGHT * _threads(client):
                    task_jobs = tasks.popleft()
                    absolute_jobs = [_absolute(job) for job in task_jobs]
                    future = client.submit(colorize_files, absolute_jobs, make, pure=False)
                    pending[future] = task_jobs
                    completed.add(future)
                future = next(completed)
                task_jobs = pending.pop(future)
                result = _task_result(future, task_jobs)
                if result is None:
                    tasks.extendleft([job] for job in task_jobs)
                    continue
                yield from result.events_for(task_jobs)
                if result.is_disk_full:
                    return
        finally:
            client.cancel(list(pending))


@dataclass(frozen=True)
class TaskResult:
    """Events of a task, and whether the disk was full."""

    events: tuple[Event, ...]
    is_disk_full: bool = False

    def events_for(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """The events with the paths of the submitting program instead of absolute ones."""
        known = {_absolute(job): job for job in jobs}
        for event in self.events:
            job = known[event.job]
            if isinstance(event, ImageWritten):
                yield replace(event, job=job, path=job.folder / event.path.name)
            else:
                yield replace(event, job=job)


def colorize_files(jobs: Sequence[Job], make: Callable[[], BatchRunner]) -> TaskResult:
    """Process the files of one task on a worker.

    An existing result was written by a worker that was lost before it could report it. It is
    accepted, unless results are to be replaced.
    """
    warnings.filterwarnings("ignore", category=ColorizeWarning)  # the events contain them as notes
    events: list[Event] = []
    is_full = False
    # Leftovers are removed once by the submitting program; doing it in every task would be slow.
    for event in make().run(jobs, remove_leftovers=False):
        if isinstance(event, ImageKept):
            job = event.job
            events += OpenedJob(job, 1), StepDone(job), ImageWritten(job, event.path, 0, ())
        else:
            events.append(event)
        is_full |= isinstance(event, ImageFailed) and is_disk_full(event.error)
    return TaskResult(tuple(events), is_full)


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of a scheduler that has workers; `local` starts both.

    Raises
    ------
    ColorizeError
        If dask.distributed is not installed, no scheduler answers, or it has no workers.
    """
    try:
        from distributed import Client
        from distributed.comm.addressing import resolve_address
        from distributed.utils import silence_logging_cmgr
    except ModuleNotFoundError:
        raise ColorizeError(
            f"Running on a cluster requires dask: {install_command('cluster')}"
        ) from None
    with ExitStack() as resources:
        resources.enter_context(silence_logging_cmgr(LOG_LEVEL))
        cluster: Any = address
        is_local = address.partition(":")[0] == LOCAL
        if is_local:
            cluster = resources.enter_context(_local_cluster(address))
        try:
            if not is_local:
                resolve_address(address)  # Client does not close properly with an invalid address
            client = Client(cluster, timeout=CONNECT_TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ColorizeError(
                f"There is no dask scheduler at {address}. Start one with `dask scheduler`, which "
                f"prints its address, or use {LOCAL}."
            ) from error
        resources.enter_context(client)
        try:
            client.wait_for_workers(1, timeout=CONNECT_TIMEOUT)
        except TimeoutError:
            raise ColorizeError(
                f"The scheduler at {address} has no workers. Start some: dask worker {address}"
            ) from None
        yield client


def manifest_folder(inputs: Sequence[str], out: str | None) -> Path:
    """Folder of a command's manifest: the output folder, or the common folder of the inputs."""
    if out is not None:
        return Path(out).parent if is_file_name(out) else Path(out)
    folders = [_folder_of(name).absolute() for name in inputs]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # inputs on several Windows drives
        return folders[0]


def _folder_of(name: str) -> Path:
    """A folder input itself, or the folder that contains the file or all matches of a pattern."""
    if is_folder(name):
        return Path(name)
    return Path(*takewhile(lambda part: not has_magic(part), Path(name).parent.parts))


def _local_cluster(address: str) -> Any:
    import dask.config
    from dask.system import CPU_COUNT
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    _, _, count = address.partition(":")
    if count and not (count.isdecimal() and int(count)):
        raise ColorizeError(f"{address} must be {LOCAL}, or for example {LOCAL}:4 for 4 workers.")
    workers = int(count or max(1, min(CPU_COUNT, MEMORY_LIMIT // WORKER_MEMORY)))
    config = {
        "distributed.nanny.pre-spawn-environ": MALLOC_ENVIRONMENT,
        # No pages with names of files and logs for other users of the machine.
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with dask.config.set(config):
        return LocalCluster(
            security=_temporary_credentials(),
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any free port; the dashboard is disabled
            scheduler_kwargs={"dashboard": False},
            preload=IGNORE_SIGINT,
            silence_logs=LOG_LEVEL,
            env={"OMP_NUM_THREADS": max(1, CPU_COUNT // workers)},  # torch threads per worker
        )


def _temporary_credentials() -> Any:
    """TLS credentials of one run: who connects to a scheduler can run any code as its user."""
    from distributed.security import Security

    try:
        return Security.temporary()
    except ImportError:
        warn(NO_TLS)
        return None


def _unchanged(make: Callable[[], BatchRunner]) -> Callable[[], BatchRunner]:
    return make


def _threads(client: Client) -> int:
    """Number of threads of all workers, which may change at any time."""
    return max(1, sum(client.nthreads().values()))


def _split(jobs: Sequence[Job], threads: int) -> Iterator[Sequence[Job]]:
    size = max(1, min(MAX_FILES_PER_TASK, len(jobs) // (TASKS_PER_THREAD * threads)))
    return (jobs[start : start + size] for start in range(0, len(jobs), size))


def _task_result(future: Future[TaskResult], jobs: Sequence[Job]) -> TaskResult | None:
    """Result of a task; None if its images should be submitted one by one.

    Raises
    ------
    ColorizeError
        If the error would occur in all other tasks, too.
    """
    from distributed import CancelledError, KilledWorker

    try:
        result: TaskResult = future.result()
    except KilledWorker:
        if len(jobs) > 1:
            return None
        message = "Its workers died; perhaps they have too little memory for this image."
        return TaskResult((ImageFailed(_absolute(jobs[0]), ColorizeError(message)),))
    except CancelledError:
        raise ColorizeError(
            "The connection to the scheduler was lost. Repeat the command to continue."
        ) from None
    except ColorizeError:
        raise
    # Any exception may arrive from another machine: a missing package, a bug.
    except Exception as error:
        raise ColorizeError(
            f"A worker failed ({type(error).__name__}: {error}). All workers need the same version "
            "of napari-colorize as this machine."
        ) from error
    return result


def _record(event: Event, manifest: Manifest) -> None:
    """Add the outcome of a job to the manifest."""
    if isinstance(event, ImageWritten):
        seconds = round(event.seconds, 3) or None
        entry = ManifestEntry(
            source=_absolute_name(event.job.source),
            result=_absolute_name(event.path),
            seconds=seconds,
        )
        manifest.append(entry)
    elif isinstance(event, ImageFailed):
        error = " ".join(str(event.error).split()) or "The image does not fit into memory."
        manifest.append(ManifestEntry(source=_absolute_name(event.job.source), error=error))


def _record_existing(jobs: Sequence[Job], manifest: Manifest) -> None:
    """Add results that were finished but not recorded, because the program was killed."""
    for job in jobs:
        entry = manifest.known.get(_absolute_name(job.source))
        is_noted = entry is not None and entry.error is None
        if not is_noted and (path := job.result()) is not None:
            manifest.append(
                ManifestEntry(source=_absolute_name(job.source), result=_absolute_name(path))
            )


def _absolute(job: Job) -> Job:
    """The job with absolute paths, because workers have other working folders."""
    return replace(job, source=job.source.absolute(), folder=job.folder.absolute())


def _absolute_name(path: Path) -> str:
    return str(path.absolute())
