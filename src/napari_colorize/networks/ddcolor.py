"""DDColor: a hundred colors ask the image where they belong.

A ConvNeXt leads gray down to 1/32 of its size. One decoder brings its features back to full size,
three times by DeOldify's wide block and then by four at once. The other one holds learned queries,
one for each color: they read the first decoder's features at 1/16, 1/8 and 1/4 of the size, over
and over, and consult each other. Where the features of a pixel agree with what a query found, that
color is painted.

Parameters are named as in the published files. Xiaoyang Kang, Tao Yang, Wenqi Ouyang, Peiran Ren,
Lingzhi Li and Xuansong Xie, "DDColor: Towards photo-realistic image colorization via dual
decoders", International Conference on Computer Vision 2023. Zhuang Liu et al., "A ConvNet for the
2020s", CVPR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD
from napari_colorize.networks.deoldify import DEOLDIFY_NAMES, ConvBlock, UpBlock
from napari_colorize.networks.layers import SubPixelUpsample, blur, conv2d
from napari_colorize.networks.unused import Unused

Size = Literal["tiny", "large"]

EPSILON = 1e-6  # in ConvNeXt's layer norms
FIRST_GAMMA = 1e-6  # of a new ConvNeXt block: nearly the identity
EXPANSION = 4  # channels inside a ConvNeXt block
HEADS = 8  # of every attention; shapes do not tell it
LAST_STEP = 4  # factor by which the last upsampling enlarges
TEMPERATURE = 10_000.0  # of the positions (Vaswani et al. 2017)
BAND_BYTES = 24 * 2**20  # per tensor of the full-size end: memory that is used again and again


@dataclass(frozen=True, kw_only=True)
class DDColorConfig:
    """The size of a network.

    Parameters
    ----------
    depths, encoded : tuple of int
        Blocks and channels of ConvNeXt's four stages, at 1/4 to 1/32 of the size.
    decoded : tuple of int
        Channels of the pixel decoder at 1/16, 1/8 and 1/4; the last ones also at full size.
    queries, hidden, inner, layers : int
        Of the color decoder: queries, their channels (a multiple of 8), those inside of its
        perceptrons, and how often the queries read.
    classes : int
        Of ImageNet's classifier, which some files carry along unused; 0 for none.
    """

    depths: tuple[int, ...] = (3, 3, 9, 3)
    encoded: tuple[int, ...] = (96, 192, 384, 768)
    decoded: tuple[int, ...] = (512, 512, 256)
    queries: int = 100
    hidden: int = 256
    inner: int = 2048
    layers: int = 9
    classes: int = 0


TINY = DDColorConfig()
LARGE = replace(TINY, depths=(3, 3, 27, 3), encoded=(192, 384, 768, 1536))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ConvNeXtBlock(nn.Module):
    """A depthwise 7x7 convolution, and a perceptron at each pixel; added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), FIRST_GAMMA))
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.pwconv1 = nn.Linear(channels, EXPANSION * channels)
        self.pwconv2 = nn.Linear(EXPANSION * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).movedim(1, -1))  # channels last
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.movedim(-1, 1)


class ConvNeXt(nn.Module):
    """(N, 3, H, W) to features at 1/4, 1/8, 1/16 and 1/32 of the size.

    Each is normalized on its way out; the next stage goes on from what it was before.
    """

    def __init__(self, depths: Sequence[int], channels: Sequence[int], classes: int = 0) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, channels[0], 4, stride=4), ChannelNorm(channels[0]))
        steps = (
            nn.Sequential(ChannelNorm(inputs), nn.Conv2d(inputs, outputs, 2, stride=2))
            for inputs, outputs in pairwise(channels)
        )
        self.downsample_layers = nn.ModuleList([stem, *steps])
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))
            for depth, width in zip(depths, channels, strict=True)
        )
        for index, width in enumerate(channels):
            self.add_module(f"norm{index}", ChannelNorm(width))
        last = channels[-1]
        self.norm = Unused(weight=(last,), bias=(last,))
        if classes:
            self.head_cls = Unused(weight=(classes, last), bias=(classes,))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for index, (down, stage) in enumerate(
            zip(self.downsample_layers, self.stages, strict=True)
        ):
            x = stage(down(x))
            found.append(self.get_submodule(f"norm{index}")(x))
        return found


class CrossAttentionLayer(nn.Module):
    """The queries hear from the places of an image that they agree with."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(hidden, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, asked: Tensor, names: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        heard, _ = self.multihead_attn(asked + names, keys, values, need_weights=False)
        return self.norm(asked + heard)


class SelfAttentionLayer(nn.Module):
    """The queries hear from each other."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(hidden, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, asked: Tensor, names: Tensor) -> Tensor:
        named = asked + names
        heard, _ = self.self_attn(named, named, asked, need_weights=False)
        return self.norm(asked + heard)


class FFN(nn.Module):
    """A perceptron of one hidden layer for each query."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(hidden, inner)
        self.linear2 = nn.Linear(inner, hidden)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, asked: Tensor) -> Tensor:
        return self.norm(asked + self.linear2(F.relu(self.linear1(asked))))


class MLP(nn.Module):
    """Three linear layers with ReLUs between them."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))


class ColorDecoder(nn.Module):
    """Learned queries, one for each color, and how they learn from features of three sizes."""

    def __init__(self, plan: DDColorConfig) -> None:
        super().__init__()
        hidden, layers = plan.hidden, range(plan.layers)
        self.query_feat = nn.Embedding(plan.queries, hidden)
        self.query_embed = nn.Embedding(plan.queries, hidden)  # what a query is called
        self.level_embed = nn.Embedding(len(plan.decoded), hidden)
        self.input_proj = nn.ModuleList(nn.Conv2d(width, hidden, 1) for width in plan.decoded)
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttentionLayer(hidden) for _ in layers
        )
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttentionLayer(hidden) for _ in layers
        )
        self.transformer_ffn_layers = nn.ModuleList(FFN(hidden, plan.inner) for _ in layers)
        self.decoder_norm = nn.LayerNorm(hidden)
        self.color_embed = MLP(hidden)

    def forward(self, scales: Sequence[Tensor]) -> Tensor:
        """Features (N, C, h, w), coarsest first, to what the queries look for (N, K, hidden)."""
        memories = [self._memory(level, features) for level, features in enumerate(scales)]
        asked = self.query_feat.weight.expand(len(scales[0]), -1, -1)
        names = self.query_embed.weight
        steps = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for index, (read, consult, think) in enumerate(steps):
            asked = read(asked, names, *memories[index % len(memories)])
            asked = think(consult(asked, names))
        return self.color_embed(self.decoder_norm(asked))

    def _memory(self, level: int, features: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (N, h w, hidden) for the queries to read: only keys tell the place."""
        x = self.input_proj[level](features)
        values = x.flatten(2).mT + self.level_embed.weight[level]
        return values + positions(x).flatten(1).mT, values


def positions(x: Tensor) -> Tensor:
    """Row and column of each pixel of (N, C, H, W) as sines and cosines, (C, H, W).

    The first half of the channels tells the row, from 0 (exclusive) to 2 pi, at wavelengths from
    2 pi to 2 pi times 10 000; sine and cosine of each in turn. The second half tells the column.
    """
    channels, height, width = x.shape[1:]
    pairs = channels // 4
    steps = torch.arange(pairs, device=x.device) / pairs
    told = []
    for length in (height, width):
        place = torch.arange(1, length + 1, device=x.device) * (2 * math.pi / (length + EPSILON))
        angle = place / TEMPERATURE ** steps[:, None]  # (pairs, length)
        told.append(torch.stack([angle.sin(), angle.cos()], dim=1).flatten(0, 1))
    rows, columns = told
    half = channels // 2
    return torch.cat(
        [rows[:, :, None].expand(half, height, width), columns[:, None].expand(half, height, width)]
    ).to(x.dtype)


class DualDecoder(nn.Module):
    """The two decoders: features back to full size, and the queries."""

    def __init__(self, plan: DDColorConfig) -> None:
        super().__init__()
        before, *skips = reversed(plan.encoded)
        self.layers = nn.Sequential(
            *(
                _up(inputs, outputs, skip)
                for inputs, outputs, skip in zip(
                    (before, *plan.decoded), plan.decoded, skips, strict=False
                )
            )
        )
        last = plan.decoded[-1]
        self.last_shuf = SubPixelUpsample(last, last, batch_norm=False, scale=LAST_STEP)
        self.color_decoder = ColorDecoder(plan)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features of the encoder, finest first, to those at 1/4 (N, C, h, w) and the queries."""
        *skips, x = features
        scales = []
        for layer, skip in zip(self.layers, reversed(skips), strict=True):
            x = layer(x, skip)
            scales.append(x)
        return x, self.color_decoder(scales)


def _up(inputs: int, outputs: int, skip: int) -> UpBlock:
    return UpBlock(
        {
            "shuf": SubPixelUpsample(inputs, outputs),
            "bn": nn.BatchNorm2d(skip),
            "conv": ConvBlock(outputs + skip, outputs, DEOLDIFY_NAMES, "spectral"),
        }
    )


class DDColor(nn.Module):
    """Gray `(N, 3, H, W)` in [0, 1] to CIELAB a and b `(N, 2, H, W)`; sides multiples of 32.

    Parameters
    ----------
    plan : Plan
        `TINY`, `LARGE` or another.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, plan: DDColorConfig = TINY) -> None:
        super().__init__()
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))
        self.encoder = nn.ModuleDict({"arch": ConvNeXt(plan.depths, plan.encoded, plan.classes)})
        self.decoder = DualDecoder(plan)
        head = conv2d(plan.queries + 3, 2, 1, bias=True)
        self.refine_net = nn.Sequential(nn.Sequential(head))

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """As the class says, in float32 at least; there is no attention to switch."""
        dtype = self.refine_net.get_parameter("0.0.bias").dtype
        x = ((gray - self.mean) / self.std).to(dtype)
        features, queries = self.decoder(self.encoder["arch"](x))
        head = self.refine_net.get_submodule("0.0")
        wide = torch.promote_types(dtype, torch.float32)
        if _is_fused(head):
            assert isinstance(head, nn.Conv2d)
            return self._painted(features, queries, x, head).to(wide)
        pixels = self.decoder.last_shuf(features)
        maps = torch.einsum("nkc,nchw->nkhw", queries, pixels)
        return self.refine_net(torch.cat([maps, x], dim=1)).to(wide)

    def _painted(self, features: Tensor, queries: Tensor, x: Tensor, head: nn.Conv2d) -> Tensor:
        """The full-size end of the network, in another order that changes rounding at most.

        What is done to a pixel's features is linear: their products with all queries, and of those
        a and b. So features are made into a and b at once, and the hundred maps are never made.
        Pixel shuffle and blur are linear, too, and come last; so nothing reaches beyond a place at
        1/4 of the size, and bands of rows keep the memory small.
        """
        weight, shuf = head.weight.flatten(1), self.decoder.last_shuf  # (2, K + 3)
        to_ab = weight[:, :-3] @ queries  # (N, 2, C)
        same = torch.eye(LAST_STEP**2).to(to_ab)  # the pixels that are still one place
        matrix = torch.einsum("nac,pq->ncpaq", to_ab, same).flatten(3).flatten(1, 2)
        row = features[:, :, 0].numel() * features.element_size() * LAST_STEP**2
        bands = []
        for part in features.split(max(1, BAND_BYTES // row), dim=2):
            fine = shuf.conv(part).relu_().movedim(1, -1)  # (N, rows, w, 16 C)
            ab = (fine.flatten(1, 2) @ matrix).unflatten(1, fine.shape[1:3])
            bands.append(F.pixel_shuffle(ab.movedim(-1, 1), LAST_STEP))
        from_gray = F.conv2d(x, weight[:, -3:, None, None], head.bias)
        return blur(torch.cat(bands, dim=2)) + from_gray


def _is_fused(head: nn.Module) -> bool:
    """Whether its norm is folded, so that its weight may be read, and it does not learn."""
    return not hasattr(head, "weight_orig") and not any(
        parameter.requires_grad for parameter in head.parameters()
    )


def new_ddcolor(size: Size = "tiny", **changes: Any) -> DDColor:
    """A network with random weights: a published size, changed as a `Plan` can be."""
    return DDColor(replace({"tiny": TINY, "large": LARGE}[size], **changes))


def is_ddcolor(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of this network."""
    return (
        "decoder.color_decoder.query_feat.weight" in state
        and "encoder.arch.stages.0.0.gamma" in state
        and "refine_net.0.0.weight_orig" in state
    )


def ddcolor_of(state: Mapping[str, Tensor]) -> DDColor:
    """The network that a state dict fits: of its sizes."""
    arch, colors = "encoder.arch", "decoder.color_decoder"
    stages = range(_count(state, f"{arch}.stages.{{}}.0.gamma"))
    scales = range(_count(state, f"{colors}.input_proj.{{}}.weight"))
    queries, hidden = state[f"{colors}.query_feat.weight"].shape
    plan = DDColorConfig(
        depths=tuple(_count(state, f"{arch}.stages.{stage}.{{}}.gamma") for stage in stages),
        encoded=tuple(len(state[f"{arch}.stages.{stage}.0.gamma"]) for stage in stages),
        decoded=tuple(state[f"{colors}.input_proj.{scale}.weight"].shape[1] for scale in scales),
        queries=queries,
        hidden=hidden,
        inner=len(state[f"{colors}.transformer_ffn_layers.0.linear1.weight"]),
        layers=_count(state, f"{colors}.transformer_ffn_layers.{{}}.linear1.weight"),
        classes=len(state.get(f"{arch}.head_cls.bias", ())),
    )
    return DDColor(plan)


def _count(state: Mapping[str, Tensor], key: str) -> int:
    """How many entries there are whose names count from 0."""
    return next(number for number in count() if key.format(number) not in state)
