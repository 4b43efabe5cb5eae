from __future__ import annotations

import sys
import tarfile

import numpy as np
import pytest
import tifffile
from napari_colorize_training.data.decode import (
    decode,
    ranges_of,
    shrink,
    shrunk_size,
    to_color,
    to_gray,
)
from napari_colorize_training.data.sources import read_source
from PIL import Image
from skimage import data

from napari_colorize.errors import ImageError
from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.io.images import write_image
from napari_colorize.provenance import SOFTWARE


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tif"])
def test_written_images_are_read(tmp_path, suffix):
    image = data.astronaut()[:60, :80]
    options = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(image).save(tmp_path / f"one{suffix}", **options)

    decoded = decode(tmp_path / f"one{suffix}", 160)

    np.testing.assert_array_equal(decoded.pixels, image)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".ome.tif", ".jp2"])
def test_results_of_this_program_are_recognized(tmp_path, suffix):
    image = data.astronaut()[:60, :80]
    record = {"software": SOFTWARE, "model": "embedded"}
    write_image(tmp_path / f"one{suffix}", image, provenance=record)
    write_image(tmp_path / f"other{suffix}", image)
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / f"one{suffix}", f"one{suffix}")
    (member,) = read_source(tmp_path / "shard.tar").items

    assert decode(tmp_path / f"one{suffix}", 160).predicted
    assert decode(member.color, 160).predicted
    assert not decode(tmp_path / f"other{suffix}", 160).predicted


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_results_of_sixteen_bits_are_recognized(tmp_path, suffix):
    image = np.random.default_rng(0).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    write_image(tmp_path / f"one{suffix}", image, provenance={"software": SOFTWARE})

    assert decode(tmp_path / f"one{suffix}", 160).predicted


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_kept(tmp_path, suffix):
    image = np.random.default_rng(0).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    write_image(tmp_path / f"one{suffix}", image)

    decoded = decode(tmp_path / f"one{suffix}", 160)

    np.testing.assert_array_equal(decoded.pixels, image)


def test_without_tifffile_pillow_is_used(tmp_path, monkeypatch):
    image = data.astronaut()[:60, :80]
    Image.fromarray(image).save(tmp_path / "one.tif")
    monkeypatch.setitem(sys.modules, "tifffile", None)

    np.testing.assert_array_equal(decode(tmp_path / "one.tif", 160).pixels, image)


def test_a_large_jpeg_is_decoded_at_no_less_than_twice_the_side(tmp_path):
    large = Image.fromarray(data.astronaut()).resize((2000, 1200))
    large.save(tmp_path / "large.jpg", quality=95)

    quick = decode(tmp_path / "large.jpg", 160).pixels

    assert 320 <= min(quick.shape[:2]) < 1200
    size = shrunk_size(quick.shape, 160)
    assert size == (160, 267)
    whole = np.asarray(Image.open(tmp_path / "large.jpg"))
    difference = shrink(quick, size).astype(float) - shrink(whole, size)
    assert np.abs(difference).mean() < 1


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by a quarter
    Image.new("RGB", (200, 160)).save(tmp_path / "one.jpg", exif=exif)

    assert decode(tmp_path / "one.jpg", 160).pixels.shape == (200, 160, 3)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_damaged_files_are_reported(tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)

    with pytest.raises(ImageError):
        decode(tmp_path / "broken.png", 160)


def test_truncated_files_are_reported(tmp_path):
    Image.fromarray(data.astronaut()).save(tmp_path / "one.jpg")
    content = (tmp_path / "one.jpg").read_bytes()
    (tmp_path / "one.jpg").write_bytes(content[: len(content) // 2])

    with pytest.raises(ImageError, match="truncated"):
        decode(tmp_path / "one.jpg", 160)


@pytest.mark.parametrize(
    "error", [Image.DecompressionBombError("too large"), ValueError("chunk"), SyntaxError("PNG")]
)
def test_images_that_pillow_refuses_are_reported(tmp_path, monkeypatch, error):
    Image.new("RGB", (40, 40)).save(tmp_path / "one.png")

    def refuse(file):
        raise error

    monkeypatch.setattr(Image, "open", refuse)

    with pytest.raises(ImageError, match=str(error)):
        decode(tmp_path / "one.png", 160)


def test_a_stack_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "stack.tif", np.zeros((3, 40, 40), np.uint16), photometric="minisblack"
    )

    with pytest.raises(ImageError, match="it is a stack"):
        decode(tmp_path / "stack.tif", 160)


def test_the_digest_does_not_depend_on_the_container(tmp_path):
    image = Image.fromarray(data.astronaut())
    for name in ("one.png", "two.png"):
        image.save(tmp_path / name)

    assert decode(tmp_path / "one.png", 160).digest == decode(tmp_path / "two.png", 40).digest
    assert decode(tmp_path / "one.png", 160).digest != decode(data.astronaut(), 160).digest


def test_colors_have_the_range_of_the_rule():
    image = np.random.default_rng(0).integers(100, 924, (200, 200, 3), dtype=np.uint16)
    decoded = decode(image, 160)

    rgb, limits = to_color(decoded)
    (percentiles, _) = ranges_of(decoded, rule="percentile")

    np.testing.assert_array_equal(rgb, image)
    assert limits == (0, 1023)
    assert to_color(decoded, percentiles)[1] == pytest.approx((100, 923), abs=2)


def test_eight_bits_with_another_range_than_their_own_are_stretched():
    image = np.full((4, 4, 3), 60, np.uint8)
    image[0, 0], image[1, 1] = 20, 100
    decoded = decode(image, 160)

    rgb, limits = to_color(decoded, ranges_of(decoded, rule="data")[0])

    assert (rgb.dtype, limits) == (np.uint16, (0, 65535))
    assert list(rgb[[0, 1, 2], [0, 1, 2], 0]) == [0, 65535, 32768]


def test_a_pair_of_one_dtype_has_one_range():
    color = decode(np.full((4, 4, 3), 4000, np.uint16), 160)
    gray = decode(np.full((4, 4), 900, np.uint16), 160)
    bright = decode(np.full((4, 4), 70, np.uint8), 160)

    assert [found.limits for found in ranges_of(color, gray)] == [(0, 4095), (0, 4095)]
    assert [found.limits for found in ranges_of(color, bright)] == [(0, 4095), (0, 255)]
    assert ranges_of(color, gray, (5, 900))[1].limits == (5, 900)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_converted_to_sixteen_bits(dtype):
    image = np.linspace(0, 1, 40 * 40 * 3).reshape(40, 40, 3).astype(dtype)
    image[0, 0] = np.nan

    rgb, limits = to_color(decode(image, 160))

    assert (rgb.dtype, limits) == (np.uint16, (0, 65535))
    np.testing.assert_allclose(rgb[1:] / 65535, image[1:], atol=1e-5)
    assert not rgb[0, 0].any()


@pytest.mark.parametrize(
    ("gray", "dtype", "limits"),
    [
        (np.full((4, 4), 7, np.uint8), np.uint8, (0, 255)),
        (np.full((4, 4), 7, np.uint16), np.uint16, (0, 255)),
        (np.full((4, 4), 4000, np.uint16), np.uint16, (0, 4095)),
        (np.array([[-1000, 3000]], np.int16), np.float32, (-1000, 3000)),
        (np.array([[0.2, 0.5]]), np.float32, (0, 1)),
        (np.array([[False, True]]), np.uint8, (0, 255)),
    ],
)
def test_gray_images_have_the_colorizers_default_limits(gray, dtype, limits):
    plane, found = to_gray(decode(gray, 160))

    assert (plane.dtype, found) == (dtype, limits)


def test_known_limits_are_used():
    plane, limits = to_gray(
        decode(np.zeros((4, 4), np.uint16), 160), IntensityRange((5, 900), "layer")
    )

    assert (plane.dtype, limits) == (np.uint16, (5, 900))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(64, 96), (64, 96, 3)])
def test_images_are_reduced_in_their_own_dtype(dtype, shape):
    scale = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = (np.random.default_rng(0).random(shape) * scale).astype(dtype)

    small = shrink(image, (32, 48))

    assert (small.dtype, small.shape) == (dtype, (32, 48, *shape[2:]))
    assert small.mean() / scale == pytest.approx(image.mean() / scale, abs=0.01)
    assert shrink(image, (64, 96)) is image
