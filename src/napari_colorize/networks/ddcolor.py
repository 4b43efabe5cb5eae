"""DDColor: ConvNeXt encoder, pixel decoder, and color decoder with 100 learned queries.

The encoder reduces the image to 1/32 of its size. The pixel decoder enlarges its features to full
size: three times with the wide U-Net block of DeOldify, then once by a factor of four. The color
decoder refines learned color queries by cross-attention to the features at 1/16, 1/8 and 1/4 of the
size and by self-attention between the queries. The dot product of queries and pixel features gives
100 maps, which a 1x1 convolution reduces to a and b.

Parameters have the names of the published files. Xiaoyang Kang, Tao Yang, Wenqi Ouyang, Peiran Ren,
Lingzhi Li and Xuansong Xie, "DDColor: Towards photo-realistic image colorization via dual
decoders", ICCV 2023. Zhuang Liu et al., "A ConvNet for the 2020s", CVPR 2022.
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
from napari_colorize.networks.deoldify import DEOLDIFY_NAMES, ConvBlock, UnetBlock
from napari_colorize.networks.layers import PixelShuffleICNR, Unused, blur, conv2d

Size = Literal["tiny", "large"]

EPSILON = 1e-6  # of ConvNeXt's layer norms
INITIAL_GAMMA = 1e-6  # of a new ConvNeXt block, which is nearly the identity
EXPANSION = 4  # channels inside a ConvNeXt block
HEADS = 8  # of every attention layer; not visible in the shapes of a state dict
LAST_SCALE = 4  # factor of the last upsampling
TEMPERATURE = 10_000.0  # of the position embedding (Vaswani et al. 2017)
ROW_BLOCK_BYTES = 24 * 2**20  # bytes per tensor of a row block, see `deoldify.ROW_BLOCK_BYTES`


@dataclass(frozen=True, kw_only=True)
class DDColorConfig:
    """Sizes of a DDColor network."""

    # Number of blocks and of channels of the four stages of ConvNeXt, at 1/4 to 1/32 of the size
    depths: tuple[int, ...] = (3, 3, 9, 3)
    encoded: tuple[int, ...] = (96, 192, 384, 768)
    # Channels of the pixel decoder at 1/16, 1/8 and 1/4; the last ones also at full size
    decoded: tuple[int, ...] = (512, 512, 256)
    # Color decoder: number of queries, their channels (a multiple of 8), hidden channels of the
    # feed-forward layers, and number of layers
    queries: int = 100
    hidden: int = 256
    inner: int = 2048
    layers: int = 9
    # Classes of the ImageNet classifier, which some files contain without use; 0 for none
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
    """ConvNeXt block: depthwise 7x7 convolution and pointwise MLP, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), INITIAL_GAMMA))
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.pwconv1 = nn.Linear(channels, EXPANSION * channels)
        self.pwconv2 = nn.Linear(EXPANSION * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).movedim(1, -1))  # channels last
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.movedim(-1, 1)


class ConvNeXt(nn.Module):
    """ConvNeXt encoder: (N, 3, H, W) to features at 1/4, 1/8, 1/16 and 1/32 of the size.

    The returned features are normalized. The next stage uses the features before normalization.
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
        features = []
        for index, (down, stage) in enumerate(
            zip(self.downsample_layers, self.stages, strict=True)
        ):
            x = stage(down(x))
            features.append(self.get_submodule(f"norm{index}")(x))
        return features


class CrossAttentionLayer(nn.Module):
    """Cross-attention from queries to image features, with residual and layer norm."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(hidden, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, queries: Tensor, query_pos: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        attended, _ = self.multihead_attn(queries + query_pos, keys, values, need_weights=False)
        return self.norm(queries + attended)


class SelfAttentionLayer(nn.Module):
    """Self-attention between the queries, with residual and layer norm."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(hidden, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, queries: Tensor, query_pos: Tensor) -> Tensor:
        queries_with_pos = queries + query_pos
        attended, _ = self.self_attn(
            queries_with_pos, queries_with_pos, queries, need_weights=False
        )
        return self.norm(queries + attended)


class FFNLayer(nn.Module):
    """Feed-forward layer of each query, with residual and layer norm."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(hidden, inner)
        self.linear2 = nn.Linear(inner, hidden)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, queries: Tensor) -> Tensor:
        return self.norm(queries + self.linear2(F.relu(self.linear1(queries))))


class MLP(nn.Module):
    """Three linear layers with ReLUs between them."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))


class MultiScaleColorDecoder(nn.Module):
    """Color decoder: learned queries, refined with image features of three scales."""

    def __init__(self, config: DDColorConfig) -> None:
        super().__init__()
        hidden, layers = config.hidden, range(config.layers)
        self.query_feat = nn.Embedding(config.queries, hidden)
        self.query_embed = nn.Embedding(config.queries, hidden)  # learned position embedding
        self.level_embed = nn.Embedding(len(config.decoded), hidden)
        self.input_proj = nn.ModuleList(nn.Conv2d(width, hidden, 1) for width in config.decoded)
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttentionLayer(hidden) for _ in layers
        )
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttentionLayer(hidden) for _ in layers
        )
        self.transformer_ffn_layers = nn.ModuleList(FFNLayer(hidden, config.inner) for _ in layers)
        self.decoder_norm = nn.LayerNorm(hidden)
        self.color_embed = MLP(hidden)

    def forward(self, scales: Sequence[Tensor]) -> Tensor:
        """Map features (N, C, h, w), coarsest first, to color embeddings (N, K, hidden)."""
        memories = [self._memory(level, features) for level, features in enumerate(scales)]
        queries = self.query_feat.weight.expand(len(scales[0]), -1, -1)
        query_pos = self.query_embed.weight
        steps = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for index, (cross_attention, self_attention, ffn) in enumerate(steps):
            queries = cross_attention(queries, query_pos, *memories[index % len(memories)])
            queries = ffn(self_attention(queries, query_pos))
        return self.color_embed(self.decoder_norm(queries))

    def _memory(self, level: int, features: Tensor) -> tuple[Tensor, Tensor]:
        """Keys with position embedding, and values, of one scale; both (N, h w, hidden)."""
        x = self.input_proj[level](features)
        values = x.flatten(2).mT + self.level_embed.weight[level]
        return values + position_embedding_sine(x).flatten(1).mT, values


def position_embedding_sine(x: Tensor) -> Tensor:
    """Sine position embedding of each pixel of (N, C, H, W), shape (C, H, W).

    The first half of the channels encodes the row, from 0 (exclusive) to 2 pi, at wavelengths from
    2 pi to 2 pi * 10 000, with sine and cosine alternating. The second half encodes the column.
    """
    channels, height, width = x.shape[1:]
    pairs = channels // 4
    steps = torch.arange(pairs, device=x.device) / pairs
    embeddings = []
    for length in (height, width):
        positions = torch.arange(1, length + 1, device=x.device) * (
            2 * math.pi / (length + EPSILON)
        )
        angle = positions / TEMPERATURE ** steps[:, None]  # (pairs, length)
        embeddings.append(torch.stack([angle.sin(), angle.cos()], dim=1).flatten(0, 1))
    rows, columns = embeddings
    half = channels // 2
    return torch.cat(
        [rows[:, :, None].expand(half, height, width), columns[:, None].expand(half, height, width)]
    ).to(x.dtype)


class DualDecoder(nn.Module):
    """Pixel decoder and color decoder."""

    def __init__(self, config: DDColorConfig) -> None:
        super().__init__()
        before, *skips = reversed(config.encoded)
        self.layers = nn.Sequential(
            *(
                _unet_block(inputs, outputs, skip)
                for inputs, outputs, skip in zip(
                    (before, *config.decoded), config.decoded, skips, strict=False
                )
            )
        )
        last = config.decoded[-1]
        self.last_shuf = PixelShuffleICNR(last, last, batch_norm=False, scale=LAST_SCALE)
        self.color_decoder = MultiScaleColorDecoder(config)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Map encoder features, largest first, to pixel features (N, C, h, w) and color embeddings.

        The pixel features have 1/4 of the size of the image.
        """
        *skips, x = features
        scales = []
        for layer, skip in zip(self.layers, reversed(skips), strict=True):
            x = layer(x, skip)
            scales.append(x)
        return x, self.color_decoder(scales)


def _unet_block(inputs: int, outputs: int, skip: int) -> UnetBlock:
    """Wide U-Net block of DeOldify without self-attention."""
    return UnetBlock(
        {
            "shuf": PixelShuffleICNR(inputs, outputs),
            "bn": nn.BatchNorm2d(skip),
            "conv": ConvBlock(outputs + skip, outputs, DEOLDIFY_NAMES, "spectral"),
        }
    )


class DDColor(nn.Module):
    """DDColor network: gray `(N, 3, H, W)` in [0, 1] to CIELAB a and b `(N, 2, H, W)`.

    Height and width must be multiples of 32. Published sizes are `TINY` and `LARGE`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: DDColorConfig = TINY) -> None:
        super().__init__()
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))
        self.encoder = nn.ModuleDict(
            {"arch": ConvNeXt(config.depths, config.encoded, config.classes)}
        )
        self.decoder = DualDecoder(config)
        head = conv2d(config.queries + 3, 2, 1, bias=True)
        self.refine_net = nn.Sequential(nn.Sequential(head))

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """Return a and b in float32 or wider. `self_attention` has no effect."""
        dtype = self.refine_net.get_parameter("0.0.bias").dtype
        x = ((gray - self.mean) / self.std).to(dtype)
        features, queries = self.decoder(self.encoder["arch"](x))
        head = self.refine_net.get_submodule("0.0")
        full_precision = torch.promote_types(dtype, torch.float32)
        if _is_fused(head):
            assert isinstance(head, nn.Conv2d)
            return self._forward_fused(features, queries, x, head).to(full_precision)
        pixels = self.decoder.last_shuf(features)
        maps = torch.einsum("nkc,nchw->nkhw", queries, pixels)
        return self.refine_net(torch.cat([maps, x], dim=1)).to(full_precision)

    def _forward_fused(
        self, features: Tensor, queries: Tensor, x: Tensor, head: nn.Conv2d
    ) -> Tensor:
        """Compute the full-size end of the network in another order, which changes only rounding.

        The dot product with the queries and the 1x1 convolution are linear, so they are combined to
        one matrix that maps pixel features to a and b without the 100 maps. Pixel shuffle and blur
        are linear as well and are applied last. No pixel then depends on pixels beyond its position
        at 1/4 of the size, so that the computation runs in blocks of rows with little memory.
        """
        weight, shuf = head.weight.flatten(1), self.decoder.last_shuf  # (2, K + 3)
        to_ab = weight[:, :-3] @ queries  # (N, 2, C)
        identity = torch.eye(LAST_SCALE**2).to(to_ab)  # the 16 pixels of one position
        matrix = torch.einsum("nac,pq->ncpaq", to_ab, identity).flatten(3).flatten(1, 2)
        row = features[:, :, 0].numel() * features.element_size() * LAST_SCALE**2
        blocks = []
        for part in features.split(max(1, ROW_BLOCK_BYTES // row), dim=2):
            fine = shuf.conv(part).relu_().movedim(1, -1)  # (N, rows, w, 16 C)
            ab = (fine.flatten(1, 2) @ matrix).unflatten(1, fine.shape[1:3])
            blocks.append(F.pixel_shuffle(ab.movedim(-1, 1), LAST_SCALE))
        from_gray = F.conv2d(x, weight[:, -3:, None, None], head.bias)
        return blur(torch.cat(blocks, dim=2)) + from_gray


def _is_fused(head: nn.Module) -> bool:
    """Return whether the spectral norm is folded into the weight and the weight is fixed."""
    return not hasattr(head, "weight_orig") and not any(
        parameter.requires_grad for parameter in head.parameters()
    )


def new_ddcolor(size: Size = "tiny", **changes: Any) -> DDColor:
    """Create a network with random weights: a published size with changed fields."""
    return DDColor(replace({"tiny": TINY, "large": LARGE}[size], **changes))


def build_ddcolor(state: Mapping[str, Tensor]) -> DDColor:
    """Build a network with the sizes of a state dict."""
    arch, colors = "encoder.arch", "decoder.color_decoder"
    stages = range(_count(state, f"{arch}.stages.{{}}.0.gamma"))
    scales = range(_count(state, f"{colors}.input_proj.{{}}.weight"))
    queries, hidden = state[f"{colors}.query_feat.weight"].shape
    config = DDColorConfig(
        depths=tuple(_count(state, f"{arch}.stages.{stage}.{{}}.gamma") for stage in stages),
        encoded=tuple(len(state[f"{arch}.stages.{stage}.0.gamma"]) for stage in stages),
        decoded=tuple(state[f"{colors}.input_proj.{scale}.weight"].shape[1] for scale in scales),
        queries=queries,
        hidden=hidden,
        inner=len(state[f"{colors}.transformer_ffn_layers.0.linear1.weight"]),
        layers=_count(state, f"{colors}.transformer_ffn_layers.{{}}.linear1.weight"),
        classes=len(state.get(f"{arch}.head_cls.bias", ())),
    )
    return DDColor(config)


def _count(state: Mapping[str, Tensor], key: str) -> int:
    """Number of consecutive indices, from 0, for which the key exists."""
    return next(number for number in count() if key.format(number) not in state)
