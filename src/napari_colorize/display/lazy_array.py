"""Array-like objects whose values are computed when they are read.

`LazyArray` gives a function that computes rectangular parts of planes the indexing of a NumPy
array. `read_block` is the inverse: it reads such a part of an array.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray, PlaneIndex


class LazyArray:
    """Array-like object with all basic indexing of NumPy, whose values a function computes.

    Parameters
    ----------
    part : callable
        Returns values of a plane, shape (rows, columns) or (rows, columns, channels), given its
        index and ranges of rows and columns.
    shape : tuple of int
        Lengths of all axes, (..., Y, X) or (..., Y, X, channels).
    dtype : dtype
        Data type of the values.
    leading : int
        Number of axes before Y and X.
    defers : bool
        Whether indexing several planes returns a LazyArray instead of values. napari crops
        multiscale data to the visible part before it selects the plane, so values of all planes
        would be computed for one.
    """

    def __init__(
        self,
        part: Callable[[PlaneIndex, range, range], AnyArray],
        shape: Sequence[int],
        dtype: Any,
        leading: int,
        *,
        defers: bool = False,
    ) -> None:
        self._part, self._leading, self._defers = part, leading, defers
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._parts: tuple[range | int, ...] = tuple(map(range, shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the remaining axes."""
        return tuple(len(part) for part in self._parts if isinstance(part, range))

    @property
    def ndim(self) -> int:
        """Number of remaining axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Values, or another LazyArray if this one defers and several planes are indexed."""
        keys = _full_key(key, self.ndim)
        given = iter(item for item in keys if item is not None)
        parts = tuple(
            part[_place(next(given))] if isinstance(part, range) else part for part in self._parts
        )
        chosen = copy(self)
        chosen._parts = parts
        if self._defers and chosen._planes > 1 and None not in keys:
            return chosen
        axes = tuple(
            None if item is None else slice(None)
            for item in keys
            if item is None or isinstance(item, slice)
        )
        return np.asarray(chosen)[axes]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        indices = itertools.product(*(_as_range(part) for part in self._parts[: self._leading]))
        if self._planes == 1:
            return np.asarray(self._plane(next(indices)).reshape(self.shape), dtype)
        found = np.empty(self.shape, self.dtype)
        planes = found.reshape(self._planes, *self._shape_of_plane)
        for place, index in enumerate(indices):
            planes[place] = self._plane(index)
        return np.asarray(found, dtype)

    @property
    def _planes(self) -> int:
        return math.prod(len(_as_range(part)) for part in self._parts[: self._leading])

    @property
    def _shape_of_plane(self) -> tuple[int, ...]:
        rows, columns, *rest = self._parts[self._leading :]
        left = (len(part) for part in rest if isinstance(part, range))
        return len(_as_range(rows)), len(_as_range(columns)), *left

    def _plane(self, index: PlaneIndex) -> AnyArray:
        rows, columns, *rest = self._parts[self._leading :]
        part = self._part(index, _as_range(rows), _as_range(columns))
        return part[(..., *(_as_key(places) for places in rest))]


def read_block(stack: Any, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
    """Some rows and columns of a plane; steps may be negative, also for zarr, which has none."""
    upward = (places if places.step > 0 else places[::-1] for places in (rows, columns))
    found = np.asarray(stack[(*index, *map(as_slice, upward))])
    turned = (slice(None, None, 1 if places.step > 0 else -1) for places in (rows, columns))
    return found[tuple(turned)]


def window_of(stack: Any, leading: int, rows: range, columns: range) -> LazyArray:
    """The same rows and columns of each plane of a stack with so many leading axes."""

    def part(index: PlaneIndex, some_rows: range, some_columns: range) -> AnyArray:
        return read_block(stack, index, rows[as_slice(some_rows)], columns[as_slice(some_columns)])

    shape = tuple(stack.shape)
    shape = *shape[:leading], len(rows), len(columns), *shape[leading + 2 :]
    return LazyArray(part, shape, stack.dtype, leading, defers=True)


def as_slice(places: range) -> slice:
    """The slice that selects these positions of an axis."""
    stop = places.stop if places.stop >= 0 else None
    return slice(places.start, stop, places.step) if places else slice(0, 0)


def _as_range(part: range | int) -> range:
    return part if isinstance(part, range) else range(part, part + 1)


def _as_key(part: range | int) -> slice | int:
    return as_slice(part) if isinstance(part, range) else part


def _place(item: Any) -> Any:
    """A slice, or an integer of any type as int."""
    return item if isinstance(item, slice) else item.__index__()


def _full_key(key: Any, ndim: int) -> tuple[Any, ...]:
    """A basic index without ellipsis: one entry for each axis, and None for each new axis."""
    parts = key if isinstance(key, tuple) else (key,)
    given = sum(part is not None and part is not Ellipsis for part in parts)
    if given > ndim:
        raise IndexError(f"Too many indices: {given} for {ndim} axes.")
    missing = (slice(None),) * (ndim - given)
    where = next((at for at, part in enumerate(parts) if part is Ellipsis), len(parts))
    return *parts[:where], *missing, *parts[where + 1 :]
