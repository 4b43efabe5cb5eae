"""A pickle module that runs nothing: what `torch.load` may use on files that nobody vouches for.

A pickle is a program. It asks for globals by name and calls them with arguments of its choice, so
everything hangs on what `find_class` gives away. Here it gives the few things that a state dict
is made of, and for any other name one class whose instances swallow whatever is done to them.

Nothing given away can be changed by the file either: a pickle may set attributes of what it holds,
for instance the defaults of a function. And what a file calls a module is kept from `torch.load`,
which would compare its source with a text in the file and may write a patch file.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any

import torch
from torch import Tensor


class _Unchangeable:
    """No file can give its instances or itself an attribute."""

    __slots__ = ()

    # A file may also call this on the class: hence no fixed number of arguments.
    def __setstate__(*_: object) -> None:
        """Whatever state a file wants to set is ignored."""


class Ignored(_Unchangeable):
    """Stands for everything that a state dict does not need: takes all, does nothing."""

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> Ignored:
        """Also called on instances, where a file takes one for a class."""
        return object.__new__(Ignored)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *_: object, **__: object) -> Ignored:
        """A call of something that a file got from a call."""
        return self

    def _ignore(*_: object) -> None:
        """Ways in which a pickle fills lists, sets and dictionaries."""

    append = extend = add = __setitem__ = _ignore


class _RebuildTensor(_Unchangeable):
    """A tensor on its storage: `_rebuild_tensor` and its second version, of which it has all."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Tensor:
        """What follows the stride (gradient, hooks, metadata) is of no use here."""
        rebuild: Callable[..., Tensor] = torch._utils._rebuild_tensor
        return rebuild(storage, offset, size, stride)


class _RebuildParameter(_Unchangeable):
    """A parameter is the tensor that it wraps."""

    __slots__ = ()

    def __call__(self, tensor: object, *_: object) -> object:
        """What follows the tensor (gradient, hooks) is of no use here."""
        return tensor


_GLOBALS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
}


# The one written in Python: the one in C lets a file of ten bytes claim 64 GB for its memo.
class Unpickler(pickle._Unpickler):
    """Knows tensors and `OrderedDict` (`torch.load` adds storages); all else is `Inert`."""

    def find_class(self, module: str, name: str) -> Any:
        """What a file gets when it asks for a global."""
        return _GLOBALS.get((module, name), Ignored)

    def __setattr__(self, name: str, value: Any) -> None:
        """`torch.load` sets its `persistent_load` here, which would also look after modules."""
        super().__setattr__(name, _storages_only(value) if name == "persistent_load" else value)


def _storages_only(persistent_load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def load_storage(saved: Any) -> Any:
        is_storage = isinstance(saved, tuple) and saved[:1] in (("storage",), (b"storage",))
        return persistent_load(saved) if is_storage else Ignored

    return load_storage


def load(file: IO[bytes], **options: Any) -> Any:
    """Like `pickle.load`; the old format's header and list of storages are read by this."""
    return Unpickler(file, **options).load()
