"""Critics: networks that tell photographs from what a generator made.

Each takes pictures `(N, in_channels, H, W)` with values around 0 and of about unit size, and gives
logits: `(N, 1, h, w)`, one for each part of the picture, or `(N, 1)`. Large ones say "photograph".
All take sides from 64 px; a conditional critic sees the gray as one more channel.
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
from napari_colorize.networks.convnet import WIDTHS, Encoder
from napari_colorize.networks.layers import SelfAttention, with_spectral_norm

PROBE = 64  # px, of a picture that only asks for shapes
VERDICTS = 5  # a side; every map has as many, or the finest would outvote the others
SLOPE = 0.2  # of every leaky ReLU here: DCGAN's, pix2pix's and DeOldify's
PIX2PIX_STD = 0.02  # of new weights, DCGAN's and pix2pix's

# Side of what one logit of pix2pix's critic sees -> its 4x4 convolutions of stride 2; 1: none.
PATCH_FIELDS = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}

# "explo presentation": side of the filters and channels; a pooling follows each second one.
DENSE_CONVS = ((7, 32), (7, 32), (5, 64), (5, 64), (3, 128), (3, 128), (3, 256), (3, 256))
DENSE_UNITS = (512, 128, 16, 1)
DENSE_SMALLEST = 92  # px; its valid convolutions leave nothing of less


class PatchCritic(nn.Module):
    """pix2pix's critic: each logit judges a patch (Isola et al. 2017, section 3.2.2).

    Convolutions 4x4 of stride 2 to 64, 128, 256, 512, ... channels, one of stride 1, and one to
    the logits; batch norm behind all but the first and the last. A picture that its strides
    shrink to less than 3 px a side is padded with zeros there.

    Parameters
    ----------
    in_channels : int
        Of the pictures.
    field : int
        Side of the patch, px: 1, 16, 34, 70, 142 or 286.
    width : int
        Channels behind the first convolution.
    """

    def __init__(self, in_channels: int = 3, field: int = 70, width: int = 64) -> None:
        super().__init__()
        if field not in PATCH_FIELDS:
            sides = ", ".join(map(str, PATCH_FIELDS))
            raise SettingsError(f"A patch cannot be {field} px wide. Choose one of: {sides}.")
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
        self.smallest = 3 if strided else 1
        self.apply(_start_as_pix2pix)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to logits (N, 1, h, w)."""
        x = self.down(x)
        missing = [max(0, self.smallest - side) for side in x.shape[2:]]
        return self.head(F.pad(x, (0, missing[1], 0, missing[0])))


class FeatureCritic(nn.Module):
    """Judges what a pretrained network sees (Sauer et al. 2021, "Projected GANs").

    One small head for each of the network's maps; only the heads learn. With the gray beside the
    colours each head also sees what the network makes of the gray alone.

    Parameters
    ----------
    features : nn.Module
        A `FeatureNetwork`.
    in_channels : int
        3, or 4 with the gray first; values are 2 x - 1.
    width : int
        Channels inside the heads.
    """

    scales: Tensor

    def __init__(self, features: nn.Module, in_channels: int = 4, width: int = 64) -> None:
        super().__init__()
        if in_channels not in (3, 4):
            raise SettingsError("The critic 'features' judges RGB: the network must give that.")
        self.features = features
        self._parts = in_channels - 2  # colours, and perhaps gray
        channels = [maps.shape[1] for maps in features(torch.zeros(1, 3, PROBE, PROBE))]
        self.heads = nn.ModuleList(
            nn.Sequential(
                with_spectral_norm(nn.Conv2d(self._parts * count, width, 1)),
                _activation(),
                with_spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
                _activation(),
                with_spectral_norm(nn.Conv2d(width, 1, 1)),
            )
            for count in channels
        )
        self.register_buffer("scales", torch.zeros(len(channels)))

    def requires_grad_(self, requires_grad: bool = True) -> FeatureCritic:
        """Of the heads; the network that sees never learns."""
        self.heads.requires_grad_(requires_grad)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to logits (N, 1 per map, VERDICTS, VERDICTS)."""
        maps = self.features((x[:, -3:] + 1) / 2)
        if self._parts == 2:
            with torch.no_grad():
                plain = self.features((x[:, :1].expand(-1, 3, -1, -1) + 1) / 2)
            maps = [torch.cat(pair, dim=1) for pair in zip(maps, plain, strict=True)]
        if not x.is_meta and not self.scales.any():
            self.scales.copy_(torch.stack([part.detach().float().std() for part in maps]))
        said = [
            head(part.float() / scale)
            for head, part, scale in zip(self.heads, maps, self.scales, strict=True)
        ]
        return torch.cat([F.adaptive_avg_pool2d(part, VERDICTS) for part in said], dim=1)


class DeOldifyCritic(nn.Sequential):
    """DeOldify's critic: spectral norm throughout, self-attention at a quarter of the size.

    Logits are a map of which each one sees most of the picture. The published `width` of 256
    makes it larger than the generator.

    Parameters
    ----------
    in_channels : int
        Of the pictures.
    width : int
        Channels behind the first convolution; they double three times.
    dropout : float
        Share of whole channels that are dropped; half of it behind the first convolution.
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
    """A critic with spectral norm and self-attention, after Zhang et al. 2019 (SAGAN).

    Four 4x4 convolutions of stride 2 and one over 4x4 positions to the logits. Theirs is made of
    residual blocks; the sizes here are ours, and stay as pictures grow.

    Parameters
    ----------
    in_channels : int
        Of the pictures.
    width : int
        Channels behind the first convolution; they double three times.
    attentions : {0, 1, 2}
        Layers of self-attention: none, at a quarter of the size, and at an eighth as well.
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
    """The "explo presentation"'s critic: valid convolutions, poolings, four dense layers.

    Unconditional there, and ending in a sigmoid, which is the loss's business here. Pictures of
    another size are resized to its own.

    Parameters
    ----------
    in_channels : int
        Of the pictures.
    side : int
        Of the pictures it is made for, px; at least 92.
    """

    def __init__(self, in_channels: int = 3, side: int = 120) -> None:
        super().__init__()
        if side < DENSE_SMALLEST:
            raise SettingsError(
                f"This critic needs pictures of {DENSE_SMALLEST} px or more, got side = {side}."
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
        """(N, in_channels, H, W) to logits (N, 1)."""
        size = (self.side, self.side)
        if x.shape[2:] != size:
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        return self.dense(self.convs(x).flatten(1))


class EncoderCritic(nn.Sequential):
    """The way down of the ConvNet as a critic, and a 1x1 convolution to the logits.

    Fu, Hsu and Yang 2017 say that their critic is their generator's encoder; batch norm and widths
    are those of `networks.convnet`.

    Parameters
    ----------
    in_channels : int
        Of the pictures.
    widths : sequence of int
        Channels of the stages, each half the size of the one before.
    """

    def __init__(self, in_channels: int = 3, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__(
            Encoder(in_channels, widths, slope=SLOPE), _conv(widths[-1], 1, 1, bias=True)
        )


class DcganCritic(nn.Sequential):
    """DCGAN's critic (Radford et al. 2016), with each of its stabilisers to be switched off.

    Four convolutions that halve the size and one over 4x4 positions to the logits.

    Parameters
    ----------
    in_channels : int
        Of the pictures.
    width : int
        Channels behind the first convolution; they double three times.
    batch_norm : bool
        Behind all but the first and the last convolution.
    strides : bool
        4x4 convolutions of stride 2; else 3x3 ones and max-pooling.
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
        self.apply(_start_as_pix2pix)


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
    """A new critic with random weights.

    Parameters
    ----------
    name : str
        A key of `CRITICS`.
    **options
        Of its class; `in_channels` for all.

    Raises
    ------
    SettingsError
        If there is no such critic, or it has no such option.
    """
    if name not in CRITICS:
        raise SettingsError(f"No critic is called {name!r}. Choose one of: {', '.join(CRITICS)}.")
    known = signature(CRITICS[name]).parameters
    for option in options:
        if option not in known:
            raise SettingsError(
                f"The critic {name!r} has no option {option!r}. It has: {', '.join(known)}."
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
    """Convolution, batch norm in place of its bias, activation."""
    conv = _conv(inputs, outputs, kernel, stride=stride, bias=not batch_norm)
    norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
    return nn.Sequential(conv, *norm, _activation(leaky))


def _spectral(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Convolution of spectral norm 1 with a bias, activation."""
    conv = _conv(inputs, outputs, kernel, stride=stride, bias=True)
    return nn.Sequential(with_spectral_norm(_started(conv)), _activation())


def _spectral_logits(inputs: int) -> nn.Conv2d:
    """4x4 positions to one logit; without a bias, as DeOldify has it."""
    return with_spectral_norm(_started(nn.Conv2d(inputs, 1, 4, bias=False)))


def _started(conv: nn.Conv2d) -> nn.Conv2d:
    """He et al. 2015's initialisation, as fastai gives it to every convolution."""
    nn.init.kaiming_normal_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _start_as_pix2pix(module: nn.Module) -> None:
    """Weights N(0, 0.02), norms N(1, 0.02), biases 0: for `Module.apply`."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=PIX2PIX_STD)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, mean=1.0, std=PIX2PIX_STD)
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
