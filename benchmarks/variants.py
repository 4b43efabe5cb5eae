"""The networks that the benchmarks measure, and the ways of computing that they compare.

"as DeOldify" stands in for the original program: our network with the same weights, its norms
unfolded, attention over all positions at once, the last stage in one piece, float32, contiguous.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from napari_colorize.networks import deoldify, layers
from napari_colorize.networks.compact import CompactUNet
from napari_colorize.networks.ddcolor import LARGE, DDColor
from napari_colorize.networks.deoldify import DEEP, WIDE, DeOldify, IpolUNet
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.pix2pix import Pix2PixUNet
from napari_colorize.networks.siggraph import Siggraph17
from napari_colorize.networks.winograd import accelerate_convs
from napari_colorize.networks.zhang import Eccv16

BUILD: dict[str, Callable[[], nn.Module]] = {
    "deep": lambda: DeOldify(DEEP),
    "wide": lambda: DeOldify(WIDE),
    "ipol": IpolUNet,
    "compact": CompactUNet,
    "zhang-eccv16": Eccv16,
    "siggraph17": Siggraph17,
    "ddcolor-tiny": DDColor,
    "ddcolor-large": lambda: DDColor(LARGE),
    "pix2pix": Pix2PixUNet,
}


def unfolded(network: nn.Module) -> nn.Module:
    """Norms as trained; the rest of the stand-in is in `prepared`."""
    return network.eval().requires_grad_(False)


def direct(network: nn.Module) -> nn.Module:
    """Fused and channels-last, every convolution as torch computes it; float32 on a GPU."""
    return fuse(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def in_float32(network: nn.Module) -> nn.Module:
    """As `Colorizer` computes at precision "float32" on a processor."""
    network = direct(network)
    accelerate_convs(network)
    return network


def in_bfloat16(network: nn.Module) -> nn.Module:
    """As `Colorizer` computes at precision "bfloat16"."""
    return direct(network).to(torch.bfloat16)


MAKERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "as DeOldify": unfolded,
    "float32": in_float32,
    "bfloat16": in_bfloat16,
    "float32, direct": direct,
    "bfloat16, in one piece": in_bfloat16,
}
USUAL = list(MAKERS)[:4]
LIMITLESS = 2**62


def prepared(network: nn.Module, variant: str, render_factor: int) -> Callable[[], Tensor]:
    """One pass of a network on an image of its type and layout."""
    x = picture(network, render_factor)
    if variant != "as DeOldify":
        x = x.contiguous(memory_format=torch.channels_last)

    def run() -> Tensor:
        kept = layers.BLOCK_NUMBERS, deoldify.BAND_BYTES
        if variant == "as DeOldify":
            layers.BLOCK_NUMBERS = LIMITLESS  # all positions at once
        if variant == "bfloat16, in one piece":
            deoldify.BAND_BYTES = LIMITLESS
        try:
            return network(x)
        finally:
            layers.BLOCK_NUMBERS, deoldify.BAND_BYTES = kept

    return run


def picture(network: nn.Module, render_factor: int) -> Tensor:
    """Noise of the size, the type and the channels that a network takes."""
    weight = next(network.parameters())
    side = 16 * render_factor
    convolutions = (part for part in network.modules() if isinstance(part, nn.Conv2d))
    # siggraph17 joins lightness and hints itself.
    channels = 1 if isinstance(network, Siggraph17) else next(convolutions).in_channels
    return torch.randn(1, channels, side, side, device=weight.device, dtype=weight.dtype)
