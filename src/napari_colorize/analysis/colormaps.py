"""Numbers as colours: ramps that rise evenly to an eye, of which no gray value is lost in print."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST_ERROR = 25.0  # CIEDE2000; above 10 a colour is a guess, above 25 any is as good

# matplotlib's viridis and inferno (CC0) at five places, evenly from 0 to 1.
VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
INFERNO = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
Ramp = tuple[tuple[int, int, int], ...]


def colored(values: NDArray[np.float32], ramp: Ramp) -> NDArray[np.uint8]:
    """Values in [0, 1] as colours `(Y, X, 3)` of a ramp; NaN as the lowest."""
    places = np.linspace(0, 1, len(ramp))
    unit = np.nan_to_num(values).clip(0, 1)
    channels = [np.interp(unit, places, channel) for channel in zip(*ramp, strict=True)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)
