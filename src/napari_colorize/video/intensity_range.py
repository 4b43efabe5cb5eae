"""Contrast limits of a whole sequence; separate limits for each frame would cause flicker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits

FULL_RANGE_DTYPES = (np.dtype(bool), np.dtype(np.uint8), np.dtype(np.uint16))


def sequence_limits(
    dtype: np.dtype[Any], arrays: Iterable[AnyArray]
) -> tuple[Limits | None, str | None]:
    """Values of black and white of a sequence, computed from its data if the dtype needs it.

    Parameters
    ----------
    dtype : np.dtype
        Type of the arrays.
    arrays : iterable of arrays
        All frames; read once, and only if necessary.

    Returns
    -------
    limits : (float, float) or None
        None for bool, uint8 and uint16, which use their full range.
    note : str or None
        A sentence for the user if the limits were computed from the data.
    """
    if dtype in FULL_RANGE_DTYPES:
        return None, None
    from napari_colorize.imaging.planes import data_range, limits_of_range  # imports torch

    ranges = [found for found in map(data_range, arrays) if found is not None]
    if not ranges:
        return None, None
    low, high = min(pair[0] for pair in ranges), max(pair[1] for pair in ranges)
    return limits_of_range(dtype, (low, high))
