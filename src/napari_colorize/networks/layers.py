"""The blocks that the U-Nets of this package share.

Convolutions with a normalized weight (`conv2d`), upsampling without checkerboards
(`SubPixelUpsample`, which ends in `blur`), and attention between all parts of an image (`attend`
and its modules). Parameters carry the names of the published checkpoints. `Layered` is what a
U-Net tells a trainer about itself.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from napari_colorize.networks.winograd import WinogradConv2d

WeightNorm = Literal["spectral", "weight"]
SoftmaxOver = Literal["read", "written"]
Conv = TypeVar("Conv", nn.Conv1d, nn.Conv2d)

# Attention weights held at a time: 32 MiB of float32. Smaller saves nothing, larger is no faster.
BLOCK_NUMBERS = 2**23
# A random u.W.v lies near zero, and a new network would explode when divided by it.
POWER_ITERATIONS = 3


class Layered(Protocol):
    """A network whose parts training may freeze, or give rates of their own."""

    @property
    def encoder(self) -> nn.Module:
        """The pretrained part, under the names of the library that its weights come from."""

    def encoder_parameters(self) -> list[nn.Parameter]:
        """The parameters of the pretrained part; the others start untrained."""

    def layer_groups(self) -> list[list[nn.Module]]:
        """All parts, input side first, in groups that learn at one rate each.

        fastai's `freeze_to(-1)` trains the last group only.
        """


def blur(x: Tensor) -> Tensor:
    """Mean over each pixel, its left, its upper and its upper left neighbor; the size stays.

    The first column and row are repeated outwards. Sub-pixel upsampling leaves a pattern of
    period 2, which this mean removes (Sugawara et al. 2018, "Super-resolution using convolutional
    neural networks without any checkerboard artifacts").
    """
    return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), kernel_size=2, stride=1)


class WeightNormConv2d(nn.Module):
    """A convolution whose weight is g * v / |v|, the length |v| taken per output channel.

    The parameters are `bias`, `weight_g` and `weight_v`, as `torch.nn.utils.weight_norm` called
    them; that function is deprecated, and its successor has other names.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        weight = conv.weight.detach()
        self.bias = conv.bias
        self.weight_g = nn.Parameter(_length(weight))
        self.weight_v = nn.Parameter(weight)

    @property
    def weight(self) -> Tensor:
        """The weight that is used, of shape (out, in, height, width)."""
        return self.weight_g * (self.weight_v / _length(self.weight_v))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.weight_v.shape[-1] // 2)

    def plain(self) -> nn.Conv2d:
        """The same convolution with its weight computed once and for all."""
        outputs, inputs, side, _ = self.weight_v.shape
        conv = nn.Conv2d(inputs, outputs, side, padding=side // 2, device="meta")
        conv.weight, conv.bias = nn.Parameter(self.weight), self.bias
        return conv


def _length(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=(1, 2, 3), keepdim=True)


def with_spectral_norm(conv: Conv) -> Conv:
    """Divide a convolution's weight by u.W.v, which tends to its largest singular value.

    The parameters become `bias`, `weight_orig` and the buffers `weight_u`, `weight_v`. One step of
    power iteration is made per forward pass in training, none in evaluation.
    """
    conv = spectral_norm(conv)
    matrix = conv.get_parameter("weight_orig").detach().flatten(1)
    u, v = conv.get_buffer("weight_u"), conv.get_buffer("weight_v")
    for _ in range(POWER_ITERATIONS):
        v.copy_(F.normalize(matrix.mT @ u, dim=0))
        u.copy_(F.normalize(matrix @ v, dim=0))
    return conv


def conv2d(
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    *,
    bias: bool = False,
    norm: WeightNorm | None = "spectral",
    shuffle: int = 1,
) -> nn.Module:
    """A convolution that keeps the size, initialized for a ReLU behind it (He et al. 2015).

    Parameters
    ----------
    in_channels, out_channels, kernel : int
        Channels, and the odd side of the filters.
    bias : bool
        Whether it has one; it starts at zero.
    norm : {"spectral", "weight", None}
        How its weight is normalized.
    shuffle : int
        Factor of the pixel shuffle behind it. The filters that it puts side by side start equal,
        so that a new network repeats pixels (ICNR, Aitken et al. 2017).
    """
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)
    filters = conv.weight.new_empty(out_channels // shuffle**2, in_channels, kernel, kernel)
    nn.init.kaiming_normal_(filters, nonlinearity="relu")
    conv.weight.data.copy_(filters.repeat_interleave(shuffle**2, dim=0))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    if norm == "spectral":
        return with_spectral_norm(conv)
    return WeightNormConv2d(conv) if norm == "weight" else conv


def convolve_rows(conv: nn.Module, x: Tensor, above: int, below: int) -> Tensor:
    """A 3x3 convolution of some rows of an image (N, C, H, W).

    `above` and `below` are the rows of zeros, 1 or 0, beyond the first and the last: 1 where the
    image ends. Where it goes on, the result has a row less.
    """
    if isinstance(conv, WinogradConv2d):
        return conv(x, above, below)
    assert isinstance(conv, nn.Conv2d)
    if above or below:
        x = F.pad(x, (0, 0, above, below))
    return F.conv2d(x, conv.weight, conv.bias, padding=(0, 1))


class SubPixelUpsample(nn.Module):
    """Enlarge by a 1x1 convolution to more channels, which a pixel shuffle lays out side by side.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.
    norm : {"spectral", "weight", None}
        How the convolution's weight is normalized.
    batch_norm : bool
        A batch norm behind the convolution; without it, the convolution has a bias.
    scale : int
        Factor on height and width.
    names : tuple of str
        What the checkpoint calls the convolution and the batch norm, inside of `conv`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm: WeightNorm | None = "spectral",
        batch_norm: bool = True,
        scale: int = 2,
        names: tuple[str, str] = ("0", "1"),
    ) -> None:
        super().__init__()
        wide = out_channels * scale**2
        conv = conv2d(in_channels, wide, 1, bias=not batch_norm, norm=norm, shuffle=scale)
        parts: list[nn.Module] = [conv, nn.BatchNorm2d(wide)] if batch_norm else [conv]
        self.conv = nn.Sequential(OrderedDict(zip(names, parts, strict=False)))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', scale H, scale W)."""
        return blur(F.pixel_shuffle(self.conv(x).relu_(), self.scale))


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, softmax_over: SoftmaxOver = "read"
) -> Tensor:
    """What every position hears from all positions, each weighed by how well the two agree.

    The weight of position i in the result at position j comes from the score query_i . key_j,
    which is not scaled. Computed in blocks of positions, so that memory does not grow with the
    square of their number. Blocks change no bit with "read", and the order of a sum with "written".

    Parameters
    ----------
    query, key : Tensor, shape (N, D, L)
        Features that are compared, at L positions.
    value : Tensor, shape (N, C, L)
        What is summed.
    softmax_over : {"read", "written"}
        Which weights sum to 1: those of all positions i that are read for one j (DeOldify; the
        usual attention under exchanged names), or those of all j that one i is written to (the
        program of the IPOL review).

    Returns
    -------
    Tensor, shape (N, C, L)
        sum_i weight_ij value_i.
    """
    batch, _, positions = query.shape
    block = max(1, BLOCK_NUMBERS // (batch * positions))
    if softmax_over == "read":
        parts = [
            torch.softmax(some.mT @ query, dim=-1) @ value.mT  # (N, block, L) @ (N, L, C)
            for some in key.split(block, dim=-1)
        ]
        return torch.cat(parts, dim=1).mT
    total = torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
    for some, some_value in zip(query.split(block, -1), value.split(block, -1), strict=True):
        total = total + some_value @ torch.softmax(some.mT @ key, dim=-1)  # (N, C, L)
    return total.to(value.dtype)


def attention_weights_at(
    query: Tensor, key: Tensor, position: int, *, softmax_over: SoftmaxOver = "read"
) -> Tensor:
    """From where one position hears: its weights in `attend`, divided by their sum.

    Parameters
    ----------
    query, key, softmax_over
        As in `attend`.
    position : int
        j, from 0 to L - 1.

    Returns
    -------
    Tensor, shape (N, L)
        weight_ij over sum_i weight_ij, in float32.
    """
    query, key = query.float(), key.float()
    scores = (key[..., position, None] * query).sum(1)
    if softmax_over == "written":  # logarithms: all that is written to a position may be next to 0
        block = max(1, BLOCK_NUMBERS // (query.shape[0] * query.shape[-1]))
        totals = [(some.mT @ key).logsumexp(-1) for some in query.split(block, dim=-1)]
        scores = scores - torch.cat(totals, dim=-1)
    return scores.softmax(-1)


class SelfAttention(nn.Module):
    """DeOldify's self-attention: x + gamma * (what x hears from everywhere else).

    After Zhang et al. 2019, "Self-attention generative adversarial networks". A new layer is the
    identity: gamma starts at 0.

    Parameters
    ----------
    channels : int
        Of the features.
    key_channels : int, optional
        Of query and key; by default an eighth.
    norm : {"spectral", None}
        How the three weights are normalized.
    """

    def __init__(
        self,
        channels: int,
        key_channels: int | None = None,
        *,
        norm: Literal["spectral"] | None = "spectral",
    ) -> None:
        super().__init__()
        narrow = key_channels or max(1, channels // 8)
        wrap = with_spectral_norm if norm == "spectral" else nn.Identity()
        self.query = wrap(nn.Conv1d(channels, narrow, 1, bias=False))
        self.key = wrap(nn.Conv1d(channels, narrow, 1, bias=False))
        self.value = wrap(nn.Conv1d(channels, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
        """(N, C, H, W) to the same shape; unchanged if `self_attention` is off."""
        if not self_attention:
            return x
        flat = x.flatten(2)
        heard = attend(self.query(flat), self.key(flat), self.value(flat))
        return x + self.gamma * heard.unflatten(2, x.shape[2:])

    def weights_at(self, x: Tensor, row: int, column: int) -> Tensor:
        """From where one pixel of x hears: (N, H, W), each of sum 1; see `heard_at`."""
        flat = x.flatten(2)
        weights = attention_weights_at(self.query(flat), self.key(flat), row * x.shape[-1] + column)
        return weights.unflatten(1, x.shape[2:])


class PublishedAttention(nn.Module):
    """The IPOL program's self-attention: as DeOldify's, but for where the weights sum to 1.

    The weights of one result do not sum to 1. Its checkpoints were trained this way.

    Parameters
    ----------
    channels : int
        Of the features; f and g have an eighth.
    norm : {"spectral", None}
        How the three weights are normalized.
    """

    def __init__(self, channels: int, *, norm: Literal["spectral"] | None = "spectral") -> None:
        super().__init__()
        narrow = max(1, channels // 8)
        self.f = conv2d(channels, narrow, 1, norm=norm)
        self.g = conv2d(channels, narrow, 1, norm=norm)
        self.h = conv2d(channels, channels, 1, norm=norm)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
        """(N, C, H, W) to the same shape; unchanged if `self_attention` is off."""
        if not self_attention:
            return x
        f, g, h = (part(x).flatten(2) for part in (self.f, self.g, self.h))
        heard = attend(f, g, h, softmax_over="written")
        return x + self.gamma * heard.unflatten(2, x.shape[2:])

    def weights_at(self, x: Tensor, row: int, column: int) -> Tensor:
        """From where one pixel of x hears: (N, H, W), each of sum 1; see `heard_at`."""
        f, g = (part(x).flatten(2) for part in (self.f, self.g))
        weights = attention_weights_at(f, g, row * x.shape[-1] + column, softmax_over="written")
        return weights.unflatten(1, x.shape[2:])
