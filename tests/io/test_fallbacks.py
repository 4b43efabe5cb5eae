"""Kinds of TIFF that tifffile or Pillow refuse, and refusals that claim no more than is known."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from napari_colorize.errors import ImageError
from napari_colorize.io.images import read_image

RAMP = np.linspace(0, 1, 24 * 32 * 4).reshape(24, 32, 4)
SCALES = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}
SQUARES = np.kron(np.indices((3, 4)).sum(axis=0) % 2, np.ones((8, 8))).astype(bool)  # (24, 32)


def stored(dtype, array=RAMP):
    scaled = array * SCALES[dtype]
    return (scaled if dtype.startswith("float") else np.rint(scaled)).astype(dtype)


def without_tag(path, tag):
    """The file with a tag renamed to one that nobody reads."""
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<H", tag), 8)
    content[place : place + 2] = struct.pack("<H", tag - 1)
    path.write_bytes(content)
    return path


# CMYK and Lab


@pytest.mark.parametrize("dtype", SCALES)
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"planarconfig": "separate"}])
@pytest.mark.parametrize("alpha", [False, True])
def test_cmyk_of_every_depth_and_layout(tmp_path, dtype, layout, alpha):
    ink = stored(dtype)
    samples = np.concatenate([ink, ink[..., :1]], axis=-1) if alpha else ink
    planar = "planarconfig" in layout
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(samples, -1, 0) if planar else samples,
        photometric="separated",
        extrasamples=["unassalpha"] if alpha else None,
        **layout,
    )
    record = read_image(tmp_path / "a.tif")
    expected = (1 - RAMP[..., :3]) * (1 - RAMP[..., 3:])
    assert record.array.dtype == dtype
    assert record.notes == ("The image was converted to sRGB from the color space CMYK.",)
    np.testing.assert_allclose(
        record.array[..., :3] / SCALES[dtype], expected, atol=2 / 255 if dtype == "uint8" else 1e-4
    )
    if alpha:
        np.testing.assert_array_equal(record.array[..., 3], ink[..., 0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", ["cielab", "icclab"])
@pytest.mark.parametrize("alpha", [False, True])
def test_lab_agrees_with_littlecms(tmp_path, dtype, kind, alpha):
    rng = np.random.default_rng(0)
    packed = rng.integers((80, 115, 115), (204, 142, 142), (24, 32, 3)).astype(np.uint8)
    lab = (packed - np.array((0, 128, 128))) * (100 / 255, 1, 1)
    if dtype == "float32":
        samples = lab.astype(dtype)
    else:
        unit = 1 if dtype == "uint8" else 256
        full = SCALES[dtype] if kind == "cielab" else 255 * unit
        ab = lab[..., 1:] * unit + (128 * unit if kind == "icclab" else 0)
        samples = np.rint(np.concatenate([lab[..., :1] * full / 100, ab], axis=-1))
        samples = samples.astype(int).astype(dtype)  # negative numbers in two's complement
    if alpha:
        samples = np.concatenate([samples, samples[..., :1]], axis=-1)
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples,
        photometric=kind,
        extrasamples=["unassalpha"] if alpha else None,
    )
    record = read_image(tmp_path / "a.tif")
    image = Image.merge("LAB", [Image.fromarray(packed[..., band]) for band in range(3)])
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    expected = np.asarray(ImageCms.profileToProfile(image, *profiles, outputMode="RGB"))
    scale = 255 / SCALES[dtype]
    np.testing.assert_allclose(record.array[..., :3] * scale, expected, atol=4)
    assert np.abs(record.array[..., :3] * scale - expected).mean() < 0.6
    assert record.array.shape[-1] == 3 + alpha


# Missing photometric interpretation


@pytest.mark.parametrize("compression", [None, "group3", "group4", "packbits", "tiff_lzw"])
def test_bilevel_without_photometric_is_as_in_pillow(tmp_path, compression):
    path = tmp_path / "a.tif"
    Image.fromarray(SQUARES).save(path, compression=compression)
    without_tag(path, 262)
    with Image.open(path) as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(read_image(path).array, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_gray_without_photometric_is_as_in_pillow(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", stored(dtype)[..., 0], photometric="minisblack")
    without_tag(tmp_path / "a.tif", 262)
    with Image.open(tmp_path / "a.tif") as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, expected)


def test_three_samples_without_photometric_are_rgb_as_in_libtiff(tmp_path):
    array = stored("uint8")[..., :3]
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb")
    np.testing.assert_array_equal(read_image(without_tag(tmp_path / "a.tif", 262)).array, array)


# Palettes


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("gray", [False, True])
def test_palettes_of_every_depth(tmp_path, bits, gray):
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (2**bits, 3), np.uint8)
    if gray:
        palette = palette[:, [0, 0, 0]]
    indices = rng.integers(0, 2**bits, (24, 32), np.uint8)
    strip = np.packbits(
        ((indices[..., np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1).reshape(24, -1), axis=1
    )
    tifffile.imwrite(
        tmp_path / "a.tif",
        iter([strip.tobytes()]),
        shape=(24, 32),
        dtype=bool if bits == 1 else np.uint8,
        bitspersample=bits,
        photometric="palette",
        colormap=(palette.T.astype(np.uint16) * 257) if bits in (8, 16) else None,
        compression=1,
        extratags=[]
        if bits == 8
        else [(320, 3, 3 * 2**bits, (palette.T.astype(np.uint16) * 257).ravel(), True)],
    )
    expected = palette[indices]
    found = read_image(tmp_path / "a.tif").array
    np.testing.assert_array_equal(found, expected[..., 0] if gray else expected)


# Old-style JPEG


def test_old_style_jpeg_is_read_by_libtiff(tmp_path):
    Image.fromarray(stored("uint8")[..., :3]).save(tmp_path / "a.jpg", quality=95)
    jpeg = (tmp_path / "a.jpg").read_bytes()
    entries = [
        (256, 3, 1, 32), (257, 3, 1, 24), (258, 3, 3, 0), (259, 3, 1, 6), (262, 3, 1, 6),
        (273, 4, 1, 0), (277, 3, 1, 3), (278, 3, 1, 24), (279, 4, 1, len(jpeg)),
        (513, 4, 1, 0), (514, 4, 1, len(jpeg)), (530, 3, 2, 1 | 1 << 16),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(entries) + 4
    places = {258: start, 273: start + 6, 513: start + 6}
    directory = b"".join(
        struct.pack("<HHII", tag, kind, count, places.get(tag, value))
        for tag, kind, count, value in entries
    )
    content = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4)
    (tmp_path / "a.tif").write_bytes(content + struct.pack("<HHH", 8, 8, 8) + jpeg)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(image).astype(int)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").array, expected, atol=8)


# Refusals


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"GIF89a", "GIF"),
        (b"II*\0\x08\0\0\0\1\0", "TIFF"),
        (b"8BPS\0\1", "PSD"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avif", "AVIF"),
        (b"RIFF\0\0\0\0WEBP", "WebP"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    ],
)
@pytest.mark.parametrize("rest", [b"", bytes(200), bytes(range(1, 256)) * 2])
def test_a_refusal_names_file_and_format_and_no_python(tmp_path, start, kind, rest):
    (tmp_path / "a.bin").write_bytes(start + rest)
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "a.bin")
    sentence = str(caught.value)
    assert sentence.startswith("a.bin ")
    assert kind in sentence or "size" in sentence or "pixels" in sentence
    internals = ("object", "index", "operand", "NoneType", "unpack", "buffer", "argument", "'")
    assert not any(word in sentence for word in internals)


def test_an_unknown_compression_of_a_tiff_is_not_called_damage(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored("uint8"), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(34661)  # JBIG
    with pytest.raises(ImageError, match="cannot be decoded as TIFF") as caught:
        read_image(path)
    assert "damaged" not in str(caught.value)
