"""PNG beyond Pillow: 16 bits in color or with alpha, tRNS in every depth, and animations (APNG).

Pixels are coded by imagecodecs, all other chunks by Pillow. Pillow reduces 16 bits to 8 in color,
compares tRNS with scaled gray levels, and counts an APNG's hidden default image as a frame.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError
from napari_colorize.io.formats import PNG_EFFORT
from napari_colorize.io.limits import row_blocks

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3  # color types
_DISPOSE_BACKGROUND, _DISPOSE_PREVIOUS = 1, 2
_BLEND_OVER = 1
_CENTISECONDS = 100  # an APNG delay with a denominator of 0 is in hundredths of a second
_INTERLACE = 28  # offset of the interlace method in a file
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # color type -> samples per pixel
# First column and row of each pass, and its steps.
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
_PIXELS = (b"IHDR", b"IDAT", b"IEND")
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_LONG_PROFILE = 100_000  # compressed bytes
# Chunks that are needed to decode the pixels of a frame.
_DECODING = (b"PLTE", b"tRNS")


@dataclass(frozen=True)
class Animation:
    """Composed frames `(N, Y, X, 4)`, display times in ms, and number of plays (0: endless)."""

    frames: AnyArray
    durations: tuple[int, ...]
    plays: int


def needs_imagecodecs(path: Path) -> bool:
    """Whether Pillow would reduce a still PNG to 8 bits, or misinterpret its tRNS chunk."""
    with path.open("rb") as file:
        header = file.read(26)
        if len(header) < 26 or not header.startswith(SIGNATURE):
            return False
        depth, color_type = header[24], header[25]
        if depth == 16 and color_type != _GRAY:
            return True
        return color_type != _PALETTE and depth != 8 and _has_transparency(file)


def without_long_text(path: Path) -> io.BytesIO:
    """The file without its text; Pillow refuses a text or profile of more than a megabyte."""
    kept = [
        each
        for each in _chunks(path.read_bytes())
        if _kind(each) not in _TEXT and (_kind(each) != b"iCCP" or len(each) < _LONG_PROFILE)
    ]
    return io.BytesIO(SIGNATURE + b"".join(kept))


def is_damaged(path: Path) -> bool:
    """Whether a chunk of a PNG is incomplete, or its checksum is wrong."""
    return not all(map(_is_intact, _chunks(path.read_bytes())))


def _has_transparency(file: BinaryIO) -> bool:
    """Whether a tRNS chunk precedes the pixels."""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        (length,) = struct.unpack_from(">I", head)
        if head[4:] in (b"IDAT", b"tRNS"):
            return head[4:] == b"tRNS"
        file.seek(length + 4, 1)
    return False


def read_pixels(path: Path) -> AnyArray:
    """A still image as `(Y, X)` or `(Y, X, 3|4)`, uint8 or uint16; gray with alpha becomes RGBA."""
    chunks: dict[bytes, bytes] = {}
    data = []
    for chunk in _chunks(path.read_bytes()):
        if _kind(chunk) == b"IDAT":
            data.append(chunk)
        elif _kind(chunk) in (b"IHDR", *_DECODING):
            # The first of its kind; about others, and about ancillary chunks, libpng prints.
            chunks.setdefault(_kind(chunk), chunk)
    if b"tRNS" in chunks:
        chunks[b"tRNS"] = _within_depth(chunks[b"tRNS"], chunks[b"IHDR"])
    return _decode(SIGNATURE + b"".join([*chunks.values(), *data, _chunk(b"IEND", b"")]))


def _within_depth(transparency: bytes, header: bytes) -> bytes:
    """A tRNS chunk without the bits beyond the depth; libpng ignores them, but prints a message."""
    depth, color_type, content = header[16], header[17], transparency[8:-4]
    if color_type == _PALETTE or len(content) % 2:
        return transparency
    samples = np.frombuffer(content, ">u2") & (2**depth - 1)
    return _chunk(b"tRNS", samples.astype(">u2").tobytes())


def read_animation(path: Path) -> Animation:
    """All frames of an APNG, composed as RGBA of 8 or 16 bits.

    Raises
    ------
    ImageError
        If the file is incomplete or a checksum is wrong.
    """
    header, common, plays, declared, parts = b"", [], 0, 0, []
    numbers: list[int] = []  # fcTL and fdAT chunks are numbered
    kind = b""
    for chunk in _chunks(path.read_bytes()):
        kind, content = _kind(chunk), chunk[8:-4]
        if not _is_intact(chunk):
            raise ImageError(f"{path.name} is damaged: the checksum of a PNG chunk is wrong.")
        if kind == b"IHDR":
            header = content
        elif kind in _DECODING:
            common.append(chunk)
        elif kind == b"acTL":
            declared, plays = struct.unpack(">II", content)
        elif kind == b"fcTL":
            numbers.append(int.from_bytes(content[:4], "big"))
            parts.append(_Frame(*struct.unpack(">4xIIIIHHBB", content)))
        elif kind == b"IDAT" and parts:  # without an fcTL before it, the image is no frame
            parts[-1].data.append(content)
        elif kind == b"fdAT":
            numbers.append(int.from_bytes(content[:4], "big"))
            parts[-1].data.append(content[4:])
    if kind != b"IEND" or len(parts) < declared:
        raise ImageError(f"{path.name} is damaged: the file ends before its last frame.")
    if numbers != list(range(len(numbers))):
        raise ImageError(f"{path.name} is damaged: the frames of its animation are out of order.")
    width, height = struct.unpack_from(">II", header)
    if any(part.x + part.width > width or part.y + part.height > height for part in parts):
        raise ImageError(f"{path.name} is damaged: a frame is larger than the image.")
    return Animation(
        # Further frames are not displayed, and the memory was checked for those that are declared.
        frames=np.stack(list(_compose(parts[:declared], (height, width), header, common))),
        durations=tuple(part.milliseconds for part in parts[:declared]),
        plays=plays,
    )


@dataclass(frozen=True)
class _Frame:
    """A fcTL chunk, and the compressed pixels that follow it."""

    width: int
    height: int
    x: int
    y: int
    delay: int
    denominator: int
    dispose: int
    blend: int
    data: list[bytes] = field(default_factory=list)

    @property
    def milliseconds(self) -> int:
        return round(1000 * self.delay / (self.denominator or _CENTISECONDS))


def _compose(
    parts: Iterable[_Frame], shape: tuple[int, int], header: bytes, common: Iterable[bytes]
) -> Iterator[AnyArray]:
    """What a viewer displays for each frame: `(Y, X, 4)`."""
    dtype = np.uint16 if header[8] == 16 else np.uint8
    canvas = np.zeros((*shape, 4), dtype)
    for number, part in enumerate(parts):
        size = struct.pack(">II", part.width, part.height)
        chunks = [_chunk(b"IHDR", size + header[8:]), *common]
        chunks += [_chunk(b"IDAT", b"".join(part.data)), _chunk(b"IEND", b"")]
        above = to_rgba(_decode(SIGNATURE + b"".join(chunks)))
        place = np.s_[part.y : part.y + part.height, part.x : part.x + part.width]
        before = canvas[place].copy()
        canvas[place] = over(before, above) if part.blend == _BLEND_OVER else above
        yield canvas.copy()
        if part.dispose == _DISPOSE_BACKGROUND or (
            part.dispose == _DISPOSE_PREVIOUS and not number
        ):
            canvas[place] = 0
        elif part.dispose == _DISPOSE_PREVIOUS:
            canvas[place] = before


def over(below: AnyArray, above: AnyArray) -> AnyArray:
    """Alpha composition of two RGBA images of integers that are not premultiplied."""
    full = np.iinfo(above.dtype).max
    result = np.empty_like(above)
    for rows in row_blocks(above):  # because the intermediate arrays are large
        top = above[rows, :, 3:] / full
        rest = below[rows, :, 3:] / full * (1 - top)
        alpha = top + rest
        with np.errstate(invalid="ignore"):
            color = np.where(alpha > 0, (above[rows] * top + below[rows] * rest) / alpha, 0)
        color[..., 3:] = alpha * full
        result[rows] = np.rint(color)
    return result


def to_rgba(array: AnyArray) -> AnyArray:
    """`(..., Y, X, 4)` from gray `(..., Y, X)` with `array.ndim` 2, or from `(Y, X, 3|4)`."""
    color = np.stack([array] * 3, axis=-1) if array.ndim == 2 else array
    if color.shape[-1] == 4:
        return color
    opaque = np.full((*color.shape[:-1], 1), np.iinfo(array.dtype).max, array.dtype)
    return np.concatenate([color, opaque], axis=-1)


def _decode(png: bytes) -> AnyArray:
    import imagecodecs

    pixels: AnyArray = _deinterlaced(png) if png[_INTERLACE] else imagecodecs.png_decode(png)
    if pixels.ndim == 3 and pixels.shape[-1] == 2:
        return pixels[..., [0, 0, 0, 1]]
    return pixels


def _deinterlaced(png: bytes) -> AnyArray:
    """Pixels of an Adam7 PNG, each pass decoded as an image of its own.

    For the whole file, imagecodecs would decode as well, but libpng prints a message on stderr.
    """
    import imagecodecs

    chunks = list(_chunks(png))
    header = next(chunk[8:-4] for chunk in chunks if _kind(chunk) == b"IHDR")
    common = [chunk for chunk in chunks if _kind(chunk) in _DECODING]
    data = b"".join(chunk[8:-4] for chunk in chunks if _kind(chunk) == b"IDAT")
    width, height, depth, color_type = struct.unpack_from(">IIBB", header)
    # All passes together, with a filter byte for each line of at most two images.
    most = width * height * 8 + 16 * (height + 8)
    rows, start = zlib.decompressobj().decompress(data, most), 0
    pixels: AnyArray = np.zeros(0)
    for x, y, across, down in _ADAM7:
        columns, lines = -(-(width - x) // across), -(-(height - y) // down)
        if columns <= 0 or lines <= 0:
            continue
        length = lines * (1 + (columns * depth * _SAMPLES[color_type] + 7) // 8)
        size = struct.pack(">II", columns, lines)
        part = [_chunk(b"IHDR", size + header[8:12] + b"\0"), *common]
        part += [
            _chunk(b"IDAT", zlib.compress(rows[start : start + length], 1)),
            _chunk(b"IEND", b""),
        ]
        found = imagecodecs.png_decode(SIGNATURE + b"".join(part))
        if not pixels.size:
            pixels = np.zeros((height, width, *found.shape[2:]), found.dtype)
        pixels[y::down, x::across] = found
        start += length
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
    file.write(b"".join([SIGNATURE, header, *extra, *rest]))


def _chunks(png: bytes) -> Iterator[bytes]:
    """Each chunk as bytes: length, kind, content, checksum."""
    start = len(SIGNATURE)
    while start + 8 <= len(png):
        (length,) = struct.unpack_from(">I", png, start)
        yield png[start : start + length + 12]
        start += length + 12


def _is_intact(chunk: bytes) -> bool:
    return len(chunk) >= 12 and int.from_bytes(chunk[-4:], "big") == zlib.crc32(chunk[4:-4])


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def _kind(chunk: bytes) -> bytes:
    return chunk[4:8]
