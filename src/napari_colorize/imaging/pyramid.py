"""Levels of image pyramids; needs NumPy only."""

import numpy as np

from napari_colorize.array_types import AnyArray


def halve(values: AnyArray) -> AnyArray:
    """Means of blocks of 2 x 2 pixels, in the dtype of `values`.

    Parameters
    ----------
    values : ndarray, shape (Y, X) or (Y, X, channels)
        Image; at an odd height or width its last row or column is repeated. Boolean blocks are
        True if at least half of their pixels are.

    Returns
    -------
    ndarray, shape (ceil(Y / 2), ceil(X / 2)) or with channels
        Integers are rounded half up.
    """
    height, width = values.shape[:2]
    edges = [(0, height % 2), (0, width % 2), *[(0, 0)] * (values.ndim - 2)]
    if height % 2 or width % 2:
        values = np.pad(values, edges, mode="edge")
    corners = [values[row::2, column::2] for row in (0, 1) for column in (0, 1)]
    if values.dtype.kind == "b":
        return np.asarray(sum(corner.astype(np.uint8) for corner in corners)) >= 2
    if values.dtype.kind == "f":
        exact = np.promote_types(values.dtype, np.float32)
        total = sum(corner.astype(exact) * exact.type(0.25) for corner in corners)
        return np.asarray(total).astype(values.dtype)
    # Quarters and remainders are added separately, so that 64-bit integers do not overflow.
    quarters = sum(corner >> 2 for corner in corners)
    remainders = sum(corner & 3 for corner in corners)
    return np.asarray(quarters + ((remainders + 2) >> 2), values.dtype)
