"""U-Nets of DeOldify on a ResNet, and their variant in the IPOL review.

The encoder reduces the image to 1/32 of its size. The decoder enlarges the features in five steps;
four of them are joined with encoder features of the same size. One decoder block, at 1/8 of the
size, ends in self-attention. `DeOldify` (deep on ResNet-34, wide on ResNet-101) predicts RGB and
`IpolUNet` (wide) predicts chrominance. Both are a `UNet`; their parameters have the names of the
published files.

Smaller encoders, narrower decoders, zero or two attention layers and networks without spectral norm
(the ablations of the IPOL review) are configured in `deoldify_specs`.

Jason Antic, DeOldify, 2018 to 2022. Salmona, Bouza and Delon, "DeOldify: a review and
implementation of an automatic colorization method", Image Processing On Line 12, 2022.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from napari_colorize.networks.encoders import EncoderName, GrayStem, encoder_parts
from napari_colorize.networks.layers import (
    IpolSelfAttention,
    PixelShuffleICNR,
    SelfAttention,
    conv2d,
    convolve_rows,
)

# Bytes per tensor of a row block of the last stage. glibc maps allocations above 32 MiB anew each
# time, page by page; smaller ones are reused.
ROW_BLOCK_BYTES = 24 * 2**20
MIN_BLOCK_ROWS = 16  # rows of a block; the first convolution computes two more
MAX_ATTENTION_LAYERS = 2  # at 1/8 and at 1/4 of the size

# Names of a convolution, its activation and its batch norm in the published files.
LayerNames = tuple[str, str, str]
WeightNorm = Literal["spectral"] | None  # of the weight of a convolution
DEOLDIFY_NAMES: LayerNames = ("0", "1", "2")
IPOL_NAMES: LayerNames = ("conv", "relu", "batch_norm")

# Rec. 601 matrix of skimage.color.rgb2yuv, as in the IPOL program, which applies it to normalized
# RGB. (Networks do not import napari_colorize.imaging, which has the same constants.)
RGB_TO_YUV = (
    (0.299, 0.587, 0.114),
    (-0.14714119, -0.28886916, 0.43601035),
    (0.61497538, -0.51496512, -0.10001026),
)


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Encoder and channels of a U-Net, coarsest level first."""

    encoder: EncoderName  # key of `encoders.ENCODER_CHANNELS`
    # Channels of the encoder features at the coarsest size, ..., 1/8, 1/4 and 1/2 of the input
    encoder_channels: tuple[int, ...]
    # Channels of each decoder block after upsampling, and at its end. One block fewer than levels.
    upsample_channels: tuple[int, ...]
    block_channels: tuple[int, ...]
    convs: int  # convolutions per decoder block


DEEP = UNetConfig(
    encoder="resnet34",
    encoder_channels=(512, 256, 128, 64, 64),
    upsample_channels=(256, 384, 384, 336),
    block_channels=(768, 768, 672, 300),
    convs=2,
)
WIDE = UNetConfig(
    encoder="resnet101",
    encoder_channels=(2048, 1024, 512, 256, 64),
    upsample_channels=(512, 512, 512, 256),
    block_channels=(512, 512, 512, 256),
    convs=1,
)


class ConvBlock(nn.Sequential):
    """Convolution, ReLU and batch norm, in this order, with optional self-attention."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        names: LayerNames,
        norm: WeightNorm,
        attention: nn.Module | None = None,
    ) -> None:
        conv = conv2d(in_channels, out_channels, norm=norm)
        parts = [conv, nn.ReLU(inplace=True), nn.BatchNorm2d(out_channels)]
        super().__init__(OrderedDict(zip(names, parts, strict=True)))
        if attention is not None:
            self.append(attention)

    def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
        conv, relu, norm, *attention = self
        x = norm(relu(conv(x)))
        for layer in attention:
            x = layer(x, self_attention)
        return x


class UnetBlock(nn.Module):
    """U-Net block: upsample, concatenate the encoder features of this size, convolve.

    `parts` are upsampling, batch norm of the encoder features, and convolution blocks, in this
    order and with the names of the published file.
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor, skip: Tensor, self_attention: bool = True) -> Tensor:
        """Map (N, C, H, W) and encoder features of twice the size (or one less) to their size."""
        upsample, norm, *blocks = self.children()
        height, width = skip.shape[2:]
        x = upsample(x)[..., :height, :width]  # the encoder rounds odd sides up
        x = torch.cat([x, norm(skip)], dim=1).relu_()
        for block in blocks:
            x = block(x, self_attention)
        return x


class ResBlock(nn.Sequential):
    """Residual block: convolutions, each with a ReLU, whose result is added to the input."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)

    @property
    def is_fused(self) -> bool:
        """Whether the weights are fused and fixed, which `forward_rows` requires."""
        return not any(parameter.requires_grad for parameter in self.parameters()) and not any(
            hasattr(conv, "weight_orig") for conv in self.modules()
        )

    def forward_rows(self, x: Tensor, above: int, below: int) -> Tensor:
        """Apply the block to some rows of an image.

        Each convolution removes one row at a side that is inside the image. `above` and `below` are
        1 at the border of the image, where no row is removed, and 0 inside it.
        """
        y = x
        for part in self:
            conv, relu = part.children()
            y = relu(convolve_rows(conv, y, above, below))
        removed = len(self)
        inner = slice(removed * (1 - above), x.shape[2] - removed * (1 - below))
        return y.add_(x[:, :, inner])


def res_block(channels: int, names: LayerNames, norm: WeightNorm = "spectral") -> ResBlock:
    """Residual block of two convolutions at full size, without batch norm."""
    conv, relu, _ = names

    def part() -> nn.Sequential:
        convolution = conv2d(channels, channels, bias=True, norm=norm)
        return nn.Sequential(OrderedDict({conv: convolution, relu: nn.ReLU(inplace=True)}))

    return ResBlock(part(), part())


class UNetModules(NamedTuple):
    """Modules of a U-Net in the order of their use."""

    stem: nn.Module  # to 1/2
    pool: nn.Module  # to 1/4
    down: Sequence[nn.Module]  # to 1/4, 1/8, 1/16 and, except for "-layer3", 1/32
    norm: nn.Module
    middle: nn.Module
    up: Sequence[nn.Module]  # one per encoder stage: ..., to 1/8, 1/4, 1/2
    last_up: nn.Module
    refine: nn.Module
    head: nn.Module


class UNet(nn.Module):
    """U-Net of both families, which differ in the names of their modules and in the head."""

    def modules_in_order(self) -> UNetModules:
        """Return the modules, independent of their names in the state dict."""
        raise NotImplementedError

    def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
        """Map normalized gray (N, 3, H, W) to the channels of the head (N, ., H, W), -3 to 3.

        The output is float32 for weights of lower precision, too.
        """
        net = self.modules_in_order()
        x = x.to(next(self.parameters()).dtype)
        skips = [net.stem(x)]
        features = net.pool(skips[0])
        for stage in net.down:
            features = stage(features)
            skips.append(features)
        features = net.middle(net.norm(skips.pop()).relu_())
        for up in net.up:
            features = up(features, skips.pop(), self_attention)
        return self._forward_full_size(net, features, x)

    def _forward_full_size(self, net: UNetModules, features: Tensor, x: Tensor) -> Tensor:
        """Compute the last stages at full size.

        They need most of the memory of the network. After fusing the norms, they are computed in
        blocks of rows, which changes only rounding.
        """
        residual = next(part for part in net.refine.modules() if isinstance(part, ResBlock))
        if self.training or features.requires_grad or not residual.is_fused:
            features = torch.cat([net.last_up(features), x], dim=1)
            return _scaled_sigmoid(net.head(net.refine(features)))
        height = x.shape[2]
        row = (features[:, :, 0].numel() * 2 + x[:, :, 0].numel()) * x.element_size()
        step = max(MIN_BLOCK_ROWS, ROW_BLOCK_BYTES // row // 2 * 2)
        blocks = []
        for top in range(0, height, step):
            rows, above, below = _extended_rows(top, top + step, height, len(residual))
            joined = _upsample_rows(net, features, x, rows)
            blocks.append(_scaled_sigmoid(net.head(residual.forward_rows(joined, above, below))))
        return torch.cat(blocks, dim=2)

    def high_resolution_modules(self) -> list[nn.Module]:
        """Modules at 1/4 of the size or larger, for `winograd.accelerate_convs`."""
        net = self.modules_in_order()
        return [*net.up[-2:], net.refine]

    def fusable_pairs(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Pairs of modules for `fuse`: the first is the only input of the second."""
        net = self.modules_in_order()
        upsamplings = [next(block.children()) for block in net.up] + [net.last_up]
        yield from zip([net.middle, *net.up], upsamplings, strict=True)

    @property
    def has_self_attention(self) -> bool:
        """Whether the argument `self_attention` of `forward` has an effect."""
        return any(isinstance(part, SelfAttention | IpolSelfAttention) for part in self.modules())

    @property
    def encoder(self) -> nn.Module:
        """Encoder with the module names of torchvision, or of timm for MobileNet."""
        net = self.modules_in_order()
        conv, norm, activation = net.stem.children()
        if not isinstance(conv, GrayStem):
            down = {f"layer{1 + step}": stage for step, stage in enumerate(net.down)}
            return nn.ModuleDict({"conv1": conv, "bn1": norm} | down)
        quarter, eighth, sixteenth, coarsest = net.down
        half = activation.get_submodule("1")
        blocks = [half, quarter, eighth, *sixteenth.children(), *coarsest.children()]
        return nn.ModuleDict({"conv_stem": conv, "bn1": norm, "blocks": nn.ModuleList(blocks)})

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Parameters of the pretrained encoder."""
        return list(self.encoder.parameters())

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the encoder to 1/8 of the size, the rest of the encoder, and the decoder.

        fastai splits a U-Net on a ResNet in the same way (at the third stage and at the end of the
        encoder). Its `freeze_to(-1)` trains the whole decoder.
        """
        net = self.modules_in_order()
        decoder = [net.norm, net.middle, *net.up, net.last_up, net.refine, net.head]
        return [[net.stem, net.pool, *net.down[:2]], [*net.down[2:]], decoder]


class DeOldify(UNet):
    """DeOldify network: gray to RGB, both normalized with ImageNet's mean and standard deviation.

    `config` is `DEEP` ("artistic"), `WIDE` ("stable" and "video"), or another one. `attention` is
    the number of self-attention layers: 1 at 1/8 of the size as published, 0, or 2 with one at 1/4.
    Without `spectral` the weights have no spectral norm. The last upsampling has a weight norm in
    both cases.
    """

    def __init__(
        self, config: UNetConfig = DEEP, *, attention: int = 1, spectral: bool = True
    ) -> None:
        super().__init__()
        _check_attention(attention)
        norm: WeightNorm = "spectral" if spectral else None
        coarsest, last = config.encoder_channels[0], config.block_channels[-1]
        blocks = len(config.block_channels)
        with_attention = attention_steps(config, attention)
        up = {
            str(4 + step): _deoldify_block(config, step, step in with_attention, norm)
            for step in range(blocks)
        }
        refine = res_block(last + 3, DEOLDIFY_NAMES, norm)
        self.layers = nn.ModuleDict(
            {
                "0": nn.Sequential(*encoder_parts(config.encoder)),
                "1": nn.BatchNorm2d(coarsest),  # 2 is a ReLU
                "3": nn.Sequential(*_bridge(coarsest, DEOLDIFY_NAMES, norm)),
                **up,
                str(4 + blocks): PixelShuffleICNR(last, last, norm="weight", batch_norm=False),
                # 5 + blocks: concatenation of features and input
                str(6 + blocks): nn.Sequential(OrderedDict(layers=refine)),
                str(7 + blocks): nn.Sequential(conv2d(last + 3, 3, 1, bias=True, norm=norm)),
                # 8 + blocks: sigmoid
            }
        )

    def modules_in_order(self) -> UNetModules:
        encoder, norm, middle, *up, last_up, refine, head = self.layers.values()
        conv, conv_norm, relu, pool, *down = encoder.children()
        stem = nn.Sequential(conv, conv_norm, relu)
        return UNetModules(stem, pool, down, norm, middle, up, last_up, refine, head)


class IpolUNet(UNet):
    """Network of the IPOL review: gray to U and V, combined to RGB. Normalized as in `DeOldify`.

    Y is computed from the normalized input, so U and V belong to the normalized RGB.

    `attention` and `spectral` are as in `DeOldify`; 0 and False are the ablations of the review.
    """

    def __init__(
        self, config: UNetConfig = WIDE, *, attention: int = 1, spectral: bool = True
    ) -> None:
        super().__init__()
        _check_attention(attention)
        weight_norm: WeightNorm = "spectral" if spectral else None
        coarsest, last = config.encoder_channels[0], config.block_channels[-1]
        with_attention = attention_steps(config, attention)
        conv, norm, relu, pool, *down = encoder_parts(config.encoder)
        self.input_block = nn.Sequential(conv, norm, relu)
        self.max_pool = pool
        self.down_blocks = nn.Sequential(*down)
        self.bn = nn.BatchNorm2d(coarsest)
        conv1, conv2 = _bridge(coarsest, IPOL_NAMES, weight_norm)
        self.bridge = nn.Sequential(OrderedDict(conv1=conv1, conv2=conv2))
        self.up_blocks = nn.Sequential(
            *(
                _ipol_block(config, step, step in with_attention, weight_norm)
                for step in range(len(config.block_channels))
            )
        )
        self.last_upsample = PixelShuffleICNR(
            last, last, norm=None, batch_norm=False, names=IPOL_NAMES[::2]
        )
        self.res_block = res_block(last + 3, IPOL_NAMES, weight_norm)
        head = conv2d(last + 3, 2, 1, bias=True, norm=weight_norm)
        self.dense = nn.Sequential(OrderedDict(conv=head))

    def modules_in_order(self) -> UNetModules:
        return UNetModules(
            self.input_block,
            self.max_pool,
            list(self.down_blocks),
            self.bn,
            self.bridge,
            list(self.up_blocks),
            self.last_upsample,
            self.res_block,
            self.dense,
        )

    def chrominance(self, x: Tensor, self_attention: bool = True) -> Tensor:
        """U and V (N, 2, H, W) of the normalized RGB, -3 to 3."""
        return super().forward(x, self_attention)

    def forward(self, x: Tensor, self_attention: bool = True) -> Tensor:
        """Map normalized gray (N, 3, H, W) to normalized RGB of the same shape."""
        return self.join(x, self.chrominance(x, self_attention))

    def join(self, x: Tensor, uv: Tensor) -> Tensor:
        """Combine Y of the normalized input (N, 3, H, W) with U and V (N, 2, H, W) to RGB."""
        rgb_to_yuv = uv.new_tensor(RGB_TO_YUV)
        y = torch.einsum("c,nchw->nhw", rgb_to_yuv[0], x.to(uv.dtype)).unsqueeze(1)
        return torch.einsum("rc,nchw->nrhw", rgb_to_yuv.inverse(), torch.cat([y, uv], dim=1))


def attention_steps(config: UNetConfig, attention: int) -> range:
    """Indices of the decoder blocks with self-attention, from the one at 1/8 of the size on."""
    first = len(config.block_channels) - 3
    return range(first, first + attention)


def _check_attention(attention: int) -> None:
    if attention not in range(MAX_ATTENTION_LAYERS + 1):
        raise ValueError(f"attention must be 0, 1 or 2 self-attention layers, got {attention}.")


def _bridge(channels: int, names: LayerNames, norm: WeightNorm) -> tuple[ConvBlock, ConvBlock]:
    """Two convolution blocks at the coarsest size: to twice the channels and back."""
    return (
        ConvBlock(channels, 2 * channels, names, norm),
        ConvBlock(2 * channels, channels, names, norm),
    )


def _block_channels(config: UNetConfig, step: int) -> tuple[int, int, int, int]:
    """Channels of a decoder block: input, after upsampling, encoder features, output."""
    before, after = (config.encoder_channels[0], *config.block_channels)[step : step + 2]
    return before, config.upsample_channels[step], config.encoder_channels[step + 1], after


def _deoldify_block(
    config: UNetConfig, step: int, with_attention: bool, norm: WeightNorm
) -> UnetBlock:
    """Decoder block with the module names of DeOldify (UnetBlockDeep, UnetBlockWide)."""
    before, upsample_channels, skip, out = _block_channels(config, step)
    attention = SelfAttention(out, norm=norm) if with_attention else None
    upsample = PixelShuffleICNR(before, upsample_channels, norm=norm)
    parts = {"shuf": upsample, "bn": nn.BatchNorm2d(skip)}
    *others, last = conv_names(config.convs)
    channels = upsample_channels + skip
    for name in others:
        parts[name] = ConvBlock(channels, out, DEOLDIFY_NAMES, norm)
        channels = out
    parts[last] = ConvBlock(channels, out, DEOLDIFY_NAMES, norm, attention)
    return UnetBlock(parts)


def _ipol_block(config: UNetConfig, step: int, with_attention: bool, norm: WeightNorm) -> UnetBlock:
    """Decoder block with the module names of the IPOL program."""
    before, upsample_channels, skip, out = _block_channels(config, step)
    upsample = PixelShuffleICNR(before, upsample_channels, norm=norm, names=IPOL_NAMES[::2])
    parts = {"upsample": upsample, "batch_norm": nn.BatchNorm2d(skip)}
    channels = upsample_channels + skip
    for name in conv_names(config.convs):
        parts[name] = ConvBlock(channels, out, IPOL_NAMES, norm)
        channels = out
    if with_attention:
        parts["self_attention"] = IpolSelfAttention(out, norm=norm)
    return UnetBlock(parts)


def conv_names(convs: int) -> list[str]:
    """Names of the convolution blocks of a decoder block, in order."""
    return ["conv"] if convs == 1 else [f"conv{1 + index}" for index in range(convs)]


def _extended_rows(top: int, bottom: int, height: int, by: int) -> tuple[slice, int, int]:
    """Extend rows by `by` on both sides within the image; also return which sides are borders."""
    rows = slice(max(0, top - by), min(height, bottom + by))
    return rows, int(top == 0), int(bottom >= height)


def _upsample_rows(net: UNetModules, features: Tensor, x: Tensor, rows: slice) -> Tensor:
    """Concatenate upsampled features and the input of the network for some rows.

    The blur needs one more row above, so one more row of features is upsampled and removed.
    """
    first = max(0, rows.start // 2 - 1)
    upsampled = net.last_up(features[:, :, first : -(-rows.stop // 2)])
    start = rows.start - 2 * first
    upsampled = upsampled[:, :, start : start + rows.stop - rows.start]
    return torch.cat([upsampled, x[:, :, rows]], dim=1)


def _scaled_sigmoid(x: Tensor) -> Tensor:
    """Map to -3 to 3 with a sigmoid, in float32 or wider."""
    # The 8 bits of the mantissa of bfloat16 would be visible in the image.
    full_precision = x.to(torch.promote_types(x.dtype, torch.float32))
    return 6 * torch.sigmoid(full_precision) - 3
