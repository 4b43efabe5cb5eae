"""Connections that end together: of a panel, or of what follows a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Connections:
    """Signals and slots, of psygnal's or napari's kind, remembered so as to be taken apart."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []

    def add(self, signal: Any, slot: Callable[..., Any]) -> None:
        """From now on `slot` hears `signal`."""
        signal.connect(slot)
        self._made.append((signal, slot))

    def end(self) -> None:
        """No slot hears anything any more."""
        for signal, slot in self._made:
            signal.disconnect(slot)
        self._made.clear()
