"""Values of Labels layers at the pixels of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_colorize.array_types import AnyArray, Float64Array
    from napari_colorize.napari.guide.grid import Grid


def labels_at(layer: Labels, grid: Grid) -> AnyArray:
    """The nearest label at each pixel of a grid; 0 outside the layer.

    Parameters
    ----------
    layer : Labels
        May be multiscale; of a stack the plane at the grid's position is used.
    grid : Grid
        The pixels.

    Returns
    -------
    ndarray of int, shape (Y, X)
        Of the layer's dtype; can be a view of its data.
    """
    matrix, offset = grid.affine(layer)
    level = _level(layer, grid.size)
    largest = layer.data[0] if layer.multiscale else layer.data
    # Positions are in pixels of the largest level; the level that is read can be smaller.
    shrink = np.array(level.shape) / largest.shape
    position = (grid.position(layer) + 0.5) * shrink[:-2] - 0.5
    index = np.rint(position).astype(int)
    if np.any(index < 0) or np.any(index >= level.shape[:-2]):
        return np.zeros(grid.size, level.dtype)
    plane = np.asarray(level[tuple(index)])
    inverse = np.linalg.inv(matrix) * shrink[-2:]
    first = (-offset @ np.linalg.inv(matrix) + 0.5) * shrink[-2:] - 0.5
    return _sampled(plane, inverse, first, grid.size)


def _level(layer: Labels, size: tuple[int, int]) -> Any:
    """The data; of a multiscale layer the smallest level that is not coarser than the grid."""
    if not layer.multiscale:
        return layer.data
    fine = [level for level in layer.data if level.shape[-2] >= size[0]]
    return fine[-1] if fine else layer.data[0]


def _sampled(
    plane: AnyArray, matrix: Float64Array, offset: Float64Array, size: tuple[int, int]
) -> AnyArray:
    """Nearest values of a plane at `pixels @ matrix + offset`, for the pixels of a grid."""
    is_axis_aligned = np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-9)
    if not is_axis_aligned:
        points = np.indices(size).reshape(2, -1).T @ matrix + offset
        rows, columns = (axis.reshape(size) for axis in np.rint(points).astype(int).T)
        inside = (rows >= 0) & (rows < plane.shape[0]) & (columns >= 0) & (columns < plane.shape[1])
        sampled = np.zeros(size, plane.dtype)
        sampled[inside] = plane[rows[inside], columns[inside]]
        return sampled
    along = [
        np.rint(np.arange(length) * matrix[axis, axis] + offset[axis]).astype(int)
        for axis, length in enumerate(size)
    ]
    # The usual case, labels placed like the image: no copy.
    if plane.shape == size and all(np.array_equal(each, np.arange(len(each))) for each in along):
        return plane
    inside = [
        (points >= 0) & (points < length) for points, length in zip(along, plane.shape, strict=True)
    ]
    sampled = np.zeros(size, plane.dtype)
    sampled[np.ix_(*inside)] = plane[np.ix_(*(a[i] for a, i in zip(along, inside, strict=True)))]
    return sampled
