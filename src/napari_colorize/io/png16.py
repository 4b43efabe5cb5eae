"""PNG of 16 bits a sample in colour or with alpha, which Pillow would cut down to 8.

Pixels go through imagecodecs, everything around them through Pillow.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_colorize.io.formats import PNG_EFFORT

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEEP_COLOR_TYPES = (2, 4, 6)  # RGB, gray with alpha, RGBA; Pillow reads deep gray (0) as it is


def is_deep(path: Path) -> bool:
    """Whether the header promises what Pillow would cut down."""
    with path.open("rb") as file:
        header = file.read(26)
    return (
        len(header) == 26
        and header.startswith(_SIGNATURE)
        and header[24] == 16
        and header[25] in _DEEP_COLOR_TYPES
    )


def read_pixels(path: Path) -> NDArray[Any]:
    """`(Y, X, 3|4)` uint16; gray with alpha becomes RGBA."""
    import imagecodecs

    pixels: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    if pixels.shape[-1] == 2:
        return pixels[..., [0, 0, 0, 1]]
    return pixels


def write(file: BinaryIO, array: NDArray[Any], around: Mapping[str, Any]) -> None:
    """Write `(Y, X, 3|4)` uint16; `around` is what Pillow's `save` would be given."""
    import imagecodecs
    from PIL import Image

    small = io.BytesIO()
    Image.new("RGB", (1, 1)).save(small, "PNG", **around)
    pixels = imagecodecs.png_encode(np.ascontiguousarray(array), level=PNG_EFFORT)
    header, *rest = _chunks(bytes(pixels))
    told = [chunk for chunk in _chunks(small.getvalue()) if _kind(chunk) not in _PIXELS]
    file.write(b"".join([_SIGNATURE, header, *told, *rest]))


_PIXELS = (b"IHDR", b"IDAT", b"IEND")


def _chunks(png: bytes) -> Iterator[bytes]:
    """Each chunk whole: length, kind, content, checksum."""
    start = len(_SIGNATURE)
    while start < len(png):
        (length,) = struct.unpack_from(">I", png, start)
        yield png[start : start + length + 12]
        start += length + 12


def _kind(chunk: bytes) -> bytes:
    return chunk[4:8]
