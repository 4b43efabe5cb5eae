"""A U-Net that grows out of a ResNet-18: fastai's `DynamicUnet` as a colorizing tutorial uses it.

The encoder is torchvision's ResNet-18 without pooling and classifier, under torchvision's own key
names, so that its pretrained weights load. Two convolutions follow at the coarsest size, then as
many decoder blocks as the encoder has finer sizes; each enlarges by a pixel shuffle, joins what the
encoder saw there and convolves twice. Last, the features come to full size, meet the input once
more, and a linear 1x1 convolution gives a and b.

M. Shariatnia, "Colorizing black and white images with U-Net and conditional GAN", 2020: L1 first,
then a conditional GAN. fastai 2, `vision/models/unet.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.layers import SubPixelUpsample, conv2d
from napari_colorize.networks.vision import ResNetName, resnet_stages

Depth = Literal["layer3", "layer4"]
RESNETS: dict[Depth, ResNetName] = {"layer3": "resnet18-layer3", "layer4": "resnet18"}

AB_UNIT = 110.0  # the tutorial divides a and b by it
L_UNIT = 50.0  # L is 0 to 100
# Channels that the encoder gives at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
ENCODED = (64, 64, 128, 256, 512)
HEAD_DEVIATION = 1e-3  # a new network gives a and b of about 0.1: gray


class ResNet18Encoder(nn.Module):
    """One channel (N, 1, H, W) to features at 1/2, 1/4, 1/8, 1/16 and, to "layer4", 1/32.

    Parameters
    ----------
    depth : {"layer3", "layer4"}
        The last stage there is.
    """

    def __init__(self, depth: Depth = "layer4") -> None:
        super().__init__()
        # ResNet's own sees R, G and B: pretrained filters are summed over them to see gray.
        self.conv1 = nn.Conv2d(1, ENCODED[0], 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        _, self.bn1, self.relu, self.maxpool, *layers = resnet_stages(RESNETS[depth])
        self.layers = [f"layer{number}" for number in range(1, 1 + len(layers))]
        for name, layer in zip(self.layers, layers, strict=True):
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [self.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(features[0])
        for name in self.layers:
            x = self.get_submodule(name)(x)
            features.append(x)
        return features


class UpBlock(nn.Module):
    """Twice the size, joined with the encoder's features of that size, convolved twice."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.upsample = SubPixelUpsample(inputs, inputs // 2, norm=None, batch_norm=False)
        self.skip_norm = nn.BatchNorm2d(skip)
        self.conv1 = _convolution(inputs // 2 + skip, outputs)
        self.conv2 = _convolution(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        height, width = skip.shape[-2:]
        x = self.upsample(x)[..., :height, :width]  # one too large where the skip's side is odd
        x = F.relu(torch.cat([x, self.skip_norm(skip)], dim=1))
        return self.conv2(self.conv1(x))


class Residual(nn.Module):
    """Two convolutions whose result is added to their input; a new one adds nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.conv1 = _convolution(channels, channels)
        self.conv2 = nn.Sequential(conv2d(channels, channels, norm=None), norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(self.conv1(x)))


class ResNetUNet(nn.Module):
    """CIELAB L (N, 1, H, W), 0 to 100, to a and b (N, 2, H, W).

    Settled: L / 50 - 1 goes in, 110 (a, b) come out of a linear layer, as in the tutorial. The
    pixel shuffles are followed by our blur and have no weight norm, since a batch norm follows.
    There is no dropout. Convolutions start as in He et al. 2015, the first one and the stages as
    torchvision has them, the pixel shuffles as ICNR, and the last convolution near gray.

    Parameters
    ----------
    depth : {"layer4", "layer3"}
        The encoder's last stage: features at 1/32 (as published) or at 1/16 of the size.
    widths : sequence of int, optional
        Channels of the decoder blocks, coarse end first; by default fastai's: all that a block
        joins, and half of it in the last.
    """

    def __init__(self, depth: Depth = "layer4", widths: Sequence[int] | None = None) -> None:
        super().__init__()
        *skips, deepest = ENCODED[: 1 + int(depth[-1])]
        widths = tuple(widths or usual_widths(depth))
        self.encoder = ResNet18Encoder(depth)
        self.norm = nn.BatchNorm2d(deepest)
        self.bottleneck = nn.Sequential(
            _convolution(deepest, 2 * deepest), _convolution(2 * deepest, deepest)
        )
        self.ups = nn.ModuleList(
            UpBlock(inputs, skip, outputs)
            for inputs, skip, outputs in zip(
                (deepest, *widths[:-1]), reversed(skips), widths, strict=True
            )
        )
        last = widths[-1]
        self.last_upsample = SubPixelUpsample(last, last, norm=None, batch_norm=False)
        self.refine = Residual(last + 1)
        self.head = nn.Conv2d(last + 1, 2, 1)
        nn.init.normal_(self.head.weight, std=HEAD_DEVIATION)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """As the class says, for any H and W; there is no attention to switch."""
        gray = lightness.to(self.head.weight.dtype) / L_UNIT - 1
        *skips, x = self.encoder(gray)
        x = self.bottleneck(F.relu(self.norm(x)))
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        height, width = gray.shape[-2:]
        x = self.last_upsample(x)[..., :height, :width]
        return self.head(self.refine(torch.cat([x, gray], dim=1))) * AB_UNIT


def usual_widths(depth: Depth) -> tuple[int, ...]:
    """Channels of fastai's decoder blocks on this encoder, coarse end first."""
    *skips, inputs = ENCODED[: 1 + int(depth[-1])]
    widths: list[int] = []
    for skip in reversed(skips):
        inputs = inputs // 2 + skip
        widths.append(inputs)
    return (*widths[:-1], widths[-1] // 2)


def resnet_unet_of(state: Mapping[str, Tensor]) -> ResNetUNet:
    """The network that a state dict is of."""
    deep = "encoder.layer4.0.conv1.weight" in state
    count = 4 if deep else 3
    widths = [len(state[f"ups.{step}.conv2.0.weight"]) for step in range(count)]
    return ResNetUNet("layer4" if deep else "layer3", widths)


def is_resnet_unet(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of this network."""
    return "encoder.layer1.0.conv1.weight" in state and "bottleneck.0.0.weight" in state


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        conv2d(inputs, outputs, norm=None), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
