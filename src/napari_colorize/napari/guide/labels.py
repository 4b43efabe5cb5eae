"""Numbers that were painted: the labels of a layer at the pixels of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_colorize.napari.crop import Floats
    from napari_colorize.napari.guide.grid import Grid

Array = NDArray[Any]


def labels_on(layer: Labels, grid: Grid) -> Array:
    """The label at each pixel of a grid, the nearest one; 0 beside the layer.

    Parameters
    ----------
    layer : Labels
        Also a multiscale one; of a stack the plane at the grid's place.
    grid : Grid
        Whose pixels are meant.

    Returns
    -------
    ndarray of int, shape (Y, X)
        Of the layer's dtype; perhaps a view of its data.
    """
    linear, start = grid.linear(layer)
    level = _level(layer, grid.size)
    largest = layer.data[0] if layer.multiscale else layer.data
    # The same place in the numbers of the level's own, smaller array.
    shrunk = np.array(level.shape) / largest.shape
    place = (grid.place(layer) + 0.5) * shrunk[:-2] - 0.5
    index = np.rint(place).astype(int)
    if np.any(index < 0) or np.any(index >= level.shape[:-2]):
        return np.zeros(grid.size, level.dtype)
    plane = np.asarray(level[tuple(index)])
    back = np.linalg.inv(linear) * shrunk[-2:]
    first = (-start @ np.linalg.inv(linear) + 0.5) * shrunk[-2:] - 0.5
    return _sampled(plane, back, first, grid.size)


def _level(layer: Labels, size: tuple[int, int]) -> Any:
    """The data; of several levels the coarsest that is as fine as the grid."""
    if not layer.multiscale:
        return layer.data
    fine = [level for level in layer.data if level.shape[-2] >= size[0]]
    return fine[-1] if fine else layer.data[0]


def _sampled(plane: Array, linear: Floats, start: Floats, size: tuple[int, int]) -> Array:
    """Values of a plane at rows and columns of another grid, times `linear`, plus `start`."""
    is_upright = np.allclose(linear, np.diag(np.diag(linear)), atol=1e-9)
    if not is_upright:
        places = np.indices(size).reshape(2, -1).T @ linear + start
        rows, columns = (axis.reshape(size) for axis in np.rint(places).astype(int).T)
        inside = (rows >= 0) & (rows < plane.shape[0]) & (columns >= 0) & (columns < plane.shape[1])
        found = np.zeros(size, plane.dtype)
        found[inside] = plane[rows[inside], columns[inside]]
        return found
    along = [
        np.rint(np.arange(length) * linear[axis, axis] + start[axis]).astype(int)
        for axis, length in enumerate(size)
    ]
    if plane.shape == size and all(np.array_equal(each, np.arange(len(each))) for each in along):
        return plane
    inside = [
        (places >= 0) & (places < length) for places, length in zip(along, plane.shape, strict=True)
    ]
    found = np.zeros(size, plane.dtype)
    found[np.ix_(*inside)] = plane[np.ix_(*(a[i] for a, i in zip(along, inside, strict=True)))]
    return found
