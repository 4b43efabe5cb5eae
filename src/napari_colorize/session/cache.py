"""Predictions of late, so that going back is instant; and the colours of many more.

A picture at full size is large and what the network said about it is small. Of few predictions
all is here. Of every plane of a stack that was colorized only the chrominance is: at another
saturation its plane is read again, and no network runs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

CACHED = 24  # predictions: a grid of render factors, and some planes to and fro
CACHED_BYTES = 2**29  # of their gray planes; the newest is kept however large it is
COLORS_BYTES = 2**29  # of chrominance; more where there is memory
COLORS_SHARE = 4  # of the memory that is free, one part of so many


class PredictionCache:
    """Predictions by what was asked, the one longest unused forgotten first; for any thread.

    It holds predictions of one source at a time: of one `generation`.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, Colorized] = OrderedDict()
        self._colors: OrderedDict[Hashable, Colorized] = OrderedDict()
        self._colors_bytes = 0
        self._generation = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Colorized | None:
        """The prediction, if it is still here."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def colors(self, key: Hashable) -> Colorized | None:
        """The prediction without its gray, if its colours are here."""
        with self._lock:
            return self._colors.get(key)

    def knows(self, key: Hashable) -> bool:
        """Whether there is the prediction, or at least its colours."""
        with self._lock:
            return key in self._entries or key in self._colors

    def put(self, key: Hashable, entry: Colorized, generation: int) -> None:
        """Keep a prediction, preferably one whose pixels are not composed."""
        with self._lock:
            if generation != self._generation:
                return
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > 1 and not self._is_small():
                self._entries.popitem(last=False)

    def keep_colors(self, key: Hashable, entry: Colorized, generation: int) -> None:
        """Keep the colours of a prediction, for longer; a finished picture has none.

        A plane that was seen between other limits is forgotten: from now on it is shown as this.
        """
        colors = _colors_of(entry)
        with self._lock:
            if colors is None or generation != self._generation:
                return
            known = self._entries.get(key)
            if known is not None and known.plane.limits != entry.plane.limits:
                del self._entries[key]
            self._colors_bytes -= _bytes_of(self._colors.pop(key, None))
            self._colors[key] = colors
            self._colors_bytes += _bytes_of(colors)
            while len(self._colors) > 1 and self._has_too_many_colors():
                self._colors_bytes -= _bytes_of(self._colors.popitem(last=False)[1])

    def clear(self, generation: int | None = None) -> None:
        """Forget all; from now on predictions of another generation are kept, if one is named."""
        with self._lock:
            self._entries.clear()
            self._colors.clear()
            self._colors_bytes = 0
            if generation is not None:
                self._generation = generation

    def _is_small(self) -> bool:
        held = sum(_bytes_of_plane(entry) for entry in self._entries.values())
        return len(self._entries) <= CACHED and held <= CACHED_BYTES

    def _has_too_many_colors(self) -> bool:
        if self._colors_bytes <= COLORS_BYTES:
            return False
        from napari_colorize.runtime import memory  # torch

        return self._colors_bytes > (memory.available() + self._colors_bytes) / COLORS_SHARE


def _colors_of(entry: Colorized) -> Colorized | None:
    """The entry with its chrominance, in main memory, and with no picture."""
    chroma = entry.chroma
    if chroma is None:
        return None
    empty = replace(entry.plane, gray=entry.plane.gray.new_empty(0), alpha=None, colors=None)
    other = None if entry.second_chroma is None else entry.second_chroma.to("cpu")
    return replace(entry, plane=empty, chroma=chroma.to("cpu"), second_chroma=other)


def _bytes_of(colors: Colorized | None) -> int:
    if colors is None:
        return 0
    maps = [
        part
        for said in (colors.chroma, colors.second_chroma)
        if said is not None
        for part in (said.uv, said.errors)
    ]
    return sum(part.nbytes for part in maps if part is not None)


def _bytes_of_plane(entry: Colorized) -> int:
    """Of its gray, and of its own colours, which may be held by nobody else."""
    colors = entry.plane.colors
    return entry.plane.gray.nbytes + (0 if colors is None else colors.nbytes)
