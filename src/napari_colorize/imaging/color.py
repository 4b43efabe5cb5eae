"""Color spaces and gamut: Rec. 601 YUV and CIELAB as scikit-image defines them, on tensors.

The matrices are those of `skimage.color`, so that the scales agree: for RGB colors U is within
0.436 and V within 0.615 of zero. CIELAB is that of sRGB under the illuminant D65 (2 degrees): L is
0 to 100, a and b are within 108 of zero for RGB colors.
"""

from __future__ import annotations

from functools import cache
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_colorize.array_types import UInt8Array

TINY = 1e-30  # keeps divisions by a vanishing chroma finite; no float32 color is smaller
REC601 = (0.299, 0.587, 0.114)
"""ITU-R BT.601 luma weights of R, G and B, the first row of `skimage.color`'s YUV matrix."""

# IEC 61966-2-1, with the rounded thresholds of skimage.color. Below them sRGB is linear.
LINEAR_BELOW, LINEAR_SLOPE = 0.04045, 12.92
LIGHT_BELOW = 0.0031308
SRGB_OFFSET, SRGB_GAMMA = 0.055, 2.4
# CIE 1976, with the rounded constants of skimage.color: a cube root, and a line near black.
ROOT_ABOVE, LINE_SLOPE, LINE_START = 0.008856, 7.787, 16 / 116
CUBE_ABOVE = 0.2068966
WHITE = (0.95047, 1.0, 1.08883)  # X, Y and Z of D65, 2 degrees


@cache
def yuv_from_rgb() -> Tensor:
    """Matrix of `skimage.color` from RGB to YUV, float64 (3, 3)."""
    from skimage.color.colorconv import yuv_from_rgb as matrix

    with torch.inference_mode(False):
        return torch.tensor(matrix)


@cache
def rgb_from_yuv() -> Tensor:
    """Matrix of `skimage.color` from YUV to RGB, float64 (3, 3)."""
    from skimage.color.colorconv import rgb_from_yuv as matrix

    with torch.inference_mode(False):
        return torch.tensor(matrix)


@cache
def xyz_from_rgb() -> Tensor:
    """Matrix of `skimage.color` from linear RGB to CIE XYZ, float64 (3, 3)."""
    from skimage.color.colorconv import xyz_from_rgb as matrix

    with torch.inference_mode(False):
        return torch.tensor(matrix)


@cache
def rgb_from_xyz() -> Tensor:
    """Matrix of `skimage.color` from CIE XYZ to linear RGB, float64 (3, 3)."""
    from skimage.color.colorconv import rgb_from_xyz as matrix

    with torch.inference_mode(False):
        return torch.tensor(matrix)


def rgb_to_yuv(rgb: Tensor) -> Tensor:
    """Convert RGB `(..., 3)` in [0, 1] to Y in [0, 1] and U, V around 0, of the same dtype."""
    return rgb @ yuv_from_rgb().T.to(rgb)


def yuv_to_rgb(yuv: Tensor) -> Tensor:
    """Convert YUV `(..., 3)` to RGB of the same dtype, which may be outside [0, 1]."""
    return yuv @ rgb_from_yuv().T.to(yuv)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert RGB to CIELAB, differentiable everywhere.

    Parameters
    ----------
    rgb : Tensor, shape (..., 3)
        sRGB, floating point, in [0, 1]; the functions are continued smoothly outside.

    Returns
    -------
    Tensor, shape (..., 3)
        L from 0 to 100, a and b around 0; of the same dtype.
    """
    xyz = _linearize(rgb) @ xyz_from_rgb().T.to(rgb)
    x, y, z = _root(xyz / rgb.new_tensor(WHITE)).unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert CIELAB to RGB, differentiable everywhere.

    Parameters
    ----------
    lab : Tensor, shape (..., 3)
        L from 0 to 100, a and b around 0; floating point.

    Returns
    -------
    Tensor, shape (..., 3)
        sRGB of the same dtype, outside [0, 1] for colors outside the gamut.
    """
    lightness, a, b = lab.unbind(-1)
    y = (lightness + 16) / 116
    z = (y - b / 200).clamp_min(0)  # as skimage.color: a cube root needs values from 0
    xyz = _cube(torch.stack([y + a / 500, y, z], dim=-1)) * lab.new_tensor(WHITE)
    return _delinearize(xyz @ rgb_from_xyz().T.to(lab))


@overload
def to_uint8(unit: Tensor) -> Tensor: ...
@overload
def to_uint8(unit: NDArray[np.floating[Any]]) -> UInt8Array: ...
def to_uint8(unit: Tensor | NDArray[np.floating[Any]]) -> Tensor | UInt8Array:
    """Convert values in [0, 1] to 8 bits, rounded half to even.

    Parameters
    ----------
    unit : Tensor or ndarray of float, any shape
        Values in [0, 1]. Clip and replace NaN before: uint8 would wrap around.

    Returns
    -------
    Tensor or ndarray of uint8, same shape and kind
    """
    if isinstance(unit, Tensor):
        return (unit * 255).round().to(torch.uint8)
    return np.rint(unit * 255).astype(np.uint8)


def gray_to_l(gray: Tensor) -> Tensor:
    """CIELAB L from 0 to 100 of gray pixels (R = G = B) in [0, 1], any shape; differentiable."""
    return 116 * _root(_linearize(gray)) - 16


def _linearize(rgb: Tensor) -> Tensor:
    """Convert sRGB to linear RGB."""
    # `torch.where` computes the gradients of both branches: the clamp keeps the power's one finite.
    power = (rgb.clamp_min(LINEAR_BELOW) + SRGB_OFFSET) / (1 + SRGB_OFFSET)
    return torch.where(rgb > LINEAR_BELOW, power**SRGB_GAMMA, rgb / LINEAR_SLOPE)


def _delinearize(light: Tensor) -> Tensor:
    """Convert linear RGB to sRGB."""
    power = (1 + SRGB_OFFSET) * light.clamp_min(LIGHT_BELOW) ** (1 / SRGB_GAMMA) - SRGB_OFFSET
    return torch.where(light > LIGHT_BELOW, power, light * LINEAR_SLOPE)


def _root(ratio: Tensor) -> Tensor:
    """Function f of CIE 1976 for X, Y or Z divided by that of white."""
    root = ratio.clamp_min(ROOT_ABOVE) ** (1 / 3)
    return torch.where(ratio > ROOT_ABOVE, root, LINE_SLOPE * ratio + LINE_START)


def _cube(root: Tensor) -> Tensor:
    """Inverse of `_root`."""
    return torch.where(root > CUBE_ABOVE, root**3, (root - LINE_START) / LINE_SLOPE)


def chroma_to_offset(uv: Tensor) -> Tensor:
    """Convert U and V `(2, ...)` to the offsets `(3, ...)` they add to R, G and B of gray.

    The sum of the three offsets, weighted by Rec. 601, is zero: they do not change luminance.
    """
    matrix = rgb_from_yuv()[:, 1:].to(uv)
    return torch.tensordot(matrix, uv, dims=1)


def add_offset(
    gray: Tensor, offset: Tensor, saturation: float, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Add chroma to gray pixels, reduced where the color would be outside the gamut.

    `saturation` is alpha in eq. (11) of the IPOL review, (1 - alpha) gray + alpha color, which
    scales U and V by alpha. Each pixel uses the largest factor up to alpha that keeps its R, G and
    B within `low` and `high`. Luminance and hue are unchanged; clipping RGB would change both.

    Parameters
    ----------
    gray : Tensor, shape (Y, X)
        Rec. 601 luminance within `low` and `high`. NaN gives NaN.
    offset : Tensor, shape (3, Y, X)
        Offsets from `chroma_to_offset`.
    saturation : float
        Factor alpha, 0 or more.
    low, high : float
        Range of R, G and B: 0 and 1, unless the contrast limits exceed the range of the dtype.

    Returns
    -------
    Tensor, shape (3, Y, X)
        RGB within `low` and `high` up to rounding.

    Raises
    ------
    ValueError
        If `gray` and `offset` differ in height or width.
    """
    if gray.shape != offset.shape[1:]:
        raise ValueError(
            f"gray and offset must cover the same pixels, got {tuple(gray.shape)} and "
            f"{tuple(offset.shape)}."
        )
    # The weighted sum of the offsets is 0, so the largest is at least 0 and the smallest at most 0.
    # TINY keeps the divisions finite for gray pixels, whose offsets are 0.
    upward = torch.maximum(torch.maximum(offset[0], offset[1]), offset[2]).clamp_min_(TINY)
    downward = torch.minimum(torch.minimum(offset[0], offset[1]), offset[2]).clamp_max_(-TINY)
    factor = torch.minimum((high - gray).div_(upward), (low - gray).div_(downward))
    factor = factor.clamp_(0, saturation)
    return torch.addcmul(gray, factor, offset)
