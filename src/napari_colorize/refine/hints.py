"""Color hints: colors of some pixels of an image, given by the user.

`shrink_hints` reduces them to the size at which they are propagated (see `propagation`), and
`hinted_pixels` lists them at full size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_colorize.array_types import AnyArray, Float32Array, Float64Array
from napari_colorize.errors import ColorizeNote, ImageError, SettingsError, warn
from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize.imaging.intensity_range import image_range
from napari_colorize.imaging.planes import to_numpy

MIN_OPACITY = 0.5  # share of full opacity: excludes the antialiased border of a brush stroke
MAX_LISTED = 5  # points in a note


@dataclass(frozen=True, eq=False)
class Hints:
    """Colors of some pixels of an image.

    Only hue and saturation of the colors are used. The luminance of the image is preserved.

    Parameters
    ----------
    mask : ndarray of bool, shape (Y, X)
        True at hinted pixels.
    rgb : ndarray, shape (Y, X, 3)
        float32 sRGB in [0, 1]. Values outside the mask are ignored.

    Raises
    ------
    ImageError
        If the shapes do not match or a color is outside 0 to 1.
    """

    mask: NDArray[np.bool_] = field(repr=False)
    rgb: Float32Array = field(repr=False)

    def __post_init__(self) -> None:
        mask, rgb = np.asarray(self.mask), np.asarray(self.rgb)
        if mask.ndim != 2 or rgb.shape != (*mask.shape, 3):
            raise ImageError(
                "Hints need a mask (Y, X) and colors (Y, X, 3) of the same size, got "
                f"{mask.shape} and {rgb.shape}."
            )
        if rgb.dtype.kind not in "buif":
            raise ImageError(f"Colors of hints must be real numbers, got dtype {rgb.dtype}.")
        object.__setattr__(self, "mask", mask.astype(bool, copy=False))
        object.__setattr__(self, "rgb", rgb.astype(np.float32, copy=False))
        if not _is_unit(self.rgb[self.mask]):
            raise ImageError("Colors of hints must be between 0 and 1: divide 8-bit colors by 255.")

    @classmethod
    def from_rgba(cls, image: Any) -> Hints:
        """Create hints from an RGBA image.

        Parameters
        ----------
        image : array, shape (Y, X, 4)
            R, G, B and alpha of any real dtype. Full opacity is the white of the image's intensity
            range (255, 65535, 1.0, ...). Pixels with alpha of at least half of it are hints.

        Raises
        ------
        ImageError
            If the array does not have four channels, or has negative values.
        """
        pixels = to_numpy(image)
        if pixels.ndim != 3 or pixels.shape[2] != 4:
            raise ImageError(
                f"Hints need an RGBA image, (Y, X, 4), got an array of shape {pixels.shape}."
            )
        white = float(image_range(pixels).limits[1])
        if not white > 0:  # only zeros: fully transparent
            return cls(np.zeros(pixels.shape[:2], bool), np.zeros((*pixels.shape[:2], 3), "f4"))
        return _from_pixels(pixels[..., 3] >= MIN_OPACITY * white, pixels[..., :3], white)

    @classmethod
    def from_points(
        cls,
        points: ArrayLike,
        colors: ArrayLike,
        size: float | Sequence[float] | AnyArray,
        shape: tuple[int, int],
    ) -> Hints:
        """Create hints from points of a given size. Later points cover earlier ones.

        Parameters
        ----------
        points : array, shape (N, 2)
            Row and column of each center in pixels; (0, 0) is the center of the first pixel. Points
            outside the image are ignored with a note.
        colors : array, shape (N, 3) or (N, 4)
            RGB or RGBA in [0, 1]. Points with alpha 0 are ignored.
        size : float or array, shape (N,)
            Diameters in pixels. A point inside the image covers at least the nearest pixel.
        shape : tuple of int
            Height and width of the image.

        Raises
        ------
        SettingsError
            If the lengths do not match, a color is outside 0 to 1, or `shape` is not two numbers.
        """
        if len(shape) != 2:
            raise SettingsError(
                f"The shape of hints is the height and width of the image, got {shape}: for an "
                "image with channels last give image.shape[:2]."
            )
        centers, dot_colors, sizes = _checked_points(points, colors, size)
        mask, rgb = np.zeros(shape, bool), np.zeros((*shape, 3), np.float32)
        outside = [
            center
            for center, color, diameter in zip(centers, dot_colors, sizes, strict=True)
            if not _stamp(mask, rgb, center, color, diameter / 2)
        ]
        if outside:
            warn(_outside(outside, shape), ColorizeNote)
        return cls(mask, rgb)

    @classmethod
    def from_labels(cls, labels: ArrayLike, colors: Mapping[int, Sequence[float]]) -> Hints:
        """Create hints from a label image and one color per label.

        Parameters
        ----------
        labels : array of int, shape (Y, X)
            Label image. 0 and labels without a color are not hints.
        colors : mapping of int to sequence of float
            RGB or RGBA in [0, 1] per label. Labels with alpha 0 are ignored.

        Raises
        ------
        ImageError
            If labels are not integers or not two-dimensional.
        SettingsError
            If a color is not three or four numbers in 0 to 1.
        """
        label_image = np.asarray(labels)
        if label_image.ndim != 2 or label_image.dtype.kind not in "bui":
            raise ImageError(
                f"Labels must be integers with two axes, (Y, X), got {label_image.dtype} of shape "
                f"{label_image.shape}."
            )
        mask = np.zeros(label_image.shape, bool)
        rgb = np.zeros((*label_image.shape, 3), np.float32)
        rows, columns = np.nonzero(label_image)
        values = label_image[rows, columns]
        for label, label_color in colors.items():
            color = _checked_colors([label_color], 1)[0]
            if color[-1] > 0:
                is_label = values == label
                mask[rows[is_label], columns[is_label]] = True
                rgb[rows[is_label], columns[is_label]] = color[:3]
        return cls(mask, rgb)


def hinted_pixels(hints: Hints) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns (n,) of the hinted pixels, sorted by row, and their U and V (n, 2)."""
    rows, columns = np.nonzero(hints.mask)
    uv = rgb_to_yuv(torch.from_numpy(hints.rgb[rows, columns]))[:, 1:]
    return torch.from_numpy(rows), torch.from_numpy(columns), uv


def shrink_hints(hints: Hints, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Reduce hints to a smaller height and width. A pixel is hinted if any part of it is.

    Returns the mask of hinted pixels (h, w), and float32 U and V (h, w, 2), averaged over the
    hinted pixels; 0 elsewhere.
    """
    (height, width), (full_height, full_width) = size, hints.mask.shape
    rows, columns, uv = hinted_pixels(hints)
    flat_index = rows * height // full_height * width + columns * width // full_width
    count = torch.zeros(height * width).index_add_(0, flat_index, torch.ones(len(flat_index)))
    total = torch.zeros(height * width, 2).index_add_(0, flat_index, uv)
    mean = total / count.clamp_min(1)[:, None]
    return (count > 0).view(size), mean.view(*size, 2)


def _is_unit(values: AnyArray) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())  # False for NaN


def _from_pixels(mask: NDArray[np.bool_], pixels: AnyArray, white: float) -> Hints:
    """Create hints from a mask and unscaled RGB pixels."""
    rgb = np.zeros(pixels.shape, np.float32)
    rgb[mask] = pixels[mask] / white
    return Hints(mask, rgb)


def _checked_colors(colors: Any, count: int) -> Float32Array:
    """Return colors as RGBA (N, 4) in [0, 1]. RGB colors get alpha 1."""
    try:
        values = np.asarray(colors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"Colors must be rows of three or four numbers, got {colors!r}."
        ) from error
    if count == 0 and values.size == 0:
        return np.zeros((0, 4), np.float32)
    if values.ndim != 2 or values.shape[0] != count or values.shape[1] not in (3, 4):
        raise SettingsError(
            f"Expected {count} colors of three or four numbers each, got shape {values.shape}."
        )
    if not _is_unit(values):
        raise SettingsError("Colors must be between 0 and 1: divide 8-bit colors by 255.")
    return np.pad(values, ((0, 0), (0, 4 - values.shape[1])), constant_values=1)


def _checked_points(
    points: Any, colors: Any, size: Any
) -> tuple[Float64Array, Float32Array, Float64Array]:
    """Return centers (N, 2), RGB (N, 3) and diameters (N,) of the visible points."""
    centers = np.asarray(points, dtype=np.float64)
    if centers.size == 0:
        centers = centers.reshape(0, 2)
    if centers.ndim != 2 or centers.shape[1] != 2 or not np.isfinite(centers).all():
        raise SettingsError(f"Points must be rows and columns, (N, 2), got shape {centers.shape}.")
    dot_colors = _checked_colors(colors, len(centers))
    sizes = np.asarray(size, dtype=np.float64)
    if sizes.shape not in ((), (len(centers),)) or not (sizes > 0).all():
        raise SettingsError("Sizes of points must be above 0: give one size, or one per point.")
    visible = dot_colors[:, 3] > 0
    return centers[visible], dot_colors[visible, :3], np.broadcast_to(sizes, len(centers))[visible]


def _outside(centers: Sequence[Float64Array], shape: tuple[int, int]) -> str:
    places = ", ".join(f"({row:g}, {column:g})" for row, column in centers[:MAX_LISTED])
    others = ", ..." if len(centers) > MAX_LISTED else ""
    points = "A point" if len(centers) == 1 else f"{len(centers)} points"
    return (
        f"{points} outside the image of {shape[0]} rows and {shape[1]} columns had no effect: "
        f"{places}{others}. Points are given as (row, column)."
    )


def _stamp(
    mask: NDArray[np.bool_],
    rgb: Float32Array,
    center: Float64Array,
    color: Float32Array,
    radius: float,
) -> bool:
    """Draw one point into a mask and an RGB image, in place; whether it covers any pixel."""
    limits = np.array(mask.shape)
    nearest = np.floor(center + 0.5).astype(int)
    low = np.clip(np.ceil(center - radius).astype(int), 0, limits)
    high = np.clip(np.floor(center + radius).astype(int) + 1, 0, limits)
    rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
    dot = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2
    box = slice(low[0], high[0]), slice(low[1], high[1])
    mask[box][dot] = True
    rgb[box][dot] = color
    has_center = bool(((nearest >= 0) & (nearest < limits)).all())
    if has_center:
        mask[tuple(nearest)] = True
        rgb[tuple(nearest)] = color
    return has_center or bool(dot.any())
