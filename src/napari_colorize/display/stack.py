"""The planes of a stack: in color where results have arrived, else in gray."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits, PlaneIndex
from napari_colorize.display.gray import (
    DisplayRange,
    dtype_in_memory,
    gray_image,
    result_dtype,
)
from napari_colorize.display.lazy_array import LazyArray, as_slice, read_block
from napari_colorize.display.single import data_limits
from napari_colorize.display.source_spec import SourceSpec
from napari_colorize.errors import OutOfMemoryError

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

MIN_BUDGET = 2**28  # bytes of planes that are kept even if little memory is free
MEMORY_SHARE = 4  # planes may use 1 / MEMORY_SHARE of the free memory


class StackColors:
    """Colors of a stack, plane by plane.

    Parameters
    ----------
    stack : array, shape (..., Y, X) or (..., Y, X, 3 or 4)
        Stack to colorize. A lazy stack is read when a plane without colors is displayed.
    display_range : DisplayRange
        How its values are displayed.
    budget : int, optional
        Bytes of planes that are kept; the oldest are dropped beyond. Default: a quarter of the
        memory that is free when the first plane arrives, and at least 256 MB.
    """

    multiscale = False

    def __init__(
        self, stack: Any, display_range: DisplayRange, *, budget: int | None = None
    ) -> None:
        self.source = stack
        self._display_range, self._budget = display_range, budget
        self._planes: OrderedDict[PlaneIndex, AnyArray] = OrderedDict()
        self._current: set[PlaneIndex] = set()
        self._all: AnyArray | None = None
        self.data = LazyArray(_Planes(self, result_dtype(stack.dtype)))

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`."""
        return data_limits(self._display_range, dtype_in_memory(self.source.dtype), self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the colors of all planes, (..., Y, X, 3 or 4)."""
        return self._display_range.result_shape(self.source.shape)

    def put(self, index: PlaneIndex, result: Colorized) -> None:
        """Store the result of a plane."""
        self._store(index, result.pixels)

    def mark_stale(self) -> None:
        """Mark all planes as outdated; their colors are still displayed."""
        self._current.clear()

    def is_current(self, index: PlaneIndex) -> bool:
        """Whether the plane has colors that are not outdated."""
        return index in self._current

    def all_current(self) -> bool:
        """Whether every plane has colors that are not outdated."""
        return len(self._current) == math.prod(self.shape[:-3])

    def matches(self, **read: Any) -> bool:
        """Whether `colors_for` would make equal arrays from this; see `SourceSpec.matches`."""
        return SourceSpec([self.source], self._display_range).matches(**read)

    def allocate_all(self) -> None:
        """Allocate one array for all planes, of which none is dropped from now on.

        Raises
        ------
        OutOfMemoryError
            If there is not enough memory for all of them.
        """
        if self._all is None:
            self._all = self._allocated(self.data.dtype)
            for index, plane in self._planes.items():
                self._all[index] = plane
                self._planes[index] = self._all[index]

    def array(self) -> AnyArray | None:
        """The array of `allocate_all`, if every plane is current."""
        return self._all if self.all_current() else None

    def stored(self, index: PlaneIndex) -> AnyArray | None:
        """The colors of a plane; None before they arrive, or after they were dropped."""
        return self._planes.get(index)

    def part(self, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """A part of a plane as it is displayed now: in color, else in gray."""
        stored = self.stored(index)
        if stored is not None:
            return stored[as_slice(rows), as_slice(columns)]
        gray = read_block(self.source, index, rows, columns)
        return gray_image(gray, self._display_range, self.data.dtype)

    def _store(self, index: PlaneIndex, pixels: AnyArray) -> None:
        if pixels.dtype != self.data.dtype:
            self._restart(pixels.dtype)
        if self._all is not None:
            self._all[index] = pixels
            pixels = self._all[index]
        self._planes[index] = pixels
        self._planes.move_to_end(index)
        self._current.add(index)
        if self._all is None:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        if self._budget is None:
            self._budget = max(MIN_BUDGET, _free_bytes() // MEMORY_SHARE)
        nbytes = sum(plane.nbytes for plane in self._planes.values())
        while nbytes > self._budget and len(self._planes) > 1:
            index, plane = self._planes.popitem(last=False)
            self._current.discard(index)
            nbytes -= plane.nbytes

    def _restart(self, dtype: np.dtype[Any]) -> None:
        """Drop all planes: results have another dtype (8 bits, with another fidelity)."""
        self._planes.clear()
        self._current.clear()
        self.data = LazyArray(_Planes(self, dtype))
        if self._all is not None:
            self._all = None
            self._all = self._allocated(dtype)

    def _allocated(self, dtype: np.dtype[Any]) -> AnyArray:
        needed, free = math.prod(self.shape) * dtype.itemsize, _free_bytes()
        if needed > free:
            raise OutOfMemoryError(
                f"The colors of all planes need {needed / 1e9:.1f} GB of memory and "
                f"{free / 1e9:.1f} GB are free: colorize fewer planes, or close other programs."
            )
        return np.zeros(self.shape, dtype)


class _Planes:
    """Provides the colors of a stack that have arrived, and gray for other planes."""

    defers = False

    def __init__(self, colors: StackColors, dtype: np.dtype[Any]) -> None:
        self._colors = colors
        self.dtype = dtype
        self.shape = colors.shape
        self.leading = len(self.shape) - 3

    def part(self, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """A part of one plane."""
        return self._colors.part(index, rows, columns)


def _free_bytes() -> int:
    from napari_colorize.runtime import memory  # imports torch

    return memory.available()
