"""MobileNet EdgeTPU as an encoder of gray images, in plain torch.

This is timm's `mobilenet_edgetpu_100` (Google, 2019) up to the last feature map, with timm's key
names, so that pretrained weights can be loaded. They were trained on RGB; for gray input the
filters of the first convolution are summed over R, G and B.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOW_KERNEL = 5  # pixels: side of depthwise filters from which bfloat16 gradients are slow
NORM_EPSILON = 1e-3  # value of TensorFlow, the source of the weights


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: output ceil(size / stride), odd pixel last."""

    def forward(self, x: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        padding = kernel // 2
        if stride > 1:
            x, padding = self._pad(x), 0
        if self.groups == 1 or (stride == 1 and kernel < SLOW_KERNEL) or x.device.type != "cpu":
            return F.conv2d(x, self.weight, self.bias, stride, padding, 1, self.groups)
        # Gradients of these in bfloat16 are 3 to 8 times slower with oneDNN than in float32.
        with torch.autocast("cpu", enabled=False):
            x = x.to(self.weight.dtype)
            return F.conv2d(x, self.weight, self.bias, stride, padding, 1, self.groups)

    def _pad(self, x: Tensor) -> Tensor:
        """Pad for a strided convolution."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        down, right = ((-(-side // stride) - 1) * stride + kernel - side for side in x.shape[-2:])
        down, right = max(down, 0), max(right, 0)
        return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> SameConv2d:
    return SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON)


class Projection(nn.Module):
    """Linear 1x1 convolution and norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _conv(inputs, outputs, 1)
        self.bn1 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv(x))


class EdgeResidual(nn.Module):
    """Expansion by a 3x3 convolution, projection by a 1x1; residual if the shapes are equal."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        expanded = inputs * expansion
        self.conv_exp = _conv(inputs, expanded, 3, stride)
        self.bn1 = _norm(expanded)
        self.conv_pwl = _conv(expanded, outputs, 1)
        self.bn2 = _norm(outputs)
        self._has_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv_exp(x)))
        y = self.bn2(self.conv_pwl(y))
        return x + y if self._has_residual else y


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection (MobileNet V2, figure 3)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        expansion: int,
        stride: int,
        kernel: int,
        residual: bool = True,
    ) -> None:
        super().__init__()
        expanded = inputs * expansion
        self.conv_pw = _conv(inputs, expanded, 1)
        self.bn1 = _norm(expanded)
        self.conv_dw = _conv(expanded, expanded, kernel, stride, groups=expanded)
        self.bn2 = _norm(expanded)
        self.conv_pwl = _conv(expanded, outputs, 1)
        self.bn3 = _norm(outputs)
        self._has_residual = residual and stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv_pw(x)))
        y = F.relu(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self._has_residual else y


class MobileNetEdgeTPU(nn.Module):
    """Gray `(N, 1, H, W)` in [-1, 1] to features at 1/4, 1/8, 1/16 and 1/32 of the size.

    With `names_objects` the deepest features are the 1280 channels that the ImageNet classifier
    uses, instead of the 192 channels before them.
    """

    CHANNELS = (32, 48, 96, 192)
    CLASSIFIER_CHANNELS = 1280

    def __init__(self, *, names_objects: bool = False) -> None:
        super().__init__()
        self.conv_stem = _conv(1, 32, 3, stride=2)
        self.bn1 = _norm(32)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(Projection(32, 16)),
                nn.Sequential(
                    EdgeResidual(16, 32, 8, 2), *(EdgeResidual(32, 32, 4, 1) for _ in "123")
                ),
                nn.Sequential(
                    EdgeResidual(32, 48, 8, 2), *(EdgeResidual(48, 48, 4, 1) for _ in "123")
                ),
                _inverted_stage(48, 96, 8, stride=2, kernel=3),
                _inverted_stage(96, 96, 8, stride=1, kernel=3),
                _inverted_stage(96, 160, 8, stride=2, kernel=5),
                nn.Sequential(InvertedResidual(160, 192, 8, 1, 3)),
            ]
        )
        self.conv_head = _conv(192, self.CLASSIFIER_CHANNELS, 1) if names_objects else None
        self.bn2 = _norm(self.CLASSIFIER_CHANNELS) if names_objects else None

    def forward(self, gray: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.blocks[0](F.relu(self.bn1(self.conv_stem(gray))))
        quarter = self.blocks[1](x)
        eighth = self.blocks[2](quarter)
        sixteenth = self.blocks[4](self.blocks[3](eighth))
        deepest = self.blocks[6](self.blocks[5](sixteenth))
        if self.conv_head is not None and self.bn2 is not None:
            deepest = F.relu(self.bn2(self.conv_head(deepest)))
        return quarter, eighth, sixteenth, deepest


def _inverted_stage(
    inputs: int, outputs: int, expansion: int, stride: int, kernel: int
) -> nn.Sequential:
    """Stage of four inverted residuals; the first one has no residual connection."""
    first = InvertedResidual(inputs, outputs, expansion, stride, kernel, residual=False)
    return nn.Sequential(first, *(InvertedResidual(outputs, outputs, 4, 1, kernel) for _ in "123"))


def for_gray(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert pretrained weights of a color encoder for one gray channel."""
    converted = {
        key: value.float()
        for key, value in state.items()
        if not key.startswith(("conv_head.", "bn2.", "classifier."))
    }
    converted["conv_stem.weight"] = converted["conv_stem.weight"].sum(1, keepdim=True)
    return converted
