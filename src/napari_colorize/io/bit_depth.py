"""Pixels with more than 8 bits from files whose samples Pillow reduces to 8: JPEG 2000 and AVIF.

Pillow opens these files and reads their metadata; imagecodecs decodes the pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.io.declared_sizes import CODESTREAM
from napari_colorize.io.limits import row_blocks

REDUCED = "Its {bits} bits per sample were reduced to 8, because the decoder supports no more."

_HEAD = 2**16  # bytes in which the headers are searched
_COMPONENTS = 42  # offset of the first component's depth from there
# Boxes of JP2 files whose samples are palette indices or CMYK.
_INDIRECT = (b"pclr", b"colr\x01\x00\x00\x00\x00\x00\x0c")
_HIGH, _TWELVE = 0x40, 0x20  # flags in the third byte of AVIF's av1C box


def stored_bits(path: Path, format_name: str) -> int:
    """Bits per sample that a file declares, 8 if that is unknown."""
    if format_name not in ("JPEG2000", "AVIF", "SGI"):
        return 8
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if format_name == "JPEG2000":
        start = head.find(CODESTREAM)
        is_known = 0 <= start < len(head) - _COMPONENTS
        return (head[start + _COMPONENTS] & 0x7F) + 1 if is_known else 8
    if format_name == "AVIF":
        start = head.find(b"av1C")
        flags = head[start + 6] if 0 <= start < len(head) - 6 else 0
        return (12 if flags & _TWELVE else 10) if flags & _HIGH else 8
    return 16 if head[3:4] == b"\2" else 8


def read_deep(path: Path, format_name: str, bits: int) -> AnyArray | None:
    """Samples scaled to the full range of uint16 (uint32 above 16 bits); None if not supported.

    Returns
    -------
    NDArray
        `(Y, X)` or `(Y, X, 2|3|4)`; with a leading axis for the frames of an AVIF sequence.
    """
    import imagecodecs

    data = path.read_bytes()
    try:
        if format_name == "AVIF":
            return scale_bits(imagecodecs.avif_decode(data), bits)
        if format_name == "JPEG2000" and not any(box in data[:_HEAD] for box in _INDIRECT):
            array = imagecodecs.jpeg2k_decode(data)
            if array.dtype.kind == "i":  # signed components: zero is the middle gray
                unsigned = np.dtype(f"u{array.dtype.itemsize}")
                array = (array.astype(np.int64) + 2 ** (bits - 1)).astype(unsigned)
            return scale_bits(array, bits)
    except RuntimeError:  # of imagecodecs; Pillow decodes it, or gives the reason
        pass
    return None


def scale_bits(array: AnyArray, bits: int) -> AnyArray:
    """Unsigned integers of `bits` bits scaled to the full range of their dtype."""
    whole = 8 * array.dtype.itemsize
    if array.dtype.kind != "u" or bits >= whole:
        return array
    return scaled(array, np.iinfo(array.dtype).max / (2**bits - 1))


def scaled(array: AnyArray, factor: float) -> AnyArray:
    """Integers times a factor, rounded, in the same dtype."""
    result = np.empty_like(array, order="C")
    for rows in row_blocks(array):  # because the products take eight bytes each
        result[rows] = np.rint(array[rows] * factor)
    return result
