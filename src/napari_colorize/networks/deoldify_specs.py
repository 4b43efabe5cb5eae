"""Configurations of DeOldify's U-Nets, from the options of a recipe or from a state dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from torch import Tensor

from napari_colorize.networks.deoldify import (
    DEEP,
    MAX_ATTENTION_LAYERS,
    WIDE,
    DeOldify,
    IpolUNet,
    UNetConfig,
    conv_names,
)
from napari_colorize.networks.encoders import ENCODER_CHANNELS, EncoderName

Kind = Literal["deep", "wide"]

CHANNEL_MULTIPLE = 16  # channels of scaled decoders are multiples of this


def create(
    family: Literal["deoldify", "ipol"],
    encoder: EncoderName = "resnet18-layer3",
    kind: Kind = "deep",
    *,
    width: float = 1.0,
    attention: int = 1,
    spectral: bool = True,
) -> DeOldify | IpolUNet:
    """Create a network with random weights, with the head and module names of a program.

    `encoder` and `kind` are as in `config_for`. `width` is a factor on the channels of the decoder,
    `attention` the number of self-attention layers (0, 1 or 2), and `spectral` whether the weights
    have spectral norm.
    """
    config = scale_decoder(config_for(encoder, kind), width)
    network = DeOldify if family == "deoldify" else IpolUNet
    return network(config, attention=attention, spectral=spectral)


def config_for(encoder: EncoderName, kind: Kind) -> UNetConfig:
    """Return the configuration for an encoder, by the rules of DeOldify's decoders.

    Deep: each block upsamples to half of its input channels, concatenates the encoder features and
    ends with 3/2 of the sum. Wide: 512 channels in every block. In both, the last block has half of
    that. Raises `ValueError` if the encoder or the kind is unknown.
    """
    if encoder not in ENCODER_CHANNELS or kind not in get_args(Kind):
        raise ValueError(
            f"Unknown U-Net {kind!r} on {encoder!r}: use deep or wide, on one of "
            f"{', '.join(ENCODER_CHANNELS)}."
        )
    encoder_channels = ENCODER_CHANNELS[encoder]
    last = len(encoder_channels) - 2
    upsample_channels, block_channels = [], []
    before = encoder_channels[0]
    deep = kind == "deep"
    for step, skip in enumerate(encoder_channels[1:]):
        upsample_channels.append(
            before // 2 if deep else WIDE.block_channels[-1 if step == last else 0]
        )
        before = 3 * (upsample_channels[-1] + skip) // 2 if deep else upsample_channels[-1]
        block_channels.append(before // 2 if deep and step == last else before)
    return UNetConfig(
        encoder=encoder,
        encoder_channels=encoder_channels,
        upsample_channels=tuple(upsample_channels),
        block_channels=tuple(block_channels),
        convs=(DEEP if deep else WIDE).convs,
    )


def scale_decoder(config: UNetConfig, factor: float) -> UNetConfig:
    """Scale the channels of the decoder by `factor`, rounded to multiples of 16."""
    if factor == 1:
        return config
    if not 0 < factor <= 4:
        raise ValueError(f"width must be above 0 and at most 4, got {factor:g}.")

    def scaled(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(
            max(CHANNEL_MULTIPLE, round(each * factor / CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE)
            for each in channels
        )

    return replace(
        config,
        upsample_channels=scaled(config.upsample_channels),
        block_channels=scaled(config.block_channels),
    )


@dataclass(frozen=True)
class _ModuleNames:
    """Names of modules in the state dict of a family; `{}` is an index that starts at `first`."""

    first: int
    stage: str  # encoder stage, from 1/4 of the size on
    block: str  # decoder block
    upsampling: str  # within a decoder block
    conv: str  # within a ConvBlock
    bridge: str  # first convolution at the coarsest size


_DEOLDIFY = _ModuleNames(4, "layers.0.{}", "layers.{}", "shuf.conv.0", "0", "layers.3.0.0")
_IPOL = _ModuleNames(
    0, "down_blocks.{}", "up_blocks.{}", "upsample.conv.conv", "conv", "bridge.conv1.conv"
)


def config_of(state: Mapping[str, Tensor]) -> UNetConfig | None:
    """Read the configuration from the shapes of a state dict; None for other networks."""
    names = _family_of(state)
    encoder = None if names is None else _encoder_of(state, names)
    if names is None or encoder is None:
        return None
    encoder_channels = ENCODER_CHANNELS[encoder]
    blocks = [names.block.format(names.first + step) for step in range(len(encoder_channels) - 1)]
    convs = 2 if _channels(state, f"{blocks[0]}.conv2.{names.conv}") else 1
    last = f"{conv_names(convs)[-1]}.{names.conv}"
    upsample_channels = tuple(
        _channels(state, f"{block}.{names.upsampling}") // 4 for block in blocks
    )
    block_ends = tuple(_channels(state, f"{block}.{last}") for block in blocks)
    if not all(upsample_channels) or not all(block_ends):
        return None
    return UNetConfig(
        encoder=encoder,
        encoder_channels=encoder_channels,
        upsample_channels=upsample_channels,
        block_channels=block_ends,
        convs=convs,
    )


def build_network(state: Mapping[str, Tensor]) -> DeOldify | IpolUNet:
    """Build a network for a state dict, if `config_of` of it is not None."""
    names, config = _family_of(state), config_of(state)
    assert names is not None
    assert config is not None
    attention = min(MAX_ATTENTION_LAYERS, sum(key.endswith(".gamma") for key in state))
    family = DeOldify if names is _DEOLDIFY else IpolUNet
    return family(config, attention=attention, spectral=f"{names.bridge}.weight_orig" in state)


def _family_of(state: Mapping[str, Tensor]) -> _ModuleNames | None:
    """Return the module names of DeOldify or of the IPOL program with a U, V head, or None."""
    if _channels(state, _DEOLDIFY.bridge):
        return _DEOLDIFY
    is_ipol = _channels(state, _IPOL.bridge) and _channels(state, "dense.conv") == 2
    return _IPOL if is_ipol else None


def _encoder_of(state: Mapping[str, Tensor], names: _ModuleNames) -> EncoderName | None:
    """Detect the encoder by a block type, a block or a stage that no other encoder has."""
    first, last = (names.stage.format(names.first + step) for step in (0, 3))
    if f"{first}.0.conv_exp.weight" in state:
        return "mobilenet_edgetpu"
    if f"{first}.0.conv3.weight" in state:
        return "resnet101"
    if f"{first}.2.conv2.weight" in state:
        return "resnet34"
    if f"{first}.0.conv2.weight" in state:
        return "resnet18" if f"{last}.0.conv2.weight" in state else "resnet18-layer3"
    return None


def _channels(state: Mapping[str, Tensor], name: str) -> int:
    """Output channels of a convolution, with or without weight norm; 0 if it is missing."""
    weight = state.get(f"{name}.weight_orig", state.get(f"{name}.weight"))
    return 0 if weight is None or weight.ndim != 4 else len(weight)


def architecture_name(state: Mapping[str, Tensor]) -> str | None:
    """Name of the architecture that a state dict belongs to; None for other networks."""
    names, config = _family_of(state), config_of(state)
    if names is None or config is None:
        return None
    kind = config.encoder, config.convs
    if names is _IPOL:
        return "ipol-uv" if kind == ("resnet101", WIDE.convs) else "ipol-other"
    if kind == ("resnet34", DEEP.convs):
        return "deoldify-deep"
    return "deoldify-wide" if kind == ("resnet101", WIDE.convs) else "deoldify-other"
