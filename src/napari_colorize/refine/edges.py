"""Edge-aware upsampling: chrominance as local linear functions of the gray.

Based on the fast guided filter (He and Sun 2015, arXiv:1505.00996, section 2, eq. (1)): slope and
offset are estimated in windows of the small chrominance, enlarged, and applied to the gray of full
size. Three details differ from the paper. Each one reduced the error of true chrominance that was
shrunk and enlarged again (`benchmarks/edges.py`):

- The offset is computed per small pixel and not averaged over windows. Chrominance is therefore
  unchanged at its own size, and only the detail lost by enlarging is added.
- The variance of the gray inside each small pixel counts as noise of the gray (errors in
  variables). Texture and film grain reduce the slope and do not appear in the colors.
- Slopes are weighted by the explained share of the chrominance variance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize.imaging.resample import resize

SLOPE_EPSILON = 1e-3  # epsilon of the filter: gray variance that halves a slope, a step of 0.07
GRAIN_WEIGHT = 0.5  # weight of the variance within small pixels
TINY_GRAY, TINY_CHROMA = 1e-6, 1e-5  # avoid 0 / 0 in flat regions


@torch.inference_mode()
def follow_edges(gray: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
    """Express chrominance as `slope * gray + offset`, so that it changes at edges when enlarged.

    Both maps (h, w, 2) are enlarged bilinearly to the size of the image and applied to its gray.
    Where gray and chrominance are uncorrelated the slope is 0, which equals bilinear enlarging.
    `slope * mean gray + offset` is `uv`.

    Parameters
    ----------
    gray : Tensor, shape (Y, X)
        float32 luminance in [0, 1] at full size. NaN counts as black.
    uv : Tensor, shape (h, w, 2)
        float32 U and V of the whole image, on the same device. If it is as large as the image, the
        slope is 0.
    """
    height, width = uv.shape[:2]
    if height >= gray.shape[0] and width >= gray.shape[1]:
        return torch.zeros_like(uv), uv
    moments = _moments(gray, (height, width))
    mean, inside = moments[:1], (moments[1:] - moments[:1].square()).clamp_min_(0)
    slope = _slope(mean, inside, uv.movedim(-1, 0))
    offset = uv - (slope * mean).movedim(0, -1)
    return slope.movedim(0, -1).contiguous(), offset.contiguous()


def _moments(gray: Tensor, size: tuple[int, int]) -> Tensor:
    """Area means of gray and of its square, shape (2, h, w), computed row by row."""
    height, width = gray.shape
    rows = min(size[0], height)
    row_means = gray.new_empty(2, rows, width)
    for row in range(rows):
        block = gray[row * height // rows : -(-(row + 1) * height // rows)].nan_to_num(nan=0.0)
        row_means[0, row] = block.mean(dim=0)
        row_means[1, row] = block.square_().mean(dim=0)
    return resize(row_means[None], size)[0]


def _slope(gray: Tensor, inside: Tensor, uv: Tensor) -> Tensor:
    """Regression slope `(2, h, w)` of U and V on gray `(1, h, w)`.

    `inside` is the variance of the gray within each small pixel.
    """
    gray_mean, uv_mean = _local_mean(gray), _local_mean(uv)
    variance = (_local_mean(gray * gray) - gray_mean.square()).clamp_min_(0)
    uv_variance = (_local_mean(uv * uv) - uv_mean.square()).clamp_min_(0).sum(dim=0)
    covariance = _local_mean(gray * uv) - gray_mean * uv_mean
    # Squared correlation coefficient.
    explained = covariance.square().sum(dim=0)
    explained = explained / ((variance + TINY_GRAY) * (uv_variance + TINY_CHROMA))
    slope = covariance / (variance + GRAIN_WEIGHT * _local_mean(inside) + SLOPE_EPSILON)
    return _local_mean(slope * explained)


def _local_mean(x: Tensor) -> Tensor:
    """Weighted means over 3 x 3 pixels, `(C, h, w)`, with weights 1, 2, 1 along each axis."""
    # Not a convolution: TF32 convolutions on GPUs are too imprecise for differences of moments.
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    x = (x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4
    return (x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]) / 4
