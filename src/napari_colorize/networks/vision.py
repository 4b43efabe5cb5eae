"""torchvision, with its cure: the only file that imports it.

The published torchvision wheels expect a CUDA build of torch. Beside a CPU build, importing them
fails because two operators, which nothing here uses, are missing; declaring them is enough. A pair
that fits together is left alone.
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
# The declarations last as long as this object.
_declared: list[torch.library.Library] = []


def torchvision_models() -> ModuleType:
    """The module `torchvision.models`."""
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
    """A new ResNet's convolution, batch norm, ReLU, max pool and four stages; no classifier.

    "resnet18-layer3" ends after the third stage, at 1/16 of the size.
    """
    build: Callable[[], nn.Module] = getattr(torchvision_models(), name.removesuffix("-layer3"))
    return list(build().children())[: 7 if name.endswith("-layer3") else 8]
