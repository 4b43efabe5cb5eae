"""A part of each plane in color, the rest in gray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits, PlaneIndex
from napari_colorize.display.gray import DisplayRange, gray_image, is_in_memory
from napari_colorize.display.lazy_array import LazyArray, as_slice, read_block
from napari_colorize.display.source_spec import Region, SourceSpec
from napari_colorize.display.stack import StackColors

if TYPE_CHECKING:
    from napari_colorize.result import Colorized


class RegionColors:
    """Colors of a region of an image or of each plane of a stack.

    The network gets the window of the region only.

    Parameters
    ----------
    stack : array, shape (..., Y, X) or (..., Y, X, 3 or 4)
        Image or stack to colorize.
    display_range : DisplayRange
        How its values are displayed.
    region : Region
        Part of each plane that is colorized.
    """

    multiscale = False

    def __init__(self, stack: Any, display_range: DisplayRange, region: Region) -> None:
        self._stack, self._display_range, self._region = stack, display_range, region
        self.source = LazyArray(_Windows(stack, display_range, region))
        self._inside = StackColors(self.source, display_range)
        self._last_gray: tuple[tuple[PlaneIndex, range, range], AnyArray] | None = None
        self.data = LazyArray(_Planes(self, self._inside.data.dtype))

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`."""
        return self._inside.limits

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the colors of all planes, (..., Y, X, 3 or 4)."""
        return self._display_range.result_shape(self._stack.shape)

    def put(self, index: PlaneIndex, result: Colorized) -> None:
        """Store the result of a plane's window; the stack is not read."""
        self._inside.put(index, result)
        if self.data.dtype != self._inside.data.dtype:
            self.data = LazyArray(_Planes(self, self._inside.data.dtype))

    def mark_stale(self) -> None:
        """Mark all planes as outdated; their colors are still displayed."""
        self._inside.mark_stale()

    def is_current(self, index: PlaneIndex) -> bool:
        """Whether the plane has colors that are not outdated."""
        return self._inside.is_current(index)

    def all_current(self) -> bool:
        """Whether every plane has colors that are not outdated."""
        return self._inside.all_current()

    def matches(self, **read: Any) -> bool:
        """Whether `colors_for` would make equal arrays from this; see `SourceSpec.matches`."""
        return SourceSpec([self._stack], self._display_range, self._region).matches(**read)

    def allocate_all(self) -> None:
        """Allocate the windows of all planes; see `StackColors.allocate_all`."""
        self._inside.allocate_all()

    def array(self) -> AnyArray | None:
        """All planes, if all are current; the whole stack is read for the gray around regions."""
        return None if self._inside.array() is None else np.asarray(self.data)

    def part(self, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """A part of a plane as it is displayed: gray, and colors inside the mask."""
        gray = self._gray(index, rows, columns)
        image = gray_image(gray, self._display_range, self.data.dtype)
        stored, region = self._inside.stored(index), self._region
        if stored is None:
            return image
        image_rows, window_rows = _intersection(rows, region.rows)
        image_columns, window_columns = _intersection(columns, region.columns)
        mask = region.mask[window_rows, window_columns]
        part = image[image_rows, image_columns]
        np.copyto(part, stored[window_rows, window_columns], where=mask[..., None])
        return image

    def _gray(self, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """Gray values; of a lazy stack the part that was read last is cached.

        A displayed part is read again by the viewer whenever other colors arrive.
        """
        if is_in_memory(self._stack):
            return read_block(self._stack, index, rows, columns)
        key = index, rows, columns
        if self._last_gray is None or self._last_gray[0] != key:
            self._last_gray = key, read_block(self._stack, index, rows, columns)
        return self._last_gray[1]


class _Planes:
    """Provides whole planes of a stack with colors in the region."""

    defers = False

    def __init__(self, colors: RegionColors, dtype: np.dtype[Any]) -> None:
        self._colors, self.dtype = colors, dtype
        self.shape = colors.shape
        self.leading = len(self.shape) - 3

    def part(self, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """A part of one plane."""
        return self._colors.part(index, rows, columns)


class _Windows:
    """Provides the window of each plane of a stack, for the session."""

    defers = True

    def __init__(self, stack: Any, display_range: DisplayRange, region: Region) -> None:
        self._stack, self._region = stack, region
        self.dtype = np.dtype(stack.dtype)
        self.leading = len(display_range.leading(stack.shape))
        rest = tuple(stack.shape)[self.leading + 2 :]
        self.shape = (*display_range.leading(stack.shape), *region.mask.shape, *rest)

    def part(self, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """A part of one window."""
        window = (self._region.rows, self._region.columns)
        positions = (
            range(places.start, places.stop)[as_slice(part)]
            for places, part in zip(window, (rows, columns), strict=True)
        )
        return read_block(self._stack, index, *positions)


def _intersection(positions: range, window: slice) -> tuple[slice, slice]:
    """Which of the positions lie in a window: as a slice of `positions`, and of the window."""
    places = np.array(positions)
    inside = np.flatnonzero((places >= window.start) & (places < window.stop))
    if not inside.size:
        return slice(0, 0), slice(0, 0)
    found = slice(int(inside[0]), int(inside[-1]) + 1)
    met = positions[found]
    return found, as_slice(range(met.start - window.start, met.stop - window.start, met.step))
