"""PNG with 16 bits per sample in color or with alpha, which Pillow would reduce to 8 bits.

Pixels are coded by imagecodecs, all other chunks by Pillow.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.io.formats import PNG_EFFORT

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEEP_COLOR_TYPES = (2, 4, 6)  # RGB, gray + alpha, RGBA; Pillow reads 16-bit gray (0) unchanged


def is_deep(path: Path) -> bool:
    """Whether the header declares a PNG that Pillow would reduce to 8 bits."""
    with path.open("rb") as file:
        header = file.read(26)
    return (
        len(header) == 26
        and header.startswith(_SIGNATURE)
        and header[24] == 16
        and header[25] in _DEEP_COLOR_TYPES
    )


def read_pixels(path: Path) -> AnyArray:
    """`(Y, X, 3|4)` uint16; gray with alpha becomes RGBA."""
    import imagecodecs

    pixels: AnyArray = imagecodecs.png_decode(path.read_bytes())
    if pixels.shape[-1] == 2:
        return pixels[..., [0, 0, 0, 1]]
    return pixels


def write(file: BinaryIO, array: AnyArray, options: Mapping[str, Any]) -> None:
    """Write `(Y, X, 3|4)` uint16; `options` are keywords of Pillow's `save`."""
    import imagecodecs
    from PIL import Image

    small = io.BytesIO()
    # Pillow writes the metadata chunks around a single pixel; they are copied into the real file.
    Image.new("RGB", (1, 1)).save(small, "PNG", **options)
    pixels = imagecodecs.png_encode(np.ascontiguousarray(array), level=PNG_EFFORT)
    header, *rest = _chunks(bytes(pixels))
    extra = [chunk for chunk in _chunks(small.getvalue()) if _kind(chunk) not in _PIXELS]
    file.write(b"".join([_SIGNATURE, header, *extra, *rest]))


_PIXELS = (b"IHDR", b"IDAT", b"IEND")


def _chunks(png: bytes) -> Iterator[bytes]:
    """Each chunk as bytes: length, kind, content, checksum."""
    start = len(_SIGNATURE)
    while start < len(png):
        (length,) = struct.unpack_from(">I", png, start)
        yield png[start : start + length + 12]
        start += length + 12


def _kind(chunk: bytes) -> bytes:
    return chunk[4:8]
