"""A part of each plane in color, the rest in gray."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray, PlaneIndex
from napari_colorize.display.color_arrays import Region
from napari_colorize.display.gray import DisplayRange, gray_image, is_in_memory
from napari_colorize.display.lazy_array import as_slice, read_block, window_of
from napari_colorize.display.stack import StackColors


class RegionColors(StackColors):
    """Colors of a region of an image or of each plane of a stack.

    The network gets the window of the region only, and only this is stored.
    """

    def __init__(self, stack: Any, display_range: DisplayRange, region: Region) -> None:
        super().__init__(stack, display_range)
        self._stack, self._region = stack, region
        rows, columns = (range(each.start, each.stop) for each in (region.rows, region.columns))
        leading = len(display_range.leading(stack.shape))
        self.source = window_of(stack, leading, rows, columns)
        self._last_gray: tuple[tuple[PlaneIndex, range, range], AnyArray] | None = None

    def array(self) -> AnyArray | None:
        """All planes, if all are current; the whole stack is read for the gray around regions."""
        return None if super().array() is None else np.asarray(self.data)

    def part(self, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """A part of a plane as it is displayed: gray, and colors inside the mask."""
        gray = self._gray(index, rows, columns)
        image = gray_image(gray, self._display_range, self.data.dtype)
        stored, region = self._planes.get(index), self._region
        if stored is None or region is None:
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


def _intersection(positions: range, window: slice) -> tuple[slice, slice]:
    """Which of the positions lie in a window: as a slice of `positions`, and of the window."""
    places = np.array(positions)
    inside = np.flatnonzero((places >= window.start) & (places < window.stop))
    if not inside.size:
        return slice(0, 0), slice(0, 0)
    found = slice(int(inside[0]), int(inside[-1]) + 1)
    met = positions[found]
    return found, as_slice(range(met.start - window.start, met.stop - window.start, met.step))
