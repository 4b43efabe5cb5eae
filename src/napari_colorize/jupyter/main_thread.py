"""Main thread of the kernel: delivery of worker signals, and timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from napari_colorize.session.events import MainThreadRelay


def main_thread_relay() -> MainThreadRelay:
    """A relay to the event loop of the kernel, which runs cells and widget callbacks.

    Without a running loop (a script), slots are called by `MainThreadRelay.deliver` only.
    """
    loop = _running_loop()
    if loop is None:
        return MainThreadRelay()

    def post(function: Callable[[], None]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(function)

    return MainThreadRelay(post)


class SingleShotTimer:
    """Calls a function once, `seconds` after the last `start`; without a loop never by itself."""

    def __init__(self, function: Callable[[], None], seconds: float) -> None:
        self._function, self._seconds = function, seconds
        self._handle: asyncio.TimerHandle | None = None
        self._is_active = False

    def start(self) -> None:
        """Start, or start again."""
        self.stop()
        self._is_active = True
        loop = _running_loop()
        if loop is not None:
            self._handle = loop.call_later(self._seconds, self._call)

    def stop(self) -> None:
        """Do not call the function."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._is_active = None, False

    @property
    def is_active(self) -> bool:
        """Whether the function is still to be called."""
        return self._is_active

    def _call(self) -> None:
        self.stop()
        self._function()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
