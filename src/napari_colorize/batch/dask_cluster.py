"""Colorize many files on the workers of a dask scheduler, of this machine or of many.

Only names travel: a worker reads, colorizes and writes a few files for each task, by the same
steps as a `Batch` here, and answers with the events of that. A bounded number of tasks is under way
at a time, however many files there are. What is done or failed stands in a `Manifest`.

Everything may die: a worker's task is given to another one, which finds what the first had
finished, and a killed program goes on when it is started again, because results that are there are
not planned anew.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    ImageWritten,
    OpenedJob,
    StepDone,
    is_disk_full,
)
from napari_colorize.errors import ColorizeError, ColorizeWarning
from napari_colorize.runtime.atomic import remove_abandoned

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local"
FILES = 16  # of a task, at most: handing one over takes as long as a small picture
SHARES = 4  # tasks of each thread, at least, while there are files enough: all end together
AHEAD = 2  # tasks for each thread of the workers: the one it is at and the next
PATIENCE = 30  # seconds that a scheduler, and then its first worker, may take to answer
QUIET = logging.CRITICAL  # what ends at an unusual moment has much to say
ROOM = 4 * 2**30  # bytes of memory for each worker that is started here
# Of glibc: what a network takes and frees, some megabytes each time, stays with the process. As
# dask sets it, every picture would cost 16,000 page faults and nearly twice the time.
ALLOCATION = {"MALLOC_TRIM_THRESHOLD_": 2**28, "MALLOC_MMAP_THRESHOLD_": 2**25}
# Ctrl-C in a terminal reaches workers, too; but it is the program here that ends them, in order.
UNDISTURBED = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@dataclass(frozen=True, kw_only=True)
class ClusterBatch:
    """How and where the pictures of a batch are colorized.

    Parameters
    ----------
    address : str
        Of a scheduler, `tcp://machine:8786`, whose workers find the files under the same paths as
        this machine. `local` starts workers here, one for each core; `local:4` four of them.
    make : callable
        Called by a worker for each task: gives the `Batch`, which says how pictures are treated. It
        travels, so that it must load the network, and not hold it (see `workers.Loadable.load`).
    manifest : Path
        Folder of the manifest; see `manifest_folder`.
    retry : bool
        Whether pictures that failed in an earlier run are tried again.
    """

    address: str
    make: Callable[[], BatchRunner]
    manifest: Path
    retry: bool = True

    def run(self, jobs: Sequence[Job], kept: Sequence[Job] = ()) -> Generator[Event, None, None]:
        """Colorize, and tell what happens, as `Batch.run` does; in no particular order.

        Parameters
        ----------
        jobs : sequence of Job
            What is to be done.
        kept : sequence of Job
            Whose results are there already: those that the manifest does not know are noted in it.

        Raises
        ------
        ColorizeError
            If there is no scheduler or no worker, or what a worker met concerns all pictures.
        """
        for folder in {job.folder for job in jobs}:
            remove_abandoned(folder)
        with Manifest(self.manifest) as manifest:
            _note_found(kept, manifest)
            todo = yield from self._without_failed(jobs, manifest)
            if not todo:
                return
            with connected(self.address) as client, closing(self._run(todo, client)) as events:
                for event in events:
                    _note(event, manifest)
                    yield event

    def _without_failed(
        self, jobs: Sequence[Job], manifest: Manifest
    ) -> Generator[Event, None, list[Job]]:
        """Tell of the pictures that failed before, unless they are to be tried again."""
        if self.retry:
            return list(jobs)
        todo = []
        for job in jobs:
            entry = manifest.known.get(_name(job.source))
            if entry is None or entry.error is None:
                todo.append(job)
            else:
                yield ImageFailed(job, ColorizeError(f"It failed before: {entry.error}"))
        return todo

    def _run(self, jobs: Sequence[Job], client: Client) -> Generator[Event, None, None]:
        """Keep the workers busy; ends early where the disk is full."""
        from distributed import as_completed

        # A task itself, so that it goes to each worker once, and is made again if one dies with it.
        make = client.submit(_handed_on, self.make, pure=False)
        tasks = deque(_shares(jobs, _threads(client)))
        away: dict[Future[Done], Sequence[Job]] = {}
        arriving = as_completed(loop=client.loop)
        try:
            while tasks or away:
                while tasks and len(away) < AHEAD * _threads(client):
                    some = tasks.popleft()
                    everywhere = [_everywhere(job) for job in some]
                    future = client.submit(colorize_files, everywhere, make, pure=False)
                    away[future] = some
                    arriving.add(future)
                future = next(arriving)
                some = away.pop(future)
                done = _outcome(future, some)
                if done is None:
                    tasks.extendleft([job] for job in some)
                    continue
                yield from done.told_of(some)
                if done.is_disk_full:
                    return
        finally:
            client.cancel(list(away))


@dataclass(frozen=True)
class Done:
    """What came of a task: its events, and whether the disk was found full."""

    events: tuple[Event, ...]
    is_disk_full: bool = False

    def told_of(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """The events in the words of whoever gave the task: with paths as they were given."""
        known = {_everywhere(job): job for job in jobs}
        for event in self.events:
            job = known[event.job]
            if isinstance(event, ImageWritten):
                yield replace(event, job=job, path=job.folder / event.path.name)
            else:
                yield replace(event, job=job)


def colorize_files(jobs: Sequence[Job], make: Callable[[], BatchRunner]) -> Done:
    """The work of one task, on a worker.

    A result that is there already was made by a worker that died before it could say so, and is
    taken for what it is, unless results are to be made anew.
    """
    warnings.filterwarnings("ignore", category=ColorizeWarning)  # what they say is in the events
    batch = make()
    is_new = batch.overwrite
    found = {} if is_new else {job: path for job in jobs if (path := job.result()) is not None}
    events = [event for job, path in found.items() for event in _found(job, path)]
    todo = [job for job in jobs if job not in found]
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        # Without Batch.run's look for what dead writers left: in every task it would be too much.
        for event in batch.events(todo, reader, writer):
            path = event.job.result() if isinstance(event, ImageFailed) and not is_new else None
            events.append(event if path is None else ImageWritten(event.job, path, 0, ()))
            if isinstance(event, ImageFailed) and is_disk_full(event.error):
                return Done(tuple(events), is_disk_full=True)
    return Done(tuple(events))


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler there, which has workers; of one that is started here for `local`.

    Raises
    ------
    ColorizeError
        If dask.distributed is not installed, nobody answers, or there are no workers.
    """
    try:
        from distributed import Client
        from distributed.comm.addressing import resolve_address
        from distributed.utils import silence_logging_cmgr
    except ModuleNotFoundError:
        raise ColorizeError(
            'Work on a cluster needs dask: pip install "napari-colorize[cluster]".'
        ) from None
    with ExitStack() as open_here:
        open_here.enter_context(silence_logging_cmgr(QUIET))
        cluster: Any = address
        is_local = address.partition(":")[0] == LOCAL
        if is_local:
            cluster = open_here.enter_context(_local_cluster(address))
        try:
            if not is_local:
                resolve_address(address)  # a client of no address would not even end in order
            client = Client(cluster, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ColorizeError(
                f"There is no dask scheduler at {address}. Start one with `dask scheduler`, which "
                f"says its address, or use {LOCAL}."
            ) from error
        open_here.enter_context(client)
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise ColorizeError(
                f"The scheduler at {address} has no workers. Start some: dask worker {address}"
            ) from None
        yield client


def manifest_folder(inputs: Sequence[str], out: str | None) -> Path:
    """Where the manifest of a command belongs: with the results, the same for the same command."""
    if out is not None:
        return Path(out).parent if is_file_name(out) else Path(out)
    folders = [_folder_of(name).absolute() for name in inputs]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # on several drives of Windows
        return folders[0]


def _folder_of(name: str) -> Path:
    """An input that is a folder, or the one that holds its file or all that its glob matches."""
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
        raise ColorizeError(f"{address} should be {LOCAL}, or {LOCAL}:4 for four workers.")
    workers = int(count or max(1, min(CPU_COUNT, MEMORY_LIMIT // ROOM)))
    with dask.config.set({"distributed.nanny.pre-spawn-environ": ALLOCATION}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # some port, and nothing on it
            scheduler_kwargs={"dashboard": False},
            preload=UNDISTURBED,
            silence_logs=QUIET,
            env={"OMP_NUM_THREADS": max(1, CPU_COUNT // workers)},  # torch's: a share of the cores
        )


def _handed_on(make: Callable[[], BatchRunner]) -> Callable[[], BatchRunner]:
    return make


def _threads(client: Client) -> int:
    """Of all workers; they may come and go."""
    return max(1, sum(client.nthreads().values()))


def _shares(jobs: Sequence[Job], threads: int) -> Iterator[Sequence[Job]]:
    size = max(1, min(FILES, len(jobs) // (SHARES * threads)))
    return (jobs[start : start + size] for start in range(0, len(jobs), size))


def _outcome(future: Future[Done], jobs: Sequence[Job]) -> Done | None:
    """What a task came to; None if its pictures should be tried one by one.

    Raises
    ------
    ColorizeError
        If what it met would be met by all others, too.
    """
    from distributed import CancelledError, KilledWorker

    try:
        done: Done = future.result()
    except KilledWorker:
        if len(jobs) > 1:
            return None
        died = "The workers that took it up died; perhaps it needs more memory than they have."
        return Done((ImageFailed(_everywhere(jobs[0]), ColorizeError(died)),))
    except CancelledError:
        raise ColorizeError(
            "The connection to the scheduler was lost: repeat the command to go on."
        ) from None
    except ColorizeError:
        raise
    # Whatever it is (a package that is missing there, a bug), it comes from another machine.
    except Exception as error:
        raise ColorizeError(
            f"A worker could not do its work ({type(error).__name__}: {error}). All of them need "
            "the napari-colorize of this machine."
        ) from error
    return done


def _note(event: Event, manifest: Manifest) -> None:
    if isinstance(event, ImageWritten):
        seconds = round(event.seconds, 3) or None
        entry = ManifestEntry(
            source=_name(event.job.source), result=_name(event.path), seconds=seconds
        )
        manifest.append(entry)
    elif isinstance(event, ImageFailed):
        error = " ".join(str(event.error).split()) or "It does not fit into memory."
        manifest.append(ManifestEntry(source=_name(event.job.source), error=error))


def _note_found(jobs: Sequence[Job], manifest: Manifest) -> None:
    """What was finished while nobody was left to note it."""
    for job in jobs:
        entry = manifest.known.get(_name(job.source))
        is_noted = entry is not None and entry.error is None
        if not is_noted and (path := job.result()) is not None:
            manifest.append(ManifestEntry(source=_name(job.source), result=_name(path)))


def _found(job: Job, path: Path) -> tuple[Event, ...]:
    return OpenedJob(job, 1), StepDone(job), ImageWritten(job, path, 0, ())


def _everywhere(job: Job) -> Job:
    """The same with absolute paths: workers have other working folders."""
    return replace(job, source=job.source.absolute(), folder=job.folder.absolute())


def _name(path: Path) -> str:
    return str(path.absolute())
