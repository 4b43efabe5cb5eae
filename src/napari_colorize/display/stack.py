"""The planes of a stack: those that are known in colour, the others in gray."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.display.gray import (
    DisplayRange,
    dtype_in_memory,
    dtype_of_picture,
    gray_picture,
)
from napari_colorize.display.lazy_array import Index, LazyArray, as_slice, read
from napari_colorize.display.single import shown_limits
from napari_colorize.display.source_spec import SourceSpec
from napari_colorize.errors import OutOfMemoryError

if TYPE_CHECKING:
    from napari_colorize.array_types import Limits
    from napari_colorize.display.gray import Array
    from napari_colorize.result import Colorized

LEAST_BYTES = 2**28  # of planes held, however little memory is free
SHARE = 4  # of free memory, its fourth part


class StackColors:
    """A stack whose planes get their colours one by one.

    Parameters
    ----------
    stack : array, shape (..., Y, X) or (..., Y, X, 3 or 4)
        What is colorized. One that is not in memory is read when a plane is to be shown whose
        colours are not known: as its own layer does at that moment.
    look : Look
        How it is read.
    budget : int, optional
        Bytes of planes that are held; the oldest are forgotten beyond. Default: a quarter of the
        memory that is free when the first plane comes, and at least 256 MB.
    """

    multiscale = False

    def __init__(self, stack: Any, look: DisplayRange, *, budget: int | None = None) -> None:
        self.source = stack
        self._look, self._budget = look, budget
        self._planes: OrderedDict[Index, Array] = OrderedDict()
        self._fresh: set[Index] = set()
        self._held: Array | None = None
        self.data = LazyArray(_Planes(self, dtype_of_picture(stack.dtype)))

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`."""
        return shown_limits(self._look, dtype_in_memory(self.source.dtype), self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the pictures of all planes: `(..., Y, X, 3 or 4)`."""
        return self._look.picture_shape(self.source.shape)

    def put(self, index: Index, result: Colorized) -> None:
        """Colours of a plane have come."""
        self.keep(index, result.pixels)

    def mark_stale(self) -> None:
        """Settings changed: what is known is still shown, but no longer counts as known."""
        self._fresh.clear()

    def is_current(self, index: Index) -> bool:
        """Whether the colours of a plane are known, as the settings are now."""
        return index in self._fresh

    def all_current(self) -> bool:
        """Whether those of every plane are known and held."""
        return len(self._fresh) == math.prod(self.shape[:-3])

    def matches(self, **read: Any) -> bool:
        """Whether `colors_for`, asked for this, would make the same; see `Basis.matches`."""
        return SourceSpec([self.source], self._look).matches(**read)

    def allocate_all(self) -> None:
        """Make room for every plane: from now on none is forgotten.

        Raises
        ------
        OutOfMemoryError
            If there is not enough memory for all of them.
        """
        if self._held is None:
            self._held = self._allocated(self.data.dtype)
            for index, plane in self._planes.items():
                self._held[index] = plane
                self._planes[index] = self._held[index]

    def array(self) -> Array | None:
        """All pictures, if they are held and the colours of every plane are known."""
        return self._held if self.all_current() else None

    def known(self, index: Index) -> Array | None:
        """The picture of a plane, if it has come and was not forgotten."""
        return self._planes.get(index)

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """What is shown of a part of a plane now: its colours, else its gray."""
        known = self.known(index)
        if known is not None:
            return known[as_slice(rows), as_slice(columns)]
        gray = read(self.source, index, rows, columns)
        return gray_picture(gray, self._look, self.data.dtype)

    def keep(self, index: Index, pixels: Array) -> None:
        """The picture of a plane has come."""
        if pixels.dtype != self.data.dtype:
            self._start_anew(pixels.dtype)
        if self._held is not None:
            self._held[index] = pixels
            pixels = self._held[index]
        self._planes[index] = pixels
        self._planes.move_to_end(index)
        self._fresh.add(index)
        if self._held is None:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        if self._budget is None:
            self._budget = max(LEAST_BYTES, _free_bytes() // SHARE)
        held = sum(plane.nbytes for plane in self._planes.values())
        while held > self._budget and len(self._planes) > 1:
            index, plane = self._planes.popitem(last=False)
            self._fresh.discard(index)
            held -= plane.nbytes

    def _start_anew(self, dtype: np.dtype[Any]) -> None:
        """Pictures are of another dtype: a fidelity makes 8-bit ones of any stack."""
        self._planes.clear()
        self._fresh.clear()
        self.data = LazyArray(_Planes(self, dtype))
        if self._held is not None:
            self._held = None
            self._held = self._allocated(dtype)

    def _allocated(self, dtype: np.dtype[Any]) -> Array:
        needed, free = math.prod(self.shape) * dtype.itemsize, _free_bytes()
        if needed > free:
            raise OutOfMemoryError(
                f"The colours of all planes need {needed / 1e9:.1f} GB of memory and "
                f"{free / 1e9:.1f} GB are free: colorize fewer planes, or close other programs."
            )
        return np.zeros(self.shape, dtype)


class _Planes:
    """The pictures of a stack; no colours are waited for."""

    defers = False

    def __init__(self, colors: StackColors, dtype: np.dtype[Any]) -> None:
        self._colors = colors
        self.dtype = dtype
        self.shape = colors.shape
        self.leading = len(self.shape) - 3

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """Rows and columns of one picture."""
        return self._colors.part(index, rows, columns)


def _free_bytes() -> int:
    from napari_colorize.runtime import memory  # torch

    return memory.available()
