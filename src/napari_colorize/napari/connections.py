"""Connections of signals and slots that are removed together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Connections:
    """Connected signals (of psygnal, napari or Qt) with their slots."""

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
