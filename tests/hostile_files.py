"""Small files that unfold to gigabytes."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


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


def write_dicom(path, syntax="1.2.840.10008.1.2.1", **elements):
    """A DICOM file, of 32 x 32 pixels unless `elements` have others."""
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.UID(syntax)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Rows = made.Columns = 32
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 7, 0, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelData = bytes(32 * 32)
    for name, value in elements.items():
        setattr(made, name, value)
    made.save_as(path, enforce_file_format=True)


def write_deflated_dicom(path, size):
    """A data set that is `size` bytes of zeros."""
    write_dicom(path, syntax="1.2.840.10008.1.2.1.99")
    data = path.read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    part = packer.compress(bytes(2**22)) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(data[:start] + part * (size // 2**22) + packer.flush())


def write_dicom_items(path, count):
    """A sequence of empty items."""
    write_dicom(path)
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * count
    path.write_bytes(path.read_bytes() + sequence + b"\xfe\xff\xdd\xe0\0\0\0\0")


def write_stack(path, pages, side):
    """No bomb: pages of a compressed TIFF with a few gray values."""
    import tifffile

    ramp = np.linspace(0, 255, side).astype(np.uint8)
    with tifffile.TiffWriter(path) as writer:
        for page in range(pages):
            values = np.roll(ramp, 40 * page) * np.ones((side, 1), np.uint8)
            values[::16] ^= np.random.default_rng(page).integers(0, 64, side, np.uint8)
            writer.write(values, photometric="minisblack", compression="zlib", metadata=None)


BOMBS = {
    "pages.tif": lambda path: write_tiff_pages(path, 30, 10000),
    "lossless.webp": lambda path: write_webp(path, b"VP8L"),
    "extended.webp": lambda path: write_webp(path, b"VP8X"),
    "lossy.webp": lambda path: write_webp(path, b"VP8 "),
    "a.gif": lambda path: write_gif(path, 110, 3000),
    "a.jpg": lambda path: write_jpeg(path, 31000),
    "a.apng": lambda path: write_apng(path, 60, 60, 2500),
    "deflated.dcm": lambda path: write_deflated_dicom(path, 9 * 2**29),
    "items.dcm": lambda path: write_dicom_items(path, 2_000_000),
}
