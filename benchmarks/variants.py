"""Networks and variants of computation that the benchmarks compare.

"as DeOldify" represents the original program: the same network with unfused norms, attention
without blocks, the last stage without row blocks, float32, contiguous.
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
from napari_colorize.networks.region import RegionNet
from napari_colorize.networks.winograd import accelerate_convs
from napari_colorize.networks.zhang import Eccv16, Siggraph17

BUILD: dict[str, Callable[[], nn.Module]] = {
    "deep": lambda: DeOldify(DEEP),
    "wide": lambda: DeOldify(WIDE),
    "ipol": IpolUNet,
    "compact": CompactUNet,
    "region": RegionNet,
    "zhang-eccv16": Eccv16,
    "siggraph17": Siggraph17,
    "ddcolor-tiny": DDColor,
    "ddcolor-large": lambda: DDColor(LARGE),
    "pix2pix": Pix2PixUNet,
}


def unfused(network: nn.Module) -> nn.Module:
    """Unfused network; `prepared` disables the blocks."""
    return network.eval().requires_grad_(False)


def direct(network: nn.Module) -> nn.Module:
    """Fused network in channels-last format with torch's convolutions; used on GPUs."""
    return fuse(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def in_float32(network: nn.Module) -> nn.Module:
    """Network as `Colorizer` uses it at precision "float32" on a CPU."""
    network = direct(network)
    accelerate_convs(network)
    return network


def in_bfloat16(network: nn.Module) -> nn.Module:
    """Network as `Colorizer` uses it at precision "bfloat16"."""
    return direct(network).to(torch.bfloat16)


MAKERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "as DeOldify": unfused,
    "float32": in_float32,
    "bfloat16": in_bfloat16,
    "float32, direct": direct,
    "bfloat16, without row blocks": in_bfloat16,
}
DEFAULT_VARIANTS = list(MAKERS)[:4]
UNLIMITED = 2**62


def prepared(network: nn.Module, variant: str, render_factor: int) -> Callable[[], Tensor]:
    """Return a function that runs a network once."""
    x = random_input(network, render_factor)
    if variant != "as DeOldify":
        x = x.contiguous(memory_format=torch.channels_last)

    def run() -> Tensor:
        previous = layers.MAX_BLOCK_WEIGHTS, deoldify.ROW_BLOCK_BYTES
        if variant == "as DeOldify":
            layers.MAX_BLOCK_WEIGHTS = UNLIMITED  # attention without blocks
        if variant == "bfloat16, without row blocks":
            deoldify.ROW_BLOCK_BYTES = UNLIMITED
        try:
            return network(x)
        finally:
            layers.MAX_BLOCK_WEIGHTS, deoldify.ROW_BLOCK_BYTES = previous

    return run


def random_input(network: nn.Module, render_factor: int) -> Tensor:
    """Random input of the size, dtype and channels of a network."""
    weight = next(network.parameters())
    side = 16 * render_factor
    convolutions = (part for part in network.modules() if isinstance(part, nn.Conv2d))
    # The input of siggraph17 has one channel; it adds the hints itself.
    channels = 1 if isinstance(network, Siggraph17) else next(convolutions).in_channels
    return torch.randn(1, channels, side, side, device=weight.device, dtype=weight.dtype)
