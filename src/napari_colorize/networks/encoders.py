"""Encoders of DeOldify's U-Nets, each as a list of eight modules.

Convolution, norm and activation lead to 1/2 of the size, pooling to 1/4, and four stages through
1/4, 1/8 and 1/16 to 1/32. "resnet18-layer3" has three stages. The input is gray, repeated to three
channels and normalized with ImageNet's mean and standard deviation.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD
from napari_colorize.networks.mobilenet import MobileNetEdgeTPU, SameConv2d
from napari_colorize.networks.vision import ResNetName, resnet_stages

EncoderName = Literal[ResNetName, "mobilenet_edgetpu"]

# Channels at 1/32 (except for "-layer3"), 1/16, 1/8, 1/4 and 1/2 of the size.
ENCODER_CHANNELS: dict[EncoderName, tuple[int, ...]] = {
    "resnet18": (512, 256, 128, 64, 64),
    "resnet18-layer3": (256, 128, 64, 64),
    "resnet34": (512, 256, 128, 64, 64),
    "resnet101": (2048, 1024, 512, 256, 64),
    "mobilenet_edgetpu": (*MobileNetEdgeTPU.CHANNELS[::-1], 16),
}


class GrayStem(SameConv2d):
    """First convolution of MobileNet for ImageNet-normalized gray in three equal channels.

    It converts them to one channel in [-1, 1], the input of `MobileNetEdgeTPU`.
    """

    def forward(self, x: Tensor) -> Tensor:
        gray = x[:, :1] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
        return super().forward(gray * 2 - 1)


def encoder_parts(name: EncoderName) -> list[nn.Module]:
    """Create an encoder: convolution, norm, activation, pooling and stages."""
    if name != "mobilenet_edgetpu":
        return resnet_stages(name)
    encoder = MobileNetEdgeTPU()
    half, quarter, eighth, *sixteenth, coarse, coarsest = encoder.blocks
    return [
        GrayStem(1, encoder.bn1.num_features, 3, 2, bias=False),
        encoder.bn1,
        nn.Sequential(nn.ReLU(), half),
        nn.Identity(),  # the next block reduces to 1/4
        quarter,
        eighth,
        nn.Sequential(*sixteenth),
        nn.Sequential(coarse, coarsest),
    ]
