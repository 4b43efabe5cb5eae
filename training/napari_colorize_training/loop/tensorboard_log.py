"""Copy of a run's log for TensorBoard, if TensorBoard is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoardLog:
    """Folder of events for `tensorboard --logdir`, written by a `SummaryWriter`."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def append(self, row: Mapping[str, float | str]) -> None:
        """Add the numbers of a row of the log at its step."""
        for name, value in row.items():
            if name not in ("step", "time") and not isinstance(value, str):
                self._writer.add_scalar(name, value, int(row["step"]))
        self._writer.flush()


def open_tensorboard_log(folder: Path, step: int) -> TensorBoardLog | None:
    """Open the folder after `step`; None if TensorBoard is not installed.

    Values of later steps, logged by a process that was killed, are hidden.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return TensorBoardLog(SummaryWriter(str(folder), purge_step=step + 1))
