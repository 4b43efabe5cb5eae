"""What a terminal shows of a film at work: a bar with the time left, notes, the result."""

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
    """Shows how far the work is.

    The path of the result goes to stdout, all else to stderr. While it is open, a
    `ColorizeWarning` is kept back: the work gathers what is said of frames.

    Parameters
    ----------
    total : int or None
        Frames, about.
    quiet : bool
        Only the path and errors are shown.
    """

    def __init__(self, total: int | None, *, quiet: bool = False) -> None:
        self._total = total
        self._quiet = quiet
        self._bar: tqdm[Any] | None = None
        self._before, self._done = 0, 0
        self._started = perf_counter()
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
            self._note(f"{self._done} frames are done; repeat the command to go on.")

    def begin(self, work: VideoJob) -> None:
        """Say what a former run left, and begin to count."""
        self._before = self._done = work.before
        self._notes(work.ledger.notes)
        self._started = perf_counter()
        if not self._quiet:
            # Shown in terminals only: in a log file a bar is noise.
            self._bar = tqdm(
                total=self._total,
                initial=self._before,
                unit=" frames",
                leave=False,
                disable=None,
                dynamic_ncols=True,
            )

    def show(self, done: int) -> None:
        """Move the bar: so many frames are done."""
        if self._bar is not None:
            self._bar.update(done - self._done)
        self._done = done

    def end(self, work: VideoJob, path: Path) -> None:
        """Tell the result and how long it took."""
        if self._bar is not None:
            self._bar.close()
        self._notes(work.source.notes())
        self._notes(work.notes)
        tqdm.write(str(path), file=sys.stdout)
        sys.stdout.flush()  # for whoever reads along in a pipe
        seconds, frames = perf_counter() - self._started, self._done - self._before
        whole = f", {self._done} in all" if self._before else ""
        speed = f"{seconds:.1f} s ({frames / seconds:.1f} a second)"
        self._note(f"{path}: {frames} frames in {speed}{whole}")

    def _notes(self, sentences: tuple[str, ...]) -> None:
        for sentence in sentences:
            self._note(sentence)

    def _note(self, line: str) -> None:
        if not self._quiet:
            tqdm.write(" ".join(line.split()), file=sys.stderr)
