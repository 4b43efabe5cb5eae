"""EXIF: orientation agrees with Pillow, and fields valid for the result are copied."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from napari_colorize.io import exif
from napari_colorize.io.image_record import Resolution

Base = ExifTags.Base


def block(**changes: object) -> Image.Exif:
    result = Image.Exif()
    result[Base.Make] = "Zeiss Ikon"
    for name, value in changes.items():
        result[Base[name]] = value
    return result


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)])
def test_orientation_agrees_with_pillow(orientation, shape):
    array = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    image = Image.fromarray(array)
    image.getexif()[Base.Orientation] = orientation
    upright = exif.apply_orientation(array, orientation, rgb=len(shape) == 3)
    np.testing.assert_array_equal(upright, np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_every_plane_of_a_stack(orientation):
    stack = np.random.default_rng(0).integers(0, 255, (2, 3, 5, 3), dtype=np.uint8)
    upright = exif.apply_orientation(stack, orientation, rgb=True)
    for plane, expected in zip(upright, stack, strict=True):
        np.testing.assert_array_equal(
            plane, exif.apply_orientation(expected, orientation, rgb=True)
        )


def test_camera_and_date_are_kept():
    source = block(Artist="A. Karlsson", DateTime="1921:05:01 12:00:00", Orientation=6)
    source.get_ifd(ExifTags.IFD.Exif)[Base.FNumber] = 4.5
    source.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    copied = exif.load(exif.copied_block(source))
    assert copied[Base.Make] == "Zeiss Ikon"
    assert copied[Base.Artist] == "A. Karlsson"
    assert copied.get_ifd(ExifTags.IFD.Exif)[Base.FNumber] == 4.5
    assert copied.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


def test_orientation_storage_and_thumbnail_are_removed():
    source = block(Orientation=6, StripOffsets=8, Compression=1)
    copied = exif.load(exif.copied_block(source))
    assert set(copied) == {Base.Make}


def test_without_fields_no_block_is_written():
    assert exif.copied_block(Image.Exif()) is None
    assert exif.result_block(None, size=(4, 3), resolution=None) == b""


@pytest.mark.parametrize("text", ["Åse Nordström", "写真", "plain"])
def test_text_in_any_language_is_kept(text):
    block_of_result = exif.result_block(
        exif.copied_block(block(Artist=text.encode())), size=(4, 3), resolution=None, caption=text
    )
    result = Image.Exif()
    result.load(block_of_result)
    assert exif.decode_text(result[Base.Artist]) == text
    assert exif.caption_of(result) == text


def test_latin_1_text_is_decoded():
    assert exif.decode_text("Åse".encode("latin-1")) == "Åse"


def test_the_stored_size_is_that_of_the_result():
    source = block()
    source.get_ifd(ExifTags.IFD.Exif)[Base.ExifImageWidth] = 99
    result = Image.Exif()
    result.load(exif.result_block(exif.copied_block(source), size=(4, 3), resolution=None))
    details = result.get_ifd(ExifTags.IFD.Exif)
    assert (details[Base.ExifImageWidth], details[Base.ExifImageHeight]) == (4, 3)


def test_resolution_survives_writing_and_reading():
    known = Resolution(300, 150, "cm")
    result = Image.Exif()
    result.load(exif.result_block(None, size=(4, 3), resolution=known))
    assert exif.read_exif(lambda: result).resolution == known


def test_a_damaged_block_is_left_out_with_a_note():
    source = Image.Exif()
    fields = exif.read_exif(lambda: source.load(b"Exif\0\0nonsense") or source)
    assert fields.block is None
    assert fields.notes


def test_the_maker_note_is_dropped_if_the_block_is_too_long():
    source = block()
    source.get_ifd(ExifTags.IFD.Exif)[Base.MakerNote] = bytes(70_000)
    result = exif.result_block(
        exif.copied_block(source), size=(4, 3), resolution=None, caption="here"
    )
    assert len(result) < 1000
    assert b"Zeiss Ikon" in result


@pytest.mark.parametrize("numbers", [(0, 72), (-1, 1), (float("nan"), 1), (None, 1), ("x", 1)])
def test_an_invalid_resolution_is_none(numbers):
    assert exif.valid_resolution(*numbers, "inch") is None
