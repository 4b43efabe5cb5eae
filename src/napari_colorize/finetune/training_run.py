"""A training run: a detached process and the folder through which front ends control it.

Training runs in a detached process without pipes, so it continues when the program that started it
exits or crashes. They communicate through files of the run folder, which another front end can
open later:

- `request.json`: base, images, options and output file, from which the command is made
- `events.jsonl`: events, one JSON object per line (standard output of the process); append-only
- `errors.txt`: standard error of the process
- `control.txt`: present command; the process reads it four times a second
- `process.json`: process id and start time, because the system reuses ids
- `pictures/`: images of layers and corrections, copied when the run was created
- files of the training package: `cache/`, `state.pt`, `log.csv`, `preview.png`

Files work on all systems. Signals do not: Windows lacks them, and there is none for a pause. A run
that was stopped or killed continues from its last saved state when the same command is started
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

MODULE = "napari_colorize_training"  # not imported in this process
READ_BYTES = 2**16  # of events per call of `read`: a few hundred lines, 2 ms
START_TOLERANCE = 5.0  # seconds; reported start times change when the clock is adjusted
END_EVENTS = ("done", "stopped", "error")
TAIL_BYTES = 2**14  # more than one line, and more than most tracebacks
NICENESS = 10  # of the process on Unix, so that the front end stays responsive
KEPT = ("request.json", "events.jsonl", "errors.txt", "log.csv")  # files of a finished run
# Names in folders of earlier versions, which can still be opened and continued.
OLD_FILES = {
    "request.json": "asked.json",
    "events.jsonl": "told.jsonl",
    "control.txt": "orders.txt",
}
OLD_KEYS = {"begun": "created"}  # of request.json


class TrainingStartError(ColorizeError):
    """The training process could not be started."""


class State(Enum):
    """State of a run; the values are labels for a list."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """Specification of a training run; None is the default of the command's option."""

    base: str  # name or file of the model that training starts from
    data: tuple[str, ...]  # folders and files with images
    model: str  # file of the new model
    augment: str | None = None
    degrade: str | None = None
    group: str | None = None
    steps: int | None = None
    created: float = field(default_factory=time.time)  # seconds since 1970

    @property
    def name(self) -> str:
        """Name of the new model."""
        return Path(self.model).stem

    def save(self, folder: Path) -> None:
        """Write `request.json`."""
        with (
            new_file(run_file(folder, "request.json"), overwrite=True) as part,
            write_errors(folder),
        ):
            part.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TrainingRequest:
        """Read `request.json`, or raise OSError, ValueError, KeyError or TypeError."""
        saved = json.loads(run_file(folder, "request.json").read_text(encoding="utf-8"))
        values = {OLD_KEYS.get(name, name): value for name, value in saved.items()}
        return cls(**{**values, "data": tuple(values["data"])})


class TrainingRun:
    """A run folder with a `request.json`, and its process, if that is running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request = TrainingRequest.load(folder)
        self._offset = 0  # bytes of events that `read` has returned

    @classmethod
    def create(cls, request: TrainingRequest, folder: Path) -> TrainingRun:
        """Create a run folder, or raise `OutputError`; the process is started by `launch`."""
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        request.save(folder)
        return cls(folder)

    @property
    def command(self) -> list[str]:
        """Command that starts or continues the run."""
        request = self.request
        options = {
            "--from": request.base,
            "--out": request.model,
            "--run": str(self.folder),
            "--control": str(self._file("control.txt")),
            "--progress": "json",
            "--augment": request.augment,
            "--degrade": request.degrade,
            "--group": request.group,
            "--steps": request.steps,
        }
        given = [str(word) for pair in options.items() if pair[1] is not None for word in pair]
        # The name of the model is reserved for this run, which may be continued after its end.
        given.append("--overwrite")
        return [sys.executable, "-m", MODULE, "finetune", *given, "--", *request.data]

    def launch(self) -> None:
        """Start the process, or continue the run; the process outlives the present one.

        Raises
        ------
        TrainingStartError, OutputError
            If the process cannot be started.
        """
        if self.is_running:
            return
        self.control("resume")  # the last command was for the previous process
        events, errors = self._file("events.jsonl"), self.folder / "errors.txt"
        _end_line(events)
        with write_errors(self.folder), events.open("ab") as out, errors.open("wb") as error:
            child = _start(self.command, self.folder, out, error)
        _children.append(child)
        record = {"pid": child.pid, "started": _start_time(child.pid)}
        with write_errors(self.folder):
            (self.folder / "process.json").write_text(json.dumps(record), encoding="utf-8")

    def control(self, command: str) -> None:
        """Send a command, which takes effect within a second or after the present step.

        The command is "pause", "resume", "finish" (export the best checkpoint) or "stop".
        """
        with write_errors(self.folder):
            self._file("control.txt").write_text(command, encoding="utf-8")

    def kill(self) -> None:
        """Kill the process; its last saved state stays."""
        import psutil

        with suppress(psutil.Error):
            if self.is_running:
                psutil.Process(self._process_record()["pid"]).kill()
                _reap()

    @property
    def is_running(self) -> bool:
        """Whether the process exists, paused or not; another one of the same id does not count."""
        import psutil

        _reap()
        with suppress(psutil.Error, OSError, ValueError, KeyError):
            record = self._process_record()
            process = psutil.Process(record["pid"])
            is_same = abs(process.create_time() - record["started"]) < START_TOLERANCE
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        return False

    @property
    def state(self) -> State:
        """Present state of the run."""
        if self.is_running:
            return State.RUNNING
        ends = {"done": State.DONE, "stopped": State.STOPPED, "error": State.FAILED}
        otherwise = State.FAILED if self._crash() else State.INTERRUPTED
        return ends.get(self.last_event().get("event", ""), otherwise)

    @property
    def is_complete(self) -> bool:
        """Whether the folder has all files, that is, before `tidy`."""
        return (self.folder / "process.json").is_file()

    def read(self) -> list[dict[str, Any]]:
        """New events since the last call, at most `READ_BYTES`; empty if there are none."""
        with suppress(OSError), self._file("events.jsonl").open("rb") as file:
            file.seek(self._offset)
            block = file.read(READ_BYTES)
            lines = block[: block.rfind(b"\n") + 1]  # the last line may be incomplete
            self._offset += len(lines)
            return list(_events(lines))
        return []

    def rewind(self) -> None:
        """Let `read` start with the first event again."""
        self._offset = 0

    def last_event(self) -> dict[str, Any]:
        """The last event; empty if there is none."""
        events = list(_events(_tail(self._file("events.jsonl"))))
        return events[-1] if events else {}

    def failure_reason(self) -> str:
        """Error message of the run, else the last line of a traceback; empty if there is none."""
        last = self.last_event()
        return str(last.get("text", "")) if last.get("event") == "error" else self._crash()

    def tidy(self) -> None:
        """Delete the files that are only needed to continue the run; its log stays."""
        kept = {self._file(name).name for name in KEPT}
        for path in self.folder.iterdir():
            if path.name in kept:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()

    def remove(self) -> None:
        """Delete the run folder with all that was learned."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _crash(self) -> str:
        """Last line of a traceback; empty if there is none."""
        text = _tail(self.folder / "errors.txt").decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines and "Traceback" in text else ""

    def _process_record(self) -> dict[str, Any]:
        text = (self.folder / "process.json").read_text(encoding="utf-8")
        record: dict[str, Any] = json.loads(text)
        return record

    def _file(self, name: str) -> Path:
        return run_file(self.folder, name)


def run_file(folder: Path, name: str) -> Path:
    """A file of a run folder, under the name of an earlier version if it exists under that."""
    old = folder / OLD_FILES.get(name, name)
    return old if old.exists() else folder / name


def runs_folder() -> Path:
    """Folder of all runs."""
    return user_models_folder() / "runs"


def runs() -> list[TrainingRun]:
    """All runs, newest first; invalid folders are skipped."""
    found = []
    with suppress(OSError):
        for folder in runs_folder().iterdir():
            with suppress(OSError, ValueError, KeyError, TypeError):
                found.append(TrainingRun(folder))
    return sorted(found, key=lambda run: -run.request.created)


def new_run_folder(name: str) -> Path:
    """A new folder for a run of this model name; it does not exist yet."""
    number, folder = 1, runs_folder() / name
    while folder.exists():
        number += 1
        folder = runs_folder() / f"{name}-{number}"
    return folder


def missing_packages() -> list[str]:
    """Packages that training needs and that are not installed; nothing is imported."""
    from importlib.util import find_spec

    return [name for name in (MODULE, "accelerate") if not find_spec(name)]


_children: list[subprocess.Popen[bytes]] = []  # polled, so that no zombie remains


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def _start(command: list[str], folder: Path, out: Any, error: Any) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, which Ctrl-C in a terminal does not reach."""
    detached: dict[str, Any]
    if sys.platform == "win32":
        flags = (
            subprocess.CREATE_NO_WINDOW
            | subprocess.CREATE_NEW_PROCESS_GROUP
            | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        )
        detached = {"creationflags": flags}
    else:
        detached = {"start_new_session": True}
    try:
        child = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=error, **detached
        )
    except OSError as problem:
        raise TrainingStartError(f"The training could not be started: {problem}.") from problem
    if sys.platform != "win32":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
    return child


def _start_time(pid: int) -> float:
    import psutil

    with suppress(psutil.Error):
        return psutil.Process(pid).create_time()
    return time.time()


def _end_line(path: Path) -> None:
    """Complete the last line, which a killed process may have left incomplete."""
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
    """Events of a log; lines of other output are skipped."""
    for line in text.splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and "event" in event:
                yield event
