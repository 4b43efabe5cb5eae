"""What every reader shares: refusals before they cost memory, and handing pixels over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.errors import ImageError

MAX_PIXELS = 1_000_000_000
"""A gigapixel. A picture that claims more is taken for a decompression bomb unless allowed."""


def refuse_huge(path: Path, *shape: int, max_pixels: int) -> None:
    """Raise `ImageError` for sides (and frames) of more pixels than allowed, or of none."""
    sides = " x ".join(str(side) for side in shape)
    pixels = int(np.prod(shape, dtype=object))
    if pixels < 1:
        raise ImageError(f"{path.name} holds no pixels: its sides are {sides}.")
    if pixels > max_pixels:
        raise ImageError(
            f"{path.name} claims {sides} pixels, more than the limit of {max_pixels:,}. If you "
            "trust the file, raise the limit (max_pixels)."
        )


def with_owned_memory(array: NDArray[Any]) -> NDArray[Any]:
    """The same values as a writable C-contiguous array of this machine's byte order.

    PyTorch takes no other. Nothing is copied where nothing has to be.
    """
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.require(native, requirements=["C", "W"])


def refuse_complex(path: Path, array: NDArray[Any]) -> None:
    """Raise `ImageError` for complex numbers, records and the like."""
    if array.dtype.kind not in "buif":
        raise ImageError(
            f"{path.name} holds values of type {array.dtype}. Only whole and real numbers can be "
            "colorized."
        )
