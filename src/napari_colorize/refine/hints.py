"""Hints: colours that a person gave to some pixels, from whatever they were drawn with.

`shrink` brings them to the size at which they are spread (see `spreading`); `strokes` lists them at
the picture's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize.imaging.planes import default_limits, to_numpy

Floats = NDArray[np.float64]

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
