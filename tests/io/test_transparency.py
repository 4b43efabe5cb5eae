"""Transparency of every kind is kept, also in animations."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import png_files
import pytest
import tifffile
from PIL import Image, ImageSequence

from napari_colorize.io.images import read_image, write_image

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
# What an APNG does with a frame's area before the next frame, and with its pixels.
KEEP, BACKGROUND, PREVIOUS = range(3)
SOURCE, OVER = range(2)


def read(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    return read_image(tmp_path / "a")


def noise(shape, dtype="uint8", most=None):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, most or np.iinfo(dtype).max, shape, dtype, endpoint=True)


# Still images


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_transparent_gray_level_of_a_png(tmp_path, depth):
    array = noise((9, 16), "uint16", most=2**depth - 1)
    level = int(array[2, 3])
    chunk = png_files.chunk(b"tRNS", struct.pack(">H", level))
    found = read(tmp_path, png_files.png(array, depth, GRAY, chunk)).array
    full = 65535 if depth == 16 else 255
    assert found.dtype == (np.uint16 if depth == 16 else np.uint8)
    np.testing.assert_array_equal(found[..., 3], np.where(array == level, 0, full))
    np.testing.assert_array_equal(found[..., 0], np.rint(array * (full / (2**depth - 1))))


@pytest.mark.parametrize("depth", [8, 16])
def test_one_transparent_color_of_a_png(tmp_path, depth):
    array = noise((9, 16, 3), "uint16", most=3)
    color = array[2, 3]
    chunk = png_files.chunk(b"tRNS", struct.pack(">HHH", *color))
    found = read(tmp_path, png_files.png(array, depth, RGB, chunk)).array
    np.testing.assert_array_equal(found[..., :3], array)
    np.testing.assert_array_equal(found[..., 3] == 0, (array == color).all(axis=-1))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_png_palette_with_partial_transparency(tmp_path, depth):
    entries = 2**depth
    array, palette = noise((9, 16), most=entries - 1), noise((entries, 3))
    alpha = np.full(entries, 255, np.uint8)
    alpha[: entries // 2] = np.linspace(0, 250, entries // 2)
    chunks = [
        png_files.chunk(b"PLTE", palette.tobytes()),
        png_files.chunk(b"tRNS", alpha[: entries // 2].tobytes()),
    ]
    found = read(tmp_path, png_files.png(array, depth, PALETTE, *chunks)).array
    np.testing.assert_array_equal(found, np.dstack([palette[array], alpha[array]]))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float16", "float32", "float64"])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack", "miniswhite"])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_alpha(tmp_path, dtype, photometric, kind, planar):
    samples = 4 if photometric == "rgb" else 2
    array = noise((9, 11, samples), dtype)
    full = 1 if array.dtype.kind == "f" else np.iinfo(dtype).max
    array[..., -1] = np.maximum(array[..., -1], full * 0.5)  # so that division is exact enough
    stored = array.astype(np.float64)
    if photometric == "miniswhite":
        stored[..., :-1] = full - stored[..., :-1] if array.dtype.kind == "u" else -stored[..., :-1]
    if kind == "assocalpha":
        if photometric == "miniswhite":
            pytest.skip("not defined")
        stored[..., :-1] *= stored[..., -1:] / full
    stored = (stored if array.dtype.kind == "f" else np.rint(stored)).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a",
        np.moveaxis(stored, -1, 0) if planar == "separate" else stored,
        photometric=photometric,
        planarconfig=planar,
        extrasamples=[kind],
    )
    found = read_image(tmp_path / "a").array
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[..., 3], array[..., -1])
    expected = array[..., :3] if samples == 4 else array[..., [0, 0, 0]]
    np.testing.assert_allclose(
        found[..., :3].astype(float), expected.astype(float), rtol=1e-2, atol=2 * (full > 1)
    )


def test_four_samples_of_rgb_without_extrasamples_are_rgba_as_in_pillow(tmp_path):
    array = noise((9, 11, 4))
    tifffile.imwrite(tmp_path / "a", array, photometric="rgb", extrasamples=["unassalpha"])
    content = bytearray((tmp_path / "a").read_bytes())
    place = content.index(struct.pack("<HH", 338, 3))
    content[place : place + 2] = struct.pack("<H", 337)
    (tmp_path / "a").write_bytes(content)
    with Image.open(tmp_path / "a") as image:
        np.testing.assert_array_equal(np.asarray(image), array)
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, array)


def test_a_tiff_palette_with_alpha(tmp_path):
    image = Image.fromarray(noise((9, 11, 3))).convert("P").convert("PA")
    image.putalpha(Image.fromarray(noise((9, 11))))
    image.save(tmp_path / "a.tif")
    found = read_image(tmp_path / "a.tif").array
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGBA")))


@pytest.mark.parametrize("shape", [(9, 11, 2), (9, 11, 4)])
def test_jpeg_xl_and_jpeg_2000_alpha(tmp_path, shape):
    array = noise(shape)
    expected = array[..., [0, 0, 0, 1]] if shape[-1] == 2 else array
    for encode, options in (
        (imagecodecs.jpegxl_encode, {"lossless": True}),
        (imagecodecs.jpeg2k_encode, {"level": 0, "codecformat": "jp2"}),
    ):
        found = read(tmp_path, bytes(encode(array, **options))).array
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("suffix", [".ico", ".tga", ".bmp", ".webp", ".avif", ".dds", ".qoi"])
def test_alpha_agrees_with_pillow(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    rgba = noise((16, 16, 4))
    if suffix == ".bmp":  # Pillow writes no alpha: a BITMAPV4HEADER with a mask for it
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        info = struct.pack("<IiiHHIIiiII", 108, 16, -16, 1, 32, 3, 1024, 0, 0, 0, 0) + masks
        info = info.ljust(108, b"\0")
        bgra = rgba[..., [2, 1, 0, 3]].tobytes()
        path.write_bytes(struct.pack("<2sIII", b"BM", 1146, 0, 122) + info + bgra)
    else:
        Image.fromarray(rgba).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGBA"))
    assert (expected[..., 3] < 255).any()
    np.testing.assert_array_equal(read_image(path).array, expected)


def test_gray_and_alpha_of_a_tga(tmp_path):
    array = noise((9, 11, 2))
    Image.fromarray(array, "LA").save(tmp_path / "a.tga")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tga").array, array[..., [0, 0, 0, 1]])


# Animations


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("blend", [SOURCE, OVER])
@pytest.mark.parametrize("dispose", [KEEP, BACKGROUND, PREVIOUS])
def test_an_apng_is_composed(tmp_path, depth, blend, dispose):
    full = 2**depth - 1
    first = np.full((6, 8, 4), (full, 0, 0, full))
    second = np.full((3, 4, 4), (0, full, 0, full // 2))
    third = np.full((2, 2, 4), (0, 0, full, full))
    parts = [
        png_files.Part(first),
        png_files.Part(second, x=2, y=1, dispose=dispose, blend=blend),
        png_files.Part(third, x=3, y=2),
    ]
    content = png_files.apng(parts, (6, 8), depth, RGBA)
    found = read(tmp_path, content).array
    share = (full // 2) / full
    mixed = np.rint([full * (1 - share), full * share, 0, full])
    covered = mixed if blend == OVER else (0, full, 0, full // 2)
    np.testing.assert_allclose(found[1, 1, 2], covered[: found.shape[-1]], atol=1)
    np.testing.assert_array_equal(found[1, 0, 0][:3], (full, 0, 0))
    after = {KEEP: covered, BACKGROUND: (0, 0, 0, 0), PREVIOUS: (full, 0, 0, full)}[dispose]
    np.testing.assert_allclose(found[2, 1, 2], after[: found.shape[-1]], atol=1)
    np.testing.assert_array_equal(found[2, 3, 4][:3], (0, 0, full))


@pytest.mark.parametrize("color_type", [GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA])
def test_apng_frames_agree_with_pillow(tmp_path, color_type):
    rng = np.random.default_rng(1)
    samples = png_files.SAMPLES[color_type]
    parts = []
    for number in range(6):
        y, x = (0, 0) if not number else rng.integers(0, 5, 2)
        height, width = (9, 12) if not number else rng.integers(1, (9 - y + 1, 12 - x + 1))
        array = rng.integers(0, 256, (height, width, samples)[: 2 + (samples > 1)], np.uint8)
        if samples in (2, 4):  # Pillow does not compose partial transparency as the standard does
            array[..., -1] = np.where(array[..., -1] > 127, 255, 0)
        parts.append(
            png_files.Part(array, x, y, dispose=number % 2, blend=number % 2, delay=(number, 100))
        )
    extra = []
    if color_type == PALETTE:
        extra = [
            png_files.chunk(b"PLTE", noise((256, 3)).tobytes()),
            png_files.chunk(b"tRNS", (noise((256,)) // 128 * 255).tobytes()),
        ]
    record = read(tmp_path, png_files.apng(parts, (9, 12), 8, color_type, *extra))
    with Image.open(tmp_path / "a") as image:
        expected = [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(image)]
    found = record.array
    if found.ndim == 3:
        found = np.stack([found] * 3, axis=-1)
    visible = np.stack(expected)[..., 3] > 0
    difference = np.abs(found[..., :3].astype(int) - np.stack(expected)[..., :3])
    assert difference[visible].max() == 0
    assert record.metadata.durations == (0, 10, 20, 30, 40, 50)


def test_a_hidden_default_image_of_an_apng_is_no_frame(tmp_path):
    frames = [noise((5, 6)), noise((5, 6))[::-1]]
    parts = [png_files.Part(frame) for frame in frames]
    content = png_files.apng(parts, (5, 6), 8, GRAY, default_image=np.zeros((5, 6)))
    np.testing.assert_array_equal(read(tmp_path, content).array, frames)


def gif_frame(indices, x, y, *, control=b"", palette=b""):
    """A GIF image block, LZW with a clear code before each pixel."""
    height, width = indices.shape
    flags = 0x80 | 1 if palette else 0
    codes = [code for index in indices.ravel() for code in (4, int(index))] + [5]
    bits = sum(code << (3 * place) for place, code in enumerate(codes))
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    blocks = b"".join(
        bytes([len(data[start : start + 255])]) + data[start : start + 255]
        for start in range(0, len(data), 255)
    )
    head = struct.pack("<BHHHHB", 0x2C, x, y, width, height, flags)
    return control + head + palette + b"\2" + blocks + b"\0"


def test_gif_frames_may_differ_in_size_place_palette_and_disposal(tmp_path):
    red_green = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    gray = bytes([0, 0, 0, 80, 80, 80, 160, 160, 160, 240, 240, 240])
    control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 0b00001001, 7, 3, 0)  # background, index 3
    content = b"GIF89a" + struct.pack("<HHBBB", 8, 6, 0x80 | 1, 0, 0) + red_green
    content += gif_frame(np.zeros((6, 8), int), 0, 0, control=control)
    content += gif_frame(np.full((2, 3), 2), 1, 1, control=control, palette=gray)
    content += gif_frame(np.full((3, 4), 3), 0, 0, control=control)
    content += gif_frame(np.ones((7, 10), int), 1, 1) + b";"  # beyond the canvas
    record = read(tmp_path, content)
    assert record.array.shape == (4, 8, 11, 4)
    assert record.array[0, 0, 0].tolist() == [255, 0, 0, 255]
    assert record.array[0, 7, 10].tolist() == [0, 0, 0, 0]
    assert record.array[1, 1, 1].tolist() == [160, 160, 160, 255]
    assert record.array[2, 0, 0, 3] == 0
    assert record.array[3, 7, 10].tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animated_transparency_survives(tmp_path, suffix):
    frames = []
    for place in range(3):
        frame = np.zeros((8, 8, 4), np.uint8)
        frame[place : place + 3, 2:5] = (10 * place, 200, 30, 255)
        frames.append(frame)
    images = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {"disposal": 2}
    images[0].save(
        tmp_path / f"a{suffix}", save_all=True, append_images=images[1:], duration=50, **options
    )
    record = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(record.array[..., 3], np.stack(frames)[..., 3])

    target = tmp_path / f"b{'.webp' if suffix == '.gif' else suffix}"
    write_image(target, record.array, record.metadata)
    np.testing.assert_array_equal(read_image(target).array[..., 3], np.stack(frames)[..., 3])


def test_pages_of_different_sizes_are_no_animation(tmp_path):
    pages = [Image.new("CMYK", (8, 6)), Image.new("CMYK", (5, 7))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    record = read_image(tmp_path / "a.tif")
    assert record.array.shape == (6, 8, 3)
    assert any("holds 2 images" in note for note in record.notes)


def test_an_animated_webp_of_two_colors_keeps_its_transparency(tmp_path):
    frames = np.zeros((2, 50, 100, 4), np.uint8)
    frames[0, 10:20, 10:30] = frames[1, 20:30, 10:30] = (9, 8, 7, 255)
    write_image(tmp_path / "a.webp", frames)
    with Image.open(tmp_path / "a.webp") as image:
        for number, frame in enumerate(frames):
            image.seek(number)
            np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), frame)
