"""Predictions of late, so that going back is instant."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

CACHED = 24  # predictions: a grid of render factors, and some planes to and fro
CACHED_BYTES = 2**29  # of their gray planes; the newest is kept however large it is


class Cache:
    """Predictions by what was asked, the one longest unused forgotten first; for any thread."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, Colorized] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Colorized | None:
        """The prediction, if it is still here."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: Hashable, entry: Colorized) -> None:
        """Keep a prediction, preferably one whose pixels are not composed."""
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > 1 and not self._is_small():
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()

    def _is_small(self) -> bool:
        held = sum(entry.plane.gray.nbytes for entry in self._entries.values())
        return len(self._entries) <= CACHED and held <= CACHED_BYTES
