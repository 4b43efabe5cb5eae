"""Base of stacks that stay in their file and are decoded when they are indexed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.io.limits import refuse_memory


class DecodedStack(ABC):
    """Array-like planes of a file, `(..., Y, X)` or with channels, decoded on access."""

    contents: ClassVar[str]  # what the planes are, for messages
    path: Path  # the file

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Lengths of all axes."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values of all planes."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of all planes in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, key: Any) -> AnyArray:
        """Planes, or parts of them, as an array."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError(f"The {self.contents} are decoded into new memory, which is a copy.")
        return self[:].astype(dtype or self.dtype, copy=False)

    @abstractmethod
    def _plane(self, number: int) -> AnyArray:
        """Decode one plane."""

    def _stack(self, numbers: Sequence[int], within: tuple[Any, ...], leading: int) -> AnyArray:
        """The parts `within` of these planes; a plane has the axes after the `leading` ones."""
        shape = np.broadcast_to(np.False_, self.shape[leading:])[within].shape
        refuse_memory(self.path, len(numbers) * math.prod(shape) * self.dtype.itemsize)
        stack = np.empty((len(numbers), *shape), self.dtype)
        for position, number in enumerate(numbers):
            stack[position] = self._plane(number)[within]
        return stack


def without_ellipsis(key: Any, ndim: int) -> tuple[Any, ...]:
    """The index of each axis, as far as they are given, with `...` expanded."""
    keys = key if isinstance(key, tuple) else (key,)
    where = next((at for at, each in enumerate(keys) if each is Ellipsis), None)
    if where is None:
        return keys
    return *keys[:where], *(slice(None),) * (ndim - len(keys) + 1), *keys[where + 1 :]
