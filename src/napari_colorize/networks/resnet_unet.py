"""U-Net on a ResNet-18: fastai's `DynamicUnet` as used by a colorization tutorial.

The encoder is torchvision's ResNet-18 without pooling and classifier, with torchvision's key names,
so that pretrained weights can be loaded. Two convolutions follow at the coarsest size. Each decoder
block upsamples by a pixel shuffle, concatenates encoder features and convolves twice. The features
are then upsampled to full size, concatenated with the input, and a linear 1x1 convolution gives a
and b.

M. Shariatnia, "Colorizing black and white images with U-Net and conditional GAN", 2020: L1 first,
then a conditional GAN. fastai 2, `vision/models/unet.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.layers import PixelShuffleICNR, conv2d, conv_block
from napari_colorize.networks.vision import ResNetName, resnet_stages

Depth = Literal["layer3", "layer4"]
RESNETS: dict[Depth, ResNetName] = {"layer3": "resnet18-layer3", "layer4": "resnet18"}

AB_UNIT = 110.0  # scale of a and b in the tutorial
L_UNIT = 50.0  # L is 0 to 100
# Channels of the encoder features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
ENCODER_CHANNELS = (64, 64, 128, 256, 512)
HEAD_STD = 1e-3  # a new network predicts a and b of about 0.1


class ResNet18Encoder(nn.Module):
    """One channel (N, 1, H, W) to features at 1/2, 1/4, 1/8, 1/16 and, for "layer4", 1/32."""

    def __init__(self, depth: Depth = "layer4") -> None:
        super().__init__()
        # One input channel: pretrained filters are summed over R, G and B.
        self.conv1 = nn.Conv2d(1, ENCODER_CHANNELS[0], 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        _, self.bn1, self.relu, self.maxpool, *layers = resnet_stages(RESNETS[depth])
        self.layers = [f"layer{number}" for number in range(1, 1 + len(layers))]
        for name, layer in zip(self.layers, layers, strict=True):
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features, largest first."""
        features = [self.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(features[0])
        for name in self.layers:
            x = self.get_submodule(name)(x)
            features.append(x)
        return features


class UnetBlock(nn.Module):
    """U-Net block: upsample, concatenate the encoder features of this size, convolve twice."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.upsample = PixelShuffleICNR(inputs, inputs // 2, norm=None, batch_norm=False)
        self.skip_norm = nn.BatchNorm2d(skip)
        self.conv1 = conv_block(inputs // 2 + skip, outputs)
        self.conv2 = conv_block(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        height, width = skip.shape[-2:]
        x = self.upsample(x)[..., :height, :width]  # one too large if the side of the skip is odd
        x = F.relu(torch.cat([x, self.skip_norm(skip)], dim=1))
        return self.conv2(self.conv1(x))


class ResBlock(nn.Module):
    """Residual block of two convolutions; a new one is the identity before its ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.conv1 = conv_block(channels, channels)
        self.conv2 = nn.Sequential(conv2d(channels, channels, norm=None), norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(self.conv1(x)))


class ResNetUNet(nn.Module):
    """CIELAB L (N, 1, H, W), 0 to 100, to a and b (N, 2, H, W).

    The input is L / 50 - 1 and the linear output is multiplied by 110, as in the tutorial. Pixel
    shuffles are followed by the blur of this package and have no weight norm, because a batch norm
    follows. There is no dropout. Convolutions are initialized as in He et al. 2015, the encoder as
    in torchvision, pixel shuffles with ICNR, and the last convolution near 0.

    `depth` is the last stage of the encoder: features at 1/32 (as published) or at 1/16 of the
    size. `widths` are the channels of the decoder blocks, coarsest first; by default as in fastai,
    the concatenated channels of a block, and half of them in the last block.
    """

    def __init__(self, depth: Depth = "layer4", widths: Sequence[int] | None = None) -> None:
        super().__init__()
        *skips, deepest = ENCODER_CHANNELS[: 1 + int(depth[-1])]
        widths = tuple(widths or default_widths(depth))
        self.encoder = ResNet18Encoder(depth)
        self.norm = nn.BatchNorm2d(deepest)
        self.bottleneck = nn.Sequential(
            conv_block(deepest, 2 * deepest), conv_block(2 * deepest, deepest)
        )
        self.ups = nn.ModuleList(
            UnetBlock(inputs, skip, outputs)
            for inputs, skip, outputs in zip(
                (deepest, *widths[:-1]), reversed(skips), widths, strict=True
            )
        )
        last = widths[-1]
        self.last_upsample = PixelShuffleICNR(last, last, norm=None, batch_norm=False)
        self.refine = ResBlock(last + 1)
        self.head = nn.Conv2d(last + 1, 2, 1)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """Predict a and b for any height and width. `self_attention` has no effect."""
        gray = lightness.to(self.head.weight.dtype) / L_UNIT - 1
        *skips, x = self.encoder(gray)
        x = self.bottleneck(F.relu(self.norm(x)))
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        height, width = gray.shape[-2:]
        x = self.last_upsample(x)[..., :height, :width]
        return self.head(self.refine(torch.cat([x, gray], dim=1))) * AB_UNIT


def default_widths(depth: Depth) -> tuple[int, ...]:
    """Channels of fastai's decoder blocks on this encoder, coarsest first."""
    *skips, inputs = ENCODER_CHANNELS[: 1 + int(depth[-1])]
    widths: list[int] = []
    for skip in reversed(skips):
        inputs = inputs // 2 + skip
        widths.append(inputs)
    return (*widths[:-1], widths[-1] // 2)


def build_resnet_unet(state: Mapping[str, Tensor]) -> ResNetUNet:
    """Build a network with the keys and shapes of a state dict."""
    deep = "encoder.layer4.0.conv1.weight" in state
    count = 4 if deep else 3
    widths = [len(state[f"ups.{step}.conv2.0.weight"]) for step in range(count)]
    return ResNetUNet("layer4" if deep else "layer3", widths)
