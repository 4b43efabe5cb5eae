"""U-Net with the design rules of DCGAN: 4x4 convolutions of stride 2, and a final 1x1 with tanh.

K. Nazeri, E. Ng and M. Ebrahimi, "Image colorization using generative adversarial networks", 2018
(arXiv 1803.05400): L2 regression first, then a conditional GAN with six stabilizing measures. Three
of them concern this network and are options: batch norm, strides instead of pooling, leaky ReLU. A.
Radford, L. Metz and S. Chintala, "Unsupervised representation learning with deep convolutional
generative adversarial networks", ICLR 2016 (DCGAN).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Channels of the encoder stages, not given in the paper. Five stages leave 2 x 2 pixels of 64 x 64.
WIDTHS = (64, 128, 256, 512, 512)
AB_UNIT = 110.0  # scale of tanh; a and b of sRGB are within -108 and 98
L_UNIT = 50.0  # L is 0 to 100
LEAK = 0.2  # slope and standard deviation of DCGAN
WEIGHT_STD = 0.02
STRIDED_SIDE, POOLED_SIDE = 4, 3  # filter sides with strides and with pooling; distinguish files


@dataclass(frozen=True, kw_only=True)
class DcganConfig:
    """Options of `DcganUNet`."""

    batch_norm: bool = True  # batch norm after all convolutions except the first and the last
    # True: 4x4 convolutions of stride 2, and transposed ones. False: 3x3 convolutions with max
    # pooling, and with nearest-neighbor upsampling.
    strides: bool = True
    leaky: bool = True  # whether the ReLU of the encoder has a slope of 0.2 below zero
    # Dropout probability in the coarser half of the decoder, with a resolution of 0.01
    dropout: float = 0.5


class DcganUNet(nn.Module):
    """CIELAB L (N, 1, H, W), 0 to 100, to a and b (N, 2, H, W), -110 to 110.

    The original predicts L, a and b; here L is the input, so only a and b are predicted. Every
    convolution changes the size by 2, except the last one. Dropout is active in training only, so
    that predictions are deterministic. Sides that are not a multiple of 2 ** stages are padded by
    repeating the border. `widths` are the channels of the stages of the encoder.

    Weights are initialized with N(0, 0.02) and norms with N(1, 0.02) as in DCGAN. Without batch
    norm, weights are initialized as in He et al. 2015. Biases are 0. Leaky ReLU and dropout do not
    change the keys of a state dict, so the buffer `choices` stores them: 1 or 0, and hundredths.
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
            _down_stage(inputs, outputs, choices, norm=batch_norm and step > 0)
            for step, (inputs, outputs) in enumerate(zip((1, *widths), widths, strict=False))
        )
        self.ups = nn.ModuleList(_up_stages(widths, choices))
        self.head = nn.Conv2d(widths[0], 2, 1)
        self.register_buffer("choices", torch.tensor([leaky, round(dropout * 100)]).to(torch.int8))
        for module in self.modules():
            # The last convolution is always small, so that tanh does not start in saturation.
            _initialize(module, small=batch_norm or module is self.head)

    def forward(self, lightness: Tensor, self_attention: bool = True) -> Tensor:
        """Predict a and b for any height and width. `self_attention` has no effect."""
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


def build_dcgan_unet(state: Mapping[str, Tensor]) -> DcganUNet:
    """Build a network with the keys and shapes of a state dict."""
    widths: list[int] = []
    while (conv := state.get(f"downs.{len(widths)}.0.weight")) is not None:
        widths.append(len(conv))
    leaky, dropout = state["choices"].tolist()
    return DcganUNet(
        batch_norm="ups.0.norm.weight" in state,
        strides=state["downs.0.0.weight"].shape[-1] == STRIDED_SIDE,
        leaky=bool(leaky),
        dropout=dropout / 100,
        widths=widths,
    )


def _down_stage(inputs: int, outputs: int, choices: DcganConfig, *, norm: bool) -> nn.Sequential:
    """Encoder stage: reduces the size by 2."""
    side, stride = (STRIDED_SIDE, 2) if choices.strides else (POOLED_SIDE, 1)
    parts: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, side, stride=stride, padding=1, bias=not norm)
    ]
    parts += [nn.BatchNorm2d(outputs)] if norm else []
    parts += [nn.LeakyReLU(LEAK if choices.leaky else 0.0, inplace=True)]
    parts += [] if choices.strides else [nn.MaxPool2d(2)]
    return nn.Sequential(*parts)


class Up(nn.Module):
    """Decoder stage: enlarges the size by 2."""

    def __init__(self, inputs: int, outputs: int, choices: DcganConfig, *, dropout: float) -> None:
        super().__init__()
        bias = not choices.batch_norm
        self.upsamples = not choices.strides
        self.conv: nn.Module = (
            nn.ConvTranspose2d(inputs, outputs, STRIDED_SIDE, stride=2, padding=1, bias=bias)
            if choices.strides
            else nn.Conv2d(inputs, outputs, POOLED_SIDE, padding=1, bias=bias)
        )
        self.norm = nn.BatchNorm2d(outputs) if choices.batch_norm else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.upsamples:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = self.conv(x)
        x = x if self.norm is None else self.norm(x)
        return F.relu(self.dropout(x))


def _up_stages(widths: Sequence[int], choices: DcganConfig) -> list[Up]:
    """Decoder stages, coarsest first. All but the first take a skip connection."""
    coarse_first = list(reversed(widths))
    outputs = [*coarse_first[1:], widths[0]]
    inputs = [widths[-1], *(2 * width for width in outputs[:-1])]
    return [
        Up(before, after, choices, dropout=choices.dropout if step < len(widths) // 2 else 0.0)
        for step, (before, after) in enumerate(zip(inputs, outputs, strict=True))
    ]


def _initialize(module: nn.Module, *, small: bool) -> None:
    """Initialize the weights of a module; `small` as in DCGAN."""
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, WEIGHT_STD)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        if small:
            nn.init.normal_(module.weight, 0.0, WEIGHT_STD)
        else:
            nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
