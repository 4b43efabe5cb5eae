"""Checks that all readers share: size limits before decoding, supported dtypes, memory layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError

MAX_PIXELS = 1_000_000_000
"""Default size limit; a larger image is refused as a possible decompression bomb."""


def refuse_huge(path: Path, *shape: int, max_pixels: int) -> None:
    """Raise `ImageError` if the product of sides (and frames) is 0 or above `max_pixels`."""
    sides = " x ".join(str(side) for side in shape)
    pixels = int(np.prod(shape, dtype=object))
    if pixels < 1:
        raise ImageError(f"{path.name} contains no pixels: its size is {sides}.")
    if pixels > max_pixels:
        raise ImageError(
            f"{path.name} declares {sides} pixels, more than the limit of {max_pixels:,}. If you "
            "trust the file, raise the limit (max_pixels)."
        )


def with_owned_memory(array: AnyArray) -> AnyArray:
    """The values as a writable C-contiguous array in native byte order, as PyTorch requires.

    The data are copied only if necessary.
    """
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.require(native, requirements=["C", "W"])


def refuse_complex(path: Path, array: AnyArray) -> None:
    """Raise `ImageError` for dtypes other than bool, integer and float."""
    if array.dtype.kind not in "buif":
        raise ImageError(
            f"{path.name} contains values of type {array.dtype}. Only integer and real values can "
            "be colorized."
        )
