"""Main thread of the kernel: delivery of worker signals and of browser messages, and timers.

JupyterLab 4.4 with ipykernel 7 delivers the messages of widgets in a thread of its own, a subshell,
so that they are not delayed by a running cell. The session's results are delivered in the main
thread, and both change the same widgets. `KernelRelay` moves the messages to the main thread: one
thread changes all state, in the order of arrival. A message that arrives while a cell runs is
therefore handled when the cell ends, or in `ColorizeBox.wait`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

import ipywidgets as widgets

from napari_colorize.session.events import MainThreadRelay, Post


class KernelRelay(MainThreadRelay):
    """Relay to the thread that creates it; also for the browser messages of widgets."""

    def __init__(self, post: Post | None = None) -> None:
        super().__init__(post)
        self._thread = threading.get_ident()
        self._received: WeakSet[widgets.Widget] = WeakSet()

    @property
    def has_loop(self) -> bool:
        """Whether slots are called without `deliver`, by an event loop."""
        return self._post is not None

    def call(self, function: Callable[..., Any], *values: Any) -> None:
        """Call a function in the main thread: now in that thread, else later."""
        if self._post is None or threading.get_ident() == self._thread:
            function(*values)
            return
        # Replies must name the message that they answer, or the browser ignores them as outdated.
        # ipykernel keeps it in a context variable.
        context = contextvars.copy_context()
        self._pending.append((context.run, (function, *values)))
        self._post(self.deliver)

    def receive(self, widget: widgets.Widget) -> None:
        """Handle browser messages of a widget and its descendants, also later ones, here."""
        if widget in self._received:
            return
        self._received.add(widget)
        if widget.comm is not None:
            widget.comm.on_msg(partial(self.call, widget._handle_msg))
        if isinstance(widget, widgets.Box):
            self._receive_children(widget.children)
            widget.observe(lambda change: self._receive_children(change["new"]), "children")

    def _receive_children(self, children: tuple[widgets.Widget, ...]) -> None:
        for child in children:
            self.receive(child)


def main_thread_relay() -> KernelRelay:
    """A relay to the event loop of the kernel, which runs cells.

    Without a running loop (a script), slots are called by `MainThreadRelay.deliver` only.
    """
    loop = _running_loop()
    if loop is None:
        return KernelRelay()

    def post(function: Callable[[], None]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(function)

    return KernelRelay(post)


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
