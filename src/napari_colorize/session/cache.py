"""LRU cache of recent predictions, and of the chrominance of many more planes.

A prediction with its full-resolution gray plane is large, its chrominance is small. The cache
holds few whole predictions, and the chrominance of every plane of a stack that was colorized: for
another saturation such a plane is read again, and no network runs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

MAX_PREDICTIONS = 24  # a grid of render factors and some neighboring planes
MAX_PREDICTION_BYTES = 2**29  # of their gray planes; the newest is kept in any case
MIN_CHROMA_BYTES = 2**29  # chrominance that is kept even if little memory is free
CHROMA_SHARE = 4  # chrominance may use 1 / CHROMA_SHARE of the free memory


class PredictionCache:
    """Predictions by key; the least recently used one is dropped first. Safe for any thread.

    It holds predictions of one source at a time, identified by its `generation`.
    """

    def __init__(self) -> None:
        self._predictions: OrderedDict[Hashable, Colorized] = OrderedDict()
        self._chroma: OrderedDict[Hashable, Colorized] = OrderedDict()
        self._chroma_bytes = 0
        self._generation = 0
        # Held only for dictionary operations, and never while another lock is acquired.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._predictions)

    def get(self, key: Hashable) -> Colorized | None:
        """The prediction, or None."""
        with self._lock:
            if key in self._predictions:
                self._predictions.move_to_end(key)
            return self._predictions.get(key)

    def chroma(self, key: Hashable) -> Colorized | None:
        """The prediction without its gray plane, or None if its chrominance is not cached."""
        with self._lock:
            return self._chroma.get(key)

    def __contains__(self, key: Hashable) -> bool:
        """Whether the prediction, or at least its chrominance, is cached."""
        with self._lock:
            return key in self._predictions or key in self._chroma

    def put(self, key: Hashable, entry: Colorized, generation: int) -> None:
        """Add a prediction, preferably one whose pixels are not rendered."""
        with self._lock:
            # The source may have changed while the worker was predicting.
            if generation != self._generation:
                return
            self._predictions[key] = entry
            self._predictions.move_to_end(key)
            while len(self._predictions) > 1 and self._has_too_many_predictions():
                self._predictions.popitem(last=False)

    def put_chroma(self, key: Hashable, entry: Colorized, generation: int) -> None:
        """Add the chrominance of a prediction, which is kept for longer; 8-bit images have none.

        A cached prediction of the same key with other contrast limits is dropped, so that the
        plane is shown with the limits of `entry` from now on.
        """
        chroma = _without_gray(entry)
        with self._lock:
            if chroma is None or generation != self._generation:
                return
            cached = self._predictions.get(key)
            if cached is not None and cached.plane.limits != entry.plane.limits:
                del self._predictions[key]
            self._chroma_bytes -= _chroma_bytes(self._chroma.pop(key, None))
            self._chroma[key] = chroma
            self._chroma_bytes += _chroma_bytes(chroma)
            while len(self._chroma) > 1 and self._has_too_much_chroma():
                self._chroma_bytes -= _chroma_bytes(self._chroma.popitem(last=False)[1])

    def clear(self, generation: int | None = None) -> None:
        """Drop everything; from now on only predictions of `generation` are accepted, if given."""
        with self._lock:
            self._predictions.clear()
            self._chroma.clear()
            self._chroma_bytes = 0
            if generation is not None:
                self._generation = generation

    def _has_too_many_predictions(self) -> bool:
        nbytes = sum(_plane_bytes(entry) for entry in self._predictions.values())
        return len(self._predictions) > MAX_PREDICTIONS or nbytes > MAX_PREDICTION_BYTES

    def _has_too_much_chroma(self) -> bool:
        if self._chroma_bytes <= MIN_CHROMA_BYTES:
            return False
        from napari_colorize.runtime import memory  # imports torch

        return self._chroma_bytes > (memory.available() + self._chroma_bytes) / CHROMA_SHARE


def _without_gray(entry: Colorized) -> Colorized | None:
    """The entry with its chrominance in main memory and an empty gray plane."""
    chroma = entry.chroma
    if chroma is None:
        return None
    empty = replace(entry.plane, gray=entry.plane.gray.new_empty(0), alpha=None, colors=None)
    second = None if entry.second_chroma is None else entry.second_chroma.to("cpu")
    return replace(entry, plane=empty, chroma=chroma.to("cpu"), second_chroma=second)


def _chroma_bytes(entry: Colorized | None) -> int:
    if entry is None:
        return 0
    maps = [
        part
        for chroma in (entry.chroma, entry.second_chroma)
        if chroma is not None
        for part in (chroma.uv, chroma.errors)
    ]
    return sum(part.nbytes for part in maps if part is not None)


def _plane_bytes(entry: Colorized) -> int:
    """Memory of the gray plane and of the colors of an RGB input, which the entry keeps alive."""
    colors = entry.plane.colors
    return entry.plane.gray.nbytes + (0 if colors is None else colors.nbytes)
