"""Layers shared by networks: convolutions with weight normalization, upsampling, self-attention.

Parameters have the names of the published checkpoints.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import product
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from napari_colorize.networks.winograd import WinogradConv2d

WeightNorm = Literal["spectral", "weight"]
SoftmaxOver = Literal["source", "target"]
Conv = TypeVar("Conv", nn.Conv1d, nn.Conv2d)

# Attention weights per block: 32 MiB of float32. Larger blocks are not faster.
MAX_BLOCK_WEIGHTS = 2**23
SMOOTHING_STEPS = (1, 2)  # distances of neighbors, px
# u.W.v of random u and v is near zero, so new weights divided by it would be huge.
POWER_ITERATIONS = 3


class Unused(nn.Module):
    """Buffers of a published file that the network does not use, given as shapes by name.

    They keep state dicts equal to the published ones and are not trained.
    """

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))


def blur(x: Tensor) -> Tensor:
    """Mean of each pixel and its left, upper and upper left neighbors; the size is unchanged.

    The first row and column are repeated outwards. Pixel shuffle leaves a pattern of period 2,
    which this mean removes (Sugawara et al. 2018, "Super-resolution using convolutional neural
    networks without any checkerboard artifacts").
    """
    return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), kernel_size=2, stride=1)


class WeightNormConv2d(nn.Module):
    """Convolution with the weight g * v / |v|, where |v| is the norm per output channel.

    The parameters are named `bias`, `weight_g` and `weight_v`, as in the deprecated
    `torch.nn.utils.weight_norm`. Its successor uses other names.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        weight = conv.weight.detach()
        self.bias = conv.bias
        self.weight_g = nn.Parameter(_length(weight))
        self.weight_v = nn.Parameter(weight)

    @property
    def weight(self) -> Tensor:
        """Normalized weight, shape (out, in, height, width)."""
        return self.weight_g * (self.weight_v / _length(self.weight_v))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.weight_v.shape[-1] // 2)

    def plain(self) -> nn.Conv2d:
        """Return the same convolution as `nn.Conv2d` with a precomputed weight."""
        outputs, inputs, side, _ = self.weight_v.shape
        conv = nn.Conv2d(inputs, outputs, side, padding=side // 2, device="meta")
        conv.weight, conv.bias = nn.Parameter(self.weight), self.bias
        return conv


def _length(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=(1, 2, 3), keepdim=True)


def with_spectral_norm(conv: Conv) -> Conv:
    """Divide the weight of a convolution by u.W.v, an estimate of its largest singular value.

    The parameters become `bias`, `weight_orig` and the buffers `weight_u` and `weight_v`. Every
    forward pass in training makes one power iteration; evaluation makes none.
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
    """Create a convolution that keeps the size, initialized for a following ReLU (He et al. 2015).

    `kernel` is the odd side of the filters. A bias is initialized with 0. `shuffle` is the factor
    of the pixel shuffle that follows: filters of neighboring pixels are initialized equally, so
    that a new network repeats pixels (ICNR, Aitken et al. 2017).
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


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(
        conv2d(inputs, outputs, norm=None), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def convolve_rows(conv: nn.Module, x: Tensor, above: int, below: int) -> Tensor:
    """Apply a 3x3 convolution to a block of rows of an image (N, C, H, W).

    `above` and `below` are the rows of zero padding, 1 at the border of the image and 0 inside it.
    Inside, the result has one row less on that side.
    """
    if isinstance(conv, WinogradConv2d):
        return conv(x, above, below)
    assert isinstance(conv, nn.Conv2d)
    if above or below:
        x = F.pad(x, (0, 0, above, below))
    return F.conv2d(x, conv.weight, conv.bias, padding=(0, 1))


class PixelShuffleICNR(nn.Module):
    """Upsampling of DeOldify and fastai: 1x1 convolution, ReLU, pixel shuffle and blur.

    The sides grow by `scale`. Without batch norm the convolution has a bias. `names` are those of
    the convolution and the batch norm within `conv` in the checkpoint.
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
        shuffled_channels = out_channels * scale**2
        conv = conv2d(
            in_channels, shuffled_channels, 1, bias=not batch_norm, norm=norm, shuffle=scale
        )
        parts: list[nn.Module] = [conv, nn.BatchNorm2d(shuffled_channels)] if batch_norm else [conv]
        self.conv = nn.Sequential(OrderedDict(zip(names, parts, strict=False)))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', scale H, scale W)."""
        return blur(F.pixel_shuffle(self.conv(x).relu_(), self.scale))


def attention(
    query: Tensor, key: Tensor, value: Tensor, *, softmax_over: SoftmaxOver = "source"
) -> Tensor:
    """Unscaled dot-product attention: sum of values weighted by the agreement of features.

    The weight of position i in the result at position j is computed from the score query_i . key_j.
    The computation runs in blocks of positions, so that memory does not grow with the square of
    their number. With softmax over "source" positions the blocks do not change the result; with
    "target" they change the order of a sum.

    Parameters
    ----------
    query, key : Tensor, shape (N, D, L)
        Features at L positions.
    value : Tensor, shape (N, C, L)
        Values; the result is sum_i weight_ij value_i.
    softmax_over : {"source", "target"}
        Positions over which the weights sum to 1: all sources i of one target j (DeOldify; the
        usual attention, with the names query and key exchanged), or all targets j of one source i
        (the program of the IPOL review).
    """
    batch, _, positions = query.shape
    block_size = max(1, MAX_BLOCK_WEIGHTS // (batch * positions))
    if softmax_over == "source":
        parts = [
            torch.softmax(block.mT @ query, dim=-1) @ value.mT  # (N, block, L) @ (N, L, C)
            for block in key.split(block_size, dim=-1)
        ]
        return torch.cat(parts, dim=1).mT
    total = torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
    for block, block_value in zip(
        query.split(block_size, -1), value.split(block_size, -1), strict=True
    ):
        total = total + block_value @ torch.softmax(block.mT @ key, dim=-1)  # (N, C, L)
    return total.to(value.dtype)


def attention_weights_at(
    query: Tensor, key: Tensor, position: int, *, softmax_over: SoftmaxOver = "source"
) -> Tensor:
    """Weights of one target position j in `attention`, divided by their sum, float32 (N, L).

    Element i is weight_ij / sum_i weight_ij.
    """
    query, key = query.float(), key.float()
    scores = (key[..., position, None] * query).sum(1)
    if (
        softmax_over == "target"
    ):  # in logarithms: the sum over the sources of one target can underflow
        block_size = max(1, MAX_BLOCK_WEIGHTS // (query.shape[0] * query.shape[-1]))
        totals = [(block.mT @ key).logsumexp(-1) for block in query.split(block_size, dim=-1)]
        scores = scores - torch.cat(totals, dim=-1)
    return scores.softmax(-1)


class SelfAttention(nn.Module):
    """Self-attention layer of DeOldify: x + gamma * attention(x).

    After Zhang et al. 2019, "Self-attention generative adversarial networks". gamma is initialized
    with 0, so that a new layer is the identity. Query and key have an eighth of the channels unless
    `key_channels` is given.
    """

    def __init__(
        self,
        channels: int,
        key_channels: int | None = None,
        *,
        norm: Literal["spectral"] | None = "spectral",
    ) -> None:
        super().__init__()
        key_channels = key_channels or max(1, channels // 8)
        wrap = with_spectral_norm if norm == "spectral" else nn.Identity()
        self.query = wrap(nn.Conv1d(channels, key_channels, 1, bias=False))
        self.key = wrap(nn.Conv1d(channels, key_channels, 1, bias=False))
        self.value = wrap(nn.Conv1d(channels, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
        """Map (N, C, H, W) to the same shape; return `x` if `self_attention` is False."""
        if not self_attention:
            return x
        flat = x.flatten(2)
        attended = attention(self.query(flat), self.key(flat), self.value(flat))
        return x + self.gamma * attended.unflatten(2, x.shape[2:])

    def weights_at(self, x: Tensor, row: int, column: int) -> Tensor:
        """Attention weights of one pixel of x, shape (N, H, W), with sum 1."""
        flat = x.flatten(2)
        weights = attention_weights_at(self.query(flat), self.key(flat), row * x.shape[-1] + column)
        return weights.unflatten(1, x.shape[2:])


class IpolSelfAttention(nn.Module):
    """Self-attention layer of the IPOL program: DeOldify's with softmax over target positions.

    The weights of one target position do not sum to 1. The published checkpoint was trained with
    this layer. f and g have an eighth of the channels.
    """

    def __init__(self, channels: int, *, norm: Literal["spectral"] | None = "spectral") -> None:
        super().__init__()
        key_channels = max(1, channels // 8)
        self.f = conv2d(channels, key_channels, 1, norm=norm)
        self.g = conv2d(channels, key_channels, 1, norm=norm)
        self.h = conv2d(channels, channels, 1, norm=norm)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
        """Map (N, C, H, W) to the same shape; return `x` if `self_attention` is False."""
        if not self_attention:
            return x
        f, g, h = (part(x).flatten(2) for part in (self.f, self.g, self.h))
        attended = attention(f, g, h, softmax_over="target")
        return x + self.gamma * attended.unflatten(2, x.shape[2:])

    def weights_at(self, x: Tensor, row: int, column: int) -> Tensor:
        """Attention weights of one pixel of x, shape (N, H, W), divided by their sum."""
        f, g = (part(x).flatten(2) for part in (self.f, self.g))
        weights = attention_weights_at(f, g, row * x.shape[-1] + column, softmax_over="target")
        return weights.unflatten(1, x.shape[2:])


def smooth_along_luminance(maps: Tensor, gray: Tensor, tolerance: float) -> Tensor:
    """Average each pixel with its neighbors of similar luminance.

    A joint bilateral filter in two passes over 3 x 3 pixels, the second at twice the distance (as
    in the a trous algorithm). A neighbor's weight is exp(-d^2 / 2 tolerance^2), where d is its
    difference in luminance. Colors rarely change where gray does not.

    Parameters
    ----------
    maps : Tensor, shape (N, C, h, w)
        Maps to smooth.
    gray : Tensor, shape (N, 1, H, W)
        Luminance in [0, 1]; it is reduced to the size of the maps. H / h = W / w is an integer.
    tolerance : float
        0 returns the maps unchanged.
    """
    if not tolerance:
        return maps
    height, width = maps.shape[-2:]
    gray = F.avg_pool2d(gray.to(maps.dtype), int(gray.shape[-1] // width))
    for step in SMOOTHING_STEPS:
        values, guide = (F.pad(x, (step,) * 4, mode="replicate") for x in (maps, gray))
        places = [
            (..., slice(top, top + height), slice(left, left + width))
            for top, left in product((0, step, 2 * step), repeat=2)
        ]
        weights = torch.cat(
            [torch.exp(-((guide[place] - gray) / tolerance).square() / 2) for place in places], 1
        )
        shares = (weights / weights.sum(1, keepdim=True)).split(1, 1)
        maps = values[places[0]] * shares[0]
        for place, share in zip(places[1:], shares[1:], strict=True):
            maps.addcmul_(values[place], share)  # without a copy of the maps for each neighbor
    return maps
