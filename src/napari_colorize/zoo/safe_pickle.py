"""Pickle module without code execution, for `torch.load` on untrusted files.

A pickle is a program: it requests globals by name and calls them with arguments of its choice.
`find_class` returns the few globals that a state dict consists of. For any other name it returns
`Ignored`, a class whose instances accept every operation and do nothing.

A pickle can also set attributes of the objects it receives, for example the defaults of a function.
So all returned objects are immutable. Modules in a file are not passed to `torch.load`, which would
compare their source with a text in the file and could write a patch file.

Time and memory are bounded, too. The number of operations is limited. No operation allocates more
than the file has: sizes in a file are compared with it before memory is reserved. Only simple keys
are hashed, because the hash of a tuple of tuples of tuples can take any time.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import IO, Any

import torch
from torch import Tensor

MAX_COST = 2**21
"""Limit of the operations of a pickle; a tensor takes about a hundred."""
_CALL_COST = 20  # of a call, or of a reference to a storage, in simple operations


class BoundedFile:
    """A file that reads no more than it has, and has no descriptor.

    Python reserves memory for as many bytes as a call asks for. `torch.load` reads a file with a
    descriptor by other functions: it would extract an archive of the tar format to the disk.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.size = size
        self.seek, self.tell, self.readline = file.seek, file.tell, file.readline
        self.readinto = file.readinto  # type: ignore[attr-defined]
        self._file = file

    def read(self, count: int = -1) -> bytes:
        """Read at most `count` bytes; all if it is negative."""
        rest = max(0, self.size - self.tell())
        return self._file.read(rest if count < 0 else min(count, rest))


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
        numbers = (offset, *size, *stride)
        if not all(isinstance(each, int) and each >= 0 for each in numbers):
            raise pickle.UnpicklingError("sizes of a tensor must be integers")
        end = (
            offset + 1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        )
        # Torch would enlarge the storage.
        if math.prod(size) and end * storage.dtype.itemsize > storage._untyped_storage.nbytes():
            raise pickle.UnpicklingError("a tensor is larger than its storage")
        rebuild: Callable[..., Tensor] = torch._utils._rebuild_tensor
        return rebuild(storage, offset, size, stride)


class _RebuildParameter(_Immutable):
    """Replacement of `_rebuild_parameter`: the tensor of the parameter."""

    __slots__ = ()

    def __call__(self, tensor: object, *_: object) -> object:
        """Return the tensor; further arguments (gradient, hooks) are ignored."""
        return tensor


class _MakeDictionary(_Immutable):
    """Replacement of `OrderedDict`: a dictionary of those items that have simple keys."""

    __slots__ = ()

    def __call__(self, items: Iterable[Any] = (), *_: object) -> OrderedDict[Any, Any]:
        """Make a dictionary; Python 2 gave it a list of its items."""
        made: OrderedDict[Any, Any] = OrderedDict()
        for key, value in items:
            _set_item(made, key, value)
        return made


_GLOBALS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): _MakeDictionary(),
    ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
}


def _set_item(dictionary: Any, key: object, value: object) -> None:
    if isinstance(key, (str, bytes, int, float)):
        dictionary[key] = value


def _set_items(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    for key, value in zip(items[::2], items[1::2], strict=True):
        _set_item(unpickler.stack[-1], key, value)


def _set_one_item(unpickler: Any) -> None:
    value, key = unpickler.stack.pop(), unpickler.stack.pop()
    _set_item(unpickler.stack[-1], key, value)


def _dictionary(unpickler: Any) -> None:
    items = unpickler.pop_mark()
    unpickler.append(_MakeDictionary()(zip(items[::2], items[1::2], strict=True)))


def _frozen_set(unpickler: Any) -> None:
    unpickler.pop_mark()  # it also replaces the method `append`
    unpickler.append(Ignored())


def _byte_array(unpickler: Any) -> None:
    length = int.from_bytes(unpickler.read(8), "little")
    unpickler.append(bytearray(unpickler.read(length)))


def _new_object(unpickler: Any) -> None:
    del unpickler.stack[-2:]  # arguments
    unpickler.stack[-1] = Ignored()


def _charged(operation: Callable[[Any], object]) -> Callable[[Any], object]:
    """An operation whose arguments count: one list can be the argument of thousands of calls."""

    def run(unpickler: Any) -> None:
        arguments = unpickler.stack[-1]
        unpickler.dispatch.charge(_length(arguments))
        if isinstance(arguments, tuple):
            unpickler.dispatch.charge(sum(map(_length, arguments)))
        operation(unpickler)

    return run


def _length(value: object) -> int:
    return len(value) if isinstance(value, (tuple, list, dict)) else 0


# Operations that differ from those of `pickle`. Attributes and sets are not needed.
_OPERATIONS: dict[int, Callable[[Any], object]] = {
    **pickle._Unpickler.dispatch,
    pickle.SETITEM[0]: _set_one_item,
    pickle.SETITEMS[0]: _set_items,
    pickle.DICT[0]: _dictionary,
    pickle.BUILD[0]: lambda unpickler: unpickler.stack.pop(),
    pickle.ADDITEMS[0]: lambda unpickler: unpickler.pop_mark(),
    pickle.FROZENSET[0]: _frozen_set,
    pickle.BYTEARRAY8[0]: _byte_array,
    pickle.NEWOBJ_EX[0]: _new_object,
}
_CALLS = frozenset(code[0] for code in (pickle.REDUCE, pickle.BINPERSID, pickle.NEWOBJ))
_OPERATIONS |= {code: _charged(_OPERATIONS[code]) for code in _CALLS}


class _Operations:
    """The operations by their codes, until a pickle has used up `MAX_COST`."""

    def __init__(self) -> None:
        self._left = MAX_COST

    def __getitem__(self, code: int) -> Callable[[Any], object]:
        self.charge(_CALL_COST if code in _CALLS else 1)
        return _OPERATIONS[code]

    def charge(self, cost: int) -> None:
        """Count operations, or arguments of an operation."""
        self._left -= cost
        if self._left < 0:
            raise pickle.UnpicklingError("the pickle has too many operations")


# The Python implementation: in the C one a file of ten bytes can allocate 64 GB for its memo.
class Unpickler(pickle._Unpickler):
    """Unpickler for tensors and `OrderedDict`; everything else becomes `Ignored`."""

    def __init__(self, file: Any, **options: Any) -> None:
        # Of a storage: its number of bytes, if it is reserved before it is read.
        self._size: int | None = getattr(file, "size", None)
        super().__init__(file, **options)
        self.dispatch = _Operations()  # type: ignore[misc, assignment]

    def find_class(self, module: str, name: str) -> Any:
        """Return a permitted global, or `Ignored`."""
        return _GLOBALS.get((module, name), Ignored)

    def __setattr__(self, name: str, value: Any) -> None:
        """Restrict the `persistent_load` that `torch.load` sets to storages, without modules."""
        if name == "persistent_load":
            value = _storages_only(value, self._size)
        super().__setattr__(name, value)


def _storages_only(persistent_load: Callable[[Any], Any], size: int | None) -> Callable[[Any], Any]:
    sizes: dict[Any, int] = {}  # of storages in bytes

    def load_storage(saved: Any) -> Any:
        is_storage = isinstance(saved, tuple) and saved[:1] in (("storage",), (b"storage",))
        if not is_storage:
            return Ignored
        _, kind, key, location, count, *view = saved
        simple = (key, location, count, *(part for each in view for part in each or ()))
        if not all(isinstance(each, (str, bytes, int)) for each in simple):
            raise pickle.UnpicklingError("a storage has an invalid name")
        if size is not None:
            sizes.setdefault(key, count * kind.dtype.itemsize)
            if count < 0 or sum(sizes.values()) > size:
                raise pickle.UnpicklingError("the storages are larger than the file")
        return persistent_load(saved)

    return load_storage


def load(file: IO[bytes], **options: Any) -> Any:
    """Load like `pickle.load`; `torch.load` reads header and storages of the old format by it."""
    content = Unpickler(file, **options).load()
    # `torch.load` looks for the storages of this list in a dictionary.
    if isinstance(content, list):
        return [each for each in content if isinstance(each, (str, bytes, int))]
    return content
