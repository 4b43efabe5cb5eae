"""Pickle module without code execution, for `torch.load` on untrusted files.

A pickle is a program: it requests globals by name and calls them with arguments of its choice.
`find_class` returns the few globals that a state dict consists of. For any other name it returns
`Ignored`, a class whose instances accept every operation and do nothing.

A pickle can also set attributes of the objects it receives, for example the defaults of a function.
So all returned objects are immutable. Modules in a file are not passed to `torch.load`, which would
compare their source with a text in the file and could write a patch file.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any

import torch
from torch import Tensor


class _Immutable:
    """Base of classes whose instances, and which themselves, accept no attributes."""

    __slots__ = ()

    # A pickle can call this on the class as well: hence no fixed number of arguments.
    def __setstate__(*_: object) -> None:
        """Ignore the state."""


class Ignored(_Immutable):
    """Replacement of all objects that a state dict does not need: accepts all, does nothing."""

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> Ignored:
        """Make an instance; a pickle can call this on an instance as well."""
        return object.__new__(Ignored)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *_: object, **__: object) -> Ignored:
        """Return the instance itself for any call."""
        return self

    def _ignore(*_: object) -> None:
        """Ignore items: a pickle fills lists, sets and dictionaries with these methods."""

    append = extend = add = __setitem__ = _ignore


class _RebuildTensor(_Immutable):
    """Replacement of `_rebuild_tensor` and `_rebuild_tensor_v2`: a tensor on its storage."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Tensor:
        """Rebuild a tensor; further arguments (gradient, hooks, metadata) are ignored."""
        rebuild: Callable[..., Tensor] = torch._utils._rebuild_tensor
        return rebuild(storage, offset, size, stride)


class _RebuildParameter(_Immutable):
    """Replacement of `_rebuild_parameter`: the tensor of the parameter."""

    __slots__ = ()

    def __call__(self, tensor: object, *_: object) -> object:
        """Return the tensor; further arguments (gradient, hooks) are ignored."""
        return tensor


_GLOBALS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
}


# The Python implementation: in the C one a file of ten bytes can allocate 64 GB for its memo.
class Unpickler(pickle._Unpickler):
    """Unpickler for tensors and `OrderedDict`; everything else becomes `Ignored`."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a permitted global, or `Ignored`."""
        return _GLOBALS.get((module, name), Ignored)

    def __setattr__(self, name: str, value: Any) -> None:
        """Restrict the `persistent_load` that `torch.load` sets to storages, without modules."""
        super().__setattr__(name, _storages_only(value) if name == "persistent_load" else value)


def _storages_only(persistent_load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def load_storage(saved: Any) -> Any:
        is_storage = isinstance(saved, tuple) and saved[:1] in (("storage",), (b"storage",))
        return persistent_load(saved) if is_storage else Ignored

    return load_storage


def load(file: IO[bytes], **options: Any) -> Any:
    """Load like `pickle.load`; `torch.load` reads header and storages of the old format by it."""
    return Unpickler(file, **options).load()
