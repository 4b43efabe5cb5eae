"""Spreading: what a few pixels were given, over all that belongs to them.

It is the optimisation of Levin, Lischinski & Weiss, "Colorization using optimization" (ACM
Transactions on Graphics 23, 2004, section 2): neighbours of like luminance get like colours. There
every colour comes from a scribble. Here a prediction stands behind, and a scribble shall change
what belongs to it and nothing else, so three things are added:

- every pixel is held to "no change", the more firmly the farther it is from the scribbles along
  the shortest way over the picture, where edges count as long ways;
- the quantity solved for beside the colours is how much of a pixel the scribbles hold: most of it
  counts as all, next to nothing as nothing, so that regions are filled evenly and end;
- luminance varies more in texture than in smooth parts and so it may: by the smallest variance
  around, as edges, which are narrow, do not count as texture.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

FEWEST, MOST = 30_000, 100_000  # pixels at which spreading works: a tenth of the picture's, or
# The values below were chosen on 24 photographs with 1, 5 and 20 dots of their true colours each,
# and by eye; half or twice of one changes the error of colours by less than a tenth.
SMOOTH, ROUGH = 0.012, 0.1  # differences of luminance that are none: at least, and at most
TEXTURE = 2.5  # variance that is tolerated, as a factor on the smallest variance around
LARGEST_EXPONENT = 50.0  # of an affinity: beyond, all edges are as high
LEAST_AFFINITY = 1e-4  # pixels unlike all their neighbours are still nearer to these than to none
WAY = 100.0  # how many pixels of even luminance are as long a way as one exponent of 1
SHORTEST = 250.0  # pixels on the diagonal: smaller pictures are parts of pictures, not overviews
HELD = 1e-6  # how firmly a pixel at a scribble is held to no change; e times as firmly 1 farther
FARTHEST = -math.log(HELD)  # where that is as firm as the best of links, scribbles change nothing
NOTHING, ALL = 0.05, 0.4  # shares of a pixel held by scribbles that count as none and as all
LEAF = 32  # pixels that are eliminated in any order


def work_size(full: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which hints are spread: a tenth of the pixels, within limits.

    Parameters
    ----------
    full : tuple of int
        Height and width of the picture. What comes out is nowhere larger.
    """
    height, width = full
    pixels = min(max(height * width // 10, FEWEST), MOST)
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    rows = max(1, min(round(height * scale), pixels))
    return rows, max(1, min(round(width * scale), pixels // rows, width))


def propagate(gray: Tensor, mask: Tensor, values: Tensor) -> Tensor:
    """Spread values from hinted pixels over what belongs to these.

    Let s minimise sum w_ij (s_i - s_j)^2 + sum e_i s_i^2 over pairs of pixels that touch, and over
    pixels, with s given at hints, and c likewise with 1 at hints. Affinities w_ij are
    exp(-(Y_i - Y_j)^2 / variance), as in Levin et al. 2004, eq. (2), over the distance of the two
    pixels. e_i = `HELD` exp(d_i) holds a pixel to 0: d_i is the length of the shortest way to a
    hint, 1 for the picture's diagonal if all is even. What comes out is s / c, a mean of the hints'
    values, times the share of it that counts: 0 where c is below `NOTHING`, 1 above `ALL`.

    It is linear in values, exact at hints, and never beyond their range and 0. So prediction and
    hints are joined by ``prediction * (1 - spread(1)) + spread(hints)``.

    Parameters
    ----------
    gray : Tensor, shape (h, w)
        Luminance in [0, 1], of `work_size`; NaN counts as black.
    mask : Tensor, shape (h, w)
        bool, the hints. Without any, what comes out is 0.
    values : Tensor, shape (h, w, C)
        Any quantities, meant at hints only.

    Returns
    -------
    Tensor, shape (h, w, C)
        float32, on the device of `gray`. The work is done on the CPU, in float64.

    Raises
    ------
    ValueError
        If the shapes do not fit.
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
    found = _minimum(luminance, hinted, with_cover)
    cover = found[:, :1]
    share = _smooth_step((cover - NOTHING) / (ALL - NOTHING)) / np.maximum(cover, NOTHING)
    result = torch.from_numpy((found[:, 1:] * share).astype(np.float32))
    return result.view(values.shape).to(gray.device)


def _minimum(gray: Floats, hinted: NDArray[np.bool_], given: Floats) -> Floats:
    """The minimum `(h * w, C)` for values `(n, C)` given at hinted pixels `(h * w,)`."""
    first, second, apart = _links(*gray.shape)
    exponent = _exponent(gray, first, second)
    lengths = (1 + WAY * exponent) * apart / max(math.hypot(*gray.shape), SHORTEST)
    distance = _distance(_matrix(lengths, first, second, np.zeros(gray.size)), hinted)
    affinity = (np.exp(-exponent) + LEAST_AFFINITY) / apart
    held = HELD * np.exp(np.minimum(distance, FARTHEST))
    held += np.bincount(first, affinity, gray.size) + np.bincount(second, affinity, gray.size)
    order = _order(*gray.shape)
    unknown = order[(~hinted & (distance < FARTHEST))[order]]
    found = np.zeros((gray.size, given.shape[1]))
    found[hinted] = given
    if unknown.size:
        system = _matrix(-affinity, first, second, held)[unknown]
        found[unknown] = _solve(system[:, unknown], -system[:, np.flatnonzero(hinted)] @ given)
    return found


def _links(height: int, width: int) -> tuple[Indices, Indices, Floats]:
    """Pairs of pixels that touch, at a side or a corner, as indices, and how far apart they are."""
    index = np.arange(height * width).reshape(height, width)
    pairs = [
        (index[:, :-1], index[:, 1:], 1.0),
        (index[:-1], index[1:], 1.0),
        (index[:-1, :-1], index[1:, 1:], math.sqrt(2)),
        (index[:-1, 1:], index[1:, :-1], math.sqrt(2)),
    ]
    first = np.concatenate([one.ravel() for one, _, _ in pairs])
    second = np.concatenate([other.ravel() for _, other, _ in pairs])
    return first, second, np.concatenate([np.full(one.size, apart) for one, _, apart in pairs])


def _exponent(gray: Floats, first: Indices, second: Indices) -> Floats:
    """Minus the logarithm of the affinities of pairs of pixels."""
    variance = _tolerance(gray).ravel()
    difference = gray.ravel()[first] - gray.ravel()[second]
    exponent = difference**2 / np.minimum(variance[first], variance[second])
    return np.minimum(exponent, LARGEST_EXPONENT)


def _tolerance(gray: Floats) -> Floats:
    """Squared difference of luminance that is usual around a pixel."""
    from scipy.ndimage import minimum_filter, uniform_filter

    mean = uniform_filter(gray, 3, mode="nearest")
    variance = uniform_filter(gray * gray, 3, mode="nearest") - mean * mean
    # An edge makes the variance large in a band of up to 4 pixels, which a window of 5 overlooks.
    return np.clip(TEXTURE * minimum_filter(variance, 5, mode="nearest"), SMOOTH**2, ROUGH**2)


def _matrix(values: Floats, first: Indices, second: Indices, diagonal: Floats) -> csr_array:
    """Symmetric, from values of pairs and a diagonal."""
    from scipy.sparse import coo_array

    own = np.arange(diagonal.size)
    places = np.concatenate([first, second, own]), np.concatenate([second, first, own])
    shape = diagonal.size, diagonal.size
    return coo_array((np.concatenate([values, values, diagonal]), places), shape=shape).tocsr()


def _distance(lengths: csr_array, hinted: NDArray[np.bool_]) -> Floats:
    """From each pixel to the nearest hint, infinite if that is farther than anything matters."""
    from scipy.sparse.csgraph import dijkstra

    sources = np.flatnonzero(hinted)
    distance: Floats = dijkstra(lengths, indices=sources, min_only=True, limit=FARTHEST)
    return distance


def _solve(system: csr_array, right: Floats) -> Floats:
    """By elimination in the order given; the system is symmetric and dominated by its diagonal."""
    from scipy.sparse.linalg import splu

    factors = splu(
        system.tocsc(),
        permc_spec="NATURAL",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    solution: Floats = factors.solve(right)
    return solution


@lru_cache(maxsize=4)  # pixels in this order stay the same while a person scribbles
def _order(height: int, width: int) -> Indices:
    """Pixels in the order of nested dissection (George 1973), which keeps elimination sparse."""
    order = np.concatenate(_dissected(np.arange(height * width).reshape(height, width)))
    order.setflags(write=False)
    return order


def _dissected(block: Indices) -> list[Indices]:
    """Two halves first, then the line between them, which parts them."""
    if block.size <= LEAF:
        return [block.ravel()]
    if block.shape[0] < block.shape[1]:
        block = block.T
    middle = block.shape[0] // 2
    return [*_dissected(block[:middle]), *_dissected(block[middle + 1 :]), block[middle]]


def _smooth_step(x: Floats) -> Floats:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
