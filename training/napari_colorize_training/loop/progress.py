"""How a run tells what it does: a bar for people, lines of JSON for programs.

A program that starts `napari-colorize-train` with `--progress json` reads one object per line from
its standard output; `event` says what it is:

- `note`: `text`, a sentence
- `reading`: `done` and `total` pictures, about a hundred times at most
- `start`: `steps`, `step` (more than 0 if the run goes on), `stages` (names), `run` (folder)
- `step`: `step`, `steps`, `stage`, `losses` (by their names in the log), `seconds_left`
- `validation`: `step` and the figures of the log's `validation_` columns
- `preview`: `step`, `path` of a PNG
- `paused`, `resumed`: `step`
- `stopped`: `step`; the exit code is 130, and the same command goes on from there
- `finetuned`: `improved`, `text` (a sentence), `before` and `after`, the figures of base and result
- `done`: `model`, path of the checkpoint; the exit code is 0
- `error`: `text`, a sentence; the exit code is 1

and may write the words `pause`, `resume`, `finish` (end here, with the best so far) and `stop`, a
line each, to its standard input; or give a file with `--orders`, whose content is the word that
holds now: then it need not live as long as the run, and another program may go on giving orders.
Each run ends with one of the last three; notes may come at any time, those on the data before
`start`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, TextIO

from tqdm import tqdm

STANDARD_INPUT = 0
LOOK_EVERY = 0.25  # seconds, at the file of orders
STOPPED = 130  # exit code: what shells say of a program that Ctrl-C has ended


class Stopped(Exception):
    """A run was told to end before its first step."""


class ProgressReporter(Protocol):
    """What the engine tells; every method may be called from one thread only."""

    def report(self, event: str, **facts: Any) -> None:
        """Something happened."""


class NoProgress:
    """Tells nobody."""

    def report(self, event: str, **facts: Any) -> None:
        """Keep it."""


class JsonLines:
    """One JSON object per line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def report(self, event: str, **facts: Any) -> None:
        """Write a line and flush it: the reader waits for it."""
        self._stream.write(json.dumps({"event": event, **facts}, default=str) + "\n")
        self._stream.flush()


class ProgressBar:
    """A bar with time left on standard error, sentences above it."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def report(self, event: str, **facts: Any) -> None:
        """Move the bar, or write a line."""
        if event == "start":
            self._bar = tqdm(total=facts["steps"], initial=facts["step"], unit="step")
        if event == "note":
            tqdm.write(facts["text"], file=sys.stderr)
        elif event == "validation":
            figures = ", ".join(f"{name} {value:.4g}" for name, value in facts.items())
            tqdm.write(figures, file=sys.stderr)
        elif self._bar is not None:
            self._move(self._bar, event, facts)

    @staticmethod
    def _move(bar: tqdm[Any], event: str, facts: Mapping[str, Any]) -> None:
        if event == "step":
            bar.update(facts["step"] - bar.n)
            bar.set_description(facts["stage"], refresh=False)
            bar.set_postfix(_shortened(facts["losses"]))
        elif event in ("done", "stopped", "error"):
            bar.close()


def _shortened(losses: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.3g}" for name, value in losses.items()}


class RunControl:
    """Whether to go on: asked between steps, answered by signals, a thread or a program's words."""

    def __init__(self) -> None:
        self._stop, self._finish = threading.Event(), threading.Event()
        self._go = threading.Event()
        self._go.set()

    @property
    def is_stopped(self) -> bool:
        """Whether the run should save and end."""
        return self._stop.is_set()

    @property
    def is_finished(self) -> bool:
        """Whether the run should end here as if it had converged."""
        return self._finish.is_set()

    @property
    def is_paused(self) -> bool:
        """Whether the run should wait."""
        return not self._go.is_set() and not self.is_stopped

    def stop(self) -> None:
        """Save and end after the present step."""
        self._stop.set()
        self._go.set()

    def finish(self) -> None:
        """End after the present step, with the best checkpoint so far."""
        self._finish.set()
        self._go.set()

    def interrupt(self, *_: object) -> None:
        """Stop, as a signal's handler; who asks a second time does not want to wait."""
        if self.is_stopped:
            raise KeyboardInterrupt
        self.stop()

    def check(self, *_: object) -> None:
        """Raise `Stopped` if the run should end: for what comes before the first step."""
        if self.is_stopped:
            raise Stopped

    def pause(self) -> None:
        """Wait after the present step."""
        self._go.clear()

    def resume(self) -> None:
        """Wait no longer."""
        self._go.set()

    def wait(self) -> None:
        """Return when the run is not, or no longer, paused."""
        self._go.wait()

    def listen(self, stream: TextIO | None = None) -> None:
        """Obey words on standard input, in a thread of its own."""
        threading.Thread(target=self._apply, args=(stream,), daemon=True).start()

    def _apply(self, stream: TextIO | None) -> None:
        # Unbuffered: Python cannot end while a thread that waits holds the buffer of sys.stdin.
        for line in stream or FileIO(STANDARD_INPUT, closefd=False):
            word = line.decode(errors="replace") if isinstance(line, bytes) else line
            self.apply(word)

    def follow(self, path: Path) -> None:
        """Obey the word in a file whenever it changes, in a thread of its own.

        There need not be such a file yet. Who writes need not do so in one step: half a word is
        none, and the whole one is seen a moment later.
        """
        threading.Thread(target=self._look, args=(path,), daemon=True).start()

    def _look(self, path: Path) -> None:
        last = ""
        while not self._stop.wait(LOOK_EVERY):
            with suppress(OSError):
                word = path.read_text(encoding="utf-8", errors="replace")
                if word != last:
                    last = word
                    self.apply(word)

    def apply(self, word: str) -> None:
        """Do what a word says; another word is none of ours."""
        orders = {
            "pause": self.pause,
            "resume": self.resume,
            "finish": self.finish,
            "stop": self.stop,
        }
        order = orders.get(word.strip())
        if order is not None:
            order()


class Clock:
    """Seconds left, from what the last steps took."""

    def __init__(self, forget: float = 0.98) -> None:
        self._forget, self._per_step, self._last = forget, 0.0, time.monotonic()

    def tick(self) -> float:
        """Count a step; returns the mean seconds per step."""
        now = time.monotonic()
        took, self._last = now - self._last, now
        forget = self._forget if self._per_step else 0.0
        self._per_step = forget * self._per_step + (1 - forget) * took
        return self._per_step

    def skip(self) -> None:
        """Do not count the time since the last step: it was no training."""
        self._last = time.monotonic()
