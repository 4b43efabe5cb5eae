"""A training as a panel hears it: begun here, or by a viewer that is gone; it makes no difference.

The process is nobody's child in Qt's sense (`training_run` says why and how the two speak): a timer
reads what it has written since, and its end is seen in the list of processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_colorize.finetune.training_run import State

if TYPE_CHECKING:
    from napari_colorize.finetune.training_run import TrainingRun

MILLISECONDS = 200  # between two looks


class TrainingProcess(QObject):
    """Follows one run from its first word to its end.

    Parameters
    ----------
    run : TrainingRun
        Launched or not; what it told before is told again.
    parent : QObject
        Ends the following, never the run.

    Attributes
    ----------
    told : Signal(object)
        An event as `progress.py` of the training package lists them, a dict.
    ended : Signal(object)
        A `State`, once there is no process any more and all was told.
    """

    told = Signal(object)
    ended = Signal(object)

    def __init__(self, run: TrainingRun, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.run = run
        run.read_again()
        self._timer = QTimer(self)
        self._timer.setInterval(MILLISECONDS)
        self._timer.timeout.connect(self._look)

    def follow(self) -> None:
        """Begin to tell."""
        self._timer.start(0)

    def close(self) -> None:
        """Tell nothing any more; the run goes on."""
        self._timer.stop()

    def _look(self) -> None:
        was_running = self.run.is_running  # asked first: what it said at its end is read below
        events = self.run.read()
        # Behind: after a piece of a long story comes the next, but first what else is to be done.
        self._timer.setInterval(0 if events else MILLISECONDS)
        for event in events:
            self.told.emit(event)
        if not was_running and not events:
            self._timer.stop()
            state = self.run.state
            self.ended.emit(State.INTERRUPTED if state is State.RUNNING else state)
