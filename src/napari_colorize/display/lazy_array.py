"""Something too large to hold, as an array: values are made when they are asked for."""

from __future__ import annotations

import itertools
import math
from typing import Any, Protocol

import numpy as np

from napari_colorize.display.gray import Array

Index = tuple[int, ...]


class BlockProvider(Protocol):
    """What makes the values; its axes are some leading ones, Y and X, and perhaps channels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """All axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""

    @property
    def leading(self) -> int:
        """How many axes stand before Y and X."""

    @property
    def defers(self) -> bool:
        """Whether a part of several planes is again a view, so that fewer may be asked for.

        napari cuts multiscale data to what is seen before it chooses the plane.
        """

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """Values of one plane, `(rows, columns)` or `(rows, columns, channels)`."""


class LazyArray:
    """A part of a whole, as an array that takes any basic index.

    Parameters
    ----------
    whole : Whole
        What makes the values.
    parts : tuple of range or int, optional
        Which place or places along each axis of the whole. Default: all.
    """

    def __init__(self, whole: BlockProvider, parts: tuple[range | int, ...] | None = None) -> None:
        self._whole = whole
        self._parts = tuple(map(range, whole.shape)) if parts is None else parts

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes that are left."""
        return tuple(len(part) for part in self._parts if isinstance(part, range))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self._whole.dtype

    @property
    def ndim(self) -> int:
        """How many axes are left."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many values."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Any basic index of NumPy; values, or another view if it is of several planes."""
        keys = _full_key(key, self.ndim)
        given = iter(item for item in keys if item is not None)
        parts = tuple(
            part[_place(next(given))] if isinstance(part, range) else part for part in self._parts
        )
        chosen = LazyArray(self._whole, parts)
        if self._whole.defers and chosen._planes > 1 and None not in keys:
            return chosen
        axes = tuple(
            None if item is None else slice(None)
            for item in keys
            if item is None or isinstance(item, slice)
        )
        return np.asarray(chosen)[axes]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        leading = self._whole.leading
        indices = itertools.product(*(_as_range(part) for part in self._parts[:leading]))
        if self._planes == 1:
            return np.asarray(self._plane(next(indices)).reshape(self.shape), dtype)
        found = np.empty(self.shape, self.dtype)
        planes = found.reshape(self._planes, *self._shape_of_plane)
        for place, index in enumerate(indices):
            planes[place] = self._plane(index)
        return np.asarray(found, dtype)

    @property
    def _planes(self) -> int:
        return math.prod(len(_as_range(part)) for part in self._parts[: self._whole.leading])

    @property
    def _shape_of_plane(self) -> tuple[int, ...]:
        rows, columns, *rest = self._parts[self._whole.leading :]
        left = (len(part) for part in rest if isinstance(part, range))
        return len(_as_range(rows)), len(_as_range(columns)), *left

    def _plane(self, index: Index) -> Array:
        rows, columns, *rest = self._parts[self._whole.leading :]
        part = self._whole.part(index, _as_range(rows), _as_range(columns))
        return part[(..., *(_as_key(places) for places in rest))]


def read(stack: Any, index: Index, rows: range, columns: range) -> Array:
    """Some rows and columns of a plane; no array is asked for places in reverse: zarr has none."""
    upward = (places if places.step > 0 else places[::-1] for places in (rows, columns))
    found = np.asarray(stack[(*index, *map(as_slice, upward))])
    turned = (slice(None, None, 1 if places.step > 0 else -1) for places in (rows, columns))
    return found[tuple(turned)]


def as_slice(places: range) -> slice:
    """The slice that takes these places of an axis."""
    stop = places.stop if places.stop >= 0 else None
    return slice(places.start, stop, places.step) if places else slice(0, 0)


def _as_range(part: range | int) -> range:
    return part if isinstance(part, range) else range(part, part + 1)


def _as_key(part: range | int) -> slice | int:
    return as_slice(part) if isinstance(part, range) else part


def _place(item: Any) -> Any:
    """A slice, or a whole number of any kind."""
    return item if isinstance(item, slice) else item.__index__()


def _full_key(key: Any, ndim: int) -> tuple[Any, ...]:
    """A basic index written out: one entry for each axis, and None where one is added."""
    parts = key if isinstance(key, tuple) else (key,)
    given = sum(part is not None and part is not Ellipsis for part in parts)
    if given > ndim:
        raise IndexError(f"Too many indices: {given} for {ndim} axes.")
    missing = (slice(None),) * (ndim - given)
    where = next((at for at, part in enumerate(parts) if part is Ellipsis), len(parts))
    return *parts[:where], *missing, *parts[where + 1 :]
