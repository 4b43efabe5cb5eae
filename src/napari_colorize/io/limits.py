"""Checks that all readers share: size limits before decoding, supported dtypes, memory layout.

Three limits hold for what a file declares. The number of pixels is limited (`MAX_PIXELS`). A small
file that declares gigabytes is refused as a decompression bomb. Everything else must fit into the
available memory.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError, OutputError
from napari_colorize.io.formats import Format

MAX_PIXELS = 1_000_000_000
"""Default size limit; a larger image is refused as a possible decompression bomb."""


BOMB_BYTES, BOMB_RATIO = 2**28, 500
"""A file is a bomb if its pixels take more bytes, and more times the bytes of the file.

Compression reaches this ratio only for images that are almost empty.
"""

# How many times stored values are in memory, measured with files of each kind.
COPIES = 3
PALETTE_COPIES = 18  # an index becomes a color with transparency
BLOCK = 2**20  # values of an array that are computed at a time
_UNCHECKED = 2**24  # bytes for which the available memory is not determined


def refuse_huge(
    path: Path,
    *shape: int,
    max_pixels: int,
    frames: int = 1,
    bits: int = 8,
    copies: int = COPIES,
    is_lazy: bool = False,
    file_size: int | None = None,
) -> None:
    """Refuse what a file declares before it is decoded.

    Parameters
    ----------
    path : Path
        The file.
    *shape : int
        Sides in pixels, and the number of frames if the limit holds for all of them.
    max_pixels : int
        Limit for the product of `shape`; above the default, the file is trusted not to be a bomb.
    frames : int
        Number of frames, each of this shape.
    bits : int
        Bits of a pixel with all its samples, as it is stored.
    copies : int
        How many times the stored values are in memory, at most, while they are read.
    is_lazy : bool
        Whether frames are decoded one by one, so that the memory must hold one of them.
    file_size : int, optional
        Bytes of all files of the image. Default: those of `path`.

    Raises
    ------
    ImageError
        If there are no pixels, too many, or too many for the size of the file or for the memory.
    """
    sides = " x ".join(str(side) for side in shape)
    pixels = math.prod(map(int, shape))
    if pixels < 1:
        raise ImageError(f"{path.name} contains no pixels: its size is {sides}.")
    if pixels > max_pixels:
        raise ImageError(
            f"{path.name} declares {sides} pixels, more than the limit of {max_pixels:,}. If you "
            "trust the file, crop it with another program, or raise max_pixels of read_image in "
            "Python."
        )
    if frames > 1:
        sides = f"{frames} x {sides}"
    stored = pixels * frames * bits // 8
    if file_size is None:
        file_size = path.stat().st_size if path.is_file() else stored
    is_small = stored > BOMB_RATIO * file_size
    if stored > BOMB_BYTES and is_small and max_pixels <= MAX_PIXELS:
        raise ImageError(
            f"{path.name} declares {sides} pixels, {stored / 1e9:.1f} GB in a file of "
            f"{file_size:,} bytes. If you trust the file, save it without compression, or raise "
            "max_pixels of read_image in Python."
        )
    at_once = 1 if is_lazy else frames
    refuse_memory(path, copies * pixels * at_once * -(-bits // 8))


def refuse_memory(path: Path, needed: int) -> None:
    """Raise `ImageError` if decoding needs more bytes than are available."""
    if lacking := _lacking(needed):
        from napari_colorize.runtime.memory import remedy

        raise ImageError(
            f"{path.name} needs about {needed / 1e9:.1f} GB of memory to be read, and {lacking}. "
            f"{remedy()}, or read a part of it."
        )


def refuse_animation(path: Path, into: Format, nbytes: int) -> None:
    """Raise `OutputError` if encoding a stack of `nbytes` as an animation needs too much memory."""
    needed = into.copies * nbytes
    if lacking := _lacking(needed):
        raise OutputError(
            f"{path.name} needs about {needed / 1e9:.1f} GB of memory to be written, and "
            f"{lacking}. Choose a name with the suffix .tif, which is written page by page."
        )


def row_blocks(array: AnyArray) -> list[slice]:
    """Slices of the first axis, with about `BLOCK` values each: temporary arrays stay small."""
    step = max(1, BLOCK // max(1, array[:1].size))
    return [slice(start, start + step) for start in range(0, len(array), step)]


def _lacking(needed: int) -> str:
    """The available memory, in words, if it is less than that; otherwise empty."""
    if needed < _UNCHECKED:
        return ""
    from napari_colorize.runtime.memory import available  # imports torch

    free = available()
    return f"{max(0, free) / 1e9:.1f} GB are available" if needed > free else ""


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
