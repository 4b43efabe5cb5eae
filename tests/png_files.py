"""PNG files of any depth, color type and frames, written chunk by chunk."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def packed_rows(array: np.ndarray, depth: int) -> bytes:
    """Compressed rows without filters; samples of 1, 2 or 4 bits are packed."""
    rows = array.reshape(len(array), -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = rows.astype(np.uint8)
    else:
        bits = (rows[..., np.newaxis] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))


def header(array: np.ndarray, depth: int, color_type: int) -> bytes:
    height, width = array.shape[:2]
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0))


def png(array: np.ndarray, depth: int, color_type: int, *extra: bytes) -> bytes:
    """A still PNG; `extra` are chunks between the header and the pixels."""
    parts = [header(array, depth, color_type), *extra, chunk(b"IDAT", packed_rows(array, depth))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@dataclass
class Part:
    """A frame of an animated PNG: its stored pixels and place, and how it is composed."""

    array: np.ndarray
    x: int = 0
    y: int = 0
    dispose: int = 0
    blend: int = 0
    delay: tuple[int, int] = (1, 10)


def apng(
    parts: Iterable[Part],
    canvas: tuple[int, int],
    depth: int,
    color_type: int,
    *extra: bytes,
    plays: int = 0,
    default_image: np.ndarray | None = None,
) -> bytes:
    """An animated PNG; `default_image` is not part of the animation."""
    parts = list(parts)
    empty = np.zeros(canvas)
    out = [header(empty, depth, color_type), *extra]
    out.append(chunk(b"acTL", struct.pack(">II", len(parts), plays)))
    if default_image is not None:
        out.append(chunk(b"IDAT", packed_rows(default_image, depth)))
    number = 0
    for part in parts:
        height, width = part.array.shape[:2]
        control = (number, width, height, part.x, part.y, *part.delay, part.dispose, part.blend)
        out.append(chunk(b"fcTL", struct.pack(">IIIIIHHBB", *control)))
        number += 1
        data = packed_rows(part.array, depth)
        if len(out) == len(extra) + 3 and default_image is None:
            out.append(chunk(b"IDAT", data))
        else:
            out.append(chunk(b"fdAT", struct.pack(">I", number) + data))
            number += 1
    return b"\x89PNG\r\n\x1a\n" + b"".join(out) + chunk(b"IEND", b"")


def chunks(content: bytes) -> list[bytes]:
    """The chunks of a PNG."""
    found, start = [], 8
    while start < len(content):
        (length,) = struct.unpack_from(">I", content, start)
        found.append(content[start : start + length + 12])
        start += length + 12
    return found


def interlaced(array: np.ndarray, depth: int, color_type: int) -> bytes:
    """A still PNG with the seven passes of Adam7."""
    passes = [
        array[0::8, 0::8], array[0::8, 4::8], array[4::8, 0::4], array[0::4, 2::4],
        array[2::4, 0::2], array[0::2, 1::2], array[1::2, 0::1],
    ]  # fmt: skip
    rows = b"".join(zlib.decompress(packed_rows(part, depth)) for part in passes if part.size)
    height, width = array.shape[:2]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 1))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body
