"""Fold spectral, weight and batch norms into the weights of convolutions, for inference.

Folding is exact up to rounding. A fused network cannot be trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from napari_colorize.networks.layers import WeightNormConv2d

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def fuse(network: Network) -> Network:
    """Fold norms into the convolutions of a network with loaded weights, in place.

    A batch norm is folded if it directly follows a convolution among the children of a module. A
    module that registers such a pair must apply them in this order. A network can have a method
    `fusable_pairs()` that yields pairs of modules of which the first is the only input of the
    second: a batch norm at the end of the first is folded into a 1x1 convolution at the start of
    the second. (A larger convolution would zero-pad after the norm, which cannot be folded.)

    Returns the same network, in evaluation mode and without gradients.
    """
    for module in list(network.modules()):
        if hasattr(module, "weight_orig"):
            remove_spectral_norm(module)  # sets weight_orig / u.W.v without another power iteration
        for name, child in module.named_children():
            if isinstance(child, WeightNormConv2d):
                module.register_module(name, child.plain())
    for module in network.modules():
        _fold_back(module)
    fusable_pairs: Callable[[], Iterable[tuple[nn.Module, nn.Module]]] = getattr(
        network, "fusable_pairs", tuple
    )
    for first, second in fusable_pairs():
        _fold_forward(first, second)
    return network.eval().requires_grad_(False)


def _fold_back(module: nn.Module) -> None:
    """Fold each batch norm among the children into the preceding convolution."""
    for (_, conv), (name, norm) in pairwise(list(module.named_children())):
        if isinstance(conv, nn.Conv2d) and type(norm) is nn.BatchNorm2d:
            mean, variance = _statistics(norm)
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                mean,
                variance,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            module.register_module(name, nn.Identity())


def _fold_forward(first: nn.Module, second: nn.Module) -> None:
    """Fold a batch norm at the end of `first` into a 1x1 convolution at the start of `second`."""
    name = _leaves(first)[-1]
    norm, conv = first.get_submodule(name), second.get_submodule(_leaves(second)[0])
    if type(norm) is not nn.BatchNorm2d or type(conv) is not nn.Conv2d:
        return
    if conv.kernel_size == (1, 1) and conv.padding == (0, 0) and conv.groups == 1:
        scale, shift = _as_scale_and_shift(norm)
        offset = conv.weight.flatten(1) @ shift
        conv.bias = nn.Parameter(offset if conv.bias is None else conv.bias + offset)
        conv.weight = nn.Parameter(conv.weight * scale[:, None, None])
        first.set_submodule(name, nn.Identity())


def _leaves(module: nn.Module) -> list[str]:
    """Names of the modules without children, in order."""
    return [name for name, part in module.named_modules() if not any(part.children())]


def _as_scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift per channel that are equivalent to a batch norm."""
    mean, variance = _statistics(norm)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance of a batch norm."""
    return norm.get_buffer("running_mean"), norm.get_buffer("running_var")
