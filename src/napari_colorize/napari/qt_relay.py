"""From the session's worker to the GUI thread: what was said there is heard here, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psygnal import SignalInstance
from qtpy.QtCore import QObject, Qt, Signal


class QtRelay(QObject):
    """Carries a session's signals to slots in the thread that made this, by Qt's own queue.

    Qt wakes the event loop for each; psygnal's queue would have to be asked again and again.
    """

    _arrived = Signal(object, tuple)

    def __init__(self) -> None:
        super().__init__()
        self._is_open = True
        self._arrived.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def connect(self, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        """From now on, `slot` hears in the GUI thread what `signal` says in any."""

        def send(*values: Any) -> None:
            if self._is_open:
                self._arrived.emit(slot, values)

        signal.connect(send)

    def close(self) -> None:
        """Deliver nothing any more, not even what is on its way."""
        self._is_open = False

    def _deliver(self, slot: Callable[..., Any], values: tuple[Any, ...]) -> None:
        if self._is_open:
            slot(*values)
