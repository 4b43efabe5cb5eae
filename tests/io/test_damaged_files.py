"""Damaged and hostile files and non-images raise an ImageError that names the file."""

from __future__ import annotations

import logging
import os
import struct
import sys
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_colorize.errors import ImageError
from napari_colorize.io import formats
from napari_colorize.io.images import read_image, read_provenance, write_image

PHOTOGRAPH = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)


def sample_file(folder, suffix):
    path = folder / f"a{suffix}"
    if suffix == ".gif":
        Image.fromarray(PHOTOGRAPH).save(path)
    else:
        array = PHOTOGRAPH.astype(np.uint16) * 257 if suffix == ".png" else PHOTOGRAPH
        write_image(path, array)
    return path


def png_with_declared_size(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def refused(path, **options):
    """Message of the error for a file that is refused."""
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    sentence = str(caught.value)
    assert path.name in sentence
    assert sentence.strip()
    assert "\n" not in sentence
    return sentence


def test_a_missing_file_is_refused(tmp_path):
    assert "does not exist" in refused(tmp_path / "a.png")


def test_a_folder_is_refused(tmp_path):
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".dcm", ".jpg", ""])
def test_an_empty_file_is_refused(tmp_path, suffix):
    (tmp_path / f"a{suffix}").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".xyz", ""])
@pytest.mark.parametrize("content", [b"Dear diary,\n" * 30, b"\0", b"<html></html>" * 20])
def test_a_file_that_is_no_image_is_refused(tmp_path, suffix, content):
    (tmp_path / f"a{suffix}").write_bytes(content)
    assert "is not an image" in refused(tmp_path / f"a{suffix}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_heic_under_any_name_names_the_package_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert refused(path) == "a.jpg is a HEIC image. To read it: pip install pillow-heif."


def test_a_file_without_read_permission_is_refused(tmp_path):
    path = sample_file(tmp_path, ".png")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "may not be read" in refused(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".ome.tif", ".webp", ".gif", ".bmp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    path = sample_file(tmp_path, suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)


def test_a_tga_that_pillow_does_not_support_is_called_one(tmp_path):
    # A gray image with a palette, from the test suite of the Rust crate "image".
    (tmp_path / "a.tga").write_bytes(bytes([0, 1, 11, *[0] * 9, 1, 0, 1, 0, 32, 232, 0, 0]))
    assert "cannot be decoded as TGA" in refused(tmp_path / "a.tga")


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_truncated_file_is_called_damaged(tmp_path, suffix):
    path = sample_file(tmp_path, suffix)
    content = path.read_bytes()
    for share in (0.3, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        assert "damaged" in refused(path)


def test_a_png_with_a_wrong_checksum_is_called_damaged(tmp_path):
    Image.fromarray(PHOTOGRAPH).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / "a.png").write_bytes(content)
    assert "damaged, the checksum of a PNG chunk is wrong" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("by_page", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_stack_is_never_read_as_a_shorter_stack(tmp_path, share, by_page, compression):
    stack = PHOTOGRAPH[np.newaxis, ..., 0].repeat(6, axis=0)
    options = {"photometric": "minisblack", "compression": compression}
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for part in stack if by_page else [stack]:
            writer.write(part, metadata=None if by_page else {}, **options)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: int(len(content) * share)])
    with suppress(ImageError):  # unless only tags are missing and all pixels are present
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, stack)


def test_a_stack_that_ends_where_a_page_should_begin_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    stack = np.zeros((3, 8, 8), np.uint8)
    tifffile.imwrite(path, stack, photometric="minisblack", compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[2].offset
    path.write_bytes(path.read_bytes()[:start])

    with pytest.raises(ImageError, match="ends before its pixel data"):
        read_image(path)


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path):
    (tmp_path / "a.png").write_bytes(png_with_declared_size(60_000, 60_000))
    assert "max_pixels" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif"])
def test_images_above_pillows_limit_are_read_without_warning(tmp_path, monkeypatch, suffix):
    path = sample_file(tmp_path, suffix)
    # Pillow warns above 89 megapixels and fails above twice as many; the limit is lowered here.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).array.shape == PHOTOGRAPH.shape


def test_pillows_own_limit_is_unchanged(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    read_image(sample_file(tmp_path, ".jpg"))
    (tmp_path / "b.png").write_bytes(b"no")
    refused(tmp_path / "b.png")
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif"])
def test_the_limit_can_be_chosen(tmp_path, suffix):
    path = sample_file(tmp_path, suffix)
    error = refused(path, max_pixels=1999)
    assert "40 x 50 pixels, more than the limit of 1,999" in error
    assert "crop it with another program, or raise max_pixels of read_image in Python." in error
    assert read_image(path, max_pixels=2000).array.shape[:2] == (40, 50)


def test_the_limit_counts_all_frames_of_an_animation(tmp_path):
    frames = [Image.new("L", (50, 40), value) for value in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert "more than the limit" in refused(tmp_path / "a.gif", max_pixels=5999)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_with_too_few_pixels_is_refused(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PHOTOGRAPH[..., 0], compression=compression)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for tag in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[tag].overwrite(60_000)
    assert "max_pixels" in refused(path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags["ImageLength"].overwrite(400)
        tiff.pages[0].tags["ImageWidth"].overwrite(500)
    refused(path)


def test_a_tiff_without_pages_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(4))
    refused(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_an_image_or_an_image_error(tmp_path, suffix, data):
    content = bytearray(sample_file_once(tmp_path, suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "b").write_bytes(content)
    logging.disable(logging.CRITICAL)  # tifffile logs many errors for such files
    try:
        with warnings.catch_warnings(), suppress(ImageError):
            warnings.simplefilter("ignore")
            assert read_image(tmp_path / "b", max_pixels=100_000).array.size
    finally:
        logging.disable(logging.NOTSET)


def sample_file_once(folder, suffix):
    path = folder / f"a{suffix}"
    return (path if path.exists() else sample_file(folder, suffix)).read_bytes()


def test_reading_provenance_of_a_non_image_fails(tmp_path):
    (tmp_path / "a.png").write_bytes(b"Dear diary")
    with pytest.raises(ImageError, match=r"a\.png"):
        read_provenance(tmp_path / "a.png")
