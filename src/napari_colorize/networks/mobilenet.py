"""MobileNet EdgeTPU as an encoder of gray images, in plain torch.

The network of timm's `mobilenet_edgetpu_100` (Google, 2019) down to its last feature map, with
timm's key names, so that its pretrained weights load. It saw color images; ours is gray, three
times the same, so the first convolution's filters are summed over R, G and B once and for all.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOW = 5  # px, from which side of a depthwise filter on
NORM_EPSILON = 1e-3  # TensorFlow's, where the weights come from


class SameConv2d(nn.Conv2d):
    """Convolution padded as TensorFlow does: ceil(size / stride) pixels out, the rest behind."""

    def forward(self, x: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        padding = kernel // 2
        if stride > 1:
            x, padding = self._pad(x), 0
        if self.groups == 1 or (stride == 1 and kernel < SLOW) or x.device.type != "cpu":
            return F.conv2d(x, self.weight, self.bias, stride, padding, 1, self.groups)
        # oneDNN's bfloat16 gradients of these are three to eight times slower than float32's.
        with torch.autocast("cpu", enabled=False):
            x = x.to(self.weight.dtype)
            return F.conv2d(x, self.weight, self.bias, stride, padding, 1, self.groups)

    def _pad(self, x: Tensor) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        down, right = ((-(-side // stride) - 1) * stride + kernel - side for side in x.shape[-2:])
        down, right = max(down, 0), max(right, 0)
        return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> SameConv2d:
    return SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON)


class Projection(nn.Module):
    """1x1 convolution and norm, linear."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _convolution(inputs, outputs, 1)
        self.bn1 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv(x))


class EdgeResidual(nn.Module):
    """One full convolution widens, a 1x1 one narrows; added to its input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.conv_exp = _convolution(inputs, wide, 3, stride)
        self.bn1 = _norm(wide)
        self.conv_pwl = _convolution(wide, outputs, 1)
        self.bn2 = _norm(outputs)
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv_exp(x)))
        y = self.bn2(self.conv_pwl(y))
        return x + y if self._adds else y


class InvertedResidual(nn.Module):
    """1x1 widens, a depthwise convolution mixes space, 1x1 narrows (MobileNet V2, figure 3)."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int, adds: bool = True
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.conv_pw = _convolution(inputs, wide, 1)
        self.bn1 = _norm(wide)
        self.conv_dw = _convolution(wide, wide, kernel, stride, groups=wide)
        self.bn2 = _norm(wide)
        self.conv_pwl = _convolution(wide, outputs, 1)
        self.bn3 = _norm(outputs)
        self._adds = adds and stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv_pw(x)))
        y = F.relu(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self._adds else y


class MobileNetEdgeTPU(nn.Module):
    """Gray `(N, 1, H, W)` in [-1, 1] to features at 1/4, 1/8, 1/16 and 1/32 of its size.

    Parameters
    ----------
    names_objects : bool
        The deepest features are the 1280 that the classifier of a thousand things read, instead of
        the 192 before them.
    """

    CHANNELS = (32, 48, 96, 192)
    OBJECTS = 1280

    def __init__(self, *, names_objects: bool = False) -> None:
        super().__init__()
        self.conv_stem = _convolution(1, 32, 3, stride=2)
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
                _inverted(48, 96, 8, stride=2, kernel=3),
                _inverted(96, 96, 8, stride=1, kernel=3),
                _inverted(96, 160, 8, stride=2, kernel=5),
                nn.Sequential(InvertedResidual(160, 192, 8, 1, 3)),
            ]
        )
        self.conv_head = _convolution(192, self.OBJECTS, 1) if names_objects else None
        self.bn2 = _norm(self.OBJECTS) if names_objects else None

    def forward(self, gray: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.blocks[0](F.relu(self.bn1(self.conv_stem(gray))))
        quarter = self.blocks[1](x)
        eighth = self.blocks[2](quarter)
        sixteenth = self.blocks[4](self.blocks[3](eighth))
        deepest = self.blocks[6](self.blocks[5](sixteenth))
        if self.conv_head is not None and self.bn2 is not None:
            deepest = F.relu(self.bn2(self.conv_head(deepest)))
        return quarter, eighth, sixteenth, deepest


def _inverted(inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> nn.Sequential:
    """A stage of four inverted residuals; the first changes width or size and is not residual."""
    first = InvertedResidual(inputs, outputs, expansion, stride, kernel, adds=False)
    return nn.Sequential(first, *(InvertedResidual(outputs, outputs, 4, 1, kernel) for _ in "123"))


def for_gray(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The pretrained weights of a color encoder for one that sees one gray channel."""
    kept = {
        key: value.float()
        for key, value in state.items()
        if not key.startswith(("conv_head.", "bn2.", "classifier."))
    }
    kept["conv_stem.weight"] = kept["conv_stem.weight"].sum(1, keepdim=True)
    return kept
