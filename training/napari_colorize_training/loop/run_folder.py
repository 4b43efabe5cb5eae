"""Run folder: log, saved state, and the identity of the run.

`log.csv` gets a row every few steps, `tensorboard/` the same values. `state.pt` holds everything
that is needed to resume, including losses that are not logged yet. It is replaced atomically, so
that a run that was killed at any moment continues with the same rows. The state before it is kept
as `state-previous.pt`, and used if the newer one is damaged: each record of a state has a checksum.
With several processes only the first one writes.
"""

from __future__ import annotations

import csv
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from napari_colorize.errors import OutputError, SettingsError
from napari_colorize.runtime.atomic import new_file, remove_abandoned, write_errors
from napari_colorize.runtime.claims import Claims
from napari_colorize_training.loop.tensorboard_log import TensorBoardLog, open_tensorboard_log
from napari_colorize_training.recipe import parse_recipe

Row = dict[str, float | str]
COLUMNS = (
    *("step", "time", "stage", "lr", "seconds", "images_per_second", "waiting"),
    *(
        "G",
        "G_L1",
        "G_L2",
        "G_classes",
        "G_features",
        "G_colorfulness",
        "G_noise",
        "G_distillation",
        "G_GAN",
    ),
    *("D", "D_real", "D_fake"),
    *("validation_uv", "validation_uv_gray", "validation_ciede2000", "validation_ciede2000_gray"),
    *("validation_colorfulness", "validation_measure", "validation_frechet"),
)
# Old name -> new name, in states and logs of earlier versions.
RENAMED_STATE_KEYS = {"passport": "identity", "average": "ema"}
RENAMED_IDENTITY_KEYS = {"pictures": "images"}
RENAMED_COLUMNS = {"pictures_per_second": "images_per_second"}
_MAX_DIGITS = 20  # of a step in the log; Python converts no more than 4,300
# Parts of the messages with which torch reports that a file cannot be written.
TORCH_WRITE_ERRORS = ("PytorchStreamWriter", "inline_container")


class RunFolder:
    """Folder with the log and the state of a run, created if it does not exist.

    `identity` is recipe, number of steps, images and base: a state is resumed only if its own is
    equal. Only a process with `writes` writes to the folder. Raises `OutputError` if the folder
    cannot be created or written to.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, writes: bool = True) -> None:
        self.path, self._identity, self._writes = path, json.dumps(identity, default=list), writes
        self._tensorboard: TensorBoardLog | None = None
        self.notes: list[str] = []
        if writes:
            with write_errors(path):
                path.mkdir(parents=True, exist_ok=True)
                remove_abandoned(path, age=0)  # temporary files of this run if it was killed

    @property
    def state_path(self) -> Path:
        """Path of the saved state."""
        return self.path / "state.pt"

    @property
    def previous_path(self) -> Path:
        """Path of the state that was saved before it."""
        return self.path / "state-previous.pt"

    @property
    def log_path(self) -> Path:
        """Path of the log."""
        return self.path / "log.csv"

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state atomically, and keep the one before."""
        if self._writes:
            with new_file(self.state_path, overwrite=True) as part, _torch_errors(self.state_path):
                torch.save({"identity": self._identity, **state}, part)
                # The new state is complete. If it does not get its name, `load` uses this one.
                if self.state_path.is_file():
                    self.state_path.replace(self.previous_path)

    def load(self) -> dict[str, Any] | None:
        """Return the last saved state that is not damaged, or None if there is none.

        `notes` says so if it is not the newest one.

        Raises
        ------
        SettingsError
            If it belongs to a run with another identity, or all saved states are damaged.
        """
        paths = [path for path in (self.state_path, self.previous_path) if path.is_file()]
        if not paths:
            return None
        found = ((path, state) for path in paths if (state := _read_state(path)) is not None)
        path, state = next(found, (None, None))
        if state is None:
            raise self.damaged()
        saved, planned = _upgraded(state.get("identity")), json.loads(self._identity)
        if saved is not None and "validation" not in saved:
            planned.pop("validation", None)  # of an earlier version
        if saved != planned:
            raise SettingsError(
                f"The run in {self.path} was started with another recipe, other data or another "
                "number of steps; choose another --run folder, or delete this one."
            )
        try:
            state["rows"] = [_rename(row, RENAMED_COLUMNS) for row in state.get("rows", [])]
        except (AttributeError, TypeError):
            raise self.damaged() from None
        if path != paths[0]:
            self.notes.append(f"{paths[0]} is damaged; the state before it was used.")
        return state

    def damaged(self) -> SettingsError:
        """Return the error for states that are damaged or of another program."""
        return SettingsError(
            f"The saved state in {self.path} is damaged. Delete {self.state_path.name} and "
            f"{self.previous_path.name} there to begin anew, or choose another --run folder."
        )

    def append(self, row: Row) -> None:
        """Append a row to the log."""
        if not self._writes:
            return
        is_new = not self.log_path.is_file()
        with write_errors(self.path), self.log_path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            if is_new:
                writer.writeheader()
            writer.writerow({key: _rounded(value) for key, value in row.items()})
        if self._tensorboard is not None:
            with write_errors(self.path):
                self._tensorboard.append(row)

    def begin_log(self, step: int) -> None:
        """Open the log after this step; later rows, logged by a killed run, are removed."""
        if not self._writes:
            return
        with write_errors(self.path):
            self._tensorboard = open_tensorboard_log(self.path / "tensorboard", step)
        if self.log_path.is_file():
            self._truncate(step)

    def _truncate(self, step: int) -> None:
        with self.log_path.open(newline="", errors="replace") as file:
            header, *lines = file.readlines() or [""]
        for old, new in RENAMED_COLUMNS.items():
            header = header.replace(old, new)
        if ",".join(COLUMNS).startswith(header.strip()):  # of a version with fewer columns
            header = ",".join(COLUMNS) + "\n"
        kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= step]
        if not kept:
            self.log_path.unlink()  # `append` writes a new header
            return
        with new_file(self.log_path, overwrite=True) as part, part.open("w", newline="") as file:
            file.writelines([header, *kept])


@contextmanager
def sole_trainer(folder: Path) -> Iterator[None]:
    """Context manager: keep other processes from training in a folder.

    Raises
    ------
    SettingsError
        If another process trains there.
    """
    claims = Claims()
    try:
        if not claims.take(folder / "state.pt"):
            raise SettingsError(
                f"Another process is training in {folder}. Wait until it ends, or choose another "
                "folder with --run."
            )
        yield
    finally:
        claims.release_all()


def _read_state(path: Path) -> dict[str, Any] | None:
    """Return a saved state with the keys of this version, or None if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # a checksum is wrong, which torch does not notice
                return None
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    # zipfile, pickle and torch raise nearly every class of exception for damaged files.
    except Exception:  # noqa: BLE001
        return None
    return _rename(state, RENAMED_STATE_KEYS) if isinstance(state, dict) else None


def _step_of(line: str) -> float:
    """Return the step of a line of the log; infinite if it is damaged."""
    number = line.partition(",")[0]
    return int(number) if number.isdecimal() and len(number) < _MAX_DIGITS else math.inf


def _rename(table: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in table.items()}


def _upgraded(identity: str | None) -> dict[str, Any] | None:
    """Return a saved identity with the keys of this version."""
    try:
        table = _rename(json.loads(identity or ""), RENAMED_IDENTITY_KEYS)
    except (AttributeError, TypeError, ValueError):
        return None
    if isinstance(table.get("recipe"), dict):
        try:
            table["recipe"] = json.loads(json.dumps(parse_recipe(table["recipe"]).to_dict()))
        except SettingsError:
            return None  # a recipe of a later version
    return table


@contextmanager
def _torch_errors(path: Path) -> Iterator[None]:
    """Convert write errors, including those that torch reports as RuntimeError, to OutputError."""
    try:
        with write_errors(path):
            yield
    except RuntimeError as error:
        if not any(part in str(error) for part in TORCH_WRITE_ERRORS):
            raise
        raise OutputError(
            f"{path} could not be written: the disk is probably full. Free some space and run the "
            "same command again; it continues from the last state."
        ) from error


def _rounded(value: float | str) -> str | float:
    return f"{value:.6g}" if isinstance(value, float) else value
