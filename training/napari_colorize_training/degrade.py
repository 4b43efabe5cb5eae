"""What old or poor photographs do to gray, so that a network trained on good ones can read them.

Applied to the network's input only; the colours to be learned stay those of the clean picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

GAMMA = 0.35  # largest |log gamma|
FADE = 0.25  # largest share of the range lost at either end
GRAIN = 0.05  # largest standard deviation of noise; gray spans 0 to 1


def tone_and_grain(gray: Tensor, random: torch.Generator) -> Tensor:
    """Tone, fading and grain of gray `(N, 1, H, W)` in [0, 1], drawn for each picture."""

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(gray), 1, 1, 1, generator=random)

    toned = gray.clamp_min(1e-4) ** draw(-GAMMA, GAMMA).exp()
    black, white = draw(-0.05, FADE).clamp_min(0), 1 - draw(-0.05, FADE).clamp_min(0)
    faded = black + (white - black) * toned
    grain = draw(-GRAIN, GRAIN).clamp_min(0) * torch.randn(gray.shape, generator=random)
    return (faded + grain).clamp(0, 1)
