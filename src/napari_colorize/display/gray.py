"""Gray images for planes without colors; needs NumPy only.

The values are those of `Colorized.pixels` at saturation 0, so that brightness does not change when
colors arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits

Shape = tuple[int, ...]
LUMINANCE = (0.299, 0.587, 0.114)  # Rec. 601, as in skimage.color.rgb2yuv


@dataclass(frozen=True)
class DisplayRange:
    """How the values of a layer are displayed.

    Attributes
    ----------
    rgb : bool
        Whether the last axis holds color channels.
    limits : tuple of float
        Values of black and white.
    gamma : float
        Exponent on gray.
    """

    rgb: bool
    limits: Limits
    gamma: float = 1.0

    def leading(self, shape: Shape) -> Shape:
        """Lengths of the axes before those of one plane, in an array of this shape."""
        return tuple(shape)[: -3 if self.rgb else -2]

    def size(self, shape: Shape) -> tuple[int, int]:
        """Height and width of one plane."""
        height, width = tuple(shape)[-3:-1] if self.rgb else tuple(shape)[-2:]
        return height, width

    def channels(self, shape: Shape) -> int:
        """Number of channels of a result: 4 if the source has alpha, else 3."""
        return 4 if self.rgb and shape[-1] == 4 else 3

    def result_shape(self, shape: Shape) -> Shape:
        """Shape of the results of all planes, (..., Y, X, 3 or 4)."""
        return *self.leading(shape), *self.size(shape), self.channels(shape)

    def result_limits(self, dtype: np.dtype[Any]) -> Limits:
        """Values of black and white in the result of a source of this dtype."""
        if dtype.kind == "f":
            return 0.0, 1.0
        return (0, 255) if dtype.kind == "b" else self.limits


def dtype_in_memory(dtype: Any) -> np.dtype[Any]:
    """The dtype in native byte order, with at most 64 bits, as `planes.to_numpy` converts it."""
    dtype = np.dtype(dtype)
    if dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")


def result_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype of the result of a source of this dtype: the same, but uint8 for bool."""
    dtype = dtype_in_memory(dtype)
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def is_in_memory(array: Any) -> bool:
    """Whether the values are in main memory: not dask, zarr, or a memory map."""
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


def gray_image(image: AnyArray, display_range: DisplayRange, dtype: Any = None) -> AnyArray:
    """A plane `(Y, X)` or `(Y, X, 3 or 4)` as a gray image with the channels of a result.

    Red, green and blue are equal; alpha is kept. The default dtype is that of a result; results of
    other fidelities have uint8.
    """
    image = image.astype(dtype_in_memory(image.dtype), copy=False)
    dtype = np.dtype(result_dtype(image.dtype) if dtype is None else dtype)
    gray = _gray(image[..., :3] if display_range.rgb else image, display_range, dtype)
    result = np.empty((*gray.shape, display_range.channels(image.shape)), dtype)
    result[..., :3] = gray[..., None]
    if result.shape[-1] == 4:
        result[..., 3] = _alpha(image[..., 3], dtype)
    return result


def _alpha(alpha: AnyArray, dtype: np.dtype[Any]) -> AnyArray:
    """Unchanged opacity; converted to 8 bits if the image has 8 bits and the source has not."""
    if alpha.dtype == dtype:
        return alpha
    full = 1.0 if alpha.dtype.kind in "fb" else float(np.iinfo(alpha.dtype).max)
    unit = np.nan_to_num(alpha.astype(np.float64) / full, nan=0.0)
    return np.rint(unit.clip(0, 1) * 255).astype(dtype)


def _gray(channels: AnyArray, display_range: DisplayRange, result_dtype: np.dtype[Any]) -> AnyArray:
    dtype = channels.dtype
    if channels.ndim == 2 and dtype in (np.uint8, np.uint16):
        # A look-up table of all values is faster than computing each pixel.
        table = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
        values: AnyArray = np.take(_mapped(table, display_range, result_dtype), channels)
        return values
    return _mapped(channels, display_range, result_dtype)


def _mapped(values: AnyArray, display_range: DisplayRange, result_dtype: np.dtype[Any]) -> AnyArray:
    """Values mapped by limits and gamma, in the dtype of the result."""
    dtype, limits, gamma = values.dtype, display_range.limits, display_range.gamma
    if dtype.kind in "iu" and result_dtype == dtype and gamma == 1 and values.ndim < 3:
        return _clipped(values, limits)
    low, high = (float(limit) for limit in limits)
    exact = np.float64 if dtype.itemsize > 2 else np.float32
    with np.errstate(invalid="ignore", over="ignore"):
        unit: Any = values.astype(exact)
        if values.ndim == 3:
            unit = unit @ np.array(LUMINANCE, exact)
        unit = np.clip((unit - exact(low)) / exact(high - low), 0, 1) ** exact(gamma)
    if result_dtype.kind == "f":
        return unit.astype(result_dtype)
    if result_dtype != dtype:  # bool, or 8 bits of another fidelity
        return np.rint(np.nan_to_num(unit) * 255).astype(result_dtype)
    info = np.iinfo(dtype)
    # The largest 64-bit integer is not a float64; use the largest float64 below it.
    largest = min(float(info.max), np.nextafter(float(info.max) + 1, 0))
    scaled = unit.astype(np.float64) * (high - low) + low
    return np.clip(np.rint(scaled), info.min, largest).astype(dtype)


def _clipped(values: AnyArray, limits: Limits) -> AnyArray:
    """Integers clipped to the limits; those within keep their values exactly."""
    info = np.iinfo(values.dtype)
    low, high = (min(max(round(limit), info.min), info.max) for limit in limits)
    return np.clip(values, values.dtype.type(low), values.dtype.type(high))
