"""Norms that are constants after training, folded into the convolutions beside them.

What is folded is exact in real numbers, so a fused network differs from the trained one by
rounding only. It can no longer be trained.
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
    """Fold spectral, weight and batch norms into convolutions, in place, for inference.

    A batch norm is folded if it stands right behind a convolution among the children of one
    module; a module that registers such a pair must also apply it as one. A network may have a
    method `neighbors()`, pairs of modules of which the first feeds the second and nothing else:
    a batch norm that ends the first is folded forward into a 1x1 convolution that begins the
    second. (Not into a larger one, whose zero padding the norm's shift would have to know.)

    Parameters
    ----------
    network : nn.Module
        Any network of this package, its weights loaded.

    Returns
    -------
    nn.Module
        The same object, in evaluation mode and without gradients.
    """
    for module in list(network.modules()):
        if hasattr(module, "weight_orig"):
            remove_spectral_norm(module)  # leaves weight_orig / u.W.v, without another iteration
        for name, child in module.named_children():
            if isinstance(child, WeightNormConv2d):
                module.register_module(name, child.plain())
    for module in network.modules():
        _fold_back(module)
    neighbours: Callable[[], Iterable[tuple[nn.Module, nn.Module]]] = getattr(
        network, "neighbors", tuple
    )
    for first, second in neighbours():
        _fold_forward(first, second)
    return network.eval().requires_grad_(False)


def _fold_back(module: nn.Module) -> None:
    """Fold each batch norm among the children into the convolution right before it."""
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
    """Names of the modules that contain no others, in order."""
    return [name for name, part in module.named_modules() if not any(part.children())]


def _as_scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch norm multiplies each channel by, and then adds to it."""
    mean, variance = _statistics(norm)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The mean and the variance that training has seen."""
    return norm.get_buffer("running_mean"), norm.get_buffer("running_var")
