"""Perceptually uniform colormaps for analysis maps, without a dependency on matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_colorize.array_types import AnyArray, UInt8Array

LARGEST_ERROR = 25.0  # CIEDE2000 at the upper end; above 10 a color is unreliable

# matplotlib's viridis and inferno (CC0), sampled at five equidistant positions from 0 to 1.
VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
INFERNO = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
Colormap = tuple[tuple[int, int, int], ...]


def apply_colormap(values: AnyArray, colormap: Colormap) -> UInt8Array:
    """Convert values to colors, uint8 (Y, X, 3), by linear interpolation in a colormap.

    `values` (Y, X) are in [0, 1]; others are clipped, NaN is 0. `colormap` holds colors at
    equidistant positions from 0 to 1.
    """
    positions = np.linspace(0, 1, len(colormap))
    unit = np.nan_to_num(values).clip(0, 1)
    channels = [np.interp(unit, positions, channel) for channel in zip(*colormap, strict=True)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)
