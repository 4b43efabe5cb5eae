"""Polls a training run from a Qt timer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_colorize.finetune.monitor import POLL_SECONDS, RunMonitor

if TYPE_CHECKING:
    from napari_colorize.finetune.training_run import TrainingRun


class RunFollower(QObject):
    """Emits signals for the events of a training run.

    The training process is no child of this object: `training_run` explains how it is detached.

    Parameters
    ----------
    run : TrainingRun
        Run that may have been started earlier; its events are read from the first one.
    parent : QObject
        Deleting it ends the polling, not the run.

    Attributes
    ----------
    monitor : RunMonitor
        Current state of the run.
    changed : Signal()
        New events were read.
    ended : Signal()
        The process has ended and all its events were read.
    """

    changed = Signal()
    ended = Signal()

    def __init__(self, run: TrainingRun, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.monitor = RunMonitor(run)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._poll)

    def start(self) -> None:
        """Start to poll."""
        self._timer.start(0)

    def close(self) -> None:
        """Stop to poll; the run continues."""
        self._timer.stop()

    def _poll(self) -> None:
        has_events = self.monitor.poll()
        # A long history is read in pieces without a pause; other Qt events are handled between.
        self._timer.setInterval(0 if has_events else round(1000 * POLL_SECONDS))
        if has_events:
            self.changed.emit()
        if self.monitor.end_state is not None:
            self._timer.stop()
            self.ended.emit()
