"""Base class of the color arrays, and the arrays of a single image of moderate size."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits, PlaneIndex
from napari_colorize.display.gray import DisplayRange, dtype_in_memory

if TYPE_CHECKING:
    from napari_colorize.result import Colorized


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of a plane: a window, and a mask in it.

    Parameters
    ----------
    rows, columns : slice
        The window, in pixels of the plane; start and stop are integers within the plane.
    mask : ndarray of bool, shape of the window
        Pixels that are colorized.
    """

    rows: slice
    columns: slice
    mask: AnyArray = field(repr=False)

    def is_same(self, other: Region) -> bool:
        """Whether both contain the same pixels."""
        windows = [(each.rows, each.columns) for each in (self, other)]
        return windows[0] == windows[1] and np.array_equal(self.mask, other.mask)


class ColorArrays(ABC):
    """Data of a result layer that receives colors plane by plane.

    Parameters
    ----------
    arrays : sequence of arrays, shape (..., Y, X) or (..., Y, X, 3 or 4)
        One array, or the levels of a multiscale layer, the largest first.
    display_range : DisplayRange
        How their values are displayed.
    region : Region, optional
        Part of each plane that is colorized. Default: all.

    Attributes
    ----------
    source : array
        Array for the session: the stack, a smaller level of it, or a window of each plane.
    data : Any
        An array, an array-like object, or a list of levels; None before the first result. The same
        object as long as its dtype and type stay the same; its values change in place.
    multiscale : bool
        Whether `data` is a list of levels, the largest first.
    """

    source: Any
    data: Any
    multiscale = False

    def __init__(
        self, arrays: Sequence[Any], display_range: DisplayRange, region: Region | None = None
    ) -> None:
        self._arrays, self._display_range, self._region = arrays, display_range, region
        self._current: set[PlaneIndex] = set()

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`, for display."""
        data = self.data[0] if self.multiscale else self.data
        return data_limits(self._display_range, dtype_in_memory(self._arrays[0].dtype), data)

    @abstractmethod
    def put(self, index: PlaneIndex, result: Colorized) -> None:
        """Store the result for `source[index]`."""

    @abstractmethod
    def allocate_all(self) -> None:
        """Keep every plane from now on; raises `OutOfMemoryError` if memory is too small."""

    @abstractmethod
    def array(self) -> AnyArray | None:
        """All planes as one array, if all are current; None for levels."""

    def mark_stale(self) -> None:
        """Mark all planes as outdated; their colors are still displayed."""
        self._current.clear()

    def is_current(self, index: PlaneIndex) -> bool:
        """Whether the plane has colors that are not outdated."""
        return index in self._current

    def all_current(self) -> bool:
        """Whether every plane has colors that are not outdated."""
        return len(self._current) == math.prod(self._display_range.leading(self._arrays[0].shape))

    def matches(
        self,
        *,
        stack: Any,
        rgb: bool,
        levels: Sequence[Any] | None = None,
        limits: Limits,
        gamma: float,
        region: Region | None = None,
    ) -> bool:
        """Whether `colors_for` would make equal arrays; arrays must be the same objects."""
        arrays = [stack] if levels is None else list(levels)
        given = DisplayRange(rgb, limits, gamma)
        if self._display_range != given or len(arrays) != len(self._arrays):
            return False
        if any(one is not other for one, other in zip(arrays, self._arrays, strict=True)):
            return False
        if region is None or self._region is None:
            return region is self._region
        return self._region.is_same(region)


class SingleColors(ColorArrays):
    """Colors of one image, shape (Y, X) or (Y, X, 3 or 4): the pixels of its result."""

    def __init__(self, image: Any, display_range: DisplayRange) -> None:
        super().__init__([image], display_range)
        self.source, self.data = image, None

    def put(self, index: PlaneIndex, result: Colorized) -> None:
        """Store the result."""
        self.data = result.pixels
        self._current.add(index)

    def allocate_all(self) -> None:
        """Do nothing: one image is always kept."""

    def array(self) -> AnyArray | None:
        """The pixels, if they are current."""
        return self.data if self.all_current() else None


def data_limits(display_range: DisplayRange, dtype: np.dtype[Any], data: Any) -> Limits:
    """Values of black and white in the result `data` of a source of type `dtype`."""
    if data is not None and data.dtype.kind == "u" and data.dtype != dtype:
        return 0, 255  # a fidelity other than exact returns 8 bits for any source
    return display_range.result_limits(dtype)
