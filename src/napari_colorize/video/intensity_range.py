"""Black and white of a whole sequence: frames that each had their own would flicker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLAIN = (np.dtype(bool), np.dtype(np.uint8), np.dtype(np.uint16))


def limits_of(dtype: np.dtype[Any], arrays: Iterable[NDArray[Any]]) -> tuple[float, float] | None:
    """Values of black and white, from the data where a dtype does not say.

    Parameters
    ----------
    dtype : np.dtype
        Of the arrays.
    arrays : iterable of arrays
        Read once, and only if need be.

    Returns
    -------
    (float, float) or None
        None for bool, uint8 and uint16, which span their range.
    """
    if dtype in PLAIN:
        return None
    from napari_colorize.imaging.planes import data_range, limits_of_range  # brings torch

    ranges = [found for found in map(data_range, arrays) if found is not None]
    if not ranges:
        return None
    low, high = min(pair[0] for pair in ranges), max(pair[1] for pair in ranges)
    return limits_of_range(dtype, (low, high))[0]
