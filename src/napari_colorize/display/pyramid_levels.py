"""The levels of a large picture: as a multiscale layer has them, or block means of a single one.

Block means take a while and are made by whoever reads them wholly (`Means.plane`): the session's
worker. Until then a viewer, which does not wait, gets every second, fourth, ... pixel of what is
in memory.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from napari_colorize.display.gray import Array, DisplayRange, is_in_memory
from napari_colorize.display.lazy_array import Index, LazyArray, as_slice

SMALLEST = 2**9  # pixels: the coarsest level's longer side is at most this
SEEN = 2**20  # pixels of a level that the network is shown, or more
STRIP = 2**24  # pixels averaged at a time
HELD_BYTES = 2**30  # of means; those of the newest plane are kept however large they are


class Levels(Protocol):
    """Gray or coloured values at several sizes, the largest first."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of each level."""

    def part(self, level: int, index: Index, rows: range, columns: range) -> Array:
        """Values of a part of a plane; `index` is the level's own."""

    def source(self, level: int) -> Any:
        """A level for a session: read by its worker, plane by plane."""


def seen_level(sizes: Iterable[Sequence[float]]) -> int:
    """The coarsest of some sizes that is still fine enough for a network; 0 if none is."""
    fine = [level for level, (height, width) in enumerate(sizes) if height * width >= SEEN]
    return max(fine, default=0)


def level_index(index: Index, lengths: Index, full: Index) -> Index:
    """The plane of a level that napari shows at a plane of the largest level.

    Levels may be shorter along other axes too; see napari's `_thick_slice_at_level`.
    """
    return tuple(
        int(min(max(np.round(place * length / whole), 0), length - 1))
        for place, length, whole in zip(index, lengths, full, strict=True)
    )


class GivenPyramid:
    """The levels of a multiscale layer."""

    def __init__(self, levels: Sequence[Any], look: DisplayRange) -> None:
        self._levels, self._look = levels, look
        self.shapes = [tuple(level.shape) for level in levels]

    def part(self, level: int, index: Index, rows: range, columns: range) -> Array:
        """Values of a part of a plane."""
        return np.asarray(self._levels[level][(*index, as_slice(rows), as_slice(columns))])

    def source(self, level: int) -> Any:
        """The level itself, unless it has fewer planes than the largest."""
        chosen, largest = self._levels[level], self._levels[0]
        if self._look.leading(chosen.shape) == self._look.leading(largest.shape):
            return chosen
        return LazyArray(_Source(self, level, self._look, chosen.dtype))


class MeanPyramid:
    """A large picture, or a stack of them, and its coarser levels of block means.

    Each level has half the height and width of the one before, rounded up; integers stay what
    they are.
    """

    def __init__(self, stack: Any, look: DisplayRange) -> None:
        self._stack, self._look = stack, look
        height, width = look.size(stack.shape)
        self._count = max(1, math.ceil(math.log2(max(height, width) / SMALLEST)))
        rest = tuple(stack.shape)[len(look.leading(stack.shape)) + 2 :]
        self.shapes = [
            (*look.leading(stack.shape), -(-height // 2**level), -(-width // 2**level), *rest)
            for level in range(self._count + 1)
        ]
        self._made: OrderedDict[Index, list[Array]] = OrderedDict()
        self._making = threading.Lock()

    def part(self, level: int, index: Index, rows: range, columns: range) -> Array:
        """Values of a part of a plane: means if they are made, else single pixels. No waiting.

        A lazy stack would have to compute a whole plane for those: it is black until then.
        """
        made = self._made.get(index)
        if level and made is not None:
            return made[level - 1][as_slice(rows), as_slice(columns)]
        if level and not is_in_memory(self._stack):
            rest = self.shapes[level][len(index) + 2 :]
            return np.zeros((len(rows), len(columns), *rest), self._stack.dtype)
        size = self._look.size(self._stack.shape)
        single = (
            as_slice(range(0, length, 2**level)[as_slice(places)])
            for length, places in zip(size, (rows, columns), strict=True)
        )
        return np.asarray(self._stack[(*index, *single)])

    def source(self, level: int) -> Any:
        """A level whose means are made when a plane of it is read."""
        return LazyArray(_Source(self, level, self._look, self._stack.dtype))

    def plane(self, level: int, index: Index) -> Array:
        """A whole plane of a level, its means made if they are not yet."""
        if level == 0:
            return np.asarray(self._stack[index])
        with self._making:
            made = self._made.get(index)
            if made is None:
                made = self._make(index)
                self._made[index] = made
                self._forget_oldest()
        return made[level - 1]

    def _make(self, index: Index) -> list[Array]:
        """All means of a plane, a strip of rows at a time."""
        leading = len(index)
        dtype = np.dtype(self._stack.dtype)
        made = [np.empty(shape[leading:], dtype) for shape in self.shapes[1:]]
        height = self.shapes[0][leading]
        step = self._strip()
        for top in range(0, height, step):
            strip = np.asarray(self._stack[(*index, slice(top, top + step))])
            for level, means in enumerate(made, start=1):
                strip = halved(strip)
                start = top >> level
                means[start : start + len(strip)] = strip
        return made

    def _strip(self) -> int:
        """Rows read at a time: whole chunks of a lazy stack, and whole blocks of all levels."""
        blocks = 2**self._count
        width = self._look.size(self._stack.shape)[1]
        wanted = max(STRIP // width, _rows_of_chunks(self._stack, self._look))
        return max(1, wanted // blocks) * blocks

    def _forget_oldest(self) -> None:
        held = {at: sum(means.nbytes for means in made) for at, made in self._made.items()}
        for at in list(held)[:-1]:
            if sum(held.values()) <= HELD_BYTES:
                return
            del held[at], self._made[at]


class _Source:
    """One level as a stack of planes, for the worker."""

    defers = True

    def __init__(
        self, levels: MeanPyramid | GivenPyramid, level: int, look: DisplayRange, dtype: Any
    ) -> None:
        self._levels, self._level = levels, level
        self.dtype = np.dtype(dtype)
        self.leading = len(levels.shapes[0]) - (3 if look.rgb else 2)
        self._full = levels.shapes[0][: self.leading]
        self._own = levels.shapes[level][: self.leading]
        self.shape = (*self._full, *levels.shapes[level][self.leading :])

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """Of a plane of the largest level."""
        own = level_index(index, self._own, self._full)
        if isinstance(self._levels, MeanPyramid):
            return self._levels.plane(self._level, own)[as_slice(rows), as_slice(columns)]
        return self._levels.part(self._level, own, rows, columns)


def halved(values: Array) -> Array:
    """Means of blocks of 2 x 2, in the same dtype; at odd edges of what is there."""
    height, width = values.shape[:2]
    edges = [(0, height % 2), (0, width % 2), *[(0, 0)] * (values.ndim - 2)]
    if height % 2 or width % 2:
        values = np.pad(values, edges, mode="edge")
    corners = [values[row::2, column::2] for row in (0, 1) for column in (0, 1)]
    if values.dtype.kind == "b":
        return np.asarray(sum(corner.astype(np.uint8) for corner in corners)) >= 2
    if values.dtype.kind == "f":
        exact = np.promote_types(values.dtype, np.float32)
        total = sum(corner.astype(exact) * exact.type(0.25) for corner in corners)
        return np.asarray(total).astype(values.dtype)
    # Quarters and remainders apart: nothing overflows, however large the integers are.
    quarters = sum(corner >> 2 for corner in corners)
    remainders = sum(corner & 3 for corner in corners)
    return np.asarray(quarters + ((remainders + 2) >> 2), values.dtype)


def _rows_of_chunks(stack: Any, look: DisplayRange) -> int:
    """How many rows the chunks of a lazy stack have (dask, zarr); 0 if it has none."""
    chunks = getattr(stack, "chunks", None)
    if not chunks:
        return 0
    rows = chunks[len(look.leading(stack.shape))]
    return max(rows) if isinstance(rows, tuple) else int(rows)
