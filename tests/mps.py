"""A stand-in for Apple GPUs: tensors are on the CPU, but what MPS refuses is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# The messages of torch on MPS.
POOL = "Adaptive pool MPS: input sizes must be divisible by output sizes."
FLOAT64 = "Cannot convert a MPS Tensor to float64 dtype as MPS doesn't support float64."


class OnCpu(Tensor):
    """A tensor that went through `Tensor.cpu`, or was computed from such tensors."""


class _NoOddPooling(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._adaptive_avg_pool2d.default:
            x, size = args
            if any(side % out for side, out in zip(x.shape[-2:], size, strict=True)):
                raise RuntimeError(POOL)
        return function(*args, **(kwargs or {}))


class _NoFloat64(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is Tensor.cpu:
            return args[0].as_subclass(OnCpu)
        is_conversion = function is Tensor.double or (
            function is Tensor.to and torch.float64 in (*args[1:], *kwargs.values())
        )
        if is_conversion and not isinstance(args[0], OnCpu):
            raise TypeError(FLOAT64)
        return function(*args, **kwargs)


@contextmanager
def limited_like_mps() -> Iterator[None]:
    """Refuse pooling to sides that do not divide, and float64 for tensors not moved by `cpu()`."""
    with _NoOddPooling(), _NoFloat64():
        yield
