"""The folder of unfinished work beside a result: what it is of, and how far it has come.

It is named like the result with `.part` added. Repeating a command goes on from it; when the
result is whole it is removed.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_colorize.errors import OutputError
from napari_colorize.runtime.atomic import new_file, remove_abandoned, write_errors
from napari_colorize.video.frames import Frame, Record, ResumePoint

FILE = "work.json"
SOFTWARE = "napari-colorize"
EVERY = 16  # frames between two lines in the ledger
GOES_ON = "{} is gone on with after frame {}."
BEGINS_ANEW = "{} was of another film or other settings: it is begun anew."
WOULD_BE_LOST = (
    "{} holds {} frames of another film or with other settings: repeat that command to go on with "
    "them, or begin anew with --overwrite."
)
STEADY_AGAIN = (
    "Colours are held steady anew there, from the {} frames before: they may differ a little from "
    "those of a run without a break."
)


@dataclass
class ResumeState:
    """What is done of a piece of work, on disk after every `mark`.

    Parameters
    ----------
    folder : Path
        Beside the result.
    identity : dict
        Of source, model and settings: work goes on only if all of it is the same.
    border : Border
        Up to where it is done.
    segments : int
        Files of a film that are whole.
    record : dict
        How the colours were made, for the result's metadata.
    kept : dict
        What a sink wants to know again.
    notes : tuple of str
        What became of a former run.
    """

    folder: Path
    identity: Record
    border: ResumePoint = field(default_factory=ResumePoint)
    segments: int = 0
    record: Record = field(default_factory=dict)
    kept: Record = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    _reached: ResumePoint | None = field(default=None, init=False, repr=False)

    @classmethod
    def open(
        cls, target: Path, identity: Record, *, run_in: int = 0, overwrite: bool = False
    ) -> ResumeState:
        """The ledger of a result: as a former run left it, or a new one.

        Parameters
        ----------
        target : Path
            The result.
        identity : dict
            See above.
        run_in : int
            Frames before the border that are looked at again, at most.
        overwrite : bool
            Whether frames of a former run with other settings may be lost.

        Raises
        ------
        OutputError
            If something else has the folder's name, there are such frames, or it cannot be written.
        """
        folder = work_folder(target)
        remove_abandoned(target.parent)  # of a run that was killed while it joined all segments
        identity = json.loads(json.dumps(identity, default=str))
        found = _read(folder)
        if found is not None and found.get("identity") == identity:
            return cls._resumed(folder, identity, found, run_in)
        notes: tuple[str, ...] = ()
        if found is not None:
            if found["done"] and not overwrite:
                raise OutputError(WOULD_BE_LOST.format(folder, found["done"]))
            shutil.rmtree(folder)
            notes = (BEGINS_ANEW.format(folder.name),)
        with write_errors(folder):
            folder.mkdir(parents=True)
        ledger = cls(folder, identity, notes=notes)
        ledger._write()
        return ledger

    @classmethod
    def _resumed(
        cls, folder: Path, identity: Record, found: dict[str, Any], run_in: int
    ) -> ResumeState:
        remove_abandoned(folder, age=0)
        border = ResumePoint(found["done"], found["time"])
        notes = [GOES_ON.format(folder.name, border.done)] if border.done else []
        if border.done and run_in:
            notes.append(STEADY_AGAIN.format(min(run_in, border.done)))
        return cls(
            folder,
            identity,
            border,
            found["segments"],
            found["record"],
            found["kept"],
            tuple(notes),
        )

    def mark(self, border: ResumePoint, segments: int = 0) -> None:
        """Remember that work is done up to here."""
        self.border, self.segments = border, segments
        self._write()

    def reach(self, frame: Frame) -> None:
        """A frame is on disk by itself; that is remembered at every few of them."""
        self._reached = ResumePoint(frame.place + 1, frame.time)
        if self._reached.done % EVERY == 0:
            self.mark_reached()

    def mark_reached(self) -> None:
        """Remember it now."""
        if self._reached is not None:
            self.mark(self._reached)

    def remember(self, record: Record) -> None:
        """Keep how the colours are made: a later run may have none left to make."""
        if record:
            self.record = json.loads(json.dumps(record, default=str))
            self._write()

    def keep(self, **facts: object) -> None:
        """Remember what the sink will want to know again."""
        self.kept = json.loads(json.dumps({**self.kept, **facts}))
        self._write()

    def remove(self) -> None:
        """All is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        told = {
            "software": SOFTWARE,
            "identity": self.identity,
            "done": self.border.done,
            "time": self.border.time,
            "segments": self.segments,
            "record": self.record,
            "kept": self.kept,
        }
        with new_file(self.folder / FILE, overwrite=True) as part:
            part.write_text(json.dumps(told, indent=1), encoding="utf-8")


def work_folder(target: Path) -> Path:
    """The folder of unfinished work of a result."""
    return target.with_name(f"{target.name}.part")


def _read(folder: Path) -> dict[str, Any] | None:
    """What a former run wrote; None if there was none."""
    if not os.path.lexists(folder):
        return None
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if found["software"] == SOFTWARE:
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()  # it was made, and then nothing more
            return None
    raise OutputError(
        f"{folder} is in the way: unfinished work would go there. Move it, or choose another OUT."
    )
