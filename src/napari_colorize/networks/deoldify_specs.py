"""Which of DeOldify's U-Nets is meant: by a recipe's options, or by the keys of a state dict.

`new_...` make networks with random weights. Their options are `attention` (0, 1 or 2 layers),
`spectral` (whether weights have a spectral norm) and `width` (of the decoder, 1 as published); the
last two also choose `encoder` and `kind`. `is_...` and `network_of` read all of it off a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from torch import Tensor

from napari_colorize.networks.deoldify import (
    DEEP,
    MOST_ATTENTION,
    WIDE,
    DeOldify,
    IpolUNet,
    Widths,
    conv_names,
)
from napari_colorize.networks.encoders import ENCODED, EncoderName

Kind = Literal["deep", "wide"]

STEP = 16  # narrower decoders have multiples of it


def new_deep(*, width: float = 1.0, attention: int = 1, spectral: bool = True) -> DeOldify:
    """DeOldify's network of "artistic", on ResNet-34."""
    return DeOldify(narrow(DEEP, width), attention=attention, spectral=spectral)


def new_wide(*, width: float = 1.0, attention: int = 1, spectral: bool = True) -> DeOldify:
    """DeOldify's network of "stable" and "video", on ResNet-101."""
    return DeOldify(narrow(WIDE, width), attention=attention, spectral=spectral)


def new_ipol(*, width: float = 1.0, attention: int = 1, spectral: bool = True) -> IpolUNet:
    """The IPOL review's network, on ResNet-101."""
    return IpolUNet(narrow(WIDE, width), attention=attention, spectral=spectral)


def new_other_deoldify(
    *,
    encoder: EncoderName = "resnet18-layer3",
    kind: Kind = "deep",
    width: float = 1.0,
    attention: int = 1,
    spectral: bool = True,
) -> DeOldify:
    """DeOldify's network on any encoder."""
    widths = narrow(widths_for(encoder, kind), width)
    return DeOldify(widths, attention=attention, spectral=spectral)


def new_other_ipol(
    *,
    encoder: EncoderName = "resnet18-layer3",
    kind: Kind = "wide",
    width: float = 1.0,
    attention: int = 1,
    spectral: bool = True,
) -> IpolUNet:
    """The IPOL review's network on any encoder."""
    widths = narrow(widths_for(encoder, kind), width)
    return IpolUNet(widths, attention=attention, spectral=spectral)


def widths_for(encoder: EncoderName, kind: Kind) -> Widths:
    """A decoder for any encoder, by the rule that gave DeOldify's.

    Deep: each block enlarges to half the channels, joins the skip's, and ends with 3/2 of the sum.
    Wide: 512 all along. In both, the last block has half of that.

    Raises
    ------
    ValueError
        If there is no such encoder or kind.
    """
    if encoder not in ENCODED or kind not in get_args(Kind):
        raise ValueError(
            f"No U-Net is {kind!r} on {encoder!r}: choose deep or wide, on one of "
            f"{', '.join(ENCODED)}."
        )
    encoded = ENCODED[encoder]
    last = len(encoded) - 2
    upsampled, block = [], []
    before = encoded[0]
    deep = kind == "deep"
    for step, skip in enumerate(encoded[1:]):
        upsampled.append(before // 2 if deep else WIDE.block[-1 if step == last else 0])
        before = 3 * (upsampled[-1] + skip) // 2 if deep else upsampled[-1]
        block.append(before // 2 if deep and step == last else before)
    return Widths(
        encoder=encoder,
        encoded=encoded,
        upsampled=tuple(upsampled),
        block=tuple(block),
        convs=(DEEP if deep else WIDE).convs,
    )


def narrow(widths: Widths, factor: float) -> Widths:
    """The same encoder with a decoder of `factor` as many channels, in multiples of 16."""
    if factor == 1:
        return widths
    if not 0 < factor <= 4:
        raise ValueError(f"The width of a decoder must lie between 0 and 4, got {factor:g}.")

    def scaled(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(STEP, round(each * factor / STEP) * STEP) for each in channels)

    return replace(widths, upsampled=scaled(widths.upsampled), block=scaled(widths.block))


@dataclass(frozen=True)
class _Places:
    """Where a family's state dict has its parts, `{}` counting from `first`."""

    first: int
    stage: str  # of the encoder, from 1/4 of the size on
    block: str  # of the decoder
    upsampling: str  # within a block
    conv: str  # within a ConvBlock
    bridge: str  # the first convolution of the middle


_DEOLDIFY = _Places(4, "layers.0.{}", "layers.{}", "shuf.conv.0", "0", "layers.3.0.0")
_IPOL = _Places(
    0, "down_blocks.{}", "up_blocks.{}", "upsample.conv.conv", "conv", "bridge.conv1.conv"
)


def widths_of(state: Mapping[str, Tensor]) -> Widths | None:
    """The widths of a network of either family, read off the shapes; None if it is of neither."""
    places = _family_of(state)
    encoder = None if places is None else _encoder_of(state, places)
    if places is None or encoder is None:
        return None
    encoded = ENCODED[encoder]
    blocks = [places.block.format(places.first + step) for step in range(len(encoded) - 1)]
    convs = 2 if _channels(state, f"{blocks[0]}.conv2.{places.conv}") else 1
    last = f"{conv_names(convs)[-1]}.{places.conv}"
    upsampled = tuple(_channels(state, f"{block}.{places.upsampling}") // 4 for block in blocks)
    ends = tuple(_channels(state, f"{block}.{last}") for block in blocks)
    if not all(upsampled) or not all(ends):
        return None
    return Widths(encoder=encoder, encoded=encoded, upsampled=upsampled, block=ends, convs=convs)


def network_of(state: Mapping[str, Tensor]) -> DeOldify | IpolUNet:
    """A new network of the keys and shapes of a state dict, for one that `widths_of` knows."""
    places, widths = _family_of(state), widths_of(state)
    assert places is not None
    assert widths is not None
    attention = min(MOST_ATTENTION, sum(key.endswith(".gamma") for key in state))
    family = DeOldify if places is _DEOLDIFY else IpolUNet
    return family(widths, attention=attention, spectral=f"{places.bridge}.weight_orig" in state)


def _family_of(state: Mapping[str, Tensor]) -> _Places | None:
    """DeOldify's, or the IPOL program's if its head is the one for U and V."""
    if _channels(state, _DEOLDIFY.bridge):
        return _DEOLDIFY
    is_ipol = _channels(state, _IPOL.bridge) and _channels(state, "dense.conv") == 2
    return _IPOL if is_ipol else None


def _encoder_of(state: Mapping[str, Tensor], places: _Places) -> EncoderName | None:
    """Told by what only one of them has: a kind of block, a third block, a fourth stage."""
    first, last = (places.stage.format(places.first + step) for step in (0, 3))
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
    """Of what a convolution gives, whether its weight is normalized or not; 0 if there is none."""
    weight = state.get(f"{name}.weight_orig", state.get(f"{name}.weight"))
    return 0 if weight is None or weight.ndim != 4 else len(weight)


def is_deep(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of DeOldify on ResNet-34."""
    return _family_of(state) is _DEOLDIFY and _plan(state) == ("resnet34", DEEP.convs)


def is_wide(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of DeOldify on ResNet-101."""
    return _family_of(state) is _DEOLDIFY and _plan(state) == ("resnet101", WIDE.convs)


def is_ipol(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of the IPOL program with a head for U and V."""
    return _family_of(state) is _IPOL and _plan(state) == ("resnet101", WIDE.convs)


def is_other_deoldify(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of DeOldify on another encoder, or with other blocks."""
    known = is_deep(state) or is_wide(state)
    return _family_of(state) is _DEOLDIFY and _plan(state) is not None and not known


def is_other_ipol(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is the IPOL program's on another encoder, or with other blocks."""
    return _family_of(state) is _IPOL and _plan(state) is not None and not is_ipol(state)


def _plan(state: Mapping[str, Tensor]) -> tuple[EncoderName, int] | None:
    """What stands on what: the encoder, and how many convolutions a decoder block has."""
    widths = widths_of(state)
    return None if widths is None else (widths.encoder, widths.convs)
