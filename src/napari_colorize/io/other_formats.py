"""Images that Pillow cannot open, decoded with imagecodecs, pillow-heif or NumPy.

JPEG with more than 8 bits, lossless JPEG and JPEG-LS; JPEG XL; HEIF; portable pixmaps with 16 bits
or alpha (PPM, PAM); Photoshop files with 16 or 32 bits (PSD, PSB).
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError
from napari_colorize.io import exif, icc, raster, text_metadata
from napari_colorize.io.bit_depth import scale_bits, scaled
from napari_colorize.io.declared_sizes import (
    JPEG_LS,
    LOSSLESS_JPEG,
    declared_shape,
    jpeg_frame_in,
    jpeg_samples,
    jpeg_segments,
)
from napari_colorize.io.formats import kind_of
from napari_colorize.io.image_record import ImageRecord
from napari_colorize.io.limits import refuse_huge

if TYPE_CHECKING:
    from PIL import Image

Reader = Callable[..., ImageRecord]

NO_HEIF = "{} is a HEIC image. To read it: pip install pillow-heif."
NO_TIMES = "The display times of its frames cannot be read; 100 ms are used."
_TRUNCATED = "{} is damaged: the file ends before its pixel data."

MAX_METADATA = 2**24  # bytes of EXIF or XMP that are compressed
_JFIF_LENGTH = 20  # bytes of SOI and APP0 in a JPEG that Pillow writes

# Photoshop: color modes, and the image resources that hold metadata.
_BITMAP, _INDEXED, _RGB, _CMYK, _LAB = 0, 2, 3, 4, 9
_RAW, _PACKBITS = 0, 1

_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PPM_HEADER = re.compile(rb"P([36])" + 3 * (_SPACE + rb"(\d+)") + rb"\s")


def reader_of(path: Path, start: bytes) -> Reader | None:
    """The reader in this module for a file with these first bytes, or None: Pillow reads it."""
    kind = kind_of(start)
    if kind == "JPEG":
        marker, precision, *_ = _jpeg_frame(path)
        return _read_jpeg if precision > 8 or marker in (JPEG_LS, LOSSLESS_JPEG) else None
    if kind == "PSD":
        version, depth = struct.unpack_from(">H16xH", start, 4)
        return _read_psd if version == 2 or depth > 8 else None
    if start.startswith(b"P7\n") or _is_deep_ppm(start):
        return _read_pnm
    return {"JPEG XL": _read_jxl, "HEIF": _read_heif}.get(kind or "")


# JPEG


def _jpeg_frame(path: Path) -> tuple[int, int, int, int]:
    """Marker, bits per sample, height and width of the frame header; (0, 8, 0, 0) if missing."""
    return jpeg_frame_in(path.read_bytes())


def _read_jpeg(path: Path, *, max_pixels: int) -> ImageRecord:
    import imagecodecs

    marker, bits, height, width = _jpeg_frame(path)
    data = path.read_bytes()
    refuse_huge(path, height, width, max_pixels=max_pixels, bits=16 * jpeg_samples(data))
    decode = imagecodecs.jpegls_decode if marker == JPEG_LS else imagecodecs.jpeg_decode
    array = scale_bits(decode(data), bits)
    if array.shape[:2] != (height, width):  # decoders return an empty array for some damage
        raise ValueError("unexpected size")
    notes: tuple[str, ...] = ()
    with _jpeg_metadata(data) as carrier:
        if array.ndim == 3 and array.shape[-1] == 4:  # Adobe's CMYK is inverted
            ink = np.iinfo(array.dtype).max - array
            array = icc.cmyk_to_rgb(ink, carrier.info.pop("icc_profile", None))
            notes = (icc.CONVERTED.format(space="CMYK"),)
        return raster.with_metadata(carrier, raster.gray_or_rgba(array), notes)


def _jpeg_metadata(data: bytes) -> Image.Image:
    """A JPEG of one pixel with the metadata of another one, for Pillow to interpret them."""
    from PIL import Image

    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, "JPEG")
    segments = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in jpeg_segments(data)
        if 0xE0 <= marker <= 0xEF or marker == 0xFE
    )
    carrier = raster.open_image(
        io.BytesIO(b"\xff\xd8" + segments + small.getvalue()[_JFIF_LENGTH:])
    )
    carrier.load()
    return carrier


# JPEG XL


def _read_jxl(path: Path, *, max_pixels: int) -> ImageRecord:
    import imagecodecs

    data = path.read_bytes()
    contents = list(_boxes(data)) if data.startswith(b"\0\0\0\x0c") else [(b"jxlc", data)]
    stream = b"".join(
        content[4 * (kind == b"jxlp") :] for kind, content in contents if kind in (b"jxlc", b"jxlp")
    )
    height, width, bits, loop = _jxl_header(stream)
    shape = declared_shape(data) or (height, width)
    refuse_huge(
        path,
        height,
        width,
        max_pixels=max_pixels,
        frames=max(1, math.prod(shape) // max(1, height * width)),
        bits=3 * max(8, bits),
    )
    array = imagecodecs.jpegxl_decode(data)
    # Rotation is applied by the decoder.
    is_stack = array.shape[:2] not in ((height, width), (width, height))
    array = scale_bits(array, bits)
    frames = [raster.gray_or_rgba(frame) for frame in (array if is_stack else [array])]
    carrier = _carrier(_jxl_metadata(contents))
    if not is_stack:
        return raster.with_metadata(carrier, frames[0])
    return raster.with_metadata(carrier, np.stack(frames), (NO_TIMES,), axes="T", loop=loop)


def _jxl_header(stream: bytes) -> tuple[int, int, int, int]:
    """Height, width, bits per sample and number of plays (0: endless); ISO/IEC 18181-1, annex D."""
    bits = int.from_bytes(stream[2:80], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    def choose(*options: tuple[int, int]) -> int:
        base, count = options[take(2)]
        return base + take(count)

    def side(small: int) -> int:
        return 8 * (take(5) + 1) if small else choose((1, 9), (1, 13), (1, 18), (1, 30))

    def size() -> tuple[int, int]:
        small = take(1)
        height, ratio = side(small), take(3)
        ratios = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
        if ratio:
            across, down = ratios[ratio - 1]
            return height, height * across // down
        return height, side(small)

    height, width = size()
    depth, loop = 8, 0
    if take(1):  # all metadata have their defaults
        return height, width, depth, loop
    if take(1):  # extra fields
        take(3)  # orientation
        if take(1):
            size()  # intrinsic size
        if take(1):  # a preview, whose size is not parsed
            return height, width, depth, loop
        if take(1):  # animation: ticks per second, number of plays, time codes
            choose((100, 0), (1000, 0), (1, 10), (1, 30))
            choose((1, 0), (1001, 0), (1, 8), (1, 10))
            loop = choose((0, 0), (0, 3), (0, 16), (0, 32))
            take(1)
    if not take(1):  # integers
        depth = choose((8, 0), (10, 0), (12, 0), (1, 6))
    return height, width, depth, loop


def _jxl_metadata(contents: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """EXIF and XMP boxes, which may be compressed with Brotli, as Pillow's `info`."""
    import imagecodecs

    info: dict[str, Any] = {}
    for kind, content in contents:
        if kind == b"brob":
            packed = content[:4]
            try:
                content = bytes(imagecodecs.brotli_decode(content[4:], out=MAX_METADATA))
            except RuntimeError:  # of imagecodecs: damaged, or more than that
                continue
            kind = packed
        if kind == b"Exif":
            (offset,) = struct.unpack_from(">I", content)
            info["exif"] = b"Exif\0\0" + content[4 + offset :]
        elif kind == b"xml ":
            info["xmp"] = content
    return info


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each box of an ISO base media file."""
    start = 0
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start + 8)
            header = 16
        end = start + length if length else len(data)
        yield kind, data[start + header : end]
        start = max(end, start + header)


# HEIF


def _read_heif(path: Path, *, max_pixels: int) -> ImageRecord:
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(NO_HEIF.format(path.name)) from None
    heif = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
    refuse_huge(path, *heif.size[::-1], max_pixels=max_pixels, bits=8 * len(heif.mode))
    # Rotation is applied by the decoder.
    carrier = _carrier(heif.info)
    return raster.with_metadata(carrier, raster.gray_or_rgba(np.array(heif)))


def _carrier(info: dict[str, Any]) -> Image.Image:
    """An image of one pixel with this `info`, whose EXIF orientation is already applied."""
    from PIL import Image

    carrier = Image.new("L", (1, 1))
    carrier.info.update({key: value for key, value in info.items() if value})
    try:
        carrier.getexif()[exif.ORIENTATION] = 1
    except (SyntaxError, ValueError, OSError, struct.error):
        del carrier.info["exif"]
    return carrier


# Portable pixmaps


def _is_deep_ppm(start: bytes) -> bool:
    header = _PPM_HEADER.match(start)
    return header is not None and int(header[4]) > 255


def _read_pnm(path: Path, *, max_pixels: int) -> ImageRecord:
    data = path.read_bytes()
    if data.startswith(b"P7"):
        head, _, rest = data.partition(b"ENDHDR\n")
        fields = dict(
            line.split(None, 1) for line in head.splitlines()[1:] if line.split(b"#")[0].strip()
        )
        width, height, samples, most = (
            int(fields[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        )
        is_plain = False
    else:
        header = _PPM_HEADER.match(data)
        assert header is not None
        kind, width, height, most = (int(value) for value in header.groups())
        samples, rest, is_plain = 3, data[header.end() :], kind == 3
    dtype = np.dtype(">u2" if most > 255 else "u1")
    refuse_huge(
        path, height, width, max_pixels=max_pixels, bits=8 * max(1, samples) * dtype.itemsize
    )
    count = height * width * samples
    if is_plain:
        text = re.sub(rb"#[^\r\n]*", b"", rest)
        values = np.fromstring(text, np.uint32, count, sep=" ").astype(dtype)
    else:
        values = np.frombuffer(rest[: count * dtype.itemsize], dtype)
    if len(values) < count:
        raise ImageError(_TRUNCATED.format(path.name))
    native = values.reshape(height, width, samples).astype(dtype.newbyteorder("="))
    array = scaled(native, np.iinfo(native.dtype).max / most)
    return raster.with_metadata(_carrier({}), raster.gray_or_rgba(array))


# Photoshop


def _read_psd(path: Path, *, max_pixels: int) -> ImageRecord:
    """The merged image, which Photoshop stores unless told otherwise."""
    data = path.read_bytes()
    version, channels, height, width, depth, mode = struct.unpack_from(">H6xHIIHH", data, 4)
    refuse_huge(path, height, width, max_pixels=max_pixels, bits=channels * depth)
    is_big = version == 2
    palette, start = _section(data, 26)
    resources, start = _section(data, start)
    layers, start = _section(data, start, wide=is_big)
    (compression,) = struct.unpack_from(">H", data, start)
    rows = _psd_rows(
        data, start + 2, (channels, height, (width * depth + 7) // 8), compression, is_big
    )
    if depth == 1:
        planes: AnyArray = np.unpackbits(rows, axis=-1)[..., :width].astype(bool)
    else:
        planes = rows.view({8: "u1", 16: ">u2", 32: ">f4"}[depth])
        planes = planes.astype(planes.dtype.newbyteorder("="))
    array = np.moveaxis(planes, 0, -1)
    info = text_metadata.photoshop_info(text_metadata.resources_of(resources))
    array, notes = _psd_colors(array, mode, palette, _has_merged_alpha(layers, wide=is_big), info)
    return raster.with_metadata(_carrier(info), raster.gray_or_rgba(array), notes)


def _section(data: bytes, start: int, *, wide: bool = False) -> tuple[bytes, int]:
    """A block preceded by its length, and the place after it."""
    length: int = struct.unpack_from(">Q" if wide else ">I", data, start)[0]
    start += 8 if wide else 4
    return data[start : start + length], start + length


def _psd_rows(
    data: bytes, start: int, shape: tuple[int, int, int], compression: int, is_big: bool
) -> AnyArray:
    """Bytes of all rows, `(channels, height, bytes)`."""
    import imagecodecs

    channels, height, row = shape
    if compression == _RAW:
        return np.frombuffer(data, np.uint8, channels * height * row, start).reshape(shape)
    if compression != _PACKBITS:
        raise ValueError("ZIP compression of the merged image")
    count = np.dtype(">u4" if is_big else ">u2")
    lengths = np.frombuffer(data, count, channels * height, start).astype(np.int64)
    ends = start + channels * height * count.itemsize + np.cumsum(lengths)
    rows = [
        imagecodecs.packbits_decode(data[end - length : end])
        for end, length in zip(ends, lengths, strict=True)
    ]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(shape)


def _has_merged_alpha(layers: bytes, *, wide: bool) -> bool:
    """Whether the first extra channel is transparency: the number of layers is negative."""
    start = 8 if wide else 4
    return len(layers) >= start + 2 and struct.unpack_from(">h", layers, start)[0] < 0


def _psd_colors(
    array: AnyArray, mode: int, palette: bytes, has_alpha: bool, info: dict[str, Any]
) -> tuple[AnyArray, tuple[str, ...]]:
    """`(Y, X, 1|2|3|4)` in gray or RGB from the channels of the merged image."""
    colors = {_RGB: 3, _CMYK: 4, _LAB: 3}.get(mode, 1)
    color, extra = array[..., :colors], array[..., colors:]
    notes: tuple[str, ...] = ()
    if mode == _BITMAP:
        color = ~color  # 1 is black
    elif mode == _INDEXED:
        color = np.frombuffer(palette, np.uint8).reshape(3, -1).T[color[..., 0]]
    elif mode == _CMYK:
        full = 1 if color.dtype.kind == "f" else np.iinfo(color.dtype).max
        color = icc.cmyk_to_rgb(full - color, info.pop("icc_profile", None))
        notes = (icc.CONVERTED.format(space="CMYK"),)
    elif mode == _LAB:
        full = np.iinfo(color.dtype).max
        ab = color[..., 1:] / ((full + 1) / 256) - 128
        lab = np.concatenate([color[..., :1] * (100 / full), ab], axis=-1)
        color = icc.lab_to_rgb(lab, color.dtype)
        info.pop("icc_profile", None)
        notes = (icc.CONVERTED.format(space="LAB"),)
    if not (has_alpha and extra.shape[-1]):
        return color, notes
    return np.concatenate([color, extra[..., :1]], axis=-1), notes
