"""Colours that stop at the picture's edges: chrominance as local linear functions of the gray.

After the Fast Guided Filter (He and Sun 2015, arXiv:1505.00996; the model is eq. (1) of section 2):
slope and offset are found in windows of the small chrominance, enlarged, and applied to the gray
of full size. Three things differ, since with each of them true chrominance came back better from a
small size (`benchmarks/edges.py` measures the whole):

- The offset is taken at each small pixel, not averaged over windows. At its own size chrominance so
  stays what it was, where the filter would blur it: only what enlarging loses is added.
- A small pixel is a mean. How much the gray varies inside it counts as noise of the gray (errors in
  variables): texture and film grain flatten the slope instead of appearing in the colours.
- Slopes are weighed by how much of the chrominance they explain.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize.imaging.resample import resize

STEPS = 1e-3  # variance of gray that halves a slope, that of a step of 0.07; epsilon of the filter
GRAIN = 0.5  # weight of the variance inside small pixels
TINY_GRAY, TINY_CHROMA = 1e-6, 1e-5  # variances of next to nothing: no 0 / 0 in flat parts


@torch.inference_mode()
def follow_edges(gray: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
    """Chrominance as `slope * gray + offset`, so that enlarged it changes where the gray does.

    Both maps are enlarged bilinearly to the picture's size and applied to its gray. Where the gray
    tells nothing about the colours the slope is 0, and that is bilinear enlarging.

    Parameters
    ----------
    gray : Tensor, shape (Y, X)
        float32 in [0, 1], the picture's own: its details matter. NaN counts as black.
    uv : Tensor, shape (h, w, 2)
        float32 U and V of the whole picture, on the same device.

    Returns
    -------
    slope : Tensor, shape (h, w, 2)
        What a gray brighter by 1 adds to U and V; 0 if `uv` is as large as the picture.
    offset : Tensor, shape (h, w, 2)
        U and V of black. `slope * mean gray + offset` is `uv`.
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
    """Means over areas of gray and of its square `(2, h, w)`; a few rows are copied at a time."""
    height, width = gray.shape
    rows = min(size[0], height)
    lines = gray.new_empty(2, rows, width)
    for row in range(rows):
        band = gray[row * height // rows : -(-(row + 1) * height // rows)].nan_to_num(nan=0.0)
        lines[0, row] = band.mean(dim=0)
        lines[1, row] = band.square_().mean(dim=0)
    return resize(lines[None], size)[0]


def _slope(gray: Tensor, inside: Tensor, uv: Tensor) -> Tensor:
    """Slope `(2, h, w)` of U and V along gray `(1, h, w)` that varies by `inside` in a pixel."""
    gray_around, uv_around = _around(gray), _around(uv)
    variance = (_around(gray * gray) - gray_around.square()).clamp_min_(0)
    uv_variance = (_around(uv * uv) - uv_around.square()).clamp_min_(0).sum(dim=0)
    covariance = _around(gray * uv) - gray_around * uv_around
    # Squared correlation: 1 where all that U and V do, the gray does too.
    explained = covariance.square().sum(dim=0)
    explained = explained / ((variance + TINY_GRAY) * (uv_variance + TINY_CHROMA))
    slope = covariance / (variance + GRAIN * _around(inside) + STEPS)
    return _around(slope * explained)


def _around(x: Tensor) -> Tensor:
    """Means over 3 x 3 pixels weighed 1, 2, 1 along either axis, `(C, h, w)`."""
    # Not as a convolution: GPUs round its products so coarsely that variances would be lost.
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    x = (x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4
    return (x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]) / 4
