"""Small files that unfold to gigabytes give one sentence before memory is reserved."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from little_memory import little_memory
from PIL import Image

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.io.images import read_image
from napari_colorize.runtime import memory

GB = 10**9


def refused(path, **options):
    """The sentence for a file that is refused, with little memory."""
    with little_memory(GB // 2), pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def deflated(count):
    packer = zlib.compressobj(9)
    part = bytes(2**20)
    data = [packer.compress(part) for _ in range(count // len(part))]
    return b"".join([*data, packer.compress(bytes(count % len(part))), packer.flush()])


def write_tiff_pages(path, pages, side):
    """Pages that share one strip."""
    data = deflated(side * side)
    out, size = bytearray(b"II*\0" + struct.pack("<I", 8)), 2 + 12 * 9 + 4
    for page in range(pages):
        tags = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 8), (262, 3, 1)]
        tags += [(273, 4, 8 + pages * size), (277, 3, 1), (278, 4, side), (279, 4, len(data))]
        out += struct.pack("<H", 9) + b"".join(
            struct.pack("<HHII", *tag[:2], 1, tag[2]) for tag in tags
        )
        out += struct.pack("<I", 8 + (page + 1) * size if page + 1 < pages else 0)
    path.write_bytes(out + data)


def write_webp(path, kind):
    side = 16383  # less one
    data = {
        b"VP8L": b"\x2f" + struct.pack("<I", side | side << 14) + bytes(8),
        b"VP8X": bytes(4) + 2 * struct.pack("<I", side)[:3],
        b"VP8 ": b"\x10\0\0\x9d\x01\x2a" + 2 * struct.pack("<H", side) + bytes(8),
    }[kind]
    chunk = kind + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk)


def write_gif(path, frames, side):
    """Frames of one pixel each on a large canvas."""
    frame = b"!\xf9\x04\0\1\0\0\0" + b"," + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\2\2D\1\0"
    head = (
        b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    )
    path.write_bytes(head + frame * frames + b";")


def write_jpeg(path, side):
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 90).save(buffer, "JPEG")
    data = buffer.getvalue()
    start = data.index(b"\xff\xc0") + 5
    path.write_bytes(data[:start] + struct.pack(">HH", side, side) + data[start + 4 :])


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_apng(path, frames, declared, side):
    data = zlib.compress(bytes(side * (side + 1)), 9)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))]
    chunks.append((b"acTL", struct.pack(">II", declared, 0)))
    for number in range(frames):
        control = struct.pack(">IIIIIHHBB", max(0, 2 * number - 1), side, side, 0, 0, 1, 9, 0, 0)
        chunks.append((b"fcTL", control))
        chunks.append(
            (b"IDAT", data) if not number else (b"fdAT", struct.pack(">I", 2 * number) + data)
        )
    chunks.append((b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))


BOMBS = {
    "pages.tif": lambda path: write_tiff_pages(path, 30, 8192),
    "lossless.webp": lambda path: write_webp(path, b"VP8L"),
    "extended.webp": lambda path: write_webp(path, b"VP8X"),
    "lossy.webp": lambda path: write_webp(path, b"VP8 "),
    "a.gif": lambda path: write_gif(path, 110, 3000),
    "a.jpg": lambda path: write_jpeg(path, 31000),
    "a.apng": lambda path: write_apng(path, 60, 60, 2500),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_declares_gigabytes_is_refused(tmp_path, name):
    BOMBS[name](tmp_path / name)
    assert (tmp_path / name).stat().st_size < 2_000_000
    assert name in refused(tmp_path / name)


def test_a_larger_limit_trusts_the_file(tmp_path):
    write_tiff_pages(tmp_path / "a.tif", 5, 8192)
    assert "If you trust the file, raise the limit" in refused(tmp_path / "a.tif")
    assert "GB of memory to be read" in refused(tmp_path / "a.tif", max_pixels=2 * GB)


def test_more_frames_than_an_apng_declares_are_not_decoded(tmp_path):
    write_apng(tmp_path / "a.png", 40, 2, 3000)
    with little_memory(GB):
        assert read_image(tmp_path / "a.png").array.shape == (2, 3000, 3000)


def test_a_stack_that_fits_into_memory_is_read(tmp_path):
    stack = np.random.default_rng(0).integers(0, 99, (5, 40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, compression="zlib", photometric="minisblack")
    assert read_image(tmp_path / "a.tif").array.shape == (5, 40, 50)


def test_the_limit_of_the_process_is_respected(tmp_path, monkeypatch):
    write_tiff_pages(tmp_path / "a.tif", 3, 4096)
    assert read_image(tmp_path / "a.tif").array.shape == (3, 4096, 4096)
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "100MB")  # less than this process has
    with pytest.raises(
        ImageError, match=r"0\.1 GB of memory to be read, and 0\.0 GB are available"
    ):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * GB), ("500 mb", GB // 2), ("2e9", 2 * GB), ("1.5G", 1.5 * GB)]
)
def test_sizes_of_memory_have_units(text, size):
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "much", "-1", "0", "inf", "nanG"])
def test_other_texts_are_no_sizes(text):
    with pytest.raises(SettingsError, match="such as 4GB"):
        memory.parse_size(text)


def test_an_ome_tiff_reads_no_files_of_other_folders(tmp_path):
    (tmp_path / "in").mkdir()
    page = '<TiffData IFD="0" FirstZ="{}" PlaneCount="1"><UUID FileName="{}">{}</UUID></TiffData>'
    uuid = "urn:uuid:00000000-0000-0000-0000-00000000000"
    for name in ("secret.ome.tif", "in/second.ome.tif"):
        tifffile.imwrite(tmp_path / name, np.full((2, 16, 16), 77, "u1"), metadata={"axes": "ZYX"})

    def write(other: str) -> Path:
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuid}1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
            'Type="uint8" SizeX="16" SizeY="16" SizeC="1" SizeZ="2" SizeT="1">'
            + page.format(0, "stack.ome.tif", uuid + "1")
            + page.format(1, other, uuid + "2")
            + "</Pixels></Image></OME>"
        )
        path = tmp_path / "in" / "stack.ome.tif"
        tifffile.imwrite(path, np.zeros((16, 16), "u1"), description=xml, metadata=None)
        return path

    for outside in ("../secret.ome.tif", str(tmp_path / "secret.ome.tif")):
        assert "outside of its folder" in refused(write(outside))
    (tmp_path / "in" / "link.ome.tif").symlink_to("../secret.ome.tif")
    assert "outside of its folder" in refused(write("link.ome.tif"))
    assert read_image(write("second.ome.tif")).array[:, 0, 0].tolist() == [0, 77]


def test_postscript_is_not_given_to_another_program(tmp_path):
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    (tmp_path / "a.png").write_text(text * 3)
    assert "is not an image in a readable format" in refused(tmp_path / "a.png")
