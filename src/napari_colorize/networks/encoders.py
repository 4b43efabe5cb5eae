"""The ways down that DeOldify's U-Nets can stand on, each as the same eight parts.

A convolution, a norm and an activation lead to 1/2 of the size, a pool to 1/4, and four stages
through 1/4, 1/8 and 1/16 to 1/32; "resnet18-layer3" has three stages. All take gray in three equal
channels, normalized as ImageNet's images are.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD
from napari_colorize.networks.mobilenet import MobileNetEdgeTPU, SameConv2d
from napari_colorize.networks.vision import ResNetName, resnet_stages

EncoderName = Literal[ResNetName, "mobilenet_edgetpu"]

# Channels at 1/32 (but for "-layer3"), 1/16, 1/8, 1/4 and 1/2 of the size.
ENCODED: dict[EncoderName, tuple[int, ...]] = {
    "resnet18": (512, 256, 128, 64, 64),
    "resnet18-layer3": (256, 128, 64, 64),
    "resnet34": (512, 256, 128, 64, 64),
    "resnet101": (2048, 1024, 512, 256, 64),
    "mobilenet_edgetpu": (*MobileNetEdgeTPU.CHANNELS[::-1], 16),
}


class GrayStem(SameConv2d):
    """MobileNet's first convolution, given ImageNet-normalized gray in three equal channels.

    It wants one channel in [-1, 1].
    """

    def forward(self, x: Tensor) -> Tensor:
        gray = x[:, :1] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
        return super().forward(gray * 2 - 1)


def encoder_parts(name: EncoderName) -> list[nn.Module]:
    """A new encoder: convolution, norm and activation to 1/2, pool to 1/4, and its stages."""
    if name != "mobilenet_edgetpu":
        return resnet_stages(name)
    encoder = MobileNetEdgeTPU()
    half, quarter, eighth, *sixteenth, coarse, coarsest = encoder.blocks
    return [
        GrayStem(1, encoder.bn1.num_features, 3, 2, bias=False),
        encoder.bn1,
        nn.Sequential(nn.ReLU(), half),
        nn.Identity(),  # its next block takes the step to 1/4
        quarter,
        eighth,
        nn.Sequential(*sixteenth),
        nn.Sequential(coarse, coarsest),
    ]
