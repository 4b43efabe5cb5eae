"""Levels of a large image: those of a multiscale layer, or block means of a single array.

Block means take long and are computed in the thread that reads a whole plane (`MeanPyramid.plane`),
which is the session's worker. Until then a viewer, which must not wait, gets every second, fourth,
... pixel of an array in memory.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray, PlaneIndex
from napari_colorize.display.gray import DisplayRange, is_in_memory
from napari_colorize.display.lazy_array import LazyArray, as_slice
from napari_colorize.imaging.pyramid import halve

MAX_COARSEST_SIDE = 2**9  # pixels; longer side of the coarsest level
MIN_NETWORK_PIXELS = 2**20  # pixels of the level that the network gets
BLOCK_PIXELS = 2**24  # pixels that are averaged at a time
MAX_BYTES = 2**30  # of block means; those of the newest plane are kept in any case


def network_level(sizes: Iterable[Sequence[float]]) -> int:
    """The coarsest level that is still fine enough for a network; 0 if none is."""
    return max(
        (
            level
            for level, (height, width) in enumerate(sizes)
            if height * width >= MIN_NETWORK_PIXELS
        ),
        default=0,
    )


def level_index(index: PlaneIndex, lengths: PlaneIndex, full: PlaneIndex) -> PlaneIndex:
    """The plane of a level that napari displays for a plane of the largest level.

    Levels may have fewer planes than the largest; see napari's `_thick_slice_at_level`.
    """
    return tuple(
        int(min(max(np.round(place * length / whole), 0), length - 1))
        for place, length, whole in zip(index, lengths, full, strict=True)
    )


class GivenPyramid:
    """The levels of a multiscale layer."""

    def __init__(self, levels: Sequence[Any], display_range: DisplayRange) -> None:
        self._levels, self._display_range = levels, display_range
        self.shapes = [tuple(level.shape) for level in levels]

    def part(self, level: int, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """Values of a part of a plane."""
        return np.asarray(self._levels[level][(*index, as_slice(rows), as_slice(columns))])

    def source(self, level: int) -> Any:
        """The level itself, unless it has fewer planes than the largest."""
        chosen = self._levels[level]
        full, own = (self._display_range.leading(shape) for shape in (self.shapes[0], chosen.shape))
        if full == own:
            return chosen

        def part(index: PlaneIndex, rows: range, columns: range) -> AnyArray:
            return self.part(level, level_index(index, own, full), rows, columns)

        shape = *full, *chosen.shape[len(full) :]
        return LazyArray(part, shape, chosen.dtype, len(full), defers=True)


class MeanPyramid:
    """A large image, or a stack of them, and coarser levels of block means.

    Each level has half the height and width of the finer one, rounded up, and the same dtype.
    """

    def __init__(self, stack: Any, display_range: DisplayRange) -> None:
        self._stack, self._display_range = stack, display_range
        height, width = display_range.size(stack.shape)
        self._count = max(1, math.ceil(math.log2(max(height, width) / MAX_COARSEST_SIDE)))
        leading = display_range.leading(stack.shape)
        rest = tuple(stack.shape)[len(leading) + 2 :]
        self.shapes = [
            (*leading, -(-height // 2**level), -(-width // 2**level), *rest)
            for level in range(self._count + 1)
        ]
        self._means: OrderedDict[PlaneIndex, list[AnyArray]] = OrderedDict()
        # Held while means are computed, so that two threads do not compute the same plane. `part`
        # does not acquire it: a viewer must not wait.
        self._lock = threading.Lock()

    def part(self, level: int, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """Values of a part of a plane: block means if they exist, else single pixels.

        A lazy stack, of which a whole plane would be computed, is black until they exist.
        """
        means = self._means.get(index)
        if level and means is not None:
            return means[level - 1][as_slice(rows), as_slice(columns)]
        if level and not is_in_memory(self._stack):
            rest = self.shapes[level][len(index) + 2 :]
            return np.zeros((len(rows), len(columns), *rest), self._stack.dtype)
        size = self._display_range.size(self._stack.shape)
        single = (
            as_slice(range(0, length, 2**level)[as_slice(places)])
            for length, places in zip(size, (rows, columns), strict=True)
        )
        return np.asarray(self._stack[(*index, *single)])

    def source(self, level: int) -> Any:
        """A level whose block means are computed when a plane of it is read."""

        def part(index: PlaneIndex, rows: range, columns: range) -> AnyArray:
            return self.plane(level, index)[as_slice(rows), as_slice(columns)]

        leading = len(self._display_range.leading(self._stack.shape))
        return LazyArray(part, self.shapes[level], self._stack.dtype, leading, defers=True)

    def plane(self, level: int, index: PlaneIndex) -> AnyArray:
        """A whole plane of a level; its block means are computed if necessary."""
        if level == 0:
            return np.asarray(self._stack[index])
        with self._lock:
            means = self._means.get(index)
            if means is None:
                means = self._means[index] = self._compute(index)
                self._drop_oldest()
        return means[level - 1]

    def _compute(self, index: PlaneIndex) -> list[AnyArray]:
        """Block means of a plane for all levels, a block of rows at a time."""
        leading = len(index)
        dtype = np.dtype(self._stack.dtype)
        means = [np.empty(shape[leading:], dtype) for shape in self.shapes[1:]]
        height = self.shapes[0][leading]
        step = self._rows_per_block()
        for top in range(0, height, step):
            rows = np.asarray(self._stack[(*index, slice(top, top + step))])
            for level, level_means in enumerate(means, start=1):
                rows = halve(rows)
                start = top >> level
                level_means[start : start + len(rows)] = rows
        return means

    def _rows_per_block(self) -> int:
        """Rows that are read at a time.

        A multiple of the block size of the coarsest level, and at least the chunks of a lazy stack.
        """
        multiple = 2**self._count
        width = self._display_range.size(self._stack.shape)[1]
        rows = max(BLOCK_PIXELS // width, _rows_of_chunks(self._stack, self._display_range))
        return max(1, rows // multiple) * multiple

    def _drop_oldest(self) -> None:
        nbytes = {at: sum(each.nbytes for each in means) for at, means in self._means.items()}
        for at in list(nbytes)[:-1]:
            if sum(nbytes.values()) <= MAX_BYTES:
                return
            del nbytes[at], self._means[at]


def _rows_of_chunks(stack: Any, display_range: DisplayRange) -> int:
    """Rows of the chunks of a lazy stack (dask, zarr); 0 if it has no chunks."""
    chunks = getattr(stack, "chunks", None)
    if not chunks:
        return 0
    rows = chunks[len(display_range.leading(stack.shape))]
    return max(rows) if isinstance(rows, tuple) else int(rows)
