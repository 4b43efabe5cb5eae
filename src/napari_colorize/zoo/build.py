"""A network out of its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_colorize.errors import CheckpointError
from napari_colorize.networks import Architecture


def build(architecture: Architecture, state: dict[str, Tensor]) -> nn.Module:
    """A network in evaluation mode with these weights, as float32.

    Raises
    ------
    CheckpointError
        If keys or shapes are not the architecture's.
    """
    with torch.device("meta"), _WithoutStartValues():
        network = architecture.build(state)
    kept = {
        key: value.float() if value.is_floating_point() else value for key, value in state.items()
    }
    try:
        network.load_state_dict(kept, strict=True, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise CheckpointError(
            f"The weights are not those of the network {architecture.name}: {first}"
        ) from error
    return network.eval().requires_grad_(False)


class _WithoutStartValues(TorchFunctionMode):
    """Networks that are built to be loaded need no random weights.

    Without memory behind them, drawing some would also import torch's compiler: two seconds.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        module = getattr(function, "__module__", "")
        if function in (Tensor.normal_, Tensor.uniform_) or module == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))
