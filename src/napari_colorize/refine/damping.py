"""Taming: colours damped where networks are known to go wrong, and pixels that got none.

Dark parts turn blue in one frame and red in the next, and some hues, red and violet above all, are
less steady than others. Damping scales chrominance, so luminance stays and hues stay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_colorize.imaging.color import chroma_to_offset, rgb_to_lab

UNCOLORED_BELOW = 2.0  # CIELAB chroma that is gray to an eye
BORDER = 15.0  # degrees over which damping of hues begins and ends
TURN = 360.0
BLOCK = 2**20  # pixels judged at a time: CIELAB needs a lot of memory on the way
TINY = 1e-12  # keeps the hue of gray finite


def shadow_factor(gray: Tensor, shadows: float) -> Tensor:
    """What is left of chroma in the dark: 0 at black, 1 from luminance `shadows` on, smoothly.

    Parameters
    ----------
    gray : Tensor, any shape
        Luminance in [0, 1]; NaN gives NaN.
    shadows : float
        0 to 1; with 0 nothing is damped.

    Returns
    -------
    Tensor, of the same shape
        Factor on U and V: the cubic step t^2 (3 - 2 t), whose ends have no kink.
    """
    if shadows <= 0:
        return torch.ones_like(gray)
    share = (gray / shadows).clamp_(0, 1)
    return share * share * (3 - 2 * share)


def damp_hues(uv: Tensor, hue_from: float, hue_to: float, damping: float) -> Tensor:
    """Chrominance with the colours of a range of hues made paler.

    Hue is that of HSV in degrees (0 is red, 120 green, 240 blue), of the colour that U and V give
    a gray pixel; luminance has no part in it. Over 15 degrees outside of either end the damping
    fades out.

    Parameters
    ----------
    uv : Tensor, shape (..., 2)
        U and V.
    hue_from, hue_to : float
        Degrees, 0 to 360. From the first upwards to the second, over 360 if the second is smaller.
    damping : float
        0 leaves all as it is, 1 leaves no colour within the range.

    Returns
    -------
    Tensor, shape (..., 2)
        Of the same hues; `uv` itself if damping is 0.
    """
    if damping <= 0:
        return uv
    width = hue_to - hue_from if hue_to >= hue_from else hue_to - hue_from + TURN
    # How far a hue lies outside, from the middle of the range; both ways round.
    away = (_hue(uv) - (hue_from + width / 2) + TURN / 2) % TURN - TURN / 2
    outside = (away.abs() - width / 2).clamp_min_(0)
    inside = 1 - (outside / BORDER).clamp_(0, 1)
    factor = 1 - damping * inside * inside * (3 - 2 * inside)
    return uv * factor[..., None]


def _hue(uv: Tensor) -> Tensor:
    """Hue of HSV, 0 to 360 degrees, of the colour that U and V `(..., 2)` give a gray pixel."""
    red, green, blue = chroma_to_offset(uv.movedim(-1, 0))
    largest = torch.maximum(torch.maximum(red, green), blue)
    spread = (largest - torch.minimum(torch.minimum(red, green), blue)).clamp_min_(TINY)
    # The hexagon of HSV: sixths of a turn, counted from the primary that is strongest.
    sixths = torch.where(
        largest == red,
        ((green - blue) / spread) % 6,
        torch.where(largest == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    return sixths * (TURN / 6)


@torch.inference_mode()
def uncolored(rgb: Tensor, below: float = UNCOLORED_BELOW) -> Tensor:
    """Pixels that got next to no colour.

    Parameters
    ----------
    rgb : Tensor, shape (..., 3)
        sRGB in [0, 1]: the finished picture.
    below : float
        CIELAB chroma, the distance from gray of the same lightness.

    Returns
    -------
    Tensor of bool, shape (...)
        True where chroma is smaller; False where there is no colour to judge, at NaN.
    """
    masks = [_chroma(block) < below for block in rgb.reshape(-1, 3).split(BLOCK)]
    return torch.cat(masks).reshape(rgb.shape[:-1])


def _chroma(rgb: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rgb_to_lab(rgb)[..., 1:], dim=-1)
