"""A run's folder: its log, its state, what it was begun with.

`log.csv` has a line every few steps, `tensorboard/` the same. `state.pt` holds everything needed
to go on, the losses since the last line included, and is replaced atomically: a run that was killed
at any moment continues the very sequence of lines. Only the first of several processes writes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from napari_colorize.errors import OutputError, SettingsError
from napari_colorize.runtime.atomic import new_file, remove_abandoned, write_errors
from napari_colorize_training.loop.tensorboard_log import TensorBoardLog, open_tensorboard_log

Row = dict[str, float | str]
COLUMNS = (
    *("step", "time", "stage", "lr", "seconds", "pictures_per_second", "waiting"),
    *("G", "G_L1", "G_L2", "G_classes", "G_features", "G_colorfulness", "G_noise", "G_GAN"),
    *("D", "D_real", "D_fake"),
    *("validation_uv", "validation_uv_gray", "validation_ciede2000", "validation_ciede2000_gray"),
    *("validation_colorfulness", "validation_measure"),
)
TORCH_CANNOT_WRITE = ("PytorchStreamWriter", "inline_container")


class RunFolder:
    """Where a run keeps what it has reached.

    Parameters
    ----------
    path : Path
        Made if it is missing.
    passport : dict
        What a state must have been begun with to be continued: recipe, steps, pictures.
    writes : bool
        Whether this process is the one that writes.

    Raises
    ------
    OutputError
        If nothing can be written there.
    """

    def __init__(self, path: Path, passport: Mapping[str, Any], *, writes: bool = True) -> None:
        self.path, self._passport, self._writes = path, json.dumps(passport, default=list), writes
        self._board: TensorBoardLog | None = None
        if writes:
            with write_errors(path):
                path.mkdir(parents=True, exist_ok=True)
                remove_abandoned(path, age=0)  # of this very run, when it was killed

    @property
    def state_path(self) -> Path:
        """Where the state is."""
        return self.path / "state.pt"

    @property
    def log_path(self) -> Path:
        """Where the log is."""
        return self.path / "log.csv"

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state, atomically."""
        if self._writes:
            with new_file(self.state_path, overwrite=True) as part, _explained(self.state_path):
                torch.save({"passport": self._passport, **state}, part)

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last, if the run was begun before.

        Raises
        ------
        SettingsError
            If it was begun with something else.
        """
        if not self.state_path.is_file():
            return None
        state: dict[str, Any] = torch.load(self.state_path, map_location="cpu", weights_only=True)
        if state.get("passport") != self._passport:
            raise SettingsError(
                f"The run in {self.path} was begun with another recipe, other data or another "
                "number of steps; choose another --run folder, or delete this one."
            )
        return state

    def append(self, row: Row) -> None:
        """Add a line to the log."""
        if not self._writes:
            return
        is_new = not self.log_path.is_file()
        with write_errors(self.path), self.log_path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            if is_new:
                writer.writeheader()
            writer.writerow({key: _short(value) for key, value in row.items()})
        if self._board is not None:
            with write_errors(self.path):
                self._board.append(row)

    def begin_log(self, step: int) -> None:
        """Go on behind this step: drop what a run that was killed had logged after its state."""
        if not self._writes:
            return
        with write_errors(self.path):
            self._board = open_tensorboard_log(self.path / "tensorboard", step)
        if self.log_path.is_file():
            self._shorten(step)

    def _shorten(self, step: int) -> None:
        with self.log_path.open(newline="") as file:
            header, *lines = file.readlines() or [""]
        kept = [line for line in lines if line.endswith("\n") and int(line.split(",")[0]) <= step]
        if not kept:
            self.log_path.unlink()  # the next line brings its header
            return
        with new_file(self.log_path, overwrite=True) as part, part.open("w", newline="") as file:
            file.writelines([header, *kept])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """`explained`, and what torch says of a full disk in its own words."""
    try:
        with write_errors(path):
            yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in TORCH_CANNOT_WRITE):
            raise
        raise OutputError(
            f"{path} could not be written: the disk is probably full. Make room and run the same "
            "command again; it goes on from the last state."
        ) from error


def _short(value: float | str) -> str | float:
    return f"{value:.6g}" if isinstance(value, float) else value
