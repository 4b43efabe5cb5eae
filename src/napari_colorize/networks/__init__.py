"""Architectures: tensors in, tensors out; no files, no devices, no colour science.

`ARCHITECTURES` says of each network how it is built, how it is told from the keys of a state dict,
and what it wants and gives. Every network's `forward(x, self_attention=True)` takes the switch as
an argument, so that a network has no state between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn

State = Mapping[str, "Tensor"]

Fit = Literal["square", "aspect"]

# Of ImageNet's R, G and B in [0, 1], as torchvision has them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """A network's passport.

    Parameters
    ----------
    name : str
        Key in `ARCHITECTURES`.
    build : callable
        State dict -> `nn.Module` of the same keys and shapes (widths are read off the shapes), on
        the device and dtype that are current; its weights are not loaded yet.
    matches : callable
        State dict -> whether it belongs to this architecture.
    create : callable
        Options -> a new network with random weights, for training.
    input_space : {"gray", "rgb", "L"}
        `(N, 1, H, W)`, or the gray repeated to `(N, 3, H, W)`, in [0, 1] before normalisation;
        or `(N, 1, H, W)` CIELAB L of the gray, 0 to 100.
    output_space : {"rgb", "uv", "ab"}
        `(N, 3, H, W)` RGB, or `(N, 2, h, w)` Rec. 601 U and V or CIELAB a and b, possibly smaller
        than the input.
    unit : float
        What is 1 to the network's last layer, in units of its output space: 110 where a network
        ends in tanh and its `forward` multiplies by 110. Published losses are measured in it.
    normalized : bool
        Input, and output if it is RGB, have ImageNet's mean subtracted and are divided by its
        standard deviation.
    multiple : int
        Height and width must be multiples of this.
    has_self_attention : bool
        Whether the switch does anything.
    render_factor, saturation : int, float
        Recommended for a file that is not in the catalogue.
    bytes_per_pixel : int
        Memory that float32 takes at its peak for a pixel of input (`benchmarks/memory.py`).
    fit : {"square", "aspect"}
        Pictures are squeezed to a square, or keep their proportions at the square's area.
    """

    name: str
    build: Callable[[State], nn.Module]
    matches: Callable[[State], bool]
    create: Callable[..., nn.Module]
    input_space: Literal["gray", "rgb", "L"]
    output_space: Literal["rgb", "uv", "ab"]
    normalized: bool
    multiple: int
    has_self_attention: bool
    render_factor: int
    bytes_per_pixel: int
    saturation: float = 1.0
    fit: Fit = "square"
    unit: float = 1.0


def _deoldify(state: State) -> nn.Module:
    from napari_colorize.networks.deoldify import DeOldify, widths_of

    return DeOldify(widths_of(state))


def _ipol(state: State) -> nn.Module:
    from napari_colorize.networks.deoldify import IpolUNet

    return IpolUNet()


def _compact(state: State) -> nn.Module:
    from napari_colorize.networks.compact import CompactUNet

    return CompactUNet()


def _new_deep(**options: Any) -> nn.Module:
    from napari_colorize.networks.deoldify import DEEP, DeOldify

    return DeOldify(DEEP, **options)


def _new_wide(**options: Any) -> nn.Module:
    from napari_colorize.networks.deoldify import WIDE, DeOldify

    return DeOldify(WIDE, **options)


def _new_ipol(**options: Any) -> nn.Module:
    from napari_colorize.networks.deoldify import IpolUNet

    return IpolUNet(**options)


def _new_compact(**options: Any) -> nn.Module:
    from napari_colorize.networks.compact import CompactUNet

    return CompactUNet(**options)


def _is_deep(state: State) -> bool:
    from napari_colorize.networks.deoldify import is_deep

    return is_deep(state)


def _is_wide(state: State) -> bool:
    from napari_colorize.networks.deoldify import is_wide

    return is_wide(state)


def _is_ipol(state: State) -> bool:
    from napari_colorize.networks.deoldify import is_ipol

    return is_ipol(state)


def _is_compact(state: State) -> bool:
    return "encoder.conv_stem.weight" in state and "centers" in state


_DEEP = Architecture(
    name="deoldify-deep",
    build=_deoldify,
    matches=_is_deep,
    create=_new_deep,
    input_space="rgb",
    output_space="rgb",
    normalized=True,
    multiple=16,
    has_self_attention=True,
    render_factor=35,  # the default of DeOldify's notebooks
    bytes_per_pixel=2000,
)
_WIDE = replace(_DEEP, name="deoldify-wide", matches=_is_wide, create=_new_wide)
_IPOL = replace(
    _WIDE,
    name="ipol-uv",
    build=_ipol,
    matches=_is_ipol,
    create=_new_ipol,
    render_factor=12,  # this and the saturation are defaults of the IPOL review's program
    saturation=2.0,
)
_COMPACT = Architecture(
    name="compact",
    build=_compact,
    matches=_is_compact,
    create=_new_compact,
    input_space="gray",
    output_space="uv",
    normalized=False,
    multiple=16,
    has_self_attention=True,
    render_factor=10,
    bytes_per_pixel=720,
    fit="aspect",
)

ARCHITECTURES = {known.name: known for known in (_DEEP, _WIDE, _IPOL, _COMPACT)}


def identify(state: State) -> Architecture | None:
    """The architecture whose keys a state dict has, or None."""
    return next((known for known in ARCHITECTURES.values() if known.matches(state)), None)
