"""EfficientNet-Lite0 as an encoder of grayscale images.

The network of timm's `tf_efficientnet_lite0` (Tan and Le 2019; the Lite variant has no
squeeze-and-excitation and ReLU6 instead of Swish) up to its last feature map, with timm's key
names, so that pretrained weights load. The pretrained network sees RGB; this one sees one gray
channel, so the filters of the first convolution are summed over R, G and B (`for_gray` in
`mobilenet`).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks.mobilenet import NORM_EPSILON, SameConv2d

# Tan and Le 2019, table 1, without the width and depth factors, which are 1 for B0 and Lite0:
# output channels, blocks, kernel size, stride of the first block.
STAGES = (
    (24, 2, 3, 2),
    (40, 2, 5, 2),
    (80, 3, 3, 2),
    (112, 3, 5, 1),
    (192, 4, 5, 2),
    (320, 1, 3, 1),
)
STEM_CHANNELS = 32
FIRST_CHANNELS = 16  # of the depthwise separable block behind the stem
EXPANSION = 6


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON)


class DepthwiseSeparable(nn.Module):
    """3x3 depthwise convolution, then a linear 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_dw = SameConv2d(inputs, inputs, 3, groups=inputs, bias=False)
        self.bn1 = _norm(inputs)
        self.conv_pw = SameConv2d(inputs, outputs, 1, bias=False)
        self.bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)), inplace=True)))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: 1x1 expansion, depthwise convolution, linear 1x1 projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inputs * EXPANSION
        self.conv_pw = SameConv2d(inputs, wide, 1, bias=False)
        self.bn1 = _norm(wide)
        self.conv_dw = SameConv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn2 = _norm(wide)
        self.conv_pwl = SameConv2d(wide, outputs, 1, bias=False)
        self.bn3 = _norm(outputs)
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn1(self.conv_pw(x)), inplace=True)
        y = F.relu6(self.bn2(self.conv_dw(y)), inplace=True)
        y = self.bn3(self.conv_pwl(y))
        return x + y if self._adds else y


class EfficientNetLite0(nn.Module):
    """Features of a grayscale image at 1/4, 1/8, 1/16 and 1/32 of its size.

    The input has shape (N, 1, H, W) and values in [-1, 1].
    """

    CHANNELS = (24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(1, STEM_CHANNELS, 3, 2, bias=False)
        self.bn1 = _norm(STEM_CHANNELS)
        first = DepthwiseSeparable(STEM_CHANNELS, FIRST_CHANNELS)
        self.blocks = nn.ModuleList([nn.Sequential(first)])
        inputs = FIRST_CHANNELS
        for outputs, repeats, kernel, stride in STAGES:
            strides = (stride, *(1,) * (repeats - 1))
            widths = (inputs, *(outputs,) * (repeats - 1))
            self.blocks.append(
                nn.Sequential(
                    *(
                        InvertedResidual(width, outputs, kernel, step)
                        for width, step in zip(widths, strides, strict=True)
                    )
                )
            )
            inputs = outputs

    def forward(self, gray: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.blocks[0](F.relu6(self.bn1(self.conv_stem(gray)), inplace=True))
        quarter = self.blocks[1](x)
        eighth = self.blocks[2](quarter)
        sixteenth = self.blocks[4](self.blocks[3](eighth))
        deepest = self.blocks[6](self.blocks[5](sixteenth))
        return quarter, eighth, sixteenth, deepest
