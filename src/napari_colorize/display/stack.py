"""The planes of a stack: in color where results have arrived, else in gray."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray, PlaneIndex
from napari_colorize.display.color_arrays import ColorArrays
from napari_colorize.display.gray import DisplayRange, gray_image, result_dtype
from napari_colorize.display.lazy_array import LazyArray, as_slice, read_block
from napari_colorize.errors import OutOfMemoryError

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

MIN_BUDGET = 2**28  # bytes of planes that are kept even if little memory is free
MEMORY_SHARE = 4  # planes may use 1 / MEMORY_SHARE of the free memory


class StackColors(ColorArrays):
    """Colors of a stack, plane by plane.

    A lazy stack is read when a plane without colors is displayed. `budget` is the number of bytes
    of planes that are kept; the oldest are dropped beyond. Default: a quarter of the memory that is
    free when the first plane arrives, and at least 256 MB.
    """

    def __init__(
        self, stack: Any, display_range: DisplayRange, *, budget: int | None = None
    ) -> None:
        super().__init__([stack], display_range)
        self.source, self._budget = stack, budget
        self._planes: OrderedDict[PlaneIndex, AnyArray] = OrderedDict()
        self._all: AnyArray | None = None
        self.data = self._lazy_array(result_dtype(stack.dtype))

    def put(self, index: PlaneIndex, result: Colorized) -> None:
        """Store the result of a plane."""
        pixels = result.pixels
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

    def allocate_all(self) -> None:
        """Allocate all planes, or raise `OutOfMemoryError`; none is dropped from now on."""
        if self._all is None:
            self._all = self._allocated(self.data.dtype)
            for index, plane in self._planes.items():
                self._all[index] = plane
                self._planes[index] = self._all[index]

    def array(self) -> AnyArray | None:
        """The array of `allocate_all`, if every plane is current."""
        return self._all if self.all_current() else None

    def part(self, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """A part of a plane as it is displayed now: in color, else in gray."""
        stored = self._planes.get(index)
        if stored is not None:
            return stored[as_slice(rows), as_slice(columns)]
        gray = read_block(self.source, index, rows, columns)
        return gray_image(gray, self._display_range, self.data.dtype)

    def _lazy_array(self, dtype: Any) -> LazyArray:
        shape = self._display_range.result_shape(self._arrays[0].shape)
        return LazyArray(self.part, shape, dtype, len(shape) - 3)

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
        self.data = self._lazy_array(dtype)
        if self._all is not None:
            self._all = None
            self._all = self._allocated(dtype)

    def _allocated(self, dtype: np.dtype[Any]) -> AnyArray:
        shape = self._display_range.result_shape(self.source.shape)
        needed, free = math.prod(shape) * dtype.itemsize, _free_bytes()
        if needed > free:
            raise OutOfMemoryError(
                f"The colors of all planes need {needed / 1e9:.1f} GB of memory and "
                f"{free / 1e9:.1f} GB are free: colorize fewer planes, or close other programs."
            )
        return np.zeros(shape, dtype)


def _free_bytes() -> int:
    from napari_colorize.runtime import memory  # imports torch

    return memory.available()
