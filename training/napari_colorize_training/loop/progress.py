"""Progress reports of a run: a bar for people, JSON lines for programs.

A program that starts `napari-colorize-train` with `--progress json` reads one object per line from
standard output. Its key `event` is the kind of event:

- `note`: `text`, a sentence
- `reading`: `done` and `total`, numbers of images; at most about a hundred such events
- `start`: `steps`, `step` (above 0 if the run is resumed), `stages` (names), `run` (folder)
- `step`: `step`, `steps`, `stage`, `losses` (by their names in the log), `seconds_left`
- `validation`: `step` and the values of the log's `validation_` columns
- `preview`: `step`, `path` of a PNG file
- `paused`, `resumed`: `step`
- `stopped`: `step`; the exit code is 130, and the same command resumes the run
- `finetuned`: `improved`, `text` (a sentence), `before` and `after`, the scores of base and result
- `done`: `model`, path of the checkpoint; the exit code is 0
- `error`: `text`, a sentence; the exit code is 1

Each run ends with `stopped`, `done` or `error`. Notes may come at any time; notes about the data
come before `start`.

The program controls the run with the commands `pause`, `resume`, `finish` (end now, with the best
checkpoint so far) and `stop`, one per line, on standard input. Or it passes a file with
`--control`, whose content is the present command; then it may exit before the run does, and another
program may take over.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from napari_colorize.cli.program import printable

STANDARD_INPUT = 0
POLL_INTERVAL = 0.25  # seconds between reads of the control file
STOPPED = 130  # exit code, as shells report it for a program that was ended by Ctrl-C


class Stopped(Exception):
    """The run was stopped before its first step."""


class ProgressReporter(Protocol):
    """Receiver of a run's events; `report` is called from one thread only."""

    def report(self, event: str, **facts: Any) -> None:
        """Receive an event of a kind listed in this module, with its values."""


class NoProgress:
    """Reporter that discards all events."""

    def report(self, event: str, **facts: Any) -> None:
        """Discard the event."""


class JsonLines:
    """Reporter that writes one JSON object per line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def report(self, event: str, **facts: Any) -> None:
        """Write a line and flush it, because the reader waits for it."""
        self._stream.write(json.dumps({"event": event, **facts}, default=str) + "\n")
        self._stream.flush()


class ProgressBar:
    """Reporter with a progress bar on standard error, and messages above it."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def report(self, event: str, **facts: Any) -> None:
        """Update the bar, or write a message."""
        if event == "start":
            self._bar = tqdm(total=facts["steps"], initial=facts["step"], unit="step")
        if event == "note":
            tqdm.write(printable(facts["text"]), file=sys.stderr)
        elif event == "validation":
            tqdm.write(_validation_sentence(facts), file=sys.stderr)
        elif self._bar is not None:
            self._update(self._bar, event, facts)

    @staticmethod
    def _update(bar: tqdm[Any], event: str, facts: Mapping[str, Any]) -> None:
        if event == "step":
            bar.update(facts["step"] - bar.n)
            bar.set_description(facts["stage"], refresh=False)
            bar.set_postfix({name: f"{value:.3g}" for name, value in facts["losses"].items()})
        elif event in ("done", "stopped", "error"):
            bar.close()


def _validation_sentence(facts: Mapping[str, Any]) -> str:
    """The figures that people compare; the log has all of them."""
    values = {name.removeprefix("validation_"): value for name, value in facts.items()}
    return (
        "Step {step}, validation crops: color error (CIEDE2000) {ciede2000:.4g}, gray "
        "{ciede2000_gray:.4g}; colorfulness {colorfulness:.2f}; Frechet distance {frechet:.2f}"
    ).format(**values)


class RunControl:
    """Pause, finish and stop requests of a run.

    The training thread reads them between steps. They are made by signal handlers, or by threads
    that read standard input or a control file. A signal handler interrupts the training thread
    anywhere, so that nothing here may take a lock that this thread could hold: flags are plain
    attributes, and `SimpleQueue.put` is reentrant where `threading.Event.set` is not.
    """

    def __init__(self) -> None:
        self._stopped = self._finished = False
        # Every request in its order: a pause and a resume that are sent together are both executed.
        self._requests: SimpleQueue[str] = SimpleQueue()

    @property
    def is_stopped(self) -> bool:
        """Whether the run is to save its state and end."""
        return self._stopped

    @property
    def is_finished(self) -> bool:
        """Whether the run is to end now as if it had converged."""
        return self._finished

    def stop(self) -> None:
        """Save the state and end after the present step."""
        self._stopped = True
        self._requests.put("stop")  # ends a pause

    def finish(self) -> None:
        """End after the present step, with the best checkpoint so far."""
        self._finished = True
        self._requests.put("finish")  # ends a pause

    def interrupt(self, *_: object) -> None:
        """Stop the run; signal handler. The second call raises KeyboardInterrupt."""
        if self.is_stopped:
            raise KeyboardInterrupt
        self.stop()

    def check(self, *_: object) -> None:
        """Raise `Stopped` if the run is to end; for the time before the first step."""
        if self.is_stopped:
            raise Stopped

    def pause(self) -> None:
        """Wait after the present step."""
        self._requests.put("pause")

    def resume(self) -> None:
        """End the pause."""
        self._requests.put("resume")

    def wait_while_paused(self, on_pause: Callable[[], None]) -> bool:
        """If a pause was requested, call `on_pause` and block until a request ends the pause.

        Returns whether the run was paused, also if it was resumed at once. Requests that follow
        are left for the next call.
        """
        paused = False
        while not (self._stopped or self._finished) and (paused or not self._requests.empty()):
            request = self._requests.get()
            if request == "pause" and not paused:
                paused = True
                on_pause()
            elif request == "resume" and paused:
                break
        return paused

    def listen(self, stream: TextIO | None = None) -> None:
        """Apply commands from standard input, in a daemon thread."""
        threading.Thread(target=self._read_stream, args=(stream,), daemon=True).start()

    def _read_stream(self, stream: TextIO | None) -> None:
        # Unbuffered: Python cannot exit while a blocked thread holds the lock of sys.stdin.
        for line in stream or FileIO(STANDARD_INPUT, closefd=False):
            self.apply(line.decode(errors="replace") if isinstance(line, bytes) else line)

    def follow(self, path: Path) -> None:
        """Apply the command in a file whenever its content changes, in a daemon thread.

        The file may be created later. It need not be written atomically: a part of a command is
        ignored, and the whole one is read the next time.
        """
        threading.Thread(target=self._poll_file, args=(path,), daemon=True).start()

    def _poll_file(self, path: Path) -> None:
        last = ""
        while not self._stopped:
            time.sleep(POLL_INTERVAL)
            with suppress(OSError):
                command = path.read_text(encoding="utf-8", errors="replace")
                if command != last:
                    last = command
                    self.apply(command)

    def apply(self, command: str) -> None:
        """Execute a command; unknown ones are ignored."""
        actions = {
            "pause": self.pause,
            "resume": self.resume,
            "finish": self.finish,
            "stop": self.stop,
        }
        action = actions.get(command.strip())
        if action is not None:
            action()


class Clock:
    """Moving average of the seconds per step."""

    def __init__(self, decay: float = 0.98) -> None:
        self._decay, self._per_step, self._last = decay, 0.0, time.monotonic()

    def tick(self) -> float:
        """Count a step; returns the mean seconds per step."""
        now = time.monotonic()
        elapsed, self._last = now - self._last, now
        decay = self._decay if self._per_step else 0.0
        self._per_step = decay * self._per_step + (1 - decay) * elapsed
        return self._per_step

    def skip(self) -> None:
        """Leave out the time since the last step, in which nothing was trained."""
        self._last = time.monotonic()
