"""A U-Net after the rules of DCGAN: 4x4 convolutions of stride 2, and tanh behind a 1x1 at the end.

K. Nazeri, E. Ng and M. Ebrahimi, "Image colorization using generative adversarial networks", 2018
(arXiv 1803.05400): L2 regression first, then a conditional GAN made steady by six measures. Three
of them change this network and are options: batch norm, strides in place of pooling, leaky ReLU.
A. Radford, L. Metz and S. Chintala, "Unsupervised representation learning with deep convolutional
generative adversarial networks", ICLR 2016 (DCGAN).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of the encoder's stages: ours. Five, so that images of 64 px still have 2 x 2 places at the end.
WIDTHS = (64, 128, 256, 512, 512)
AB_UNIT = 110.0  # tanh ends at 1; a and b of sRGB end at 98 and -108
L_UNIT = 50.0  # L is 0 to 100
LEAK = 0.2  # this and the deviation are DCGAN's
DEVIATION = 0.02
STRIDED, POOLED = 4, 3  # sides of filters, by which a file shows whether it has strides


@dataclass(frozen=True, kw_only=True)
class DcganConfig:
    """What the network's steps are made of.

    Parameters
    ----------
    batch_norm : bool
        Behind all convolutions but the first and the last.
    strides : bool
        4x4 convolutions of stride 2 halve, transposed ones double. Otherwise 3x3 convolutions with
        max pooling behind, or with repeated pixels before.
    leaky : bool
        The encoder's ReLU has a slope of 0.2 below zero.
    dropout : float
        Share of features that the coarser half of the decoder loses in training, in hundredths.
    """

    batch_norm: bool = True
    strides: bool = True
    leaky: bool = True
    dropout: float = 0.5


class DcganUNet(nn.Module):
    """CIELAB L (N, 1, H, W), 0 to 100, to a and b (N, 2, H, W) within 110 of zero.

    Settled: the original gives all three channels of Lab; here L is the input's, so only a and b
    are predicted. Every convolution halves or doubles; there is none at full size but the last.
    Dropout is noise for training: off in evaluation, where the same image gets the same colors.
    Sides that the deepest size does not divide are filled by repeating the border, and cut again.

    Weights start from N(0, 0.02) and norms from N(1, 0.02) as in DCGAN; without batch norm, which
    forgives small weights, as in He et al. 2015. Biases start at zero.

    Parameters
    ----------
    batch_norm, strides, leaky, dropout
        See `Choices`. Leaky ReLU and dropout leave no trace in a state dict's keys, so the buffer
        `choices` holds them: 1 or 0, and hundredths.
    widths : sequence of int
        Channels of the encoder's stages.
    """

    choices: Tensor

    def __init__(
        self,
        *,
        batch_norm: bool = True,
        strides: bool = True,
        leaky: bool = True,
        dropout: float = 0.5,
        widths: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__()
        choices = DcganConfig(batch_norm=batch_norm, strides=strides, leaky=leaky, dropout=dropout)
        self.downs = nn.ModuleList(
            _down(inputs, outputs, choices, norm=batch_norm and step > 0)
            for step, (inputs, outputs) in enumerate(zip((1, *widths), widths, strict=False))
        )
        self.ups = nn.ModuleList(_ups(widths, choices))
        self.head = nn.Conv2d(widths[0], 2, 1)
        self.register_buffer("choices", torch.tensor([leaky, round(dropout * 100)]).to(torch.int8))
        for module in self.modules():
            # tanh must not start where it is flat, so the last convolution is small in any case.
            _initialize(module, small=batch_norm or module is self.head)

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """As the class says, for any H and W; there is no attention to switch."""
        height, width = lightness.shape[-2:]
        x = lightness.to(self.head.weight.dtype) / L_UNIT - 1
        multiple = 2 ** len(self.downs)
        x = F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        skips: list[Tensor] = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        x = self.ups[0](skips.pop())
        for up, skip in zip(self.ups[1:], reversed(skips), strict=True):
            x = up(torch.cat([x, skip], dim=1))
        return torch.tanh(self.head(x))[..., :height, :width] * AB_UNIT


def dcgan_unet_of(state: Mapping[str, Tensor]) -> DcganUNet:
    """The network that a state dict is of."""
    widths: list[int] = []
    while (conv := state.get(f"downs.{len(widths)}.0.weight")) is not None:
        widths.append(len(conv))
    leaky, dropout = state["choices"].tolist()
    return DcganUNet(
        batch_norm="ups.0.norm.weight" in state,
        strides=state["downs.0.0.weight"].shape[-1] == STRIDED,
        leaky=bool(leaky),
        dropout=dropout / 100,
        widths=widths,
    )


def is_dcgan_unet(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of this network."""
    return "downs.0.0.weight" in state and "choices" in state


def _down(inputs: int, outputs: int, choices: DcganConfig, *, norm: bool) -> nn.Sequential:
    """A step to half the size."""
    side, stride = (STRIDED, 2) if choices.strides else (POOLED, 1)
    parts: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, side, stride=stride, padding=1, bias=not norm)
    ]
    parts += [nn.BatchNorm2d(outputs)] if norm else []
    parts += [nn.LeakyReLU(LEAK if choices.leaky else 0.0, inplace=True)]
    parts += [] if choices.strides else [nn.MaxPool2d(2)]
    return nn.Sequential(*parts)


class Up(nn.Module):
    """A step to twice the size."""

    def __init__(self, inputs: int, outputs: int, choices: DcganConfig, *, dropout: float) -> None:
        super().__init__()
        bias = not choices.batch_norm
        self.enlarges = not choices.strides
        self.conv: nn.Module = (
            nn.ConvTranspose2d(inputs, outputs, STRIDED, stride=2, padding=1, bias=bias)
            if choices.strides
            else nn.Conv2d(inputs, outputs, POOLED, padding=1, bias=bias)
        )
        self.norm = nn.BatchNorm2d(outputs) if choices.batch_norm else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.enlarges:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = self.conv(x)
        x = x if self.norm is None else self.norm(x)
        return F.relu(self.dropout(x))


def _ups(widths: Sequence[int], choices: DcganConfig) -> list[Up]:
    """The decoder, coarse end first: all but the first step join what the encoder saw."""
    coarse_first = list(reversed(widths))
    outputs = [*coarse_first[1:], widths[0]]
    inputs = [widths[-1], *(2 * width for width in outputs[:-1])]
    return [
        Up(before, after, choices, dropout=choices.dropout if step < len(widths) // 2 else 0.0)
        for step, (before, after) in enumerate(zip(inputs, outputs, strict=True))
    ]


def _initialize(module: nn.Module, *, small: bool) -> None:
    """Random weights for a module; `small` as DCGAN has them."""
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, DEVIATION)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        if small:
            nn.init.normal_(module.weight, 0.0, DEVIATION)
        else:
            nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
