"""Progress bar in napari's activity dock, with a button that cancels. For the GUI thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari.utils import cancelable_progress
from qtpy.QtCore import QTimer

from napari_colorize.napari.signals import delete_with

if TYPE_CHECKING:
    from napari_colorize.session import RunProgress


UPDATE_INTERVAL_MS = 100


class _CancelableBar(cancelable_progress):
    """Progress bar that calls `cancel_callback` as soon as its button is clicked.

    napari's own class calls it between the steps of a loop over the bar. There is no loop here.
    """

    def cancel(self) -> None:
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()


class ActivityBar:
    """Progress bar of one operation; call `close` however the operation ends.

    `cancel` is called when its button is clicked.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self._bar: _CancelableBar | None = None
        self._progress: RunProgress | None = None
        self._is_updating = False
        # napari processes all pending Qt events whenever a bar is created or updated, which can
        # run any slot in between. A timer limits this to ten times a second.
        self._timer = QTimer()
        delete_with(self, self._timer)
        self._timer.setInterval(UPDATE_INTERVAL_MS)
        self._timer.timeout.connect(self._update)

    def show(self, progress: RunProgress) -> None:
        """Display this progress at the next timer tick."""
        self._progress = progress
        if not self._timer.isActive():
            self._timer.start()

    def close(self) -> None:
        """Remove the bar, if there is one."""
        self._timer.stop()
        self._progress = None
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def _update(self) -> None:
        progress, bar = self._progress, self._bar
        if progress is None or self._is_updating:
            return
        self._is_updating = True
        try:
            if bar is not None and bar.total != progress.total:
                self._bar = None
                bar.close()
                bar = None
            if bar is None:
                bar = _CancelableBar(
                    total=progress.total, desc=progress.text, cancel_callback=self._cancel
                )
                # Creating the bar processed events: `close` may have been called meanwhile.
                if self._progress is None:
                    bar.close()
                    return
                self._bar = bar
            bar.set_description(f"Colorize: {progress.text}")
            if self._bar is bar and progress.done > bar.n:
                bar.update(progress.done - bar.n)
        finally:
            self._is_updating = False
