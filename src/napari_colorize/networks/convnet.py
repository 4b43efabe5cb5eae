"""A plain encoder and decoder: six convolutions of stride 2 down, six enlarged ones up, no skips.

Q. Fu, W.-T. Hsu and M.-H. Yang, "Colorization using ConvNet and GAN", CS231n report 302, 2017: for
frames of animation and manga, from gray or from nothing but edges; the same encoder is the critic
of its GAN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.layers import conv2d

# Of the six encoder stages. The report's are not known to us: these are ours, as in a U-Net.
WIDTHS = (64, 128, 256, 512, 512, 512)
# As skimage.filters.sobel scales it: means of gradients, so that edges are 0 to 1.
SOBEL = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))
SOBEL_SCALE = 4 * 2**0.5
HEAD_DEVIATION = 1e-3  # what ends in tanh or a sigmoid must not start where these are flat
TINY = 1e-12  # the root of 0 has no derivative


class Encoder(nn.Module):
    """Features of an image, half the size at each stage: 3x3 convolution, batch norm, ReLU.

    A side that is odd is rounded up. In training, a batch must have more than one value per
    channel at the last stage: two images, or one larger than 2 ** stages.

    Parameters
    ----------
    in_channels : int
        Of the image.
    widths : sequence of int
        Channels of the stages.
    slope : float
        Of the ReLU below zero; critics usually have 0.2.
    """

    def __init__(
        self, in_channels: int = 1, widths: Sequence[int] = WIDTHS, *, slope: float = 0.0
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(_down(inputs, outputs, slope) for inputs, outputs in pairwise((in_channels, *widths)))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, widths[-1], H / 2 ** stages, W / 2 ** stages)."""
        return self.stages(x)


class Decoder(nn.Module):
    """Features to an image, twice the size at each step: nearest pixel, 3x3 convolution.

    Batch norm and ReLU follow all but the last convolution. Repeating pixels before convolving
    leaves no checkerboard, which transposed convolutions do (Odena et al. 2016).

    Parameters
    ----------
    widths : sequence of int
        Channels of the encoder's stages; the decoder's are these backwards.
    out_channels : int
        Of the image.
    """

    def __init__(self, widths: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            _same(inputs, outputs) for inputs, outputs in pairwise(reversed(widths))
        )
        self.head = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        nn.init.normal_(self.head.weight, std=HEAD_DEVIATION)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """(N, widths[-1], h, w) to (N, out_channels, 2 ** steps h, 2 ** steps w)."""
        for stage in (*self.stages, self.head):
            x = stage(F.interpolate(x, scale_factor=2, mode="nearest"))
        return x


class ConvNet(nn.Module):
    """Gray (N, 1, H, W) in [0, 1] to RGB (N, 3, H, W) in [0, 1].

    Settled: RGB by a sigmoid, because the report's loss is the pixel L2 of color frames, and edges
    do not say how bright an image is. Convolutions start as in He et al. 2015, but the last one
    near zero, so that a new network shows middle gray.

    Parameters
    ----------
    edges : bool
        Show the network nothing but where gray changes (`edges_of`). A buffer with Sobel's filter
        tells such a network from one that sees gray.
    widths : sequence of int
        Channels of the encoder's stages.
    """

    sobel: Tensor

    def __init__(self, *, edges: bool = False, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.encoder = Encoder(1, widths)
        self.decoder = Decoder(widths, 3)
        self.sees_edges = edges
        if edges:
            down = torch.tensor(SOBEL) / SOBEL_SCALE
            self.register_buffer("sobel", torch.stack([down, down.T]).unsqueeze(1))

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """As the class says, for any H and W; there is no attention to switch."""
        height, width = gray.shape[-2:]
        x = gray.to(self.decoder.head.weight.dtype)
        x = edges_of(x, self.sobel) if self.sees_edges else x
        return torch.sigmoid(self.decoder(self.encoder(x))[..., :height, :width])


def edges_of(gray: Tensor, filters: Tensor) -> Tensor:
    """The length of gray's gradient by Sobel's filters.

    Parameters
    ----------
    gray : Tensor, shape (N, 1, H, W)
        In [0, 1]; its border is repeated outwards.
    filters : Tensor, shape (2, 1, 3, 3)
        For changes down and across.

    Returns
    -------
    Tensor, shape (N, 1, H, W)
        In [0, 1].
    """
    gradient = F.conv2d(F.pad(gray, (1, 1, 1, 1), mode="replicate"), filters)
    return (gradient.square().sum(dim=1, keepdim=True) + TINY).sqrt()


def convnet_of(state: Mapping[str, Tensor]) -> ConvNet:
    """The network that a state dict is of."""
    return ConvNet(edges="sobel" in state, widths=encoder_widths(state))


def is_convnet(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of this network."""
    return "encoder.stages.0.0.weight" in state and "decoder.head.weight" in state


def encoder_widths(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Channels of the stages of the `Encoder` that a network calls `encoder`."""
    widths: list[int] = []
    while (first := state.get(f"encoder.stages.{len(widths)}.0.weight")) is not None:
        widths.append(len(first))
    return tuple(widths)


def _down(inputs: int, outputs: int, slope: float) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, a=slope)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.LeakyReLU(slope, inplace=True))


def _same(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        conv2d(inputs, outputs, norm=None), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
