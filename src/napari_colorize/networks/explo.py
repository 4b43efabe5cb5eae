"""U-Net of unpadded convolutions and transposed convolutions, from the slides "explo".

The slides describe a colorizer with a U-Net and a GAN after Nazeri, Ng and Ebrahimi 2018 (arXiv
1803.05400, see `dcgan_unet`), but their code is another network, which is implemented here. Three
blocks of unpadded convolutions with 5, 3 and 3 pixels reduce height and width by 24 pixels. A 3x3
convolution with tanh is the bottleneck. Three blocks of transposed convolutions with 3, 3 and 5
pixels restore the size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 16  # channels of the first convolution
SIDES = (5, 3, 3)  # filter sides of an encoder block; reversed in the decoder
BLOCKS = 3
SLOPE = 0.3  # of LeakyReLU for negative values; Keras' default
# Pixels of height and width that the encoder removes: 24.
REMOVED_PIXELS = BLOCKS * sum(side - 1 for side in SIDES)
INITIAL_RGB = 0.5  # output of a new network


class ExploUNet(nn.Module):
    """Gray (N, 1, H, W) in [0, 1] to RGB (N, 3, H, W) of 0 or more; values above 1 are too bright.

    As in the code of the slides, Keras' LeakyReLU (slope 0.3) follows the convolutions of the
    encoder, and ReLU those of the decoder including the last one (the text says tanh). tanh is used
    at the bottleneck only. The slides state 1 406 403 parameters. This
    number results if each decoder block also takes the output of the encoder block of its size
    (128, 64 and 32 channels), which makes it a U-Net, as the slides call it, and needs no cropping.
    The first convolution has `width` channels; every block doubles them. Images smaller than the
    removed border are padded by repeating the last row and column.

    Weights are initialized as in Glorot and Bengio 2010 and biases with 0, except the last bias
    with 0.5: a channel that starts negative everywhere has no gradient after a ReLU.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        # Each block ends with twice these channels.
        widths = [width * 2**block for block in range(BLOCKS)]
        deepest = 2 * widths[-1]
        self.contract = nn.ModuleList(
            _contracting_block(1 if first == width else first, first) for first in widths
        )
        self.bottleneck = nn.Conv2d(deepest, deepest, 3, padding=1)
        inside = [2 * first for first in reversed(widths)]
        self.expand = nn.ModuleList(
            _expanding_block(channels, outputs)
            for channels, outputs in zip(inside, (*inside[1:], 3), strict=True)
        )
        convolutions = [part for part in self.modules() if hasattr(part, "kernel_size")]
        for convolution in convolutions:
            nn.init.xavier_uniform_(convolution.get_parameter("weight"))
            nn.init.zeros_(convolution.get_parameter("bias"))
        nn.init.constant_(convolutions[-1].get_parameter("bias"), INITIAL_RGB)

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """Predict RGB for any height and width. `self_attention` has no effect."""
        height, width = gray.shape[-2:]
        right, below = (max(0, REMOVED_PIXELS + 1 - side) for side in (width, height))
        x = F.pad(gray.to(self.bottleneck.weight.dtype), (0, right, 0, below), mode="replicate")
        skips: list[Tensor] = []
        for block in self.contract:
            x = block(x)
            skips.append(x)
        x = torch.tanh(self.bottleneck(x))
        for block, skip in zip(self.expand, reversed(skips), strict=True):
            x = block(torch.cat([x, skip], dim=1))
        return x[..., :height, :width]


def build_explo(state: Mapping[str, Tensor]) -> ExploUNet:
    """Build a network with the shapes of a state dict."""
    return ExploUNet(len(state["contract.0.0.weight"]))


def _contracting_block(inputs: int, first: int) -> nn.Sequential:
    """Encoder block with `first`, then 2 * `first` channels; 8 pixels smaller."""
    channels = (inputs, first, 2 * first, 2 * first)
    parts: list[nn.Module] = []
    for step, side in enumerate(SIDES):
        convolution = nn.Conv2d(channels[step], channels[step + 1], side)
        parts += [convolution, nn.LeakyReLU(SLOPE, inplace=True)]
    return nn.Sequential(*parts)


def _expanding_block(inside: int, outputs: int) -> nn.Sequential:
    """Decoder block from 2 * `inside` to `inside` channels and the output; 8 pixels larger."""
    channels = (2 * inside, inside, inside, outputs)
    parts: list[nn.Module] = []
    for step, side in enumerate(reversed(SIDES)):
        convolution = nn.ConvTranspose2d(channels[step], channels[step + 1], side)
        parts += [convolution, nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)
