"""What a terminal shows of a batch: a bar with the time left, notes, results, a summary."""

from __future__ import annotations

import sys
import threading
import warnings
from contextlib import ExitStack
from time import perf_counter
from types import TracebackType
from typing import Any

from tqdm import tqdm

from napari_colorize.batch.naming import BatchPlan, Job
from napari_colorize.batch.runner import Event, ImageFailed, ImageWritten, OpenedJob, StepDone
from napari_colorize.errors import ColorizeError, ColorizeWarning


class BatchConsole:
    """Shows the events of a batch, and counts them.

    Paths of results go to stdout, all else to stderr. While it is open it also shows warnings: a
    `ColorizeWarning` becomes a line with the name of the picture at hand.

    Parameters
    ----------
    plan : Plan
        What is going to be done.
    quiet : bool
        Only paths and errors are shown.
    """

    def __init__(self, plan: BatchPlan, *, quiet: bool = False) -> None:
        self.failed = len(plan.unread)
        self.written = 0
        self._plan = plan
        self._quiet = quiet
        self._started = perf_counter()
        self._bar: tqdm[Any] | None = None
        self._steps = len(plan.jobs)  # as far as known: a stack has one for each plane
        self._steps_left: dict[Job, int] = {}
        self._job: Job | None = None
        self._warned: dict[Job, dict[str, None]] = {}
        self._open = ExitStack()

    def __enter__(self) -> BatchConsole:
        self._open.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always", ColorizeWarning)
        warnings.showwarning = self._warn
        for sentence in self._plan.unread:
            self._say(sentence)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        if self._bar is not None:
            self._bar.close()
        if kind is None or kind is KeyboardInterrupt:
            self._sum_up()

    def show(self, event: Event) -> None:
        """Tell the user what happened."""
        match event:
            case OpenedJob(job, steps):
                self._job = job
                self._begin(job, steps)
            case StepDone(job):
                self._advance(job, 1)
            case ImageWritten():
                self._tell_result(event)
            case ImageFailed(job, error):
                self.failed += 1
                self._say(f"{job.source}: {_sentence(error)}")
                self._advance(job, self._steps_left.get(job, 1))

    def _begin(self, job: Job, steps: int) -> None:
        self._steps_left[job] = steps
        self._steps += steps - 1
        if self._bar is not None:
            self._bar.total = self._steps
            self._bar.refresh()

    def _advance(self, job: Job, steps: int) -> None:
        self._steps_left[job] = self._steps_left.get(job, steps) - steps
        if self._bar is None and self._steps > 1 and not self._quiet:
            # Shown in terminals only: in a log file a bar is noise.
            self._bar = tqdm(
                total=self._steps,
                unit=" pictures",
                leave=False,
                disable=None,
                dynamic_ncols=True,
            )
        if self._bar is not None:
            self._bar.update(steps)

    def _tell_result(self, result: ImageWritten) -> None:
        self.written += 1
        for note in {**dict.fromkeys(result.notes), **self._warned.pop(result.job, {})}:
            self._note(f"{result.job.source}: {note}")
        tqdm.write(str(result.path), file=sys.stdout)
        sys.stdout.flush()  # for whoever reads along in a pipe
        if len(self._plan.jobs) == 1:
            self._note(f"{result.path}: {result.seconds:.1f} s")

    def _sum_up(self) -> None:
        plan = self._plan
        undone = len(plan.jobs) - self.written - (self.failed - len(plan.unread))
        counts = {
            f"{self.written} written in {perf_counter() - self._started:.1f} s": self.written,
            f"{len(plan.kept)} already there (--overwrite makes them again)": len(plan.kept),
            f"{plan.results} results of earlier runs left out": plan.results,
            f"{self.failed} failed": self.failed,
            f"{undone} not done (repeat the command to go on)": undone,
        }
        if len(plan.jobs) > 1 or plan.kept or undone:
            self._note("; ".join(said for said, count in counts.items() if count) + ".")

    def _warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        """Stands in for `warnings.showwarning`; each sentence once for each picture."""
        in_network = threading.current_thread() is threading.main_thread()
        if self._job is None or not in_network or not issubclass(category, ColorizeWarning):
            self._note(_one_line(str(message)))
        else:
            self._warned.setdefault(self._job, {})[str(message)] = None

    def _note(self, line: str) -> None:
        if not self._quiet:
            self._say(line)

    def _say(self, line: str) -> None:
        tqdm.write(line, file=sys.stderr)


def _sentence(error: ColorizeError | MemoryError) -> str:
    if isinstance(error, ColorizeError):
        return _one_line(str(error))
    return "It does not fit into memory."


def _one_line(text: str) -> str:
    return " ".join(text.split())
