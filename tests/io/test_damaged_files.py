"""Files that are broken, hostile or no pictures: one sentence each, with the name."""

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
from napari_colorize.io.images import read_image, read_provenance, write_image

PHOTOGRAPH = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)


def picture_file(folder, suffix):
    path = folder / f"a{suffix}"
    if suffix == ".gif":
        Image.fromarray(PHOTOGRAPH).save(path)
    else:
        array = PHOTOGRAPH.astype(np.uint16) * 257 if suffix == ".png" else PHOTOGRAPH
        write_image(path, array)
    return path


def png_that_claims(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def refused(path, **options):
    """The sentence with which a file is refused."""
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    sentence = str(caught.value)
    assert path.name in sentence
    assert sentence.strip()
    assert "\n" not in sentence
    return sentence


def test_a_missing_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "a.png")


def test_a_folder(tmp_path):
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".dcm", ".jpg", ""])
def test_an_empty_file(tmp_path, suffix):
    (tmp_path / f"a{suffix}").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".xyz", ""])
@pytest.mark.parametrize("content", [b"Dear diary,\n" * 30, b"\0", b"<html></html>" * 20])
def test_a_file_that_is_no_picture(tmp_path, suffix, content):
    (tmp_path / f"a{suffix}").write_bytes(content)
    assert "is not a picture" in refused(tmp_path / f"a{suffix}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_file_that_may_not_be_read(tmp_path):
    path = picture_file(tmp_path, ".png")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "may not be read" in refused(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".ome.tif", ".webp", ".gif", ".bmp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_was_cut(tmp_path, suffix, share):
    path = picture_file(tmp_path, suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("by_page", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_stack_that_was_cut_is_never_a_shorter_stack(tmp_path, share, by_page, compression):
    stack = PHOTOGRAPH[np.newaxis, ..., 0].repeat(6, axis=0)
    options = {"photometric": "minisblack", "compression": compression}
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for part in stack if by_page else [stack]:
            writer.write(part, metadata=None if by_page else {}, **options)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: int(len(content) * share)])
    with suppress(ImageError):  # or else only tags were cut, and the pixels are whole
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, stack)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "a.png").write_bytes(png_that_claims(60_000, 60_000))
    assert "max_pixels" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif"])
def test_above_pillows_limit_pictures_are_read_in_silence(tmp_path, monkeypatch, suffix):
    path = picture_file(tmp_path, suffix)
    # Pillow warns from 89 megapixels and gives up at twice as many; here much earlier.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).array.shape == PHOTOGRAPH.shape


def test_pillows_own_limit_is_left_alone(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    read_image(picture_file(tmp_path, ".jpg"))
    (tmp_path / "b.png").write_bytes(b"no")
    refused(tmp_path / "b.png")
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif"])
def test_the_limit_can_be_chosen(tmp_path, suffix):
    path = picture_file(tmp_path, suffix)
    assert "40 x 50 pixels, more than the limit of 1,999" in refused(path, max_pixels=1999)
    assert read_image(path, max_pixels=2000).array.shape[:2] == (40, 50)


def test_an_animation_counts_as_a_whole(tmp_path):
    frames = [Image.new("L", (50, 40), value) for value in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert "more than the limit" in refused(tmp_path / "a.gif", max_pixels=5999)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_that_claims_more_than_it_holds(tmp_path, compression):
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


def test_a_tiff_without_pages(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(4))
    refused(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_damaged_ends_in_a_picture_or_a_sentence(tmp_path, suffix, data):
    content = bytearray(picture_file_once(tmp_path, suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "b").write_bytes(content)
    logging.disable(logging.CRITICAL)  # tifffile has much to say about such files
    try:
        with warnings.catch_warnings(), suppress(ImageError):
            warnings.simplefilter("ignore")
            assert read_image(tmp_path / "b", max_pixels=100_000).array.size
    finally:
        logging.disable(logging.NOTSET)


def picture_file_once(folder, suffix):
    path = folder / f"a{suffix}"
    return (path if path.exists() else picture_file(folder, suffix)).read_bytes()


def test_provenance_of_what_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"Dear diary")
    with pytest.raises(ImageError, match=r"a\.png"):
        read_provenance(tmp_path / "a.png")
