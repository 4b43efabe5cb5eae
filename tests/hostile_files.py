"""Small files that unfold to gigabytes."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


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


def write_webp_frames(path, frames, side):
    """Frames of one pixel each on a large canvas."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "WEBP", lossless=True)
    place = bytes(12) + b"\x64\0\0\0"  # offset and size less one, milliseconds, flags
    frame = place + buffer.getvalue()[12:]
    canvas = b"\x02\0\0\0" + 2 * struct.pack("<I", side - 1)[:3]
    chunks = [(b"VP8X", canvas), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * frames]
    data = b"".join(kind + struct.pack("<I", len(each)) + each for kind, each in chunks)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data)


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
    path.write_bytes(SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks))


def declared_png(side):
    """A PNG whose header claims other sides than its pixels have."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return SIGNATURE + header + png_chunk(b"IDAT", zlib.compress(bytes(72)))


def write_icon(path, side):
    """An icon of 16 pixels that contains a large PNG."""
    data = declared_png(side)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(data), 22)
    path.write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + data)


def write_apng_frame(path, side):
    """An animation of 8 pixels with a large frame."""
    pixels = zlib.compress(bytes(72))
    frame = struct.pack(">IIIIIHHBB", 1, side, side, 0, 0, 1, 9, 0, 0)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)),
        (b"acTL", struct.pack(">II", 2, 0)),
        (b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 9, 0, 0)),
        (b"IDAT", pixels),
        (b"fcTL", frame),
        (b"fdAT", struct.pack(">I", 2) + pixels),
        (b"IEND", b""),
    ]
    path.write_bytes(SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks))


def write_gif_frame(path, frames, side):
    """A canvas of 10 pixels, and frames of one pixel that are far outside of it."""
    ends = [0] + [side - 1] * frames
    data = [
        b"!\xf9\x04\0\1\0\0\0," + struct.pack("<4HB", end, end, 1, 1, 0) + b"\2\2D\1\0"
        for end in ends
    ]
    head = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    path.write_bytes(head + b"".join(data) + b";")


def write_tiff_segment(path, compression, data, *, tile=None):
    """A TIFF of 16 x 16 pixels whose only strip, or tile, is `data`."""
    tags = {256: 16, 257: 16, 258: 8, 259: compression, 262: 1, 277: 1}
    start = 8 + 2 + 12 * 10 + 4
    if tile is None:
        tags |= {273: start, 278: 16, 279: len(data), 284: 1}
    else:
        tags |= {322: tile, 323: tile, 324: start, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, 10) + entries + bytes(4) + data)


def declared_segments(folder):
    """Compression and content of TIFF segments that claim to be images of many pixels."""
    import imagecodecs

    small = np.zeros((16, 16), np.uint8)
    jpeg2000 = bytearray(imagecodecs.jpeg2k_encode(small, codecformat="j2k"))
    jpeg2000[8:16] = struct.pack(">II", 60_000, 60_000)
    lerc = bytearray(imagecodecs.lerc_encode(small))
    lerc[14:22] = struct.pack("<ii", 60_000, 60_000)
    xr = bytearray(imagecodecs.jpegxr_encode(small))
    at = xr.find(b"WMPHOTO\0") + 10
    xr[at] &= 0x7F
    xr[at + 2 : at + 6] = struct.pack(">II", 60_000, 60_000)
    write_webp(folder / "segment", b"VP8L")
    webp = (folder / "segment").read_bytes()
    write_jpeg(folder / "segment", 60_000)
    return {
        7: (folder / "segment").read_bytes(),
        34712: bytes(jpeg2000),
        34887: bytes(lerc),
        34933: declared_png(60_000),
        34934: bytes(xr),
        50001: webp,
    }


def write_ome_planes(path, planes):
    """One page, and OME-XML that declares many."""
    import tifffile

    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="16" '
        f'SizeY="16" SizeC="1" SizeZ="{planes}" SizeT="1"><TiffData/></Pixels></Image></OME>'
    )
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), description=xml, metadata=None)


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


def write_dicom_frames(path, frames, side):
    """JPEG frames of which each claims a large size."""
    from pydicom.encaps import encapsulate

    write_jpeg(path, side)
    pixels = {"Rows": side, "Columns": side, "NumberOfFrames": frames}
    data = encapsulate([path.read_bytes()] * frames)
    write_dicom(path, syntax="1.2.840.10008.1.2.4.50", PixelData=data, **pixels)


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
    "icon.ico": lambda path: write_icon(path, 60_000),
    "frame.png": lambda path: write_apng_frame(path, 60_000),
    "frame.gif": lambda path: write_gif_frame(path, 30, 9000),
    "tile.tif": lambda path: write_tiff_segment(path, 8, deflated(30_000**2), tile=30_000),
    "planes.ome.tif": lambda path: write_ome_planes(path, 10**9),
    "frames.webp": lambda path: write_webp_frames(path, 200, 4000),
    "frames.dcm": lambda path: write_dicom_frames(path, 200, 4000),
    "items.dcm": lambda path: write_dicom_items(path, 2_000_000),
}
