"""Convolutions that lose their border, and transposed ones that give it back.

The system that our recipes call explo, after the slides it is from: a colorizer by U-Net and GAN.
Their words follow Nazeri, Ng and Ebrahimi 2018 (arXiv 1803.05400; see `dcgan_unet`), their code is
another network: this one. Three blocks of convolutions, 5, 3 and 3 pixels wide and without padding,
make the image 24 pixels narrower and lower; a 3x3 convolution with tanh stands at the bottom;
three blocks of transposed convolutions, 3, 3 and 5 wide, come back to the full size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 16  # channels of the first convolution
SIDES = (5, 3, 3)  # of the filters in a block; backwards on the way up
BLOCKS = 3
SHRINKS = BLOCKS * sum(side - 1 for side in SIDES)  # pixels of height and width lost in all: 24
MIDDLE = 0.5  # where RGB of a new network starts


class ExploUNet(nn.Module):
    """Gray (N, 1, H, W) in [0, 1] to RGB (N, 3, H, W), 0 or more; what exceeds 1 is too bright.

    Settled: ReLU behind every convolution and the last one too, as in the code (the words say
    tanh); tanh at the bottom only. The slides give 1 406 403 parameters. Plain blocks do not have
    them; they come out exactly if each block of the way up also sees what the block of its size on
    the way down gave (128, 64 and 32 channels): this is a U-Net, as the slides call it, and its
    sizes fit without cutting. Images smaller than what the border takes are filled by repeating
    the last row and column, and cut again.

    Weights start as in Glorot and Bengio 2010, biases at zero, but for the last: at 0.5, since a
    channel that starts below zero everywhere would never learn behind a ReLU.

    Parameters
    ----------
    width : int
        Channels of the first convolution; each block has twice those of the one before.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width * 2**block for block in range(BLOCKS)]  # each block ends in twice its width
        deepest = 2 * widths[-1]
        self.contract = nn.ModuleList(
            _contracting(1 if first == width else first, first) for first in widths
        )
        self.bottleneck = nn.Conv2d(deepest, deepest, 3, padding=1)
        inside = [2 * first for first in reversed(widths)]
        self.expand = nn.ModuleList(
            _expanding(channels, outputs)
            for channels, outputs in zip(inside, (*inside[1:], 3), strict=True)
        )
        convolutions = [part for part in self.modules() if hasattr(part, "kernel_size")]
        for convolution in convolutions:
            nn.init.xavier_uniform_(convolution.get_parameter("weight"))
            nn.init.zeros_(convolution.get_parameter("bias"))
        nn.init.constant_(convolutions[-1].get_parameter("bias"), MIDDLE)

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """As the class says, for any H and W; there is no attention to switch."""
        height, width = gray.shape[-2:]
        right, below = (max(0, SHRINKS + 1 - side) for side in (width, height))
        x = F.pad(gray.to(self.bottleneck.weight.dtype), (0, right, 0, below), mode="replicate")
        skips: list[Tensor] = []
        for block in self.contract:
            x = block(x)
            skips.append(x)
        x = torch.tanh(self.bottleneck(x))
        for block, skip in zip(self.expand, reversed(skips), strict=True):
            x = block(torch.cat([x, skip], dim=1))
        return x[..., :height, :width]


def explo_of(state: Mapping[str, Tensor]) -> ExploUNet:
    """The network that a state dict is of."""
    return ExploUNet(len(state["contract.0.0.weight"]))


def is_explo(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of this network."""
    return "contract.0.0.weight" in state and "expand.0.0.weight" in state


def _contracting(inputs: int, first: int) -> nn.Sequential:
    """A block on the way down: `first`, then twice `first` channels; 8 pixels smaller."""
    channels = (inputs, first, 2 * first, 2 * first)
    parts: list[nn.Module] = []
    for step, side in enumerate(SIDES):
        parts += [nn.Conv2d(channels[step], channels[step + 1], side), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)


def _expanding(inside: int, outputs: int) -> nn.Sequential:
    """A block on the way up, from twice `inside` channels by way of `inside`; 8 pixels larger."""
    channels = (2 * inside, inside, inside, outputs)
    parts: list[nn.Module] = []
    for step, side in enumerate(reversed(SIDES)):
        convolution = nn.ConvTranspose2d(channels[step], channels[step + 1], side)
        parts += [convolution, nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)
