"""Terminal output of `napari-colorize video`: progress bar, notes and the result path."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from napari_colorize.errors import ColorizeWarning

if TYPE_CHECKING:
    from napari_colorize.video.plan import VideoJob


class SequenceConsole:
    """Prints the progress of a video job.

    The path of the result goes to stdout, everything else to stderr. While it is open, a
    `ColorizeWarning` is suppressed: the job collects them in its notes.

    Parameters
    ----------
    total : int or None
        Approximate number of frames.
    quiet : bool
        Print only the path and errors.
    """

    def __init__(self, total: int | None, *, quiet: bool = False) -> None:
        self._total = total
        self._quiet = quiet
        self._bar: tqdm[Any] | None = None
        self._before, self._done = 0, 0
        self._start = perf_counter()
        self._open = ExitStack()

    def __enter__(self) -> SequenceConsole:
        self._open.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", ColorizeWarning)
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
        if kind is KeyboardInterrupt and self._done:
            self._note(f"{self._done} frames are done; repeat the command to resume.")

    def begin(self, work: VideoJob) -> None:
        """Print notes about an interrupted earlier run, and start the progress bar."""
        self._before = self._done = work.resumed_frames
        self._notes(work.state.notes)
        self._start = perf_counter()
        if not self._quiet:
            # disable=None: no bar unless stderr is a terminal.
            self._bar = tqdm(
                total=self._total,
                initial=self._before,
                unit=" frames",
                leave=False,
                disable=None,
                dynamic_ncols=True,
            )

    def show(self, done: int) -> None:
        """Set the number of finished frames."""
        if self._bar is not None:
            self._bar.update(done - self._done)
        self._done = done

    def end(self, work: VideoJob, path: Path) -> None:
        """Print notes, the path of the result and the speed."""
        if self._bar is not None:
            self._bar.close()
        self._notes(work.source.notes())
        self._notes(work.notes)
        tqdm.write(str(path), file=sys.stdout)
        sys.stdout.flush()  # for programs that read the path from a pipe
        seconds, frames = perf_counter() - self._start, self._done - self._before
        total = f", {self._done} in total" if self._before else ""
        speed = f"{seconds:.1f} s ({frames / seconds:.1f} per second)"
        self._note(f"{path}: {frames} frames in {speed}{total}")

    def _notes(self, sentences: tuple[str, ...]) -> None:
        for sentence in sentences:
            self._note(sentence)

    def _note(self, line: str) -> None:
        if not self._quiet:
            tqdm.write(" ".join(line.split()), file=sys.stderr)
