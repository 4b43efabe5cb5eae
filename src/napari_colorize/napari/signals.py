"""Signals in the main thread of the viewer: delivery from workers, timers, and connections."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_colorize.session.events import MainThreadRelay


class _Poster(QObject):
    """Calls functions in the thread that created it.

    A queued signal wakes Qt's event loop at once; psygnal's own queue would have to be polled.
    """

    _posted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._posted.connect(self._call, Qt.ConnectionType.QueuedConnection)

    def post(self, function: Callable[[], None]) -> None:
        self._posted.emit(function)

    def _call(self, function: Callable[[], None]) -> None:
        function()


class SingleShotTimer:
    """Calls a function once, `milliseconds` after the last `start`."""

    def __init__(self, function: Callable[[], None], milliseconds: int) -> None:
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(milliseconds)
        self._timer.timeout.connect(function)

    def start(self) -> None:
        """Start, or start again."""
        self._timer.start()

    def stop(self) -> None:
        """Do not call the function."""
        with suppress(RuntimeError):  # Qt may delete timers first when the interpreter exits
            self._timer.stop()

    @property
    def is_active(self) -> bool:
        """Whether the function is still to be called."""
        return bool(self._timer.isActive())


def main_thread_relay() -> MainThreadRelay:
    """A relay to the GUI thread; call it in that thread."""
    return MainThreadRelay(_Poster().post)


class Connections:
    """Connections of signals (of psygnal, napari or Qt) and slots that are removed together."""

    def __init__(self) -> None:
        self._connected: list[tuple[Any, Callable[..., Any]]] = []

    def add(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect a slot to a signal."""
        signal.connect(slot)
        self._connected.append((signal, slot))

    def end(self) -> None:
        """Disconnect all slots."""
        for signal, slot in self._connected:
            signal.disconnect(slot)
        self._connected.clear()
