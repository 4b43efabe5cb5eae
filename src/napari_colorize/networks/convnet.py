"""Plain encoder and decoder without skip connections: six strided and six upsampled convolutions.

Q. Fu, W.-T. Hsu and M.-H. Yang, "Colorization using ConvNet and GAN", CS231n report 302, 2017. The
report colorizes frames of animation and manga from gray or from edges only. The same encoder is the
discriminator of its GAN.

`LabAutoencoder` is a shorter one, from CIELAB L to a and b, or to RGB, for comparison of the two
targets. Surveys of colorization compare them under the names Lab and RGB autoencoder. They share
all layers except the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.layers import conv_block

Target = Literal["ab", "rgb"]

# Channels of the six encoder stages. The report does not state them; these are usual for a U-Net.
WIDTHS = (64, 128, 256, 512, 512, 512)
# Scaled as in skimage.filters.sobel: mean gradients, so that magnitudes are 0 to 1.
SOBEL = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))
SOBEL_SCALE = 4 * 2**0.5
HEAD_STD = 1e-3  # small, so that tanh and sigmoid do not start in saturation
# Channels of an autoencoder; not standardized: doubled at each stage.
LAB_WIDTHS = (64, 128, 256, 512)
AB_UNIT = 110.0  # scale of tanh; a and b of sRGB are within -108 and 98
L_UNIT = 50.0  # L is 0 to 100
TINY = 1e-12  # the square root has no derivative at 0


class Encoder(nn.Module):
    """Encoder: stages of 3x3 convolution with stride 2, batch norm and ReLU.

    `widths` are the channels of the stages. `slope` is that of the ReLU below zero; discriminators
    usually have 0.2. Odd sides are rounded up. In training, a batch needs more than one value per
    channel at the last stage: two images, or one larger than 2 ** stages.
    """

    def __init__(
        self, in_channels: int = 1, widths: Sequence[int] = WIDTHS, *, slope: float = 0.0
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(
                _down_stage(inputs, outputs, slope)
                for inputs, outputs in pairwise((in_channels, *widths))
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, widths[-1], H / 2 ** stages, W / 2 ** stages)."""
        return self.stages(x)


class Decoder(nn.Module):
    """Decoder: stages of nearest-neighbor upsampling by 2 and 3x3 convolution.

    `widths` are the channels of the stages of the encoder; the decoder uses them in reverse. Batch
    norm and ReLU follow all but the last convolution. Upsampling before the convolution avoids the
    checkerboard artifacts of transposed convolutions (Odena et al. 2016).
    """

    def __init__(self, widths: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            conv_block(inputs, outputs) for inputs, outputs in pairwise(reversed(widths))
        )
        self.head = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, widths[-1], h, w) to (N, out_channels, 2 ** stages h, 2 ** stages w)."""
        for stage in (*self.stages, self.head):
            x = stage(F.interpolate(x, scale_factor=2, mode="nearest"))
        return x


class ConvNet(nn.Module):
    """Gray (N, 1, H, W) in [0, 1] to RGB (N, 3, H, W) in [0, 1].

    The report does not specify the output: RGB by a sigmoid is used, because its loss is the pixel
    L2 of color frames and edges do not determine brightness. Convolutions are initialized as in He
    et al. 2015, the last one near zero, so that a new network predicts middle gray.

    With `edges` only the gradient magnitude of the gray is the input (`edges_of`); a buffer with
    Sobel's filter in the state dict marks such networks. `widths` are the channels of the stages of
    the encoder.
    """

    sobel: Tensor

    def __init__(self, *, edges: bool = False, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.encoder = Encoder(1, widths)
        self.decoder = Decoder(widths, 3)
        self.uses_edges = edges
        if edges:
            down = torch.tensor(SOBEL) / SOBEL_SCALE
            self.register_buffer("sobel", torch.stack([down, down.T]).unsqueeze(1))

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """Predict RGB for any height and width. `self_attention` has no effect."""
        height, width = gray.shape[-2:]
        x = gray.to(self.decoder.head.weight.dtype)
        x = edges_of(x, self.sobel) if self.uses_edges else x
        return torch.sigmoid(self.decoder(self.encoder(x))[..., :height, :width])


class LabAutoencoder(nn.Module):
    """CIELAB L (N, 1, H, W), 0 to 100, to a and b (N, 2, H, W) or RGB (N, 3, H, W).

    a and b are 110 tanh, -110 to 110. RGB is a sigmoid, 0 to 1. The decoder has the name `to_ab` or
    `to_rgb`, which distinguishes the files. `widths` are the channels of the stages of the encoder.
    Weights are initialized as in `ConvNet`.
    """

    def __init__(self, target: Target = "ab", *, widths: Sequence[int] = LAB_WIDTHS) -> None:
        super().__init__()
        self.target = target
        self.encoder = Encoder(1, widths)
        self.add_module(f"to_{target}", Decoder(widths, 2 if target == "ab" else 3))

    @property
    def decoder(self) -> Decoder:
        """Decoder, independent of its name."""
        decoder = self.get_submodule(f"to_{self.target}")
        assert isinstance(decoder, Decoder)
        return decoder

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """Predict for any height and width. `self_attention` has no effect."""
        height, width = lightness.shape[-2:]
        x = lightness.to(self.decoder.head.weight.dtype) / L_UNIT - 1
        y = self.decoder(self.encoder(x))[..., :height, :width]
        return torch.tanh(y) * AB_UNIT if self.target == "ab" else torch.sigmoid(y)


def edges_of(gray: Tensor, filters: Tensor) -> Tensor:
    """Gradient magnitude of gray (N, 1, H, W) in [0, 1] by Sobel's filters (2, 1, 3, 3), 0 to 1.

    The border of the gray is repeated outwards.
    """
    gradient = F.conv2d(F.pad(gray, (1, 1, 1, 1), mode="replicate"), filters)
    return (gradient.square().sum(dim=1, keepdim=True) + TINY).sqrt()


def build_convnet(state: Mapping[str, Tensor]) -> ConvNet:
    """Build a network with the keys and shapes of a state dict."""
    return ConvNet(edges="sobel" in state, widths=encoder_widths(state))


def build_autoencoder(state: Mapping[str, Tensor]) -> LabAutoencoder:
    """Build a network with the keys and shapes of a state dict."""
    target: Target = "ab" if "to_ab.head.weight" in state else "rgb"
    return LabAutoencoder(target, widths=encoder_widths(state))


def encoder_widths(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Channels of the stages of the `Encoder` with the name `encoder` in a state dict."""
    widths: list[int] = []
    while (first := state.get(f"encoder.stages.{len(widths)}.0.weight")) is not None:
        widths.append(len(first))
    return tuple(widths)


def _down_stage(inputs: int, outputs: int, slope: float) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, a=slope)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.LeakyReLU(slope, inplace=True))
