"""pix2pix's U-Net for color: halved until one pixel sees it all, and back with skips.

Every step is a 4x4 convolution of stride 2. Isola, Zhu, Zhou and Efros, "Image-to-image translation
with conditional adversarial networks", CVPR 2017, appendix 6.1, with the eight steps of their
program (its text has seven) and, as in their later one, no batch norm at the bottleneck, where one
image at a time would leave nothing but zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNIT = 110.0  # CIELAB a and b are within it, and a tanh is within 1
L_MIDDLE = 50.0
MOST_TIMES = 8  # the deepest features have at most this many times the channels of the first
DROPPED_OUT = 3  # steps back up, the coarsest, that have dropout if they are of the most channels
SPREAD = 0.02  # standard deviation of new weights
SLOPE = 0.2  # of the way down's leaky ReLU


class Down(nn.Module):
    """Half the size: leaky ReLU, convolution and batch norm, but for what the ends leave out."""

    def __init__(self, inputs: int, outputs: int, *, first: bool = False, last: bool = False):
        super().__init__()
        self.relu = nn.Identity() if first else nn.LeakyReLU(SLOPE)
        self.conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.norm = nn.Identity() if first or last else nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / 2, W / 2), rounded up: an odd side has its end repeated."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        return self.norm(self.conv(self.relu(x)))


class Up(nn.Module):
    """Twice the size: ReLU, transposed convolution, batch norm and dropout."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', 2 H, 2 W)."""
        return self.dropout(self.norm(self.conv(F.relu(x))))


class Pix2PixUNet(nn.Module):
    """CIELAB L `(N, 1, H, W)` to a and b `(N, 2, H, W)`, within 110; of any height and width.

    Where 2**downs divides both sides, this is the published network.

    Parameters
    ----------
    dropout : float
        Share of features that the coarsest steps back up leave out in training: the noise of the
        conditional GAN.
    downs : int
        How often the size is halved; fewer for images of less than 256 px.
    width : int
        Channels of the first features.
    """

    def __init__(self, dropout: float = 0.5, downs: int = 8, width: int = 64) -> None:
        super().__init__()
        channels = [width * min(2**step, MOST_TIMES) for step in range(downs)]
        steps = enumerate(pairwise([1, *channels]))
        self.contracting = nn.ModuleList(
            Down(inputs, outputs, first=step == 0, last=step == downs - 1)
            for step, (inputs, outputs) in steps
        )
        wide = channels[-1]
        self.expanding = nn.ModuleList()
        for step, (inputs, outputs) in enumerate(pairwise(reversed(channels))):
            drops = step < DROPPED_OUT and outputs == wide
            joined = inputs if step == 0 else 2 * inputs
            self.expanding.append(Up(joined, outputs, dropout if drops else 0.0))
        self.head = nn.ConvTranspose2d(2 * width, 2, 4, stride=2, padding=1)
        self._start()

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        x = (lightness / L_MIDDLE - 1).to(self.head.weight.dtype)
        sizes, skips = [], []
        for down in self.contracting:
            sizes.append(x.shape[-2:])
            x = down(x)
            skips.append(x)
        skips.pop()  # the bottleneck is what goes back up
        for up in self.expanding:
            x = torch.cat([_cropped(up(x), sizes.pop()), skips.pop()], dim=1)
        return _cropped(self.head(F.relu(x)), sizes.pop()).float().tanh() * UNIT

    def _start(self) -> None:
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(part.weight, std=SPREAD)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, mean=1.0, std=SPREAD)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)


def _cropped(x: Tensor, size: torch.Size) -> Tensor:
    return x[..., : size[0], : size[1]]


def is_pix2pix(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of this network."""
    return "contracting.0.conv.weight" in state and "expanding.0.conv.weight" in state


def pix2pix_of(state: Mapping[str, Tensor]) -> Pix2PixUNet:
    """The network that a state dict fits; its dropout, of which nothing is saved, is the usual."""
    first = state["contracting.0.conv.weight"]
    downs = sum(key.startswith("contracting.") and key.endswith(".conv.weight") for key in state)
    return Pix2PixUNet(downs=downs, width=len(first))
