"""A training as a folder: what was asked, what it tells, what it is ordered. No Qt.

The training is a process of its own that nobody holds by a string: no pipe leads to it, so it does
not notice when the viewer that began it ends or crashes. All that passes between the two lies in
the run's folder, where a viewer that was opened later finds it as well:

- `asked.json`: base, pictures, choices, where the model goes; the command follows from it
- `told.jsonl`: what the process says, a JSON object a line (its standard output); only grows
- `errors.txt`: what it says when it ends in a way that it did not expect (its standard error)
- `orders.txt`: the word that holds now; the process looks at it four times a second
- `process.json`: its id and when it was started, for ids are given anew
- `pictures/`: of layers and corrections, as they were when it began
- the engine's own: `cache/`, `state.pt`, `log.csv`, `preview.png`

Files serve the same way on all systems. Signals would not: Windows has none of them, and none say
pause. A run that was stopped or killed goes on from its last state when the same command is run
again (`launch`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from napari_colorize.errors import ColorizeError
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.zoo.user_models import user_models_folder

MODULE = "napari_colorize_training"  # never imported here: it runs in the child
BYTES_AT_A_TIME = 2**16  # of what was told: a few hundred lines, 2 ms
SAME_MOMENT = 5.0  # seconds; what the system says of a start may shift with its clock
END_EVENTS = ("done", "stopped", "error")
TAIL_BYTES = 2**14  # more than a line, and more than most tracebacks
POLITE = 10  # Unix niceness of the child: the viewer comes first
KEPT = ("asked.json", "told.jsonl", "errors.txt", "log.csv")  # of a run that is done


class TrainingStartError(ColorizeError):
    """The child process could not be started."""


class State(Enum):
    """What became of a run, in words for a list."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What a training is to do.

    Parameters
    ----------
    base : str
        A model's name or file.
    data : tuple of str
        Folders and files with pictures.
    model : str
        File that it will write.
    augment, degrade, group, steps : optional
        As the command has them; None is its default.
    begun : float
        When it was asked for, seconds since 1970.
    """

    base: str
    data: tuple[str, ...]
    model: str
    augment: str | None = None
    degrade: str | None = None
    group: str | None = None
    steps: int | None = None
    begun: float = field(default_factory=time.time)

    @property
    def name(self) -> str:
        """Of the model."""
        return Path(self.model).stem

    def save(self, folder: Path) -> None:
        """Write `asked.json`."""
        with new_file(folder / "asked.json", overwrite=True) as part, write_errors(folder):
            part.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TrainingRequest:
        """Read it; ValueError, KeyError, TypeError or OSError if it is none."""
        told = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
        return cls(**{**told, "data": tuple(told["data"])})


class TrainingRun:
    """One training: its folder, and the process that works in it, if it does.

    Parameters
    ----------
    folder : Path
        With `asked.json` in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = TrainingRequest.load(folder)
        self._read = 0  # bytes of what was told

    @classmethod
    def begin(cls, asked: TrainingRequest, folder: Path) -> TrainingRun:
        """Keep what is asked; nothing runs yet.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        asked.save(folder)
        return cls(folder)

    @property
    def command(self) -> list[str]:
        """What runs it, and runs it on."""
        asked = self.asked
        options = {
            "--from": asked.base,
            "--out": asked.model,
            "--run": str(self.folder),
            "--orders": str(self.folder / "orders.txt"),
            "--progress": "json",
            "--augment": asked.augment,
            "--degrade": asked.degrade,
            "--group": asked.group,
            "--steps": asked.steps,
        }
        given = [str(word) for pair in options.items() if pair[1] is not None for word in pair]
        return [sys.executable, "-m", MODULE, "finetune", *given, "--", *asked.data]

    def launch(self) -> None:
        """Start the process, or start it again where it ended; it outlives this one.

        Raises
        ------
        TrainingStartError, OutputError
            If it cannot be started.
        """
        if self.is_running:
            return
        self.order("resume")  # whatever was ordered last held for the process before
        told, errors = self.folder / "told.jsonl", self.folder / "errors.txt"
        _end_line(told)
        with write_errors(self.folder), told.open("ab") as out, errors.open("wb") as error:
            child = _start(self.command, self.folder, out, error)
        _children.append(child)
        passport = {"pid": child.pid, "started": _started(child.pid)}
        with write_errors(self.folder):
            (self.folder / "process.json").write_text(json.dumps(passport), encoding="utf-8")

    def order(self, word: str) -> None:
        """`pause`, `resume`, `finish` or `stop`, obeyed within a second or after the present step.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with write_errors(self.folder):
            (self.folder / "orders.txt").write_text(word, encoding="utf-8")

    def kill(self) -> None:
        """End the process at once; its last state stays."""
        import psutil

        with suppress(psutil.Error):
            if self.is_running:
                psutil.Process(self._process_record()["pid"]).kill()
                _reap()

    @property
    def is_running(self) -> bool:
        """Whether the process is at work, or paused: that very one, not a later one of its id."""
        import psutil

        _reap()
        with suppress(psutil.Error, OSError, ValueError, KeyError):
            passport = self._process_record()
            process = psutil.Process(passport["pid"])
            same = abs(process.create_time() - passport["started"]) < SAME_MOMENT
            return same and process.status() != psutil.STATUS_ZOMBIE
        return False

    @property
    def state(self) -> State:
        """What became of it so far."""
        if self.is_running:
            return State.RUNNING
        ends = {"done": State.DONE, "stopped": State.STOPPED, "error": State.FAILED}
        otherwise = State.FAILED if self._crash() else State.INTERRUPTED
        return ends.get(self.last_event().get("event", ""), otherwise)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was taken away yet by `tidy`."""
        return (self.folder / "process.json").is_file()

    def read(self) -> list[dict[str, Any]]:
        """What was told since the last call, a piece at a time; empty when there is no more."""
        with suppress(OSError), (self.folder / "told.jsonl").open("rb") as file:
            file.seek(self._read)
            piece = file.read(BYTES_AT_A_TIME)
            whole = piece[: piece.rfind(b"\n") + 1]
            self._read += len(whole)
            return list(_events(whole))
        return []

    def read_again(self) -> None:
        """Let `read` begin at the first line."""
        self._read = 0

    def last_event(self) -> dict[str, Any]:
        """The last event; empty if there was none."""
        events = list(_events(_tail(self.folder / "told.jsonl")))
        return events[-1] if events else {}

    def why(self) -> str:
        """Why it failed, in a sentence if it could say so itself."""
        last = self.last_event()
        return str(last.get("text", "")) if last.get("event") == "error" else self._crash()

    def tidy(self) -> None:
        """Remove what a run needs only to go on; its log stays."""
        for path in self.folder.iterdir():
            if path.name in KEPT:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()

    def remove(self) -> None:
        """Remove it all; what was learned is lost."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _crash(self) -> str:
        """The last line of a traceback; empty if there is none."""
        text = _tail(self.folder / "errors.txt").decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines and "Traceback" in text else ""

    def _process_record(self) -> dict[str, Any]:
        text = (self.folder / "process.json").read_text(encoding="utf-8")
        passport: dict[str, Any] = json.loads(text)
        return passport


def runs_folder() -> Path:
    """Where all runs are."""
    return user_models_folder() / "runs"


def runs() -> list[TrainingRun]:
    """All of them, newest first; folders that are none are passed over."""
    found = []
    with suppress(OSError):
        for folder in runs_folder().iterdir():
            with suppress(OSError, ValueError, KeyError, TypeError):
                found.append(TrainingRun(folder))
    return sorted(found, key=lambda run: -run.asked.begun)


def new_run_folder(name: str) -> Path:
    """A folder for a run of this name that is not there yet."""
    number, folder = 1, runs_folder() / name
    while folder.exists():
        number += 1
        folder = runs_folder() / f"{name}-{number}"
    return folder


def missing_packages() -> list[str]:
    """What the child would not find; it is asked without importing anything."""
    from importlib.util import find_spec

    return [name for name in (MODULE, "accelerate") if not find_spec(name)]


_children: list[subprocess.Popen[bytes]] = []  # ours, so that none stays behind as a zombie


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def _start(command: list[str], folder: Path, out: Any, error: Any) -> subprocess.Popen[bytes]:
    """In a session of its own, where neither a terminal's Ctrl-C nor its closing reaches it."""
    apart: dict[str, Any]
    if sys.platform == "win32":
        flags = (
            subprocess.CREATE_NO_WINDOW
            | subprocess.CREATE_NEW_PROCESS_GROUP
            | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        )
        apart = {"creationflags": flags}
    else:
        apart = {"start_new_session": True}
    try:
        child = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=error, **apart
        )
    except OSError as problem:
        raise TrainingStartError(f"The training could not be started: {problem}.") from problem
    if sys.platform != "win32":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, POLITE)
    return child


def _started(pid: int) -> float:
    import psutil

    with suppress(psutil.Error):
        return psutil.Process(pid).create_time()
    return time.time()


def _end_line(path: Path) -> None:
    """A process that was killed may have left half a line; the next one begins its own."""
    with suppress(OSError):
        if _tail(path)[-1:] not in (b"", b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")


def _tail(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read()
    return b""


def _events(text: bytes) -> Iterator[dict[str, Any]]:
    """Lines that are objects with an event; a library's own words are passed over."""
    for line in text.splitlines():
        with suppress(ValueError):
            told = json.loads(line)
            if isinstance(told, dict) and "event" in told:
                yield told
