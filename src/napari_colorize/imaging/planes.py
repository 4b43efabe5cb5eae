"""Conversion between arrays and gray planes: axes, dtypes, contrast limits, RGB, alpha, library.

`to_plane` reads an image into a `Plane`: its gray as float32 on a device, and what `to_pixels`
needs to return colors like the input (dtype, limits, alpha, library: NumPy, dask or torch). For a
stack `split_stack` lists the planes, and `stack_range` finds the range once, so that all planes
are mapped alike.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_colorize.array_types import AnyArray, Float64Array, Limits, PlaneIndex
from napari_colorize.errors import ImageError
from napari_colorize.imaging.color import REC601, to_uint8
from napari_colorize.imaging.intensity_range import (
    IntensityRange,
    image_range,
    known_range,
    range_of_images,
)
from napari_colorize.runtime import memory
from napari_colorize.settings import ContrastLimits

Kind = Literal["numpy", "dask", "torch"]

HAD_COLOR = "The image had colors. They were replaced by predicted ones; its luminance was kept."
NOT_FINITE = "NaN or infinite values got no color."
LOSSY_GRAY = 2  # 8-bit levels by which WebP separates the channels of a gray image
BLOCK = 2**20  # pixels converted at a time
PILLOW_MODES = {
    "1",
    "L",
    "I",
    "I;16",
    "I;16B",
    "I;16L",
    "I;16N",
    "F",
    "RGB",
    "RGBA",
}  # modes whose arrays are luminance or RGB


@dataclass(frozen=True)
class Plane:
    """Gray of one image for the network, and what is needed to return colors like the input.

    Parameters
    ----------
    gray : Tensor, shape (Y, X)
        float32 luminance in [0, 1]; NaN where the image has NaN.
    dtype : np.dtype
        dtype of the image; results of bool images are uint8.
    limits : tuple of float
        Values of the image mapped to 0 and 1.
    limits_source : str
        Where the limits come from; see `IntensityRange`.
    alpha : ndarray, shape (Y, X), optional
        Opacity, unchanged.
    kind : {"numpy", "dask", "torch"}
        Library of the image.
    like : Tensor, optional
        An empty tensor with dtype and device of the image, if it is a torch tensor.
    notes, warnings : tuple of str
        How the image was read, and what may be wrong with it.
    shared_notes : tuple of str
        Notes that an earlier plane of the stack has announced.
    colors : ndarray, shape (Y, X) or (Y, X, 3), optional
        Gray or RGB of the image, not copied: pixels outside a mask keep these values.
    """

    gray: Tensor
    dtype: np.dtype[Any]
    limits: Limits
    limits_source: str = ""
    alpha: AnyArray | None = None
    kind: Kind = "numpy"
    like: Tensor | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    shared_notes: tuple[str, ...] = ()
    colors: AnyArray | None = None

    @property
    def intensity_range(self) -> dict[str, object]:
        """Limits and their source, for the provenance record."""
        return IntensityRange(self.limits, self.limits_source).record

    @property
    def bounds(self) -> Limits:
        """Range of R, G and B that the dtype can represent, in units of gray: 0 to 1 or less."""
        if self.dtype.kind not in "iu":
            return 0.0, 1.0
        return bounds_of(self.dtype, self.limits)


def bounds_of(dtype: np.dtype[Any], limits: Limits) -> Limits:
    """Part of the range 0 to 1, in units of gray, that integers of a dtype can represent."""
    low, high = limits
    if low == high:
        return 0.0, 1.0
    info = np.iinfo(dtype)
    first, last = ((edge - low) / (high - low) for edge in (info.min, info.max))
    return min(max(0.0, first), 1.0), min(max(0.0, last), 1.0)


def to_plane(
    image: Any,
    *,
    pixels: AnyArray | None = None,
    limits: ContrastLimits = None,
    declared: IntensityRange | None = None,
    gamma: float = 1.0,
    device: torch.device | str = "cpu",
    rgb: bool | None = None,
) -> Plane:
    """Read an image of any real dtype into a plane.

    Parameters
    ----------
    image : array, shape (Y, X), (Y, X, 1), (Y, X, 3) or (Y, X, 4)
        NumPy, dask or torch, or anything that NumPy converts to an array. Colors are replaced by
        their Rec. 601 luminance; a fourth channel is alpha and kept.
    pixels : ndarray, optional
        `to_numpy(image)`, if it is available already.
    limits : tuple of float or str, optional
        Values mapped to black and white, or a rule of `ColorizeSettings.contrast_limits`.
    declared : IntensityRange, optional
        Range that the file or the layer declares, or that was found for the whole stack; used
        unless `limits` are given.
    gamma : float
        Exponent applied to gray.
    device : torch.device
        Device of the gray plane.
    rgb : bool, optional
        Whether the last axis holds colors. Default: if it has 1, 3 or 4 entries and follows two
        other axes.

    Raises
    ------
    ImageError
        If it is not one plane of real numbers, or has no pixels.
    """
    kind = array_kind(image)
    array = to_numpy(image) if pixels is None else pixels
    axes = spatial_axes(array, rgb)
    if array.ndim != axes:
        raise ImageError(
            f"Expected one image, (Y, X) or (Y, X, 3 or 4), got an array of shape {array.shape}. "
            "For a stack use Colorizer.iter_planes, or select one plane."
        )
    channels, alpha = _split_alpha(array, axes)
    has_color = channels.ndim == 3 and not is_gray(channels)
    notes = [HAD_COLOR] if has_color else []
    found = image_range(channels, limits, declared)
    notes += [found.note] if found.note else []
    gray, finite = _gray(channels, found.limits, torch.device(device))
    if gamma != 1:
        gray = gray.pow_(gamma)
    if array.dtype.kind in "iu":
        gray = gray.clamp_(*bounds_of(array.dtype, found.limits))
    return Plane(
        gray=gray,
        dtype=array.dtype,
        limits=found.limits,
        limits_source=found.source,
        alpha=alpha,
        kind=kind,
        like=image.new_empty(0) if isinstance(image, Tensor) else None,
        notes=tuple(notes),
        warnings=() if finite else (NOT_FINITE,),
        colors=channels,
    )


def array_kind(image: Any) -> Kind:
    """Library of an array, determined without importing dask."""
    if isinstance(image, Tensor):
        return "torch"
    dask = sys.modules.get("dask.array")
    return "dask" if dask is not None and isinstance(image, dask.Array) else "numpy"


def to_numpy(image: Any) -> AnyArray:
    """Load pixels into memory as a real dtype in native byte order.

    Raises
    ------
    ImageError
        If it holds no real numbers, or has no pixels.
    """
    _refuse_misleading(image)
    try:
        image = _as_rgb(image)
        if isinstance(image, Tensor):
            image = image.detach().cpu()
            image = image.float() if image.dtype == torch.bfloat16 else image
            array = image.resolve_conj().numpy()
        else:
            array = np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:
        if memory.is_exhausted(error):
            raise
        raise ImageError(f"This is not an image: {error}.") from error
    if array.dtype == object and not array.ndim:
        raise ImageError(f"An image is an array of real numbers, got {type(image).__name__}.")
    if array.dtype.kind not in "biuf":
        raise ImageError(
            f"An image holds real numbers, got values of type {array.dtype}. "
            "Convert it to integers or floats first."
        )
    if array.size == 0:
        raise ImageError(f"The image has no pixels: its shape is {array.shape}.")
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _refuse_misleading(image: Any) -> None:
    """Raise for objects that NumPy converts to an array of other values than the pixels."""
    if isinstance(image, (str, os.PathLike)):
        raise ImageError(
            f"An array was expected, got the path {os.fspath(image)!r}. Use "
            "napari_colorize.colorize(path), or napari_colorize.read_image(path).array."
        )
    if hasattr(image, "array") and hasattr(image, "declared_range"):  # io.ImageRecord
        raise ImageError(
            "This is the record of an image file. Use napari_colorize.colorize(record), or pass "
            "its pixels, record.array, and declared_range=record.declared_range."
        )
    if np.ma.isMaskedArray(image) and np.ma.is_masked(image):
        raise ImageError(
            "The masked array has pixels without a value. Give them one: image.filled(value)."
        )


def _as_rgb(image: Any) -> Any:
    """A Pillow image of another mode (palette, CMYK, Lab, ...) as RGB, or RGBA if it has alpha."""
    if not hasattr(image, "getbands") or image.mode in PILLOW_MODES:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def spatial_axes(array: Any, rgb: bool | None) -> int:
    """Number of axes of one image in an array: 2, or 3 with colors.

    Raises
    ------
    ImageError
        If it has too few axes, or its last axis cannot be colors.
    """
    shape = tuple(array.shape)
    if any(length != length for length in shape):
        raise ImageError(
            "The shape of the dask array is unknown. Call compute_chunk_sizes() first."
        )
    if rgb is None:
        rgb = len(shape) >= 3 and shape[-1] in (1, 3, 4)
    axes = 3 if rgb else 2
    if len(shape) < axes or (rgb and shape[-1] not in (1, 3, 4)):
        expected = "(Y, X, 3 or 4)" if rgb else "at least two axes, (Y, X)"
        raise ImageError(f"Expected an image of shape {expected}, got {shape}.")
    return axes


def is_gray(channels: AnyArray) -> bool:
    """Whether R, G and B are equal everywhere (NaN equals NaN).

    In 8 bits they may differ by the compression error of lossy formats without a gray mode.
    """
    red, green, blue = (channels[..., index] for index in range(3))
    if channels.dtype == np.uint8:
        low, high = np.minimum(red, green), np.maximum(red, green)
        spread = np.maximum(high, blue) - np.minimum(low, blue)
        return int(spread.max()) <= LOSSY_GRAY
    if channels.dtype.kind == "f":
        return np.array_equal(red, green, equal_nan=True) and np.array_equal(
            green, blue, equal_nan=True
        )
    return np.array_equal(red, green) and np.array_equal(green, blue)


def to_pixels(rgb: Tensor, plane: Plane) -> AnyArray:
    """Convert RGB `(3, Y, X)` in [0, 1] to an array `(Y, X, 3)` of the plane's dtype.

    Integers span the limits, floats [0, 1]; for bool the result is uint8 from 0 to 255.
    """
    if plane.dtype.kind == "f":
        # `add_offset` has reduced the chroma already: this only clips rounding errors.
        return _interleave(rgb.clamp(0, 1).to(_TORCH_FLOATS[plane.dtype.itemsize]))
    if plane.dtype.kind == "b":
        return _interleave(to_uint8(rgb))
    low, high = plane.limits
    if plane.dtype == np.uint8:
        values = rgb * float(high - low) + float(low)
        return _interleave(values.round_().clamp_(0, 255).to(torch.uint8))
    return _to_integers(_interleave(rgb), plane.dtype, low, high)


def empty_pixels(plane: Plane) -> AnyArray:
    """Allocate the result array of a plane, with its alpha filled in."""
    dtype = np.dtype(np.uint8) if plane.dtype.kind == "b" else plane.dtype
    shape = (*plane.gray.shape, 3 if plane.alpha is None else 4)
    pixels = np.empty(shape, dtype)
    if plane.alpha is not None:
        pixels[..., 3] = plane.alpha if plane.dtype.kind != "b" else plane.alpha * np.uint8(255)
    return pixels


def to_input_type(pixels: AnyArray, plane: Plane) -> Any:
    """Convert result pixels to the library, and the device, of the input image."""
    if plane.like is not None:
        colors = torch.from_numpy(pixels).to(plane.like.device)
        is_bfloat16 = plane.like.dtype == torch.bfloat16 and pixels.dtype.kind == "f"
        return colors.bfloat16() if is_bfloat16 else colors
    if plane.kind == "dask":
        import dask.array

        return dask.array.from_array(pixels, chunks=-1)
    return pixels


def split_stack(stack: Any, rgb: bool | None) -> Iterator[PlaneIndex]:
    """Indices of the planes of a stack; the last axis varies fastest."""
    axes = spatial_axes(stack, rgb)
    leading = tuple(stack.shape)[:-axes]
    return itertools.product(*(range(length) for length in leading))


def stack_range(
    stack: Any,
    rgb: bool | None,
    asked: ContrastLimits = None,
    declared: IntensityRange | None = None,
) -> IntensityRange:
    """Intensity range of a whole stack, read plane by plane if the range depends on the data.

    Parameters
    ----------
    stack : array, shape (..., Y, X), (..., Y, X, 3) or (..., Y, X, 4)
        Any array.
    rgb : bool, optional
        See `to_plane`.
    asked, declared
        See `find_range`.

    Raises
    ------
    ImageError
        If the stack has no planes.
    """
    check_has_planes(stack, rgb)
    if isinstance(dtype := getattr(stack, "dtype", None), np.dtype):
        known = known_range(dtype, asked, declared)
        if isinstance(known, IntensityRange):
            return known  # no plane is read
    axes = spatial_axes(stack, rgb)
    planes = (_split_alpha(to_numpy(stack[index]), axes)[0] for index in split_stack(stack, rgb))
    number = math.prod(tuple(stack.shape)[:-axes])
    return range_of_images(planes, number, asked, declared)


def check_has_planes(stack: Any, rgb: bool | None) -> None:
    """Raise `ImageError` if a stack has no planes; reads no data."""
    if next(split_stack(stack, rgb), None) is None or 0 in stack.shape:
        raise ImageError(f"The stack has no planes: its shape is {tuple(stack.shape)}.")


def _split_alpha(array: AnyArray, axes: int) -> tuple[AnyArray, AnyArray | None]:
    if axes == 2:
        return array, None
    if array.shape[-1] == 1:
        return array[..., 0], None
    # Alpha is copied, so that the plane does not keep the caller's array alive for it.
    return array[..., :3], array[..., 3].copy() if array.shape[-1] == 4 else None


def _gray(channels: AnyArray, limits: Limits, device: torch.device) -> tuple[Tensor, bool]:
    """Luminance in [0, 1] as float32, and whether every value is finite."""
    if channels.dtype == np.uint8 and _is_float32_enough(limits):
        return _gray_of_uint8(channels, limits, device), True
    rows = max(1, BLOCK // max(1, channels[0].size))
    gray = np.empty(channels.shape[:2], np.float32)
    finite = True
    for top in range(0, len(channels), rows):
        block = channels[top : top + rows]
        unit = _unit(block, limits)
        if unit.ndim == 3:
            with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN
                unit = unit @ np.array(REC601, unit.dtype)
        if block.dtype.kind == "f":
            finite = finite and bool(np.isfinite(block).all())
        gray[top : top + rows] = np.clip(unit, 0, 1)
    return torch.from_numpy(gray).to(device), finite


def _gray_of_uint8(channels: AnyArray, limits: Limits, device: torch.device) -> Tensor:
    """Gray of uint8 images, converted on the device: fewer bytes are transferred."""
    low, high = limits
    # Torch warns about read-only memory.
    values = torch.from_numpy(np.require(channels, requirements=["C", "W"])).to(device)
    if channels.ndim == 3:
        red, green, blue = REC601
        gray = values[..., 0] * red
        gray.add_(values[..., 1], alpha=green).add_(values[..., 2], alpha=blue)
    else:
        gray = values.float()
    return gray.sub_(low).div_(high - low).clamp_(0, 1)


def _unit(values: AnyArray, limits: Limits) -> AnyArray:
    """Map the limits to 0 and 1; in float32 where that is exact enough, else in float64."""
    low, high = limits
    if low == high:
        return np.where(np.isfinite(values), 0, values).astype(np.float64)
    is_narrow = values.dtype.kind == "b" or values.dtype.itemsize <= 2
    if (is_narrow and _is_float32_enough(limits)) or (
        values.dtype == np.float32 and limits == (0, 1)
    ):
        return (values.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    if values.dtype.kind in "iu" and _are_exact(limits):
        return _offset(values, int(low), int(high)) / (int(high) - int(low))
    scale = 0.5 if not math.isfinite(high - low) else 1.0  # high - low can overflow float64
    with np.errstate(invalid="ignore", over="ignore"):
        unit: AnyArray = (values * np.float64(scale) - low * scale) / (high * scale - low * scale)
    return unit


def _offset(values: AnyArray, low: int, high: int) -> Float64Array:
    """Compute `values - low` for 32- and 64-bit integers without overflow."""
    info = np.iinfo(values.dtype)
    if low > info.max or high < info.min:  # all values are on one side of the limits
        return np.full(values.shape, 0.0 if low > info.max else float(high - low))
    clipped = np.clip(values, max(low, info.min), min(high, info.max))
    # Differences modulo 2**64 are exact, for signed and unsigned integers alike.
    difference = clipped.astype(np.uint64) - np.uint64(low % 2**64)
    return difference.astype(np.float64)


def _to_integers(unit: AnyArray, dtype: np.dtype[Any], low: float, high: float) -> AnyArray:
    """Compute `low + unit * (high - low)`, rounded; exact for whole limits of any size."""
    info = np.iinfo(dtype)
    if _are_exact((low, high)) and info.min <= high and low <= info.max:
        first, last = max(info.min - int(low), 0), min(int(high), info.max) - int(low)
        steps = np.rint(unit.astype(np.float64) * (int(high) - int(low)))
        steps = np.clip(steps, 0, np.nextafter(2.0**64, 0)).astype(np.uint64)
        steps = np.clip(steps, np.uint64(first), np.uint64(last))
        return (steps + np.uint64(int(low) % 2**64)).astype(dtype)
    values = np.rint(unit.astype(np.float64) * (high - low) + low)
    # The largest 64-bit integers are not representable in float64: use the next lower value.
    largest = min(float(info.max), np.nextafter(float(info.max) + 1, 0))
    return np.clip(values, info.min, largest).astype(dtype)


def _are_exact(limits: Limits) -> bool:
    """Whether differences to these limits can be computed in 64-bit integers."""
    low, high = limits
    return all(float(limit).is_integer() for limit in limits) and -(2**63) <= low <= high < 2**64


def _is_float32_enough(limits: Limits) -> bool:
    """Whether 8- and 16-bit values are mapped from these limits in float32 without loss."""
    low, high = limits
    return abs(low) <= 2**20 and 2**-20 <= high - low <= 2**21


def _interleave(rgb: Tensor) -> AnyArray:
    return np.asarray(rgb.movedim(0, -1).cpu().numpy())


_TORCH_FLOATS = {2: torch.float16, 4: torch.float32, 8: torch.float64}
