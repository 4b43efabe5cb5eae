"""State of an unfinished run: a folder beside the result that records how far it has come.

The folder is named like the result with `.part` added. Repeating the command resumes from it. It is
removed when the result is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_colorize.errors import OutputError
from napari_colorize.runtime.atomic import new_file, remove_abandoned, write_errors
from napari_colorize.settings import ColorizeSettings, with_current_names
from napari_colorize.video.frames import Frame, Record, ResumePoint

STATE_FILE = "work.json"
FRAMES_FOLDER = "images"  # of a result that is a folder
# Former names in state files, and the present ones.
RENAMED_KEYS = {"film": "video", "pictures": FRAMES_FOLDER}
SOFTWARE = "napari-colorize"
SAVE_INTERVAL = 16  # frames between two writes of the state file
RESUMED = "{} is resumed after frame {}."
RESTARTED = "{} belonged to another input or other settings; the run starts from the beginning."
WOULD_DISCARD = (
    "{} contains {} frames of another input or other settings. Repeat that command to resume, or "
    "discard them with --overwrite."
)
SMOOTHING_RESTARTED = (
    "Temporal smoothing restarts from the {} frames before that point, so colors may differ "
    "slightly from those of an uninterrupted run."
)


def file_state(name: str, status: os.stat_result) -> bytes:
    """Name, size and date of a file of a folder, for a digest; the name need not be UTF-8."""
    return os.fsencode(name) + f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode()


@dataclass
class ResumeState:
    """Progress of a run, written to disk at every `save`."""

    folder: Path  # beside the result
    # Description of source, model and settings; a run is resumed only if all of it is equal
    identity: Record
    # Number of finished frames, and the time of the last one
    resume_point: ResumePoint = field(default_factory=ResumePoint)
    segments: int = 0  # number of complete segment files of a video
    record: Record = field(default_factory=dict)  # provenance record for the metadata of the result
    # Values that the sink needs again when it is resumed
    sink_state: Record = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what happened to the state of an earlier run
    _reached: ResumePoint | None = field(default=None, init=False, repr=False)

    @classmethod
    def open(
        cls, target: Path, identity: Record, *, warm_up: int = 0, overwrite: bool = False
    ) -> ResumeState:
        """The state of a result: loaded from an earlier run of the same identity, or new.

        `warm_up` is the largest number of frames before the resume point that are colorized again.
        With `overwrite`, frames of an earlier run with other settings are discarded.

        Raises
        ------
        OutputError
            If such frames exist, or the folder cannot be written or belongs to something else.
        """
        folder = work_folder(target)
        # A run that was killed while it created the result leaves a temporary file there.
        remove_abandoned(target.parent)
        identity = json.loads(json.dumps(identity, default=str))
        found = _read(folder)
        if found is not None and found.get("identity") == identity:
            return cls._resumed(folder, identity, found, warm_up)
        notes: tuple[str, ...] = ()
        if found is not None:
            if found["done"] and not overwrite:
                raise OutputError(WOULD_DISCARD.format(folder, found["done"]))
            shutil.rmtree(folder)
            notes = (RESTARTED.format(folder.name),)
        with write_errors(folder):
            folder.mkdir(parents=True)
        state = cls(folder, identity, notes=notes)
        state._write()
        return state

    @classmethod
    def _resumed(
        cls, folder: Path, identity: Record, found: dict[str, Any], warm_up: int
    ) -> ResumeState:
        remove_abandoned(folder, age=0)
        resume_point = ResumePoint(found["done"], found["time"])
        notes = [RESUMED.format(folder.name, resume_point.done)] if resume_point.done else []
        if resume_point.done and warm_up:
            notes.append(SMOOTHING_RESTARTED.format(min(warm_up, resume_point.done)))
        return cls(
            folder,
            identity,
            resume_point,
            found["segments"],
            found["record"],
            found["sink_state"],
            tuple(notes),
        )

    def save(self, resume_point: ResumePoint, segments: int = 0) -> None:
        """Set the resume point and write the state file."""
        self.resume_point, self.segments = resume_point, segments
        self._write()

    def advance(self, frame: Frame) -> None:
        """Note that a frame is on disk; the state file is written every `SAVE_INTERVAL` frames."""
        self._reached = ResumePoint(frame.position + 1, frame.time)
        if self._reached.done % SAVE_INTERVAL == 0:
            self.save_progress()

    def save_progress(self) -> None:
        """Write the progress noted by `advance` to the state file."""
        if self._reached is not None:
            self.save(self._reached)

    def save_record(self, record: Record) -> None:
        """Store the provenance record, because a resumed run may have no frame left to make one."""
        if record:
            self.record = json.loads(json.dumps(record, default=str))
            self._write()

    def save_sink_state(self, **values: object) -> None:
        """Store values that the sink needs when it is resumed."""
        self.sink_state = json.loads(json.dumps({**self.sink_state, **values}))
        self._write()

    def remove(self) -> None:
        """Delete the folder after the result was created."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        state = {
            "software": SOFTWARE,
            "identity": self.identity,
            "done": self.resume_point.done,
            "time": self.resume_point.time,
            "segments": self.segments,
            "record": self.record,
            "sink_state": self.sink_state,
        }
        path = self.folder / STATE_FILE
        with write_errors(path), new_file(path, overwrite=True) as part:
            part.write_text(json.dumps(state, indent=1), encoding="utf-8")


def work_folder(target: Path) -> Path:
    """The folder of an unfinished result."""
    return target.with_name(f"{target.name}.part")


def _read(folder: Path) -> dict[str, Any] | None:
    """The state file of an earlier run; None if there is no folder."""
    if not os.path.lexists(folder):
        return None
    try:
        found = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        if found["software"] == SOFTWARE:
            return _with_current_names(folder, found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        if folder.is_dir():
            # A run that was killed before it published the state file leaves a temporary file.
            remove_abandoned(folder, age=0)
            if not any(folder.iterdir()):
                folder.rmdir()
                return None
    raise OutputError(
        f"{folder} exists but was not created by this program, which needs the name for unfinished "
        "results. Move it, or choose another output."
    )


def _with_current_names(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """State of any version, with present names, and defaults of settings that did not exist."""
    identity = {RENAMED_KEYS.get(name, name): value for name, value in found["identity"].items()}
    identity["kind"] = RENAMED_KEYS.get(identity.get("kind", ""), identity.get("kind"))
    settings = {**asdict(ColorizeSettings()), **with_current_names(identity.get("settings", {}))}
    former = folder / "pictures"
    if former.is_dir():
        former.rename(folder / FRAMES_FOLDER)
    sink_state = found.get("sink_state", found.get("kept"))
    return {**found, "identity": {**identity, "settings": settings}, "sink_state": sink_state}
