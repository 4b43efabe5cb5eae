"""Delivery of worker signals in the main thread of a front end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from psygnal import SignalInstance

Post = Callable[[Callable[[], None]], None]
"""Schedules a function in the main thread; may be called by any thread."""


class MainThreadRelay:
    """Calls slots in the main thread for signals of any thread, in the order of emission.

    Parameters
    ----------
    post : callable, optional
        Schedules a function in the main thread. None: slots are only called by `deliver`.
    """

    def __init__(self, post: Post | None = None) -> None:
        self._post = post
        # append and popleft are atomic; everything else happens in the main thread.
        self._pending: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._is_open = True

    def connect(self, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        """Call `slot` in the main thread whenever `signal` is emitted."""

        def send(*values: Any) -> None:
            if self._is_open:
                self._pending.append((slot, values))
                if self._post is not None:
                    self._post(self.deliver)

        signal.connect(send)

    def deliver(self) -> None:
        """Call the slots of all signals that were emitted so far; in the main thread only."""
        while self._pending and self._is_open:
            slot, values = self._pending.popleft()
            slot(*values)

    def close(self) -> None:
        """Deliver nothing any more, not even signals that were emitted already."""
        self._is_open = False
        self._pending.clear()
