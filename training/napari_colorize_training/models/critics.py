"""Critics: networks that distinguish real images from generated ones.

Input: images `(N, in_channels, H, W)` with values around 0 and of about unit size; a conditional
critic has gray as an additional first channel. Output: logits `(N, 1, h, w)`, one for each part of
the image, or `(N, 1)`. Large logits mean "real". All accept images of 64 px and more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.errors import SettingsError
from napari_colorize.imaging.resample import area_mean
from napari_colorize.networks.convnet import WIDTHS, Encoder
from napari_colorize.networks.layers import SelfAttention, with_spectral_norm

PROBE_SIDE = 64  # px, of a black image with which shapes are determined
LOGIT_SIDE = 5  # logits per side of each map; equal, or the finest map would dominate
SLOPE = 0.2  # of leaky ReLUs, as in DCGAN, pix2pix and DeOldify
PIX2PIX_STD = 0.02  # of initial weights, as in DCGAN and pix2pix

# Receptive field of one logit of pix2pix's critic, px -> number of 4x4 convolutions of stride 2.
PATCH_FIELDS = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}

# "explo presentation": kernel size and channels; max pooling follows each second convolution.
DENSE_CONVS = ((7, 32), (7, 32), (5, 64), (5, 64), (3, 128), (3, 128), (3, 256), (3, 256))
DENSE_UNITS = (512, 128, 16, 1)
DENSE_MIN_SIDE = 92  # px; the output of its valid convolutions is empty below


class PatchCritic(nn.Module):
    """PatchGAN of pix2pix: one logit per patch (Isola et al. 2017, section 3.2.2).

    Convolutions 4x4 of stride 2 to 64, 128, 256, 512, ... channels, one of stride 1, and one to
    the logits; batch norm after all but the first and the last. Feature maps that the strides
    reduce to less than 3 px a side are padded with zeros.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    field : int
        Receptive field of a logit, px: 1, 16, 34, 70, 142 or 286.
    width : int
        Channels after the first convolution.
    """

    def __init__(self, in_channels: int = 3, field: int = 70, width: int = 64) -> None:
        super().__init__()
        if field not in PATCH_FIELDS:
            sides = ", ".join(map(str, PATCH_FIELDS))
            raise SettingsError(f"field cannot be {field} px. Choose one of: {sides}.")
        strided = PATCH_FIELDS[field]
        widths = [width * min(2**step, 8) for step in range(strided + 1)] if strided else []
        self.down = nn.Sequential(
            *(
                _block(inputs, outputs, 4, stride=2, batch_norm=step > 0)
                for step, (inputs, outputs) in enumerate(pairwise([in_channels, *widths[:-1]]))
            )
        )
        kernel, last = (4, widths[-2:]) if strided else (1, [width, 2 * width])
        first = [] if strided else [_block(in_channels, width, 1, batch_norm=False)]
        self.head = nn.Sequential(
            *first, _block(last[0], last[1], kernel), _conv(last[1], 1, kernel, bias=True)
        )
        self.min_side = 3 if strided else 1
        self.apply(_init_pix2pix)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to logits (N, 1, h, w)."""
        x = self.down(x)
        missing = [max(0, self.min_side - side) for side in x.shape[2:]]
        return self.head(F.pad(x, (0, missing[1], 0, missing[0])))


class FeatureCritic(nn.Module):
    """Critic on features of a pretrained network (Sauer et al. 2021, "Projected GANs").

    One small head for each feature map; only the heads are trained. A conditional critic's heads
    also get the features of the gray image.

    Parameters
    ----------
    features : nn.Module
        A `FeatureNetwork`.
    in_channels : int
        3, or 4 with gray first; values are 2 x - 1.
    width : int
        Channels inside the heads.
    """

    scales: Tensor

    def __init__(self, features: nn.Module, in_channels: int = 4, width: int = 64) -> None:
        super().__init__()
        if in_channels not in (3, 4):
            raise SettingsError(
                "The critic 'features' needs RGB: use a network whose output is RGB or U and V."
            )
        self.features = features
        self._inputs = in_channels - 2  # 1: colors; 2: colors and gray
        channels = [maps.shape[1] for maps in features(torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE))]
        self.heads = nn.ModuleList(
            nn.Sequential(
                with_spectral_norm(nn.Conv2d(self._inputs * count, width, 1)),
                _activation(),
                with_spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
                _activation(),
                with_spectral_norm(nn.Conv2d(width, 1, 1)),
            )
            for count in channels
        )
        self.register_buffer("scales", torch.zeros(len(channels)))

    def requires_grad_(self, requires_grad: bool = True) -> FeatureCritic:
        """Apply to the heads only; the feature network is never trained."""
        self.heads.requires_grad_(requires_grad)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to logits (N, number of maps, LOGIT_SIDE, LOGIT_SIDE)."""
        maps = self.features((x[:, -3:] + 1) / 2)
        if self._inputs == 2:
            with torch.no_grad():
                gray_maps = self.features((x[:, :1].expand(-1, 3, -1, -1) + 1) / 2)
            maps = [torch.cat(pair, dim=1) for pair in zip(maps, gray_maps, strict=True)]
        if not x.is_meta and not self.scales.any():
            self.scales.copy_(torch.stack([part.detach().float().std() for part in maps]))
        logits = [
            head(part.float() / scale)
            for head, part, scale in zip(self.heads, maps, self.scales, strict=True)
        ]
        return torch.cat([area_mean(part, (LOGIT_SIDE, LOGIT_SIDE)) for part in logits], dim=1)


class DeOldifyCritic(nn.Sequential):
    """DeOldify's critic: spectral norm in all layers, self-attention at a quarter of the size.

    The receptive field of a logit is most of the image. With the published `width` of 256 the
    critic is larger than the generator.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    width : int
        Channels after the first convolution; they double three times.
    dropout : float
        Channel dropout probability; half of it after the first convolution.
    """

    def __init__(self, in_channels: int = 3, width: int = 256, dropout: float = 0.15) -> None:
        parts: list[nn.Module] = [_spectral(in_channels, width, 4, stride=2)]
        parts.append(nn.Dropout2d(dropout / 2))
        for step in range(3):
            parts += [_spectral(width, width, 3), nn.Dropout2d(dropout)]
            parts.append(_spectral(width, 2 * width, 4, stride=2))
            width *= 2
            if step == 0:
                parts.append(SelfAttention(width))
        super().__init__(*parts, _spectral(width, width, 3), _spectral_logits(width))


class SaganCritic(nn.Sequential):
    """Critic with spectral norm and self-attention, after Zhang et al. 2019 (SAGAN).

    Four 4x4 convolutions of stride 2, and a 4x4 convolution to the logits. The published critic
    has residual blocks; the layer sizes are ours and do not depend on the image size.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    width : int
        Channels after the first convolution; they double three times.
    attentions : {0, 1, 2}
        Number of self-attention layers: none, at a quarter of the size, and also at an eighth.
    """

    def __init__(self, in_channels: int = 3, width: int = 64, attentions: int = 1) -> None:
        if attentions not in (0, 1, 2):
            raise SettingsError(f"attentions must be 0, 1 or 2, got {attentions}.")
        parts: list[nn.Module] = []
        for step, (inputs, outputs) in enumerate(pairwise(_doubling(in_channels, width, 4))):
            parts.append(_spectral(inputs, outputs, 4, stride=2))
            if 1 <= step <= attentions:
                parts.append(SelfAttention(outputs))
        super().__init__(*parts, _spectral_logits(8 * width))


class DenseCritic(nn.Module):
    """Critic of the "explo presentation": valid convolutions, max pooling, four dense layers.

    The published critic is unconditional and ends in a sigmoid, which is part of the loss here.
    Images of another size are resized.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    side : int
        Side of the images that the dense layers are made for, px; at least 92.
    """

    def __init__(self, in_channels: int = 3, side: int = 120) -> None:
        super().__init__()
        if side < DENSE_MIN_SIDE:
            raise SettingsError(
                f"The critic 'dense' needs a side of at least {DENSE_MIN_SIDE} px, got {side}."
            )
        self.side = side
        parts: list[nn.Module] = []
        for number, (kernel, outputs) in enumerate(DENSE_CONVS):
            parts += [nn.Conv2d(in_channels, outputs, kernel), nn.ReLU()]
            in_channels, side = outputs, side - kernel + 1
            if number % 2:
                parts.append(nn.MaxPool2d(2))
                side //= 2
        self.convs = nn.Sequential(*parts)
        units = pairwise([in_channels * side**2, *DENSE_UNITS])
        dense = [part for pair in units for part in (nn.Linear(*pair), nn.ReLU())]
        self.dense = nn.Sequential(*dense[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to logits (N, 1)."""
        size = (self.side, self.side)
        if x.shape[2:] != size:
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        return self.dense(self.convs(x).flatten(1))


class EncoderCritic(nn.Sequential):
    """Encoder of the ConvNet generator with a 1x1 convolution to the logits.

    In Fu, Hsu and Yang 2017 the critic is the generator's encoder; batch norm and widths are those
    of `networks.convnet`.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    widths : sequence of int
        Channels of the stages, each of which halves the size.
    """

    def __init__(self, in_channels: int = 3, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__(
            Encoder(in_channels, widths, slope=SLOPE), _conv(widths[-1], 1, 1, bias=True)
        )


class DcganCritic(nn.Sequential):
    """Critic of DCGAN (Radford et al. 2016); each of its stabilizers can be switched off.

    Four stages that halve the size, and a 4x4 convolution to the logits.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    width : int
        Channels after the first convolution; they double three times.
    batch_norm : bool
        Batch norm after all but the first and the last convolution.
    strides : bool
        4x4 convolutions of stride 2; else 3x3 convolutions and max pooling.
    leaky : bool
        Leaky ReLU; else ReLU.
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 64,
        batch_norm: bool = True,
        strides: bool = True,
        leaky: bool = True,
    ) -> None:
        parts: list[nn.Module] = []
        for step, (inputs, outputs) in enumerate(pairwise(_doubling(in_channels, width, 4))):
            kernel, stride = (4, 2) if strides else (3, 1)
            norm = batch_norm and step > 0
            parts.append(
                _block(inputs, outputs, kernel, stride=stride, batch_norm=norm, leaky=leaky)
            )
            if not strides:
                parts.append(nn.MaxPool2d(2))
        super().__init__(*parts, nn.Conv2d(8 * width, 1, 4))
        self.apply(_init_pix2pix)


CRITICS: dict[str, Callable[..., nn.Module]] = {
    "patch": PatchCritic,
    "deoldify": DeOldifyCritic,
    "sagan": SaganCritic,
    "dense": DenseCritic,
    "encoder": EncoderCritic,
    "dcgan": DcganCritic,
    "features": FeatureCritic,
}


def build_critic(name: str, **options: Any) -> nn.Module:
    """Return a new critic with random weights.

    Parameters
    ----------
    name : str
        A key of `CRITICS`.
    **options
        Options of its class; all have `in_channels`.

    Raises
    ------
    SettingsError
        If the critic or one of the options is unknown.
    """
    if name not in CRITICS:
        raise SettingsError(f"No critic is named {name!r}. Choose one of: {', '.join(CRITICS)}.")
    known = signature(CRITICS[name]).parameters
    for option in options:
        if option not in known:
            raise SettingsError(
                f"The critic {name!r} has no option {option!r}. Available: {', '.join(known)}."
            )
    return CRITICS[name](**options)


def _doubling(in_channels: int, width: int, count: int) -> list[int]:
    return [in_channels, *(width * 2**step for step in range(count))]


def _conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=bias)


def _activation(leaky: bool = True) -> nn.Module:
    return nn.LeakyReLU(SLOPE, inplace=True) if leaky else nn.ReLU(inplace=True)


def _block(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    batch_norm: bool = True,
    leaky: bool = True,
) -> nn.Sequential:
    """Return convolution, batch norm (which replaces the bias) and activation."""
    conv = _conv(inputs, outputs, kernel, stride=stride, bias=not batch_norm)
    norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
    return nn.Sequential(conv, *norm, _activation(leaky))


def _spectral(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Return a convolution with spectral norm and bias, and activation."""
    conv = _conv(inputs, outputs, kernel, stride=stride, bias=True)
    return nn.Sequential(with_spectral_norm(_init_kaiming(conv)), _activation())


def _spectral_logits(inputs: int) -> nn.Conv2d:
    """Return a 4x4 convolution to one logit; without bias, as in DeOldify."""
    return with_spectral_norm(_init_kaiming(nn.Conv2d(inputs, 1, 4, bias=False)))


def _init_kaiming(conv: nn.Conv2d) -> nn.Conv2d:
    """Initialize as He et al. 2015, which fastai does for every convolution."""
    nn.init.kaiming_normal_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _init_pix2pix(module: nn.Module) -> None:
    """Initialize weights as N(0, 0.02), norms as N(1, 0.02), biases as 0; for `Module.apply`."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=PIX2PIX_STD)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, mean=1.0, std=PIX2PIX_STD)
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
