"""Detection of closed panels: napari removes a closed panel from its dock without destroying it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from qtpy.QtCore import QEvent, QObject


class Panel(Protocol):
    """A widget whose `close` disconnects it from everything that it listens to."""

    destroyed: Any

    def installEventFilter(self, watcher: QObject) -> None: ...  # noqa: D102
    def parent(self) -> Any: ...  # noqa: D102
    def deleteLater(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class DockCloseWatcher(QObject):
    """Calls `on_closed` once when a panel is closed or destroyed.

    A panel that was docked and has no parent any more was closed by the user. napari does not
    destroy it, and its slots would keep it alive, so it is closed and deleted here.

    Parameters
    ----------
    panel : Panel
        Panel to watch.
    on_closed : callable
        Called with this watcher.
    """

    def __init__(self, panel: Panel, on_closed: Callable[[DockCloseWatcher], None]) -> None:
        super().__init__()
        self._panel: Panel | None = panel
        self._on_closed = on_closed
        self._was_docked = panel.parent() is not None
        panel.installEventFilter(self)
        panel.destroyed.connect(self._end)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Called by Qt before each event of the panel; reacts to changes of its parent."""
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
            with suppress(RuntimeError):  # parts of a destroyed window may be deleted already
                panel.close()
            self._on_closed(self)
