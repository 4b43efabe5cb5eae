"""What colours are made for: which arrays, how they are read, and which part of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.display.gray import Array, DisplayRange

if TYPE_CHECKING:
    from napari_colorize.array_types import Limits


@dataclass(frozen=True, eq=False)
class Region:
    """A window of a plane, and which of its pixels are meant.

    Parameters
    ----------
    rows, columns : slice
        The window, in pixels of the plane; start and stop are numbers within it.
    mask : ndarray of bool
        Of the window's shape.
    """

    rows: slice
    columns: slice
    mask: Array = field(repr=False)

    def is_same(self, other: Region) -> bool:
        """Whether both mean the same pixels."""
        windows = [(each.rows, each.columns) for each in (self, other)]
        return windows[0] == windows[1] and np.array_equal(self.mask, other.mask)


@dataclass(frozen=True, eq=False)
class SourceSpec:
    """The arrays, the largest first if they are levels of one picture; a look; perhaps a region."""

    arrays: Sequence[Any]
    look: DisplayRange
    region: Region | None = None

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
        """Whether `colors_for` is asked for the same: the same arrays, changed or not."""
        arrays = [stack] if levels is None else list(levels)
        if self.look != DisplayRange(rgb, limits, gamma) or len(arrays) != len(self.arrays):
            return False
        if any(one is not other for one, other in zip(arrays, self.arrays, strict=True)):
            return False
        if region is None or self.region is None:
            return region is self.region
        return self.region.is_same(region)
