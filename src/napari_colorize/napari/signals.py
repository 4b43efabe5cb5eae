"""Signals in the main thread of the viewer: delivery from workers, timers, and connections."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal

from napari_colorize.session.events import MainThreadRelay


def delete_with(owner: object, item: QObject) -> None:
    """Delete a Qt object without a parent in its own thread, when `owner` is collected.

    Python's garbage collector runs in any thread. An object of Qt that it destroys in a worker
    thread waits there for the interpreter with a lock of Qt, for which the window may wait.
    """
    item.setParent(QCoreApplication.instance())  # from now on Qt owns it
    weakref.finalize(owner, _delete_later, item).atexit = False


def _delete_later(item: QObject) -> None:
    with suppress(RuntimeError):  # the application has ended, and deleted it
        item.deleteLater()


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
        delete_with(self, self._timer)
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
    poster = _Poster()
    relay = MainThreadRelay(poster.post)
    delete_with(relay, poster)
    return relay


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
