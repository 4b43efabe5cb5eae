"""Damp predicted colors in shadows and in a range of hues, and find uncolored pixels.

Networks often predict blue or red casts in dark regions, and red and violet are less stable than
other hues. Damping scales chrominance, so luminance and hue stay unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_colorize.imaging.color import chroma_to_offset, rgb_to_lab

UNCOLORED_BELOW = 2.0  # CIELAB chroma that appears gray
HUE_FADE = 15.0  # degrees over which hue damping fades out
FULL_TURN = 360.0
BLOCK_PIXELS = 2**20  # pixels per block: the conversion to CIELAB needs several temporary arrays
TINY = 1e-12  # avoids 0 / 0 in the hue of gray


def shadow_factor(gray: Tensor, shadows: float) -> Tensor:
    """Return the chroma factor of dark pixels: 0 at black, 1 from luminance `shadows` on.

    `gray` is luminance in [0, 1] of any shape; NaN gives NaN. Between the ends the factor is the
    cubic step t^2 (3 - 2 t), whose derivative is 0 at both. `shadows` of 0 disables damping.
    """
    if shadows <= 0:
        return torch.ones_like(gray)
    share = (gray / shadows).clamp_(0, 1)
    return share * share * (3 - 2 * share)


def damp_hues(uv: Tensor, hue_from: float, hue_to: float, damping: float) -> Tensor:
    """Reduce the chroma of a range of hues in U and V (..., 2); hues stay as they are.

    Hue is the HSV hue in degrees (0 red, 120 green, 240 blue) of the color that U and V give a gray
    pixel; it does not depend on luminance. The range includes 360 if `hue_to` is smaller than
    `hue_from`. Damping fades out over 15 degrees outside the range. `damping` is 0 to 1: 0 returns
    `uv` itself, 1 removes all chroma inside the range.
    """
    if damping <= 0:
        return uv
    width = hue_to - hue_from if hue_to >= hue_from else hue_to - hue_from + FULL_TURN
    # Signed distance from the center of the range, -180 to 180 degrees.
    distance = (_hue(uv) - (hue_from + width / 2) + FULL_TURN / 2) % FULL_TURN - FULL_TURN / 2
    outside = (distance.abs() - width / 2).clamp_min_(0)
    inside = 1 - (outside / HUE_FADE).clamp_(0, 1)
    factor = 1 - damping * inside * inside * (3 - 2 * inside)
    return uv * factor[..., None]


def _hue(uv: Tensor) -> Tensor:
    """HSV hue in degrees, 0 to 360, of the color that U and V `(..., 2)` give a gray pixel."""
    red, green, blue = chroma_to_offset(uv.movedim(-1, 0))
    largest = torch.maximum(torch.maximum(red, green), blue)
    spread = (largest - torch.minimum(torch.minimum(red, green), blue)).clamp_min_(TINY)
    # HSV hexagon: hue in sixths of a turn, relative to the largest channel.
    sixths = torch.where(
        largest == red,
        ((green - blue) / spread) % 6,
        torch.where(largest == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    return sixths * (FULL_TURN / 6)


@torch.inference_mode()
def uncolored(rgb: Tensor, below: float = UNCOLORED_BELOW) -> Tensor:
    """Return a mask of the pixels of an sRGB image (..., 3) in [0, 1] with almost no chroma.

    These are pixels with a CIELAB chroma below `below`; False at NaN.
    """
    masks = [_chroma(block) < below for block in rgb.reshape(-1, 3).split(BLOCK_PIXELS)]
    return torch.cat(masks).reshape(rgb.shape[:-1])


def _chroma(rgb: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rgb_to_lab(rgb)[..., 1:], dim=-1)
