"""A plane's gray as a picture, until its colours are known; with NumPy alone.

The values are those that `Colorized.pixels` has at saturation 0, so that nothing jumps when
colours come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_colorize.array_types import Limits

Array = NDArray[Any]
Shape = tuple[int, ...]
LUMINANCE = (0.299, 0.587, 0.114)  # Rec. 601, as skimage.color.rgb2yuv has it


@dataclass(frozen=True)
class DisplayRange:
    """How a layer's values are read: colours in the last axis, values of black and white, gamma."""

    rgb: bool
    limits: Limits
    gamma: float = 1.0

    def leading(self, shape: Shape) -> Shape:
        """Of an array of this shape, the axes before those of one plane."""
        return tuple(shape)[: -3 if self.rgb else -2]

    def size(self, shape: Shape) -> tuple[int, int]:
        """Height and width of one plane."""
        height, width = tuple(shape)[-3:-1] if self.rgb else tuple(shape)[-2:]
        return height, width

    def channels(self, shape: Shape) -> int:
        """Of a picture of it: 4 with alpha, else 3."""
        return 4 if self.rgb and shape[-1] == 4 else 3

    def picture_shape(self, shape: Shape) -> Shape:
        """Of the pictures of all planes: `(..., Y, X, 3 or 4)`."""
        return *self.leading(shape), *self.size(shape), self.channels(shape)

    def shown_limits(self, dtype: np.dtype[Any]) -> Limits:
        """Values of black and white in a picture of a source of this dtype."""
        if dtype.kind == "f":
            return 0.0, 1.0
        return (0, 255) if dtype.kind == "b" else self.limits


def dtype_in_memory(dtype: Any) -> np.dtype[Any]:
    """What values of a dtype are read as: in this machine's byte order, floats of 64 bits at most.

    So does `planes.to_numpy`.
    """
    dtype = np.dtype(dtype)
    if dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")


def dtype_of_picture(dtype: Any) -> np.dtype[Any]:
    """What a picture of values of a dtype holds: the same, but uint8 for bool."""
    dtype = dtype_in_memory(dtype)
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def is_in_memory(array: Any) -> bool:
    """Whether its values are here: no dask, no zarr, no memory map."""
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


def gray_picture(image: Array, look: DisplayRange, dtype: Any = None) -> Array:
    """A plane `(Y, X)` or `(Y, X, 3 or 4)` as a gray picture `(Y, X, 3 or 4)`, alpha kept.

    In the dtype that a result has, or another: 8 bits, as a fidelity makes them.
    """
    image = image.astype(dtype_in_memory(image.dtype), copy=False)
    dtype = np.dtype(dtype_of_picture(image.dtype) if dtype is None else dtype)
    gray = _gray(image[..., :3] if look.rgb else image, look, dtype)
    picture = np.empty((*gray.shape, look.channels(image.shape)), dtype)
    picture[..., :3] = gray[..., None]
    if picture.shape[-1] == 4:
        picture[..., 3] = _alpha(image[..., 3], dtype)
    return picture


def _alpha(alpha: Array, dtype: np.dtype[Any]) -> Array:
    """Opacity as it came; in 8 bits if the picture is so and it is not."""
    if alpha.dtype == dtype:
        return alpha
    full = 1.0 if alpha.dtype.kind in "fb" else float(np.iinfo(alpha.dtype).max)
    unit = np.nan_to_num(alpha.astype(np.float64) / full, nan=0.0)
    return np.rint(unit.clip(0, 1) * 255).astype(dtype)


def _gray(channels: Array, look: DisplayRange, wanted: np.dtype[Any]) -> Array:
    """Gray in the dtype of the picture."""
    dtype = channels.dtype
    if channels.ndim == 2 and dtype in (np.uint8, np.uint16):
        # Few values: a table of them is quicker than the arithmetic.
        table = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
        values: Array = np.take(_mapped(table, look, wanted), channels)
        return values
    return _mapped(channels, look, wanted)


def _mapped(values: Array, look: DisplayRange, wanted: np.dtype[Any]) -> Array:
    dtype, limits = values.dtype, look.limits
    if dtype.kind in "iu" and wanted == dtype and look.gamma == 1 and values.ndim < 3:
        return _clipped(values, limits)
    low, high = (float(limit) for limit in limits)
    exact = np.float64 if dtype.itemsize > 2 else np.float32
    with np.errstate(invalid="ignore", over="ignore"):
        unit: Any = values.astype(exact)
        if values.ndim == 3:
            unit = unit @ np.array(LUMINANCE, exact)
        unit = np.clip((unit - exact(low)) / exact(high - low), 0, 1) ** exact(look.gamma)
    if wanted.kind == "f":
        return unit.astype(wanted)
    if wanted != dtype:  # bool, or a picture of 8 bits
        return np.rint(np.nan_to_num(unit) * 255).astype(wanted)
    info = np.iinfo(dtype)
    # The largest 64-bit integers are no float64: the next lower one is.
    largest = min(float(info.max), np.nextafter(float(info.max) + 1, 0))
    scaled = unit.astype(np.float64) * (high - low) + low
    return np.clip(np.rint(scaled), info.min, largest).astype(dtype)


def _clipped(values: Array, limits: Limits) -> Array:
    """Integers within the limits keep their values."""
    info = np.iinfo(values.dtype)
    low, high = (min(max(round(limit), info.min), info.max) for limit in limits)
    return np.clip(values, values.dtype.type(low), values.dtype.type(high))
