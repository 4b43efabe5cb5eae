"""Luminance and chrominance: Rec. 601 YUV as scikit-image defines it, saturation, gamut.

Tensors in, tensors out. The matrices are `skimage.color`'s own, so that U and V here are U and V
there: U within 0.436 and V within 0.615 of zero for colours of RGB.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

TINY = 1e-30  # keeps divisions by a vanishing chroma finite; no float32 colour is smaller


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


def rgb_to_yuv(rgb: Tensor) -> Tensor:
    """RGB `(..., 3)` in [0, 1] to Y in [0, 1] and U, V around 0, of the same dtype."""
    return rgb @ yuv_from_rgb().T.to(rgb)


def yuv_to_rgb(yuv: Tensor) -> Tensor:
    """Y, U, V `(..., 3)` to RGB, which may lie outside [0, 1]; of the same dtype."""
    return yuv @ rgb_from_yuv().T.to(yuv)


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
