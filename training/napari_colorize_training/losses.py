"""Losses as pure functions of tensors; each names its equation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def encode_softly(
    uv: Tensor, steps: Tensor, origin: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Colours as mixtures of the four grid points around them.

    The weights are bilinear, so the mixture's mean is the colour itself. (Zhang et al. 2016,
    section 2.2, use a Gaussian over the nearest bins, whose mean is not.)

    Parameters
    ----------
    uv : Tensor, shape (N, 2, H, W)
        Rec. 601 U and V.
    steps, origin : Tensor, shape (2,)
        Spacing and first point of the grid along U and V.
    shape : tuple of int
        Grid points along U and V.

    Returns
    -------
    classes, weights : Tensor, shape (N, 4, H, W)
        Index of each grid point (V fastest) and its share; shares sum to 1.
    """
    last = torch.tensor(shape, dtype=uv.dtype).view(1, 2, 1, 1) - 1
    place = (uv - origin.view(1, 2, 1, 1)) / steps.view(1, 2, 1, 1)
    place = place.clamp(min=torch.zeros(()), max=last - 1e-3)
    low = place.floor()
    share = place - low
    u, v = low.long().unbind(1)
    classes = torch.stack([(u + du) * shape[1] + v + dv for du in (0, 1) for dv in (0, 1)], 1)
    along_u, along_v = (torch.stack([1 - part, part], 1) for part in share.unbind(1))
    weights = (along_u.unsqueeze(2) * along_v.unsqueeze(1)).flatten(1, 2)
    return classes, weights


def class_weights(frequency: Tensor, rebalance: float, heaviest: float) -> Tensor:
    """Weights that make rare colours count: frequency ** -rebalance, of mean 1 over the data.

    Zhang et al. 2016, eq. (4), mix the frequencies with a uniform distribution instead of raising
    them to a power; both tame the rarest classes: here no weight passes `heaviest` before the mean
    is brought back to 1.
    """
    present = frequency.clamp_min(1e-6)
    weights = present**-rebalance
    weights = weights / (frequency * weights).sum()
    weights = weights.clamp_max(heaviest)
    return weights / (frequency * weights).sum()


def soft_cross_entropy(logits: Tensor, classes: Tensor, shares: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy against soft classes, each pixel weighed by its classes' weights.

    Zhang et al. 2016, eq. (2). Logits are `(N, K, H, W)`; the result is the mean over pixels.
    """
    # Channels last, as the convolution leaves them: a softmax over far strides is slow on a CPU.
    log_probabilities = F.log_softmax(logits.movedim(1, -1).float(), dim=-1)
    log_probabilities = log_probabilities.gather(-1, classes.movedim(1, -1))
    pixel = (weights[classes] * shares).sum(1)
    return -(pixel * (shares.movedim(1, -1) * log_probabilities).sum(-1)).mean()
