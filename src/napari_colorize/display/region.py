"""A part of a plane in colour, what lies around it in gray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.display.gray import Array, DisplayRange, gray_picture, is_in_memory
from napari_colorize.display.lazy_array import Index, LazyArray, as_slice, read
from napari_colorize.display.source_spec import Region, SourceSpec
from napari_colorize.display.stack import StackColors

if TYPE_CHECKING:
    from napari_colorize.array_types import Limits
    from napari_colorize.result import Colorized


class RegionColors:
    """An image or a stack of which only a window is shown to the network.

    Parameters
    ----------
    stack : array, shape (..., Y, X) or (..., Y, X, 3 or 4)
        What is colorized.
    look : Look
        How it is read.
    region : Region
        Of every plane.
    """

    multiscale = False

    def __init__(self, stack: Any, look: DisplayRange, region: Region) -> None:
        self._stack, self._look, self._region = stack, look, region
        self.source = LazyArray(_Windows(stack, look, region))
        self._inside = StackColors(self.source, look)
        self._read: tuple[tuple[Index, range, range], Array] | None = None
        self.data = LazyArray(_Pictures(self, self._inside.data.dtype))

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`."""
        return self._inside.limits

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the pictures of all planes: `(..., Y, X, 3 or 4)`."""
        return self._look.picture_shape(self._stack.shape)

    def put(self, index: Index, result: Colorized) -> None:
        """Colours of a plane's window have come; nothing is read."""
        self._inside.put(index, result)
        if self.data.dtype != self._inside.data.dtype:
            self.data = LazyArray(_Pictures(self, self._inside.data.dtype))

    def mark_stale(self) -> None:
        """Settings changed: what is known is still shown, but no longer counts as known."""
        self._inside.mark_stale()

    def is_current(self, index: Index) -> bool:
        """Whether the colours of a plane are known, as the settings are now."""
        return self._inside.is_current(index)

    def all_current(self) -> bool:
        """Whether those of every plane are known and held."""
        return self._inside.all_current()

    def matches(self, **read: Any) -> bool:
        """Whether `colors_for`, asked for this, would make the same; see `Basis.matches`."""
        return SourceSpec([self._stack], self._look, self._region).matches(**read)

    def allocate_all(self) -> None:
        """Make room for the window of every plane; see `StackColors.hold_all`."""
        self._inside.allocate_all()

    def array(self) -> Array | None:
        """All pictures, if the colours of every plane are held; the stack is read for it."""
        return None if self._inside.array() is None else np.asarray(self.data)

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """What is shown of a part of a plane: gray, and colours where the mask is."""
        gray = self._gray(index, rows, columns)
        picture = gray_picture(gray, self._look, self.data.dtype)
        known, region = self._inside.known(index), self._region
        if known is None:
            return picture
        met = _meeting(rows, region.rows), _meeting(columns, region.columns)
        (there_rows, in_rows), (there_columns, in_columns) = met
        mask = region.mask[in_rows, in_columns]
        there = picture[there_rows, there_columns]
        np.copyto(there, known[in_rows, in_columns], where=mask[..., None])
        return picture

    def _gray(self, index: Index, rows: range, columns: range) -> Array:
        """Of a lazy stack what was read last is remembered: other colours come while it is seen."""
        if is_in_memory(self._stack):
            return read(self._stack, index, rows, columns)
        asked = index, rows, columns
        if self._read is None or self._read[0] != asked:
            self._read = asked, read(self._stack, index, rows, columns)
        return self._read[1]


class _Pictures:
    """Whole planes of a stack, of which a window may be in colour."""

    defers = False

    def __init__(self, colors: RegionColors, dtype: np.dtype[Any]) -> None:
        self._colors, self.dtype = colors, dtype
        self.shape = colors.shape
        self.leading = len(self.shape) - 3

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """Rows and columns of one picture."""
        return self._colors.part(index, rows, columns)


class _Windows:
    """The windows of a stack's planes."""

    defers = True

    def __init__(self, stack: Any, look: DisplayRange, region: Region) -> None:
        self._stack, self._region = stack, region
        self.dtype = np.dtype(stack.dtype)
        self.leading = len(look.leading(stack.shape))
        rest = tuple(stack.shape)[self.leading + 2 :]
        self.shape = (*look.leading(stack.shape), *region.mask.shape, *rest)

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """Rows and columns of one window."""
        window = (self._region.rows, self._region.columns)
        there = (
            range(places.start, places.stop)[as_slice(part)]
            for places, part in zip(window, (rows, columns), strict=True)
        )
        return read(self._stack, index, *there)


def _meeting(asked: range, window: slice) -> tuple[slice, slice]:
    """Which of the places asked for lie in a window, and where they are in it."""
    places = np.array(asked)
    inside = np.flatnonzero((places >= window.start) & (places < window.stop))
    if not inside.size:
        return slice(0, 0), slice(0, 0)
    there = slice(int(inside[0]), int(inside[-1]) + 1)
    met = asked[there]
    return there, as_slice(range(met.start - window.start, met.stop - window.start, met.step))
