"""Import of torchvision with a workaround. No other module imports torchvision directly.

The published torchvision wheels expect a CUDA build of torch. With a CPU build, the import fails
because two operators are missing that this package does not use. Declaring them is sufficient. With
matching builds nothing is declared.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Literal

import torch
from torch import nn

ResNetName = Literal["resnet18", "resnet18-layer3", "resnet34", "resnet101"]

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# Keeps the declarations alive: they end with the library object.
_declared: list[torch.library.Library] = []


def torchvision_models() -> ModuleType:
    """Return the module `torchvision.models`."""
    try:
        return import_module("torchvision.models")
    except RuntimeError as error:  # operator torchvision::nms does not exist
        if "torchvision::" not in str(error) or _declared:
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(name + _SIGNATURE)
    _declared.append(library)
    return import_module("torchvision.models")


def resnet_stages(name: ResNetName) -> list[nn.Module]:
    """Create convolution, batch norm, ReLU, max pooling and stages of a ResNet, without classifier.

    "resnet18-layer3" ends after the third stage, at 1/16 of the size.
    """
    build: Callable[[], nn.Module] = getattr(torchvision_models(), name.removesuffix("-layer3"))
    return list(build().children())[: 7 if name.endswith("-layer3") else 8]
