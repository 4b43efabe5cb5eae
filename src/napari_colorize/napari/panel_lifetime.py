"""When a panel is gone: napari's X takes it out of its dock, a closing window destroys it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from qtpy.QtCore import QEvent, QObject


class Panel(Protocol):
    """A widget that can be told to let go of what it listens to and laid over pictures."""

    destroyed: Any

    def installEventFilter(self, watcher: QObject) -> None: ...  # noqa: D102
    def parent(self) -> Any: ...  # noqa: D102
    def deleteLater(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class DockCloseWatcher(QObject):
    """One panel's stay: `left` is called once, however it ends.

    A panel that was docked and has no parent any more was closed: napari drops it without
    destroying it, and its slots would keep it alive. So it lets go and is deleted here.

    Parameters
    ----------
    panel : Panel
        Whose stay it is.
    left : callable
        Hears of the end, with this.
    """

    def __init__(self, panel: Panel, left: Callable[[DockCloseWatcher], None]) -> None:
        super().__init__()
        self._panel: Panel | None = panel
        self._left = left
        self._was_docked = panel.parent() is not None
        panel.installEventFilter(self)
        panel.destroyed.connect(self._end)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Qt's own: look at each change of the parent."""
        panel = self._panel
        if panel is not None and event.type() == QEvent.Type.ParentChange:
            if panel.parent() is not None:
                self._was_docked = True
            elif self._was_docked:
                self._end()
                panel.deleteLater()
        return False

    def _end(self) -> None:
        panel, self._panel = self._panel, None
        if panel is not None:
            with suppress(RuntimeError):  # of a window that was destroyed, parts are gone already
                panel.close()
            self._left(self)
