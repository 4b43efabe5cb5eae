"""Samples of more than 8 bits are kept, or the note says that they were reduced."""

from __future__ import annotations

import struct
import sys

import imagecodecs
import numpy as np
import png_files
import pytest
import tifffile
from PIL import Image

from napari_colorize.errors import ImageError
from napari_colorize.io.images import read_image

SHAPES = [(24, 32), (24, 32, 2), (24, 32, 3), (24, 32, 4)]


def ramp(shape, bits):
    """Values that use all bits, different in each channel."""
    values = np.linspace(0, 2**bits - 1, int(np.prod(shape)))
    return np.rint(values).astype(np.uint8 if bits <= 8 else np.uint16).reshape(shape)


def as_read(array, bits):
    """What a reader should return: full range of the dtype, gray + alpha as RGBA."""
    full = np.iinfo(array.dtype).max
    scaled = np.rint(array * (full / (2**bits - 1))).astype(array.dtype)
    return scaled[..., [0, 0, 0, 1]] if array.shape[2:] == (2,) else scaled


def read(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    return read_image(tmp_path / "a")


@pytest.mark.parametrize("color_type", [0, 2, 4, 6])
def test_png_of_16_bits(tmp_path, color_type):
    samples = png_files.SAMPLES[color_type]
    array = ramp((24, 32, samples)[: 2 + (samples > 1)], 16)
    record = read(tmp_path, png_files.png(array, 16, color_type))
    np.testing.assert_array_equal(record.array, as_read(array, 16))


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("codec", ["jp2", "j2k"])
def test_jpeg_2000(tmp_path, bits, shape, codec):
    array = ramp(shape, bits)
    encoded = imagecodecs.jpeg2k_encode(array, level=0, bitspersample=bits, codecformat=codec)
    np.testing.assert_array_equal(read(tmp_path, bytes(encoded)).array, as_read(array, bits))


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("shape", [*SHAPES[:1], *SHAPES[2:]])
def test_avif(tmp_path, bits, shape):
    array = ramp(shape, bits)
    encoded = imagecodecs.avif_encode(array, level=100, bitspersample=bits)
    np.testing.assert_array_equal(read(tmp_path, bytes(encoded)).array, as_read(array, bits))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("in_container", [False, True])
def test_jpeg_xl(tmp_path, bits, shape, in_container):
    array = ramp(shape, bits)
    encoded = imagecodecs.jpegxl_encode(
        array, lossless=True, bitspersample=bits, usecontainer=in_container
    )
    record = read(tmp_path, bytes(encoded))
    assert not record.is_stack
    np.testing.assert_array_equal(record.array, as_read(array, bits))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_jpeg_xl_of_floats(tmp_path, dtype):
    array = (ramp((24, 32, 3), 16) / 65535).astype(dtype)
    encoded = imagecodecs.jpegxl_encode(array, lossless=True)
    np.testing.assert_array_equal(read(tmp_path, bytes(encoded)).array, array)


def test_jpeg_of_12_bits(tmp_path):
    array = ramp((24, 32, 3), 12)
    encoded = bytes(imagecodecs.jpeg_encode(array, bitspersample=12, level=100))
    decoded = imagecodecs.jpeg_decode(encoded)
    record = read(tmp_path, encoded)
    np.testing.assert_array_equal(record.array, as_read(decoded, 12))
    assert np.abs(record.array - as_read(array, 12).astype(float)).max() < 65535 * 0.02


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_jpeg(tmp_path, bits):
    array = ramp((24, 32), bits)
    encoded = bytes(imagecodecs.ljpeg_encode(array, bitspersample=bits))
    np.testing.assert_array_equal(read(tmp_path, encoded).array, as_read(array, bits))


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 3)])
@pytest.mark.parametrize("bits", [8, 16])
def test_jpeg_ls(tmp_path, bits, shape):
    array = ramp(shape, bits)
    encoded = bytes(imagecodecs.jpegls_encode(array))
    np.testing.assert_array_equal(read(tmp_path, encoded).array, array)


@pytest.mark.parametrize("most", [65535, 4095, 1023])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6", "P7"])
def test_portable_pixmaps(tmp_path, kind, most):
    samples = {"P2": 1, "P3": 3, "P5": 1, "P6": 3, "P7": 4}[kind]
    array = np.rint(np.linspace(0, most, 24 * 32 * samples)).astype(np.uint16)
    head = f"{kind}\n# a comment\n32 24\n{most}\n"
    if kind == "P7":
        head = f"P7\nWIDTH 32\nHEIGHT 24\nDEPTH 4\nMAXVAL {most}\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
    is_plain = kind in ("P2", "P3")
    body = " ".join(map(str, array)).encode() if is_plain else array.astype(">u2").tobytes()
    record = read(tmp_path, head.encode() + body)
    expected = np.rint(array * (65535 / most)).reshape(24, 32, samples).squeeze()
    assert record.array.dtype == np.uint16
    np.testing.assert_allclose(record.array, expected, atol=1)


def test_a_truncated_pixmap_is_refused(tmp_path):
    with pytest.raises(ImageError, match="the file ends before"):
        read(tmp_path, b"P6 32 24 65535\n" + bytes(100))


@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("samples", [1, 3])
def test_tiff_of_odd_depth(tmp_path, bits, samples):
    array = ramp((24, 32, samples)[: 2 + (samples > 1)], bits)
    tifffile.imwrite(
        tmp_path / "a",
        iter([imagecodecs.packints_encode(array.ravel(), bits)]),
        shape=array.shape,
        dtype=array.dtype,
        bitspersample=bits,
        photometric="minisblack" if samples == 1 else "rgb",
        planarconfig="contig" if samples == 3 else None,
        compression=1,
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, as_read(array, bits))


def photoshop_file(array, mode, *, compress=False, version=1, alpha=False):
    """A PSD of the merged image only; `alpha`: the last channel is its transparency."""
    height, width, channels = array.shape
    big = array.astype(array.dtype.newbyteorder(">"))
    planes = np.ascontiguousarray(np.moveaxis(big, -1, 0))
    head = struct.pack(
        ">4sH6xHIIHH", b"8BPS", version, channels, height, width, 8 * array.dtype.itemsize, mode
    )
    wide = ">Q" if version == 2 else ">I"
    layers = struct.pack(wide, 2) + struct.pack(">h", -1) if alpha else b""
    sections = struct.pack(">II", 0, 0) + struct.pack(wide, len(layers)) + layers
    body = b"\0\0" + planes.tobytes()
    if compress:
        rows = [
            bytes(imagecodecs.packbits_encode(row.tobytes())) for row in planes.reshape(-1, width)
        ]
        count = ">I" if version == 2 else ">H"
        body = b"\0\1" + b"".join(struct.pack(count, len(row)) for row in rows) + b"".join(rows)
    return head + sections + body


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("mode", "channels", "alpha"), [(1, 1, 0), (1, 2, 1), (3, 3, 0), (3, 4, 1)]
)
def test_photoshop_files_of_16_bits(tmp_path, compress, version, mode, channels, alpha):
    array = ramp((24, 32, channels), 16)
    content = photoshop_file(array, mode, compress=compress, version=version, alpha=bool(alpha))
    np.testing.assert_array_equal(read(tmp_path, content).array, as_read(array, 16).squeeze())


def test_photoshop_files_of_32_bits(tmp_path):
    array = np.linspace(0, 1, 24 * 32 * 3, dtype=np.float32).reshape(24, 32, 3)
    np.testing.assert_array_equal(read(tmp_path, photoshop_file(array, 3)).array, array)


def test_photoshop_cmyk_of_16_bits_is_inverted_ink(tmp_path):
    array = np.full((4, 5, 4), 65535, np.uint16)  # no ink
    array[0, 0] = (65535, 0, 65535, 65535)  # full magenta
    record = read(tmp_path, photoshop_file(array, 4))
    assert record.array.dtype == np.uint16
    assert record.array[0, 0].tolist() == [65535, 0, 65535]
    assert record.array[1, 1].tolist() == [65535] * 3


def test_reduced_bits_are_mentioned(tmp_path):
    # SGI with 2 bytes per sample, which Pillow reduces to 8 bits.
    array = ramp((24, 32), 16)
    head = struct.pack(">HBBHHHH", 474, 0, 2, 2, 32, 24, 1).ljust(512, b"\0")
    record = read(tmp_path, head + array[::-1].astype(">u2").tobytes())
    assert record.array.dtype == np.uint8
    assert record.notes == (
        "Its 16 bits per sample were reduced to 8, because the decoder supports no more.",
    )


def test_an_animation_of_16_bits(tmp_path):
    first = ramp((24, 32), 16)
    parts = [png_files.Part(first), png_files.Part(first[:, ::-1])]
    record = read(tmp_path, png_files.apng(parts, (24, 32), 16, png_files.GRAY, plays=3))
    assert record.metadata.loop == 3
    assert record.metadata.durations == (100, 100)
    np.testing.assert_array_equal(record.array, [first, first[:, ::-1]])


def test_avif_sequences_of_10_bits(tmp_path):
    frames = np.stack([ramp((24, 32, 3), 10), ramp((24, 32, 3), 10)[::-1]])
    encoded = imagecodecs.avif_encode(frames, level=100, bitspersample=10)
    record = read(tmp_path, bytes(encoded))
    assert record.is_stack
    np.testing.assert_array_equal(record.array, as_read(frames, 10))


def test_heif_of_10_bits(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    array = ramp((64, 64, 3), 16)
    heif = pillow_heif.from_bytes("RGB;16", (64, 64), array.tobytes())
    heif.save(tmp_path / "a.heic", quality=-1, chroma=444)
    record = read_image(tmp_path / "a.heic")
    assert record.array.dtype == np.uint16
    assert np.abs(record.array - array.astype(float)).max() < 65535 * 0.02


def test_heif_without_a_decoder_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    content = struct.pack(">I4s4sI4s", 24, b"ftyp", b"heic", 0, b"mif1") + bytes(40)
    with pytest.raises(ImageError, match="pip install pillow-heif"):
        read(tmp_path, content)


def test_pillow_agrees_on_8_bits(tmp_path):
    array = ramp((24, 32, 3), 8)
    Image.fromarray(array).save(tmp_path / "a.jp2")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jp2").array, array)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (17, 18)])
@pytest.mark.parametrize("color_type", [0, 2, 4, 6])
@pytest.mark.parametrize("depth", [8, 16])
def test_interlaced_png_without_a_message_of_the_library(tmp_path, capfd, shape, color_type, depth):
    samples = png_files.SAMPLES[color_type]
    array = ramp((*shape, samples)[: 2 + (samples > 1)], depth)
    record = read(tmp_path, png_files.interlaced(array, depth, color_type))
    np.testing.assert_array_equal(record.array, as_read(array, depth))
    assert capfd.readouterr() == ("", "")


def test_frames_out_of_order_are_refused(tmp_path):
    first = ramp((6, 8), 8)
    parts = [png_files.Part(first), png_files.Part(first[::-1]), png_files.Part(first)]
    content = png_files.apng(parts, (6, 8), 8, png_files.GRAY)
    chunks = png_files.chunks(content)
    chunks[4:6], chunks[6:8] = chunks[6:8], chunks[4:6]
    with pytest.raises(ImageError, match="frames of its animation are out of order"):
        read(tmp_path, content[:8] + b"".join(chunks))


def test_a_jpeg_xl_animation_is_a_stack(tmp_path):
    frames = np.stack([ramp((24, 32, 3), 8), ramp((24, 32, 3), 8)[::-1]])
    record = read(tmp_path, bytes(imagecodecs.jpegxl_encode(frames, lossless=True)))
    assert (record.is_stack, record.metadata.axes, record.metadata.loop) == (True, "T", 0)
    assert record.notes == ("The display times of its frames cannot be read; 100 ms are used.",)
    np.testing.assert_array_equal(record.array, frames)


@pytest.mark.parametrize("bits", [12, 16])
def test_signed_components_of_jpeg_2000(tmp_path, bits):
    array = (ramp((24, 32), bits).astype(int) - 2 ** (bits - 1)).astype(np.int16)
    encoded = bytes(
        imagecodecs.jpeg2k_encode(array, level=0, bitspersample=bits, codecformat="j2k")
    )
    np.testing.assert_array_equal(
        read(tmp_path, encoded).array, as_read(ramp((24, 32), bits), bits)
    )


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_transparency_beyond_the_depth_of_a_png_prints_nothing(tmp_path, capfd, depth):
    stored = np.arange(16).reshape(4, 4) % 2**depth
    chunk = png_files.chunk(b"tRNS", struct.pack(">H", 0xFF01))
    record = read(tmp_path, png_files.png(stored, depth, png_files.GRAY, chunk))
    is_clear = stored == 0xFF01 % 2**depth
    np.testing.assert_array_equal(record.array[..., 3], np.where(is_clear, 0, 255))
    assert capfd.readouterr() == ("", "")


def test_superfluous_chunks_of_a_png_print_nothing(tmp_path, capfd):
    array = ramp((5, 7, 3), 16)
    background = png_files.chunk(b"bKGD", bytes(6))
    content = png_files.png(array, 16, png_files.RGB, background, background)
    np.testing.assert_array_equal(read(tmp_path, content).array, array)
    assert capfd.readouterr() == ("", "")
