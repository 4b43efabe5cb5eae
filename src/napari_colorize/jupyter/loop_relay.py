"""From the session's worker to the kernel's loop: what was said there is heard here, in order."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from psygnal import SignalInstance


class LoopRelay:
    """Carries a session's signals to slots in the thread that made this.

    In a kernel that is the thread of its loop, which runs cells and hears widgets too. Where no
    loop runs (a script), slots are called when someone waits: see `deliver`.
    """

    def __init__(self) -> None:
        self._arrived: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._thread = threading.get_ident()
        self._is_open = True
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def connect(self, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        """From now on, `slot` hears in this thread what `signal` says in any."""

        def send(*values: Any) -> None:
            self._arrived.append((slot, values))
            if self._is_open and self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self.deliver)

        signal.connect(send)

    def deliver(self) -> None:
        """Call the slots of all that has come."""
        while self._arrived and self._is_open:
            slot, values = self._arrived.popleft()
            slot(*values)

    def close(self) -> None:
        """Deliver nothing any more, not even what is on its way."""
        self._is_open = False
        self._arrived.clear()
