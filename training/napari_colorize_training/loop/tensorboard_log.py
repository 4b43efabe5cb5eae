"""A run's log once more, as TensorBoard draws it; nothing where TensorBoard is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoardLog:
    """A folder that `tensorboard --logdir` shows.

    Parameters
    ----------
    writer : torch.utils.tensorboard.SummaryWriter
        Who knows the format.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def append(self, row: Mapping[str, float | str]) -> None:
        """Draw the numbers of a line of the log at its step."""
        for name, value in row.items():
            if name not in ("step", "time") and not isinstance(value, str):
                self._writer.add_scalar(name, value, int(row["step"]))
        self._writer.flush()


def open_tensorboard_log(folder: Path, step: int) -> TensorBoardLog | None:
    """A board that goes on behind `step`; None without TensorBoard.

    What an earlier process had drawn beyond that step, before it was killed, is not shown again.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return TensorBoardLog(SummaryWriter(str(folder), purge_step=step + 1))
