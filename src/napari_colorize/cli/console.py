"""Terminal output of the commands: progress bar, notes, result paths and a summary."""

from __future__ import annotations

import re
import sys
import threading
import warnings
from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from napari_colorize.cli.program import in_shell_words, printable
from napari_colorize.errors import ColorizeError, ColorizeWarning
from napari_colorize.imaging.intensity_range import REMEDY, STRETCHED

if TYPE_CHECKING:
    from napari_colorize.batch.naming import BatchPlan, Job
    from napari_colorize.batch.runner import Event, ImageWritten
    from napari_colorize.cli.shared_options import ModelOptions
    from napari_colorize.io.text_metadata import Dropped
    from napari_colorize.settings import ColorizeSettings
    from napari_colorize.video.plan import VideoJob

LIMITS_HINT = "For images of one acquisition, give --contrast-limits LOW,HIGH."
SHELL_REMEDY = "Other limits: --contrast-limits dtype, data, percentile or LOW,HIGH."


class _Console:
    """Prints paths of results to stdout, everything else to stderr; `quiet`: paths and errors."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._start = perf_counter()
        self._bar: tqdm[Any] | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(warnings.catch_warnings())
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
        self._end(kind)

    def _end(self, kind: type[BaseException] | None) -> None:
        """Print a summary; `kind` is the exception that ends the command."""

    def _show_bar(self, total: int | None, unit: str, initial: int = 0) -> None:
        if not self._quiet:
            # disable=None: no bar unless stderr is a terminal.
            self._bar = tqdm(
                total=total,
                initial=initial,
                unit=f" {unit}",
                leave=False,
                disable=None,
                dynamic_ncols=True,
            )

    def _print_path(self, path: Path) -> None:
        tqdm.write(printable(path), file=sys.stdout)
        sys.stdout.flush()  # for programs that read the paths from a pipe

    def show_request(self, models: ModelOptions, settings: ColorizeSettings) -> None:
        """Print what is going to be done: models, device and the settings that are not defaults."""
        changed = repr(settings).partition("(")[2].rstrip(")") or "the model's recommended settings"
        self._note(
            f"Model {' and '.join(models.names)}, device {models.device}, precision "
            f"{models.precision}; {changed}"
        )

    def _note(self, line: str) -> None:
        if not self._quiet:
            self._print(line)

    def _print(self, line: str) -> None:
        line = in_shell_words(line.replace(REMEDY, SHELL_REMEDY))
        tqdm.write(printable(re.sub(r"\s*\n\s*", " ", line)), file=sys.stderr)


class BatchConsole(_Console):
    """Prints the events of a batch and counts results and failures.

    While it is open it also prints warnings: a `ColorizeWarning` becomes a line with the name of
    the current image.
    """

    def __init__(self, plan: BatchPlan, *, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._prints_each = verbose or len(plan.jobs) == 1  # else notes are folded
        self.failed = len(plan.unread)
        self.written = 0
        self._kept = 0  # results that another process has written meanwhile
        self._plan = plan
        # One step for each image until it is opened; a stack has one for each plane.
        self._steps = len(plan.jobs)
        self._steps_left: dict[Job, int] = {}
        self._job: Job | None = None
        self._ended: set[Job] = set()
        self._started = time()
        self._warnings: dict[Job, list[str]] = {}
        self._folded: dict[str, _FoldedNote] = {}  # by kind
        self._dropped: list[Dropped] = []
        self._last_name = ""

    def __enter__(self) -> Self:
        super().__enter__()
        warnings.simplefilter("always", ColorizeWarning)
        warnings.showwarning = self._on_warning
        for sentence in self._plan.unread:
            self._print(sentence)
        for sentence in (*self._plan.left_out, *self._plan.kept_notes):
            self._note(sentence)
        return self

    def show_all(self, events: Generator[Event, None, None]) -> None:
        """Print all events; closes the generator if that is interrupted."""
        with closing(events):
            try:
                for event in events:
                    self.show(event)
            except KeyboardInterrupt as interruption:
                # Here or in the generator, which has ended then: it raises the error again.
                self.show(events.throw(interruption))
                for event in events:
                    self.show(event)

    def show(self, event: Event) -> None:
        """Print one event."""
        from napari_colorize.batch.runner import (
            ImageFailed,
            ImageKept,
            ImageWritten,
            OpenedJob,
            StepDone,
        )

        match event:
            case OpenedJob(job, steps):
                self._job = job
                self._begin(job, steps)
            case StepDone(job):
                self._advance(job, 1)
            case ImageWritten():
                self._print_result(event)
            case ImageKept(job):
                self._kept += 1
                self._ended.add(job)
                self._advance(job, 1)
            case ImageFailed(job, error):
                self.failed += 1
                self._ended.add(job)
                is_ours = isinstance(error, ColorizeError)
                reason = str(error) if is_ours else "Not enough memory for this image."
                # Names in the sentence: before `_print` replaces line breaks by spaces.
                for name in (*job.source.parts, *job.folder.parts, job.stem):
                    reason = reason.replace(name, printable(name))
                self._print(f"{printable(job.source)}: {reason}")
                self._advance(job, self._steps_left.get(job, 1))

    def _begin(self, job: Job, steps: int) -> None:
        self._steps_left[job] = steps
        self._steps += steps - 1
        if self._bar is not None:
            self._bar.total = self._steps
            self._bar.refresh()

    def _advance(self, job: Job, steps: int) -> None:
        self._steps_left[job] = self._steps_left.get(job, steps) - steps
        if self._bar is None and self._steps > 1:
            self._show_bar(self._steps, "images")
        if self._bar is not None:
            self._bar.update(steps)

    def _print_result(self, result: ImageWritten) -> None:
        # Planes of a stack warn separately; notes that differ only in numbers are printed once. The
        # warning on the intensity range is repeated by the note that the file is stretched.
        notes = [*self._warnings.pop(result.job, []), *result.notes]
        stretched = f" {STRETCHED.capitalize()}."
        for note in {_kind(note.replace(stretched, "")): note for note in notes}.values():
            self._fold(note, printable(result.job.source))
        if result.dropped is not None:
            self._dropped.append(result.dropped)
            self._last_name = printable(result.path.name)
        self._print_path(result.path)
        self.written += 1
        self._ended.add(result.job)
        if self._prints_each:
            self._note(f"{printable(result.path)}: {result.seconds:.1f} s")

    def _end(self, kind: type[BaseException] | None) -> None:
        if kind is not None:
            if not issubclass(kind, (KeyboardInterrupt, ColorizeError)):
                return
            self._print_unreported()
            if not self.written and not issubclass(kind, KeyboardInterrupt):
                return  # an error before the first image is a line of its own
        from napari_colorize.io.file_names import ignored_results
        from napari_colorize.io.text_metadata import dropped_sentence

        for folded in self._folded.values():
            self._note(folded.sentence())
        name = self._last_name if len(self._dropped) == 1 else ""
        if lost := dropped_sentence(self._dropped, of=name):
            self._note(lost)
        plan = self._plan
        failed = self.failed - len(plan.unread)
        undone = len(plan.jobs) - self.written - self._kept - failed
        how = "made with the same settings" if plan.kept_same else "--overwrite replaces them"
        counts = {
            f"{self.written} written in {perf_counter() - self._start:.1f} s": self.written,
            f"{self._kept} written by another process": self._kept,
            f"{len(plan.kept)} already exist ({how})": len(plan.kept),
            ignored_results(plan.results): plan.results,
            f"{self.failed} failed": self.failed,
            f"{undone} not done (repeat the command to resume)": undone,
        }
        if len(plan.jobs) > 1 or plan.kept or self._kept or undone:
            self._note("; ".join(text for text, count in counts.items() if count) + ".")

    def _print_unreported(self) -> None:
        """Print results whose events were lost: of workers, or because of a signal."""
        for job in self._plan.jobs:
            path = None if job in self._ended else job.result()
            with suppress(OSError):
                if path is not None and path.stat().st_mtime >= self._started:
                    self._print_path(path)
                    self.written += 1
                    self._ended.add(job)

    def _fold(self, note: str, image: str) -> None:
        """Print a note: in a batch at its end, and once for all that differ only in numbers."""
        if self._prints_each:
            self._note(f"{image}: {note}" if image else note)
            return
        folded = self._folded.setdefault(_kind(note), _FoldedNote(note, image))
        folded.count += 1
        folded.differs |= _without_count(note) != _without_count(folded.note)

    def _on_warning(
        self, message: Warning | str, category: type[Warning], *_: object, **__: object
    ) -> None:
        """Replacement of `warnings.showwarning`: each message once for each image."""
        # Reader and writer threads are ahead of or behind the current image.
        is_main = threading.current_thread() is threading.main_thread()
        if self._job is None or not is_main or not issubclass(category, ColorizeWarning):
            self._fold(str(message), "")
        else:
            self._warnings.setdefault(self._job, []).append(str(message))


@dataclass
class _FoldedNote:
    """Notes of a batch that differ only in numbers: the first one, and its image if any."""

    note: str
    image: str
    count: int = 0
    differs: bool = False  # not all numbers are equal

    def sentence(self) -> str:
        """The first note, how many images have it, and whether their numbers differ."""
        if not self.image:
            return self.note
        others = f"{self.count - 1} other image{'s' * (self.count > 2)}"
        if not self.differs:
            return f"{self.image}{f' and {others}' * (self.count > 1)}: {self.note}"
        hint = f" {LIMITS_HINT}" if self.note.startswith("Contrast limits") else ""
        return (
            f"{self.image}: {self.note} For {others} the same is noted, but the numbers differ "
            f"between images.{hint}"
        )


class SequenceConsole(_Console):
    """Prints the progress of a video job; `total` is the approximate number of frames.

    While it is open, a `ColorizeWarning` is suppressed: the job collects them in its notes.
    """

    def __init__(self, total: int | None, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._total = total
        self._before, self._done = 0, 0

    def __enter__(self) -> Self:
        super().__enter__()
        warnings.simplefilter("ignore", ColorizeWarning)
        return self

    def begin(self, job: VideoJob) -> None:
        """Print notes about an interrupted earlier run, and start the progress bar."""
        self._before = self._done = job.resumed_frames
        self._notes(job.state.notes)
        self._start = perf_counter()
        self._show_bar(self._total, "frames", self._before)

    def show(self, done: int) -> None:
        """Set the number of finished frames."""
        if self._bar is not None:
            self._bar.update(done - self._done)
        self._done = done

    def end(self, job: VideoJob, path: Path) -> None:
        """Print notes, the path of the result and the speed."""
        if self._bar is not None:
            self._bar.close()
        self._notes((*job.source.notes(), *job.notes))
        self._print_path(path)
        seconds, frames = perf_counter() - self._start, self._done - self._before
        total = f", {self._done} in total" if self._before else ""
        speed = f"{seconds:.1f} s ({frames / seconds:.1f} per second)"
        count = f"{frames} frame{'s' * (frames != 1)}"
        self._note(f"{printable(path)}: {count} in {speed}{total}")

    def _end(self, kind: type[BaseException] | None) -> None:
        if kind is KeyboardInterrupt and self._done:
            self._note(f"{self._done} frames are done; repeat the command to resume.")

    def _notes(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self._note(sentence)


def _kind(note: str) -> str:
    """A note without its numbers, and without the count of a sequence's note."""
    from napari_colorize.video.runner import NUMBER

    return NUMBER.sub("#", _without_count(note))


def _without_count(note: str) -> str:
    return re.sub(r" \(\d+ x\)$", "", note)
