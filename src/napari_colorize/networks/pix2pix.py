"""U-Net of pix2pix: halve the size down to one pixel, and restore it with skip connections.

Every step is a 4x4 convolution of stride 2. Isola, Zhu, Zhou and Efros, "Image-to-image translation
with conditional adversarial networks", CVPR 2017, appendix 6.1, with the eight steps of the
published program (the text has seven) and, as in its later version, without batch norm at the
bottleneck, where the norm of a single image would be 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNIT = 110.0  # scale of tanh to CIELAB a and b
L_MIDDLE = 50.0
MAX_CHANNEL_FACTOR = 8  # ratio of the channels of the deepest and the first features
DROPOUT_STEPS = 3  # coarsest decoder steps that have dropout, if they have the most channels
WEIGHT_STD = 0.02  # standard deviation of initial weights
SLOPE = 0.2  # of the leaky ReLU of the encoder


class Down(nn.Module):
    """Encoder step: leaky ReLU (not in the first), convolution, batch norm (only between)."""

    def __init__(self, inputs: int, outputs: int, *, first: bool = False, last: bool = False):
        super().__init__()
        self.relu = nn.Identity() if first else nn.LeakyReLU(SLOPE)
        self.conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.norm = nn.Identity() if first or last else nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / 2, W / 2); odd sides repeat the last pixel."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        return self.norm(self.conv(self.relu(x)))


class Up(nn.Module):
    """Decoder step: ReLU, transposed convolution, batch norm and dropout."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', 2 H, 2 W)."""
        return self.dropout(self.norm(self.conv(F.relu(x))))


class Pix2PixUNet(nn.Module):
    """CIELAB L `(N, 1, H, W)` to a and b `(N, 2, H, W)`, -110 to 110, of any height and width.

    It equals the published network if both sides are multiples of 2 ** downs; fewer than 8 `downs`
    are for images smaller than 256 pixels. `width` is the number of channels of the first features.
    `dropout` of the coarsest decoder steps in training is the noise of the conditional GAN.
    """

    def __init__(self, dropout: float = 0.5, downs: int = 8, width: int = 64) -> None:
        super().__init__()
        channels = [width * min(2**step, MAX_CHANNEL_FACTOR) for step in range(downs)]
        steps = enumerate(pairwise([1, *channels]))
        self.contracting = nn.ModuleList(
            Down(inputs, outputs, first=step == 0, last=step == downs - 1)
            for step, (inputs, outputs) in steps
        )
        max_channels = channels[-1]
        self.expanding = nn.ModuleList()
        for step, (inputs, outputs) in enumerate(pairwise(reversed(channels))):
            has_dropout = step < DROPOUT_STEPS and outputs == max_channels
            joined = inputs if step == 0 else 2 * inputs
            self.expanding.append(Up(joined, outputs, dropout if has_dropout else 0.0))
        self.head = nn.ConvTranspose2d(2 * width, 2, 4, stride=2, padding=1)
        self._initialize()

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """Predict a and b. `self_attention` has no effect."""
        x = (lightness / L_MIDDLE - 1).to(self.head.weight.dtype)
        sizes, skips = [], []
        for down in self.contracting:
            sizes.append(x.shape[-2:])
            x = down(x)
            skips.append(x)
        skips.pop()  # the bottleneck is no skip connection
        for up in self.expanding:
            x = torch.cat([_crop(up(x), sizes.pop()), skips.pop()], dim=1)
        return _crop(self.head(F.relu(x)), sizes.pop()).float().tanh() * UNIT

    def _initialize(self) -> None:
        """Initialize weights as in the published program."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(part.weight, std=WEIGHT_STD)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, mean=1.0, std=WEIGHT_STD)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)


def _crop(x: Tensor, size: torch.Size) -> Tensor:
    """Crop to a height and width."""
    return x[..., : size[0], : size[1]]


def build_pix2pix(state: Mapping[str, Tensor]) -> Pix2PixUNet:
    """Build a network with the shapes of a state dict and the default dropout."""
    first = state["contracting.0.conv.weight"]
    downs = sum(key.startswith("contracting.") and key.endswith(".conv.weight") for key in state)
    return Pix2PixUNet(downs=downs, width=len(first))
