"""Construction of a network from a state dict."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_colorize.errors import CheckpointError
from napari_colorize.networks import Architecture


def build(architecture: Architecture, state: dict[str, Tensor]) -> nn.Module:
    """Build a network in evaluation mode with given weights, converted to float32.

    Raises
    ------
    CheckpointError
        If keys or shapes do not match the architecture.
    """
    with torch.device("meta"), _SkipInitialization():
        network = architecture.build(state)
    weights = {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }
    try:
        network.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise CheckpointError(
            f"The weights do not match the network {architecture.name}: {first}"
        ) from error
    return network.eval().requires_grad_(False)


class _SkipInitialization(TorchFunctionMode):
    """Skip random initialization: the weights are replaced by those of the state dict.

    Drawing random numbers on the meta device would also import torch's compiler, which takes two
    seconds.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        module = getattr(function, "__module__", "")
        if function in (Tensor.normal_, Tensor.uniform_) or module == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))
