"""Hints: colours that a person gave to some pixels, and how they spread to what belongs to them.

`Hints` are scribbles on a picture, from whatever they were drawn with. `shrink` brings them to the
size at which `spread` works (`work_size`); `strokes` lists them at the picture's own.

Spreading is the optimisation of Levin, Lischinski & Weiss, "Colorization using optimization" (ACM
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_colorize.color import rgb_to_yuv
from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.planes import default_limits, to_numpy

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
OPAQUE = 0.5  # of full opacity: the smooth rims of a painted scribble are half a colour


@dataclass(frozen=True, eq=False)
class Hints:
    """Scribbles: where a person said what colour it is.

    Only the hue and the strength of a colour are taken: the picture's luminance stays.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        Which pixels of the picture are scribbled on.
    rgb : ndarray, shape (Y, X, 3)
        float32 in [0, 1]; what is not in the mask has no meaning.

    Raises
    ------
    ImageError
        If they are not of these shapes, or a colour is not within 0 and 1.
    """

    mask: NDArray[np.bool_] = field(repr=False)
    rgb: NDArray[np.float32] = field(repr=False)

    def __post_init__(self) -> None:
        mask, rgb = np.asarray(self.mask), np.asarray(self.rgb)
        if mask.ndim != 2 or rgb.shape != (*mask.shape, 3):
            raise ImageError(
                "Hints are a mask (Y, X) and colours (Y, X, 3) of the same pixels, got "
                f"{mask.shape} and {rgb.shape}."
            )
        if rgb.dtype.kind not in "buif":
            raise ImageError(f"Colours of hints are real numbers, got type {rgb.dtype}.")
        object.__setattr__(self, "mask", mask.astype(bool, copy=False))
        object.__setattr__(self, "rgb", rgb.astype(np.float32, copy=False))
        if not _is_unit(self.rgb[self.mask]):
            raise ImageError("Colours of hints must lie within 0 and 1: divide 8-bit ones by 255.")

    @classmethod
    def from_rgba(cls, image: Any) -> Hints:
        """Scribbles painted on a transparent picture.

        Parameters
        ----------
        image : array, shape (Y, X, 4)
            Of any real dtype, R, G, B and opacity; 1 is that of the dtype as for any picture
            (255, 65535, 1.0; of other ranges the largest value). Pixels that are at least half
            opaque are scribbles.

        Raises
        ------
        ImageError
            If it has not four channels, or negative values.
        """
        pixels = to_numpy(image)
        if pixels.ndim != 3 or pixels.shape[2] != 4:
            raise ImageError(
                f"Scribbles are an RGBA picture, (Y, X, 4), got an array of shape {pixels.shape}."
            )
        full = float(default_limits(pixels)[0][1])
        if not full > 0:  # nothing but zeros: nothing is opaque
            return cls(np.zeros(pixels.shape[:2], bool), np.zeros((*pixels.shape[:2], 3), "f4"))
        return _laid(pixels[..., 3] >= OPAQUE * full, pixels[..., :3], full)

    @classmethod
    def from_points(
        cls,
        points: ArrayLike,
        colors: ArrayLike,
        size: float | Sequence[float] | NDArray[Any],
        shape: tuple[int, int],
    ) -> Hints:
        """Dots of a size; where two meet, the later one is on top.

        Parameters
        ----------
        points : array, shape (N, 2)
            Row and column of each centre in pixels, (0, 0) the middle of the first. What lies
            beyond the picture is left out.
        colors : array, shape (N, 3) or (N, 4)
            RGB in [0, 1]. Points whose fourth value, opacity, is 0 are left out.
        size : float or array, shape (N,)
            Diameters in pixels. Of a dot on the picture at least the nearest pixel is hinted.
        shape : tuple of int
            Height and width of the picture.

        Raises
        ------
        SettingsError
            If these do not fit together, or a colour is not within 0 and 1.
        """
        centers, dots, sizes = _checked_points(points, colors, size)
        mask, rgb = np.zeros(shape, bool), np.zeros((*shape, 3), np.float32)
        for center, color, diameter in zip(centers, dots, sizes, strict=True):
            _stamp(mask, rgb, center, color, diameter / 2)
        return cls(mask, rgb)

    @classmethod
    def from_labels(cls, labels: ArrayLike, colors: Mapping[int, Sequence[float]]) -> Hints:
        """Areas painted with numbers, each of which stands for a colour.

        Parameters
        ----------
        labels : array of int, shape (Y, X)
            0, and numbers without a colour, are no scribbles.
        colors : mapping of int to sequence of float
            RGB in [0, 1]; with a fourth value, opacity, of 0 a number has no colour.

        Raises
        ------
        ImageError
            If labels are not integers in two axes.
        SettingsError
            If a colour is not three or four numbers within 0 and 1.
        """
        numbers = np.asarray(labels)
        if numbers.ndim != 2 or numbers.dtype.kind not in "bui":
            raise ImageError(
                f"Labels are whole numbers in two axes, (Y, X), got {numbers.dtype} of shape "
                f"{numbers.shape}."
            )
        mask = np.zeros(numbers.shape, bool)
        rgb = np.zeros((*numbers.shape, 3), np.float32)
        rows, columns = np.nonzero(numbers)
        painted = numbers[rows, columns]
        for number, given in colors.items():
            color = _checked_colors([given], 1)[0]
            if color[-1] > 0:
                here = painted == number
                mask[rows[here], columns[here]] = True
                rgb[rows[here], columns[here]] = color[:3]
        return cls(mask, rgb)


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


def strokes(hints: Hints) -> tuple[Tensor, Tensor, Tensor]:
    """The scribbles as a list, ordered by rows.

    Returns
    -------
    rows, columns : Tensor, shape (n,)
        int64, the hinted pixels.
    uv : Tensor, shape (n, 2)
        float32 U and V of their colours.
    """
    rows, columns = np.nonzero(hints.mask)
    uv = rgb_to_yuv(torch.from_numpy(hints.rgb[rows, columns]))[:, 1:]
    return torch.from_numpy(rows), torch.from_numpy(columns), uv


def shrink(hints: Hints, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Hints at a smaller size, however small they are: a pixel is hinted if any part of it is.

    Parameters
    ----------
    hints : Hints
        Of the picture.
    size : tuple of int
        Height and width, not larger than the picture's.

    Returns
    -------
    mask : Tensor, shape (h, w)
        bool.
    uv : Tensor, shape (h, w, 2)
        float32 U and V, means over what is hinted; 0 elsewhere.
    """
    (height, width), (full_height, full_width) = size, hints.mask.shape
    rows, columns, uv = strokes(hints)
    places = rows * height // full_height * width + columns * width // full_width
    count = torch.zeros(height * width).index_add_(0, places, torch.ones(len(places)))
    total = torch.zeros(height * width, 2).index_add_(0, places, uv)
    mean = total / count.clamp_min(1)[:, None]
    return (count > 0).view(size), mean.view(*size, 2)


def spread(gray: Tensor, mask: Tensor, values: Tensor) -> Tensor:
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


def _is_unit(values: NDArray[Any]) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())  # NaN is neither


def _laid(mask: NDArray[np.bool_], pixels: NDArray[Any], full: float) -> Hints:
    rgb = np.zeros(pixels.shape, np.float32)
    rgb[mask] = pixels[mask] / full
    return Hints(mask, rgb)


def _checked_colors(colors: Any, count: int) -> NDArray[np.float32]:
    """Colours (N, 4) in [0, 1]; those without opacity are opaque."""
    try:
        values = np.asarray(colors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"Colours are rows of three or four numbers, got {colors!r}."
        ) from error
    if count == 0 and values.size == 0:
        return np.zeros((0, 4), np.float32)
    if values.ndim != 2 or values.shape[0] != count or values.shape[1] not in (3, 4):
        raise SettingsError(
            f"Expected {count} colours of three or four numbers each, got shape {values.shape}."
        )
    if not _is_unit(values):
        raise SettingsError("Colours must lie within 0 and 1: divide 8-bit ones by 255.")
    return np.pad(values, ((0, 0), (0, 4 - values.shape[1])), constant_values=1)


def _checked_points(
    points: Any, colors: Any, size: Any
) -> tuple[Floats, NDArray[np.float32], Floats]:
    """Centres (N, 2), RGB (N, 3) and diameters (N,) of the dots that are to be seen."""
    centers = np.asarray(points, dtype=np.float64)
    if centers.size == 0:
        centers = centers.reshape(0, 2)
    if centers.ndim != 2 or centers.shape[1] != 2 or not np.isfinite(centers).all():
        raise SettingsError(f"Points are rows and columns, (N, 2), got shape {centers.shape}.")
    dots = _checked_colors(colors, len(centers))
    sizes = np.asarray(size, dtype=np.float64)
    if sizes.shape not in ((), (len(centers),)) or not (sizes > 0).all():
        raise SettingsError("Sizes of points must be above 0: one for all or one for each.")
    seen = dots[:, 3] > 0
    return centers[seen], dots[seen, :3], np.broadcast_to(sizes, len(centers))[seen]


def _stamp(
    mask: NDArray[np.bool_],
    rgb: NDArray[np.float32],
    center: Floats,
    color: NDArray[np.float32],
    radius: float,
) -> None:
    """Put one dot onto the picture."""
    limits = np.array(mask.shape)
    nearest = np.floor(center + 0.5).astype(int)
    low = np.clip(np.ceil(center - radius).astype(int), 0, limits)
    high = np.clip(np.floor(center + radius).astype(int) + 1, 0, limits)
    rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
    dot = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2
    box = slice(low[0], high[0]), slice(low[1], high[1])
    mask[box][dot] = True
    rgb[box][dot] = color
    if ((nearest >= 0) & (nearest < limits)).all():
        mask[tuple(nearest)] = True
        rgb[tuple(nearest)] = color
