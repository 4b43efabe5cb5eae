"""Luminance and chrominance: Rec. 601 YUV and CIELAB as scikit-image defines them, and gamut.

Tensors in, tensors out. The matrices are `skimage.color`'s own, so that U and V here are U and V
there: U within 0.436 and V within 0.615 of zero for colours of RGB. CIELAB is that of sRGB under
the illuminant D65 (2 degrees): L from 0 to 100, a and b within 108 of zero for colours of RGB.
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

# IEC 61966-2-1, with the rounded thresholds of skimage.color: below them sRGB is linear in light.
LINEAR_BELOW, LINEAR_SLOPE = 0.04045, 12.92
LIGHT_BELOW = 0.0031308
SRGB_OFFSET, SRGB_GAMMA = 0.055, 2.4
# CIE 1976, with the rounded constants of skimage.color: a cube root, and a line near black.
ROOT_ABOVE, LINE_SLOPE, LINE_START = 0.008856, 7.787, 16 / 116
CUBE_ABOVE = 0.2068966
WHITE = (0.95047, 1.0, 1.08883)  # X, Y and Z of D65, 2 degrees


@cache
def yuv_from_rgb() -> Tensor:
    """Matrix (3, 3), float64, that takes RGB to YUV: `skimage.color`'s."""
    from skimage.color.colorconv import yuv_from_rgb as matrix

    with torch.inference_mode(False):
        return torch.tensor(matrix)


@cache
def rgb_from_yuv() -> Tensor:
    """Matrix (3, 3), float64, that takes YUV to RGB: `skimage.color`'s."""
    from skimage.color.colorconv import rgb_from_yuv as matrix

    with torch.inference_mode(False):
        return torch.tensor(matrix)


@cache
def xyz_from_rgb() -> Tensor:
    """Matrix (3, 3), float64, that takes linear RGB to CIE XYZ: `skimage.color`'s."""
    from skimage.color.colorconv import xyz_from_rgb as matrix

    with torch.inference_mode(False):
        return torch.tensor(matrix)


@cache
def rgb_from_xyz() -> Tensor:
    """Matrix (3, 3), float64, that takes CIE XYZ to linear RGB: `skimage.color`'s."""
    from skimage.color.colorconv import rgb_from_xyz as matrix

    with torch.inference_mode(False):
        return torch.tensor(matrix)


def rgb_to_yuv(rgb: Tensor) -> Tensor:
    """RGB `(..., 3)` in [0, 1] to Y in [0, 1] and U, V around 0, of the same dtype."""
    return rgb @ yuv_from_rgb().T.to(rgb)


def yuv_to_rgb(yuv: Tensor) -> Tensor:
    """Y, U, V `(..., 3)` to RGB, which may lie outside [0, 1]; of the same dtype."""
    return yuv @ rgb_from_yuv().T.to(yuv)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """RGB to CIELAB, differentiable everywhere.

    Parameters
    ----------
    rgb : Tensor, shape (..., 3)
        sRGB, floating point. Meant for [0, 1]; what lies outside goes on smoothly.

    Returns
    -------
    Tensor, shape (..., 3)
        L, 0 to 100, and a and b around 0; of the same dtype.
    """
    xyz = _light(rgb) @ xyz_from_rgb().T.to(rgb)
    x, y, z = _root(xyz / rgb.new_tensor(WHITE)).unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """CIELAB to RGB, differentiable everywhere.

    Parameters
    ----------
    lab : Tensor, shape (..., 3)
        L, 0 to 100, and a and b around 0; floating point.

    Returns
    -------
    Tensor, shape (..., 3)
        sRGB of the same dtype, outside [0, 1] where RGB has no such colour.
    """
    lightness, a, b = lab.unbind(-1)
    y = (lightness + 16) / 116
    z = (y - b / 200).clamp_min(0)  # no colour is so yellow; skimage.color has this limit too
    xyz = _cube(torch.stack([y + a / 500, y, z], dim=-1)) * lab.new_tensor(WHITE)
    return _gamma(xyz @ rgb_from_xyz().T.to(lab))


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
    """CIELAB L, 0 to 100, of gray pixels (R = G = B) in [0, 1], of any shape; differentiable."""
    return 116 * _root(_light(gray)) - 16


def _light(rgb: Tensor) -> Tensor:
    """sRGB to linear light. Both branches get a gradient, so neither may have an infinite one."""
    power = (rgb.clamp_min(LINEAR_BELOW) + SRGB_OFFSET) / (1 + SRGB_OFFSET)
    return torch.where(rgb > LINEAR_BELOW, power**SRGB_GAMMA, rgb / LINEAR_SLOPE)


def _gamma(light: Tensor) -> Tensor:
    power = (1 + SRGB_OFFSET) * light.clamp_min(LIGHT_BELOW) ** (1 / SRGB_GAMMA) - SRGB_OFFSET
    return torch.where(light > LIGHT_BELOW, power, light * LINEAR_SLOPE)


def _root(share: Tensor) -> Tensor:
    """CIE's f of X, Y or Z as a share of white's."""
    root = share.clamp_min(ROOT_ABOVE) ** (1 / 3)
    return torch.where(share > ROOT_ABOVE, root, LINE_SLOPE * share + LINE_START)


def _cube(root: Tensor) -> Tensor:
    return torch.where(root > CUBE_ABOVE, root**3, (root - LINE_START) / LINE_SLOPE)


def chroma_to_offset(uv: Tensor) -> Tensor:
    """What U and V `(2, ...)` add to R, G and B `(3, ...)` of a gray pixel.

    The three offsets, weighed as Rec. 601 weighs R, G and B, sum to zero: they carry no luminance.
    """
    matrix = rgb_from_yuv()[:, 1:].to(uv)
    return torch.tensordot(matrix, uv, dims=1)


def add_offset(
    gray: Tensor, offset: Tensor, saturation: float, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Colour gray pixels; where RGB has no such colour, chroma gives way and luminance stays.

    `saturation` is alpha of the IPOL review's eq. (11): (1 - alpha) gray + alpha colour, which
    scales U and V by alpha. Each pixel takes the largest factor up to alpha that keeps its R, G
    and B within `low` and `high`, so hue stays too; clipping RGB would change the luminance.

    Parameters
    ----------
    gray : Tensor, shape (Y, X)
        Rec. 601 luminance, within `low` and `high`. NaN gives NaN.
    offset : Tensor, shape (3, Y, X)
        From `chroma_to_offset`.
    saturation : float
        Alpha, 0 or more.
    low, high : float
        Range of R, G and B; 0 and 1 unless limits reach beyond what a dtype can hold.

    Returns
    -------
    Tensor, shape (3, Y, X)
        RGB within `low` and `high` up to rounding.

    Raises
    ------
    ValueError
        If `gray` and `offset` are not of the same height and width.
    """
    if gray.shape != offset.shape[1:]:
        raise ValueError(
            f"gray and offset must cover the same pixels, got {tuple(gray.shape)} and "
            f"{tuple(offset.shape)}."
        )
    # As the offsets carry no luminance, the largest is never below 0 and the smallest never above.
    upward = torch.maximum(torch.maximum(offset[0], offset[1]), offset[2]).clamp_min_(TINY)
    downward = torch.minimum(torch.minimum(offset[0], offset[1]), offset[2]).clamp_max_(-TINY)
    factor = torch.minimum((high - gray).div_(upward), (low - gray).div_(downward))
    factor = factor.clamp_(0, saturation)
    return torch.addcmul(gray, factor, offset)
