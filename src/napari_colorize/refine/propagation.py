"""Propagate hinted values to similar neighboring pixels.

This is the optimization of Levin, Lischinski and Weiss, "Colorization using optimization" (ACM
Transactions on Graphics 23, 2004, section 2): neighboring pixels of similar luminance get similar
colors. In the paper every color comes from a scribble. Here hints modify a prediction and must act
only near their region, so three terms are added:

- Every pixel has a data term for "no change". It increases with the distance to the nearest hint
  along the shortest path in the image, where edges lengthen the path.
- The cover, the share of each pixel that hints determine, is solved for together with the colors. A
  smooth threshold maps it to 0 or 1, so that regions are filled evenly and end.
- Affinities are scaled by the local variance of the luminance, because luminance varies more in
  texture. The minimum variance of a neighborhood is used, so that edges do not count as texture.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_colorize.array_types import Float64Array, IndexArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MIN_PIXELS, MAX_PIXELS = 30_000, 100_000  # limits of the work size, else a tenth of the image
# The values below were chosen on 24 photographs with 1, 5 and 20 dots of their true colors each,
# and visually. Half or twice of any of them changes the color error by less than a tenth.
MIN_DEVIATION, MAX_DEVIATION = 0.012, 0.1  # limits of the local luminance deviation
TEXTURE = 2.5  # factor on the minimum variance of the neighborhood
MAX_EXPONENT = 50.0  # of an affinity; stronger edges are treated alike
MIN_AFFINITY = 1e-4  # keeps isolated pixels connected to their neighbors
EDGE_LENGTH = 100.0  # path length in pixels of an affinity exponent of 1
MIN_DIAGONAL = 250.0  # pixels; smaller images are treated as crops of a larger one
ANCHOR = 1e-6  # weight of "no change" next to a hint; grows by e per unit of path length
FARTHEST = -math.log(ANCHOR)  # path length at which that weight is 1, the limit of hints' effect
COVER_LOW, COVER_HIGH = 0.05, 0.4  # cover that counts as 0 and as 1
LEAF_PIXELS = 32  # block size below which the order is not refined


def work_size(full: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which hints are propagated.

    About a tenth of the pixels of the image, within `MIN_PIXELS` and `MAX_PIXELS`; at most its
    size.
    """
    height, width = full
    pixels = min(max(height * width // 10, MIN_PIXELS), MAX_PIXELS)
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    rows = max(1, min(round(height * scale), pixels))
    return rows, max(1, min(round(width * scale), pixels // rows, width))


def propagate(gray: Tensor, mask: Tensor, values: Tensor) -> Tensor:
    """Propagate values (h, w, C) from hinted pixels to similar neighboring pixels.

    Let s minimize sum w_ij (s_i - s_j)^2 + sum e_i s_i^2 over pairs of neighboring pixels and over
    pixels, with s given at hints, and let c be the minimum for the value 1 at hints. The affinities
    w_ij are exp(-(Y_i - Y_j)^2 / variance), as in Levin et al. 2004, eq. (2), divided by the
    distance of the two pixels. The data term is e_i = `ANCHOR` exp(d_i), where d_i is the length of
    the shortest path to a hint; the diagonal of an even image has length 1. The result is s / c, a
    mean of the hinted values, times a step function of c, which is 0 below `COVER_LOW` and 1 above
    `COVER_HIGH`.

    The result is linear in `values`, of which only those at hints are used, exact at hints, and
    within the range of the values and 0. Prediction and hints are combined as ``prediction * (1 -
    propagate(1)) + propagate(hints)``.

    `gray` (h, w) is luminance in [0, 1] at `work_size`; NaN counts as black. `mask` (h, w) is True
    at hints; without any, the result is 0. The result is float32 on the device of `gray`; the
    computation runs on the CPU in float64.

    Raises
    ------
    ValueError
        If the shapes do not match.
    """
    if gray.shape != mask.shape or gray.shape != values.shape[:2]:
        raise ValueError(
            "gray, mask and values must cover the same pixels, got "
            f"{tuple(gray.shape)}, {tuple(mask.shape)} and {tuple(values.shape[:2])}."
        )
    hinted = mask.cpu().numpy().astype(bool).ravel()
    if not hinted.any():
        return torch.zeros_like(values, dtype=torch.float32, device=gray.device)
    given = values[mask.to(values.device)].cpu().double().numpy()
    luminance = gray.cpu().double().nan_to_num(nan=0.0).numpy()
    with_cover = np.concatenate([np.ones((len(given), 1)), given], axis=1)
    solution = _minimum(luminance, hinted, with_cover)
    cover = solution[:, :1]
    share = _smooth_step((cover - COVER_LOW) / (COVER_HIGH - COVER_LOW))
    share /= np.maximum(cover, COVER_LOW)
    result = torch.from_numpy((solution[:, 1:] * share).astype(np.float32))
    return result.view(values.shape).to(gray.device)


def _minimum(gray: Float64Array, hinted: NDArray[np.bool_], given: Float64Array) -> Float64Array:
    """Solve for the minimum `(h * w, C)`, given values `(n, C)` at hinted pixels `(h * w,)`."""
    first, second, distance = _links(*gray.shape)
    exponent = _exponent(gray, first, second)
    lengths = (1 + EDGE_LENGTH * exponent) * distance / max(math.hypot(*gray.shape), MIN_DIAGONAL)
    path_length = _distance(_matrix(lengths, first, second, np.zeros(gray.size)), hinted)
    affinity = (np.exp(-exponent) + MIN_AFFINITY) / distance
    diagonal = ANCHOR * np.exp(np.minimum(path_length, FARTHEST))
    diagonal += np.bincount(first, affinity, gray.size) + np.bincount(second, affinity, gray.size)
    order = _order(*gray.shape)
    unknown = order[(~hinted & (path_length < FARTHEST))[order]]
    solution = np.zeros((gray.size, given.shape[1]))
    solution[hinted] = given
    if unknown.size:
        system = _matrix(-affinity, first, second, diagonal)[unknown]
        solution[unknown] = _solve(system[:, unknown], -system[:, np.flatnonzero(hinted)] @ given)
    return solution


def _links(height: int, width: int) -> tuple[IndexArray, IndexArray, Float64Array]:
    """Return index pairs of 8-connected neighbors and the distance of each pair in pixels."""
    index = np.arange(height * width).reshape(height, width)
    pairs = [
        (index[:, :-1], index[:, 1:], 1.0),
        (index[:-1], index[1:], 1.0),
        (index[:-1, :-1], index[1:, 1:], math.sqrt(2)),
        (index[:-1, 1:], index[1:, :-1], math.sqrt(2)),
    ]
    first = np.concatenate([one.ravel() for one, _, _ in pairs])
    second = np.concatenate([other.ravel() for _, other, _ in pairs])
    return (
        first,
        second,
        np.concatenate([np.full(one.size, distance) for one, _, distance in pairs]),
    )


def _exponent(gray: Float64Array, first: IndexArray, second: IndexArray) -> Float64Array:
    """Negative logarithm of the affinity of each pair of pixels."""
    variance = _tolerance(gray).ravel()
    difference = gray.ravel()[first] - gray.ravel()[second]
    exponent = difference**2 / np.minimum(variance[first], variance[second])
    return np.minimum(exponent, MAX_EXPONENT)


def _tolerance(gray: Float64Array) -> Float64Array:
    """Squared luminance difference that is typical of the neighborhood of each pixel."""
    from scipy.ndimage import minimum_filter, uniform_filter

    mean = uniform_filter(gray, 3, mode="nearest")
    variance = uniform_filter(gray * gray, 3, mode="nearest") - mean * mean
    # An edge raises the variance in a band of up to 4 pixels: a minimum over 5 ignores it.
    variance = TEXTURE * minimum_filter(variance, 5, mode="nearest")
    return np.clip(variance, MIN_DEVIATION**2, MAX_DEVIATION**2)


def _matrix(
    values: Float64Array, first: IndexArray, second: IndexArray, diagonal: Float64Array
) -> csr_array:
    """Symmetric sparse matrix from values of pairs and a diagonal."""
    from scipy.sparse import coo_array

    pixels = np.arange(diagonal.size)
    positions = np.concatenate([first, second, pixels]), np.concatenate([second, first, pixels])
    shape = diagonal.size, diagonal.size
    return coo_array((np.concatenate([values, values, diagonal]), positions), shape=shape).tocsr()


def _distance(lengths: csr_array, hinted: NDArray[np.bool_]) -> Float64Array:
    """Path length from each pixel to the nearest hint; infinite beyond `FARTHEST`."""
    from scipy.sparse.csgraph import dijkstra

    sources = np.flatnonzero(hinted)
    path_length: Float64Array = dijkstra(lengths, indices=sources, min_only=True, limit=FARTHEST)
    return path_length


def _solve(system: csr_array, right: Float64Array) -> Float64Array:
    """Solve a sparse system by elimination in the given order.

    Pivoting is not needed: the system is symmetric and diagonally dominant.
    """
    from scipy.sparse.linalg import splu

    factors = splu(
        system.tocsc(),
        permc_spec="NATURAL",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    solution: Float64Array = factors.solve(right)
    return solution


@lru_cache(maxsize=4)  # the order depends on the size only, and is reused while hints are drawn
def _order(height: int, width: int) -> IndexArray:
    """Return pixel indices in nested-dissection order (George 1973), which keeps factors sparse."""
    order = np.concatenate(_dissect(np.arange(height * width).reshape(height, width)))
    order.setflags(write=False)
    return order


def _dissect(block: IndexArray) -> list[IndexArray]:
    """Order a block recursively: two halves first, then the separator between them."""
    if block.size <= LEAF_PIXELS:
        return [block.ravel()]
    if block.shape[0] < block.shape[1]:
        block = block.T
    middle = block.shape[0] // 2
    return [*_dissect(block[:middle]), *_dissect(block[middle + 1 :]), block[middle]]


def _smooth_step(x: Float64Array) -> Float64Array:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
