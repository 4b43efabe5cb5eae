"""Specification of a source: its arrays, their display range and the colorized region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits
from napari_colorize.display.gray import DisplayRange


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


@dataclass(frozen=True, eq=False)
class SourceSpec:
    """What color arrays are made for.

    Attributes
    ----------
    arrays : sequence of arrays
        One array, or the levels of a multiscale layer, the largest first.
    display_range : DisplayRange
        How their values are displayed.
    region : Region or None
        Part of each plane that is colorized; None for all.
    """

    arrays: Sequence[Any]
    display_range: DisplayRange
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
        """Whether these arguments of `colors_for` are equal; arrays must be the same objects."""
        arrays = [stack] if levels is None else list(levels)
        given = DisplayRange(rgb, limits, gamma)
        if self.display_range != given or len(arrays) != len(self.arrays):
            return False
        if any(one is not other for one, other in zip(arrays, self.arrays, strict=True)):
            return False
        if region is None or self.region is None:
            return region is self.region
        return self.region.is_same(region)
