"""A bar in napari's activity dock while something takes its time; made in the GUI thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari.utils import cancelable_progress
from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from napari_colorize.session import RunProgress


MILLISECONDS = 100  # between two moves


class _Bar(cancelable_progress):
    """napari's bar asks for its callback only between the steps of a loop; ours has no loop."""

    def cancel(self) -> None:
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()


class ActivityBar:
    """At most one bar, with a button that cancels; every way out of a run must call `close`.

    napari works off all waiting events whenever a bar is made or moved, so this does it at most
    ten times a second, from a timer of its own: nobody else is interrupted by it.

    Parameters
    ----------
    cancel : callable
        What the button does.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self._bar: _Bar | None = None
        self._told: RunProgress | None = None
        self._is_moving = False
        self._timer = QTimer()
        self._timer.setInterval(MILLISECONDS)
        self._timer.timeout.connect(self._move)

    def show(self, told: RunProgress) -> None:
        """Let the bar say this soon."""
        self._told = told
        if not self._timer.isActive():
            self._timer.start()

    def close(self) -> None:
        """Take the bar away, if there is one."""
        self._timer.stop()
        self._told = None
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def _move(self) -> None:
        told, bar = self._told, self._bar
        if told is None or self._is_moving:
            return
        self._is_moving = True
        try:
            if bar is not None and bar.total != told.total:
                self._bar = None
                bar.close()
                bar = None
            if bar is None:
                bar = _Bar(total=told.total, desc=told.text, cancel_callback=self._cancel)
                if self._told is None:  # closed while it was made
                    bar.close()
                    return
                self._bar = bar
            bar.set_description(f"Colorize: {told.text}")
            if self._bar is bar and told.done > bar.n:
                bar.update(told.done - bar.n)
        finally:
            self._is_moving = False
