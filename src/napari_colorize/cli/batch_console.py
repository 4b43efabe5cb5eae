"""Terminal output of a batch: progress bar, notes, result paths and a summary."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Generator
from contextlib import ExitStack, closing
from time import perf_counter
from types import TracebackType
from typing import Any

from tqdm import tqdm

from napari_colorize.batch.naming import BatchPlan, Job
from napari_colorize.batch.runner import Event, ImageFailed, ImageWritten, OpenedJob, StepDone
from napari_colorize.errors import ColorizeError, ColorizeWarning


class BatchConsole:
    """Prints the events of a batch and counts results and failures.

    Paths of results go to stdout, everything else to stderr. While it is open it also prints
    warnings: a `ColorizeWarning` becomes a line with the name of the current image.

    Parameters
    ----------
    plan : BatchPlan
        The batch.
    quiet : bool
        Print only paths and errors.
    """

    def __init__(self, plan: BatchPlan, *, quiet: bool = False) -> None:
        self.failed = len(plan.unread)
        self.written = 0
        self._plan = plan
        self._quiet = quiet
        self._start = perf_counter()
        self._bar: tqdm[Any] | None = None
        # One step for each image until it is opened; a stack has one for each plane.
        self._steps = len(plan.jobs)
        self._steps_left: dict[Job, int] = {}
        self._job: Job | None = None
        self._warnings: dict[Job, dict[str, None]] = {}
        self._open = ExitStack()

    def __enter__(self) -> BatchConsole:
        self._open.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always", ColorizeWarning)
        warnings.showwarning = self._on_warning
        for sentence in self._plan.unread:
            self._print(sentence)
        for sentence in self._plan.left_out:
            self._note(sentence)
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
            self._print_summary()

    def show_all(self, events: Generator[Event, None, None]) -> None:
        """Print all events; closes the generator if that is interrupted."""
        with closing(events):
            for event in events:
                self.show(event)

    def show(self, event: Event) -> None:
        """Print one event."""
        match event:
            case OpenedJob(job, steps):
                self._job = job
                self._begin(job, steps)
            case StepDone(job):
                self._advance(job, 1)
            case ImageWritten():
                self._print_result(event)
            case ImageFailed(job, error):
                self.failed += 1
                self._print(f"{job.source}: {_sentence(error)}")
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
            # disable=None: no bar unless stderr is a terminal.
            self._bar = tqdm(
                total=self._steps, unit=" images", leave=False, disable=None, dynamic_ncols=True
            )
        if self._bar is not None:
            self._bar.update(steps)

    def _print_result(self, result: ImageWritten) -> None:
        self.written += 1
        for note in {**dict.fromkeys(result.notes), **self._warnings.pop(result.job, {})}:
            self._note(f"{result.job.source}: {note}")
        tqdm.write(str(result.path), file=sys.stdout)
        sys.stdout.flush()  # for programs that read the paths from a pipe
        if len(self._plan.jobs) == 1:
            self._note(f"{result.path}: {result.seconds:.1f} s")

    def _print_summary(self) -> None:
        plan = self._plan
        undone = len(plan.jobs) - self.written - (self.failed - len(plan.unread))
        counts = {
            f"{self.written} written in {perf_counter() - self._start:.1f} s": self.written,
            f"{len(plan.kept)} already exist (--overwrite replaces them)": len(plan.kept),
            f"{plan.results} results of earlier runs ignored": plan.results,
            f"{self.failed} failed": self.failed,
            f"{undone} not done (repeat the command to resume)": undone,
        }
        if len(plan.jobs) > 1 or plan.kept or undone:
            self._note("; ".join(text for text, count in counts.items() if count) + ".")

    def _on_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        """Replacement of `warnings.showwarning`: each message once for each image."""
        # Reader and writer threads are ahead of or behind the current image.
        is_main = threading.current_thread() is threading.main_thread()
        if self._job is None or not is_main or not issubclass(category, ColorizeWarning):
            self._note(_one_line(str(message)))
        else:
            self._warnings.setdefault(self._job, {})[str(message)] = None

    def _note(self, line: str) -> None:
        if not self._quiet:
            self._print(line)

    def _print(self, line: str) -> None:
        tqdm.write(line, file=sys.stderr)


def _sentence(error: ColorizeError | MemoryError) -> str:
    if isinstance(error, ColorizeError):
        return _one_line(str(error))
    return "Not enough memory for this image."


def _one_line(text: str) -> str:
    return " ".join(text.split())
