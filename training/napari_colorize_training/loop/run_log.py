"""Log of a run: means of losses and times between two rows."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from napari_colorize_training.errors import TrainingError
from napari_colorize_training.loop.run_folder import Row, RunFolder
from napari_colorize_training.loop.stages import StageRun
from napari_colorize_training.loop.validation import ValidationFigures

LOG_EVERY = 25  # steps


class RunLog:
    """Collects the values of every step and writes their means to the run folder.

    `rows` are the values since the last row; they are part of the saved state.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.rows: list[dict[str, float]] = []

    def add(self, values: dict[str, float], *, seconds: float, batch: int, waiting: float) -> None:
        """Add the losses and the learning rate of a step.

        `seconds` is the mean time of a step, `batch` the number of its images, and `waiting` the
        seconds for which the step waited for its batch.
        """
        speed = {"seconds": seconds, "images_per_second": batch / seconds}
        self.rows.append(values | speed | {"waiting": waiting / seconds})

    def write(self, run: StageRun, step: int, figures: ValidationFigures | None) -> None:
        """Write a row: means since the last one, and the figures of a validation."""
        names = sorted({name for row in self.rows for name in row})
        means = {name: _mean([row[name] for row in self.rows if name in row]) for name in names}
        row: Row = {"step": step, "time": round(time.time()), "stage": run.name, **means}
        if figures is not None:
            row.update(figures.as_row())
        self._folder.append(row)
        self.rows = []


def check_finite(values: Mapping[str, float], step: int) -> None:
    """Raise `TrainingError` if a value is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value} at step {step}: the training diverges. Lower the learning "
                "rate (--set optimizer.lr=..., or stages.0.lr) and start again in another --run "
                "folder."
            )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
