"""Sizes in the headers of compressed images that are inside another file, read before decoding.

A TIFF, a DICOM file or an icon has a size of its own, and the images in it may claim another one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np

from napari_colorize.io.png import SIGNATURE

JPEG_LS, LOSSLESS_JPEG = 0xF7, 0xC3  # markers of the frame header
CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000: start of codestream, then the size segment
_JPEG_XR = b"WMPHOTO\0"
_MAX_SAMPLES = 4  # of a pixel; a longer last axis of a JPEG XL is taken for columns
_HEAD = 2**16  # bytes in which a codestream is searched


def declared_shape(data: bytes) -> tuple[int, ...] | None:
    """Height and width of an image, before them the number of frames if there are several.

    Parameters
    ----------
    data : bytes
        A complete file or stream: JPEG, JPEG-LS, JPEG 2000, JPEG XL, JPEG XR, PNG, WebP or LERC.

    Returns
    -------
    tuple of int or None
        None for other kinds, and if the header is damaged: the decoder gives the reason.
    """
    try:
        shape = _shape_in(data)
    except (struct.error, IndexError):
        return None
    return shape if shape and all(shape) else None


def _shape_in(data: bytes) -> tuple[int, ...] | None:
    if data.startswith(b"\xff\xd8"):
        return jpeg_frame_in(data)[2:]
    if data.startswith(SIGNATURE):
        return struct.unpack_from(">II", data, 16)[::-1]
    if data[8:12] == b"WEBP":
        return webp_size(data)
    if data.startswith(b"Lerc2 "):
        (version,) = struct.unpack_from("<i", data, 6)
        return struct.unpack_from("<ii", data, 14 if version >= 3 else 10)
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        shape = jxl_shape(data)
        return shape[:-1] if shape and len(shape) > 2 and shape[-1] <= _MAX_SAMPLES else shape
    if (start := data.find(CODESTREAM, 0, _HEAD)) >= 0:
        width, height, left, top = struct.unpack_from(">4I", data, start + 8)
        return height - top, width - left
    if (start := data.find(_JPEG_XR, 0, _HEAD)) >= 0:
        is_short = data[start + 10] & 0x80
        sides = struct.unpack_from(">HH" if is_short else ">II", data, start + 12)
        return sides[1] + 1, sides[0] + 1
    return None


def webp_size(head: bytes) -> tuple[int, int]:
    """Height and width in the first 30 bytes of a WebP file."""
    kind, data = head[12:16], head[20:]
    if kind == b"VP8X":  # 24 bits each, less one
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L":  # after the signature 14 bits each, less one
        bits = int.from_bytes(data[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:  # after tag and signature 14 bits each
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return height, width


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment of a JPEG before the compressed data."""
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker, (length,) = data[start + 1], struct.unpack_from(">H", data, start + 2)
        if marker == 0xFF:  # fill byte
            start += 1
            continue
        if marker == 0xDA:
            return
        yield marker, data[start + 4 : start + 2 + length]
        start += 2 + length


def jpeg_frame_in(data: bytes) -> tuple[int, int, int, int]:
    """Marker, bits per sample, height and width of a JPEG; (0, 8, 0, 0) if missing."""
    marker, content = _jpeg_frame_header(data)
    return marker, *struct.unpack_from(">BHH", content)


def jpeg_samples(data: bytes) -> int:
    """Number of components of a JPEG; 1 if the frame header is missing."""
    _, content = _jpeg_frame_header(data)
    return content[5] if len(content) > 5 else 1


def _jpeg_frame_header(data: bytes) -> tuple[int, bytes]:
    for marker, content in jpeg_segments(data):
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if (is_frame or marker == JPEG_LS) and len(content) >= 5:
            return marker, content
    return 0, b"\x08\0\0\0\0"


def jxl_shape(data: bytes) -> tuple[int, ...] | None:
    """Shape of the array to which a JPEG XL file is decoded; None if it is not known.

    imagecodecs counts the frames and then checks the shape of `out`; its error has the right one.
    """
    import imagecodecs

    for dtype in (np.uint8, np.uint16, np.float32, np.float16):
        try:
            imagecodecs.jpegxl_decode(data, out=np.empty(0, dtype))
        except ValueError as error:
            if found := re.search(r", shape=\(([\d, ]+)\)", str(error)):
                return tuple(int(side) for side in found[1].split(",") if side.strip())
        except RuntimeError:  # of imagecodecs: damaged
            break
    return None
