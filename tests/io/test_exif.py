"""EXIF: turning upright as Pillow does, and keeping what is true of the result."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from napari_colorize.io import exif
from napari_colorize.io.image_record import Resolution

Base = ExifTags.Base


def block(**changes: object) -> Image.Exif:
    made = Image.Exif()
    made[Base.Make] = "Zeiss Ikon"
    for name, value in changes.items():
        made[Base[name]] = value
    return made


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)])
def test_turning_is_what_pillow_does(orientation, shape):
    array = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    image = Image.fromarray(array)
    image.getexif()[Base.Orientation] = orientation
    turned = exif.upright(array, orientation, rgb=len(shape) == 3)
    np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_plane_of_a_stack_is_turned(orientation):
    stack = np.random.default_rng(0).integers(0, 255, (2, 3, 5, 3), dtype=np.uint8)
    turned = exif.upright(stack, orientation, rgb=True)
    for plane, expected in zip(turned, stack, strict=True):
        np.testing.assert_array_equal(plane, exif.upright(expected, orientation, rgb=True))


def test_what_describes_the_photograph_stays():
    source = block(Artist="A. Karlsson", DateTime="1921:05:01 12:00:00", Orientation=6)
    source.get_ifd(ExifTags.IFD.Exif)[Base.FNumber] = 4.5
    source.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    kept = exif.load(exif.kept(source))
    assert kept[Base.Make] == "Zeiss Ikon"
    assert kept[Base.Artist] == "A. Karlsson"
    assert kept.get_ifd(ExifTags.IFD.Exif)[Base.FNumber] == 4.5
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


def test_orientation_storage_and_thumbnail_go():
    source = block(Orientation=6, StripOffsets=8, Compression=1)
    kept = exif.load(exif.kept(source))
    assert set(kept) == {Base.Make}


def test_nothing_kept_is_none_and_nothing_told_is_no_block():
    assert exif.kept(Image.Exif()) is None
    assert exif.composed(None, size=(4, 3), resolution=None) == b""


@pytest.mark.parametrize("text", ["Åse Nordström", "写真", "plain"])
def test_text_of_any_language_keeps_its_letters(text):
    block_of_result = exif.composed(
        exif.kept(block(Artist=text.encode())), size=(4, 3), resolution=None, caption=text
    )
    result = Image.Exif()
    result.load(block_of_result)
    assert exif.decoded(result[Base.Artist]) == text
    assert exif.caption_of(result) == text


def test_latin_1_text_is_understood_too():
    assert exif.decoded("Åse".encode("latin-1")) == "Åse"


def test_the_size_is_that_of_the_result():
    source = block()
    source.get_ifd(ExifTags.IFD.Exif)[Base.ExifImageWidth] = 99
    result = Image.Exif()
    result.load(exif.composed(exif.kept(source), size=(4, 3), resolution=None))
    details = result.get_ifd(ExifTags.IFD.Exif)
    assert (details[Base.ExifImageWidth], details[Base.ExifImageHeight]) == (4, 3)


def test_resolution_goes_in_and_comes_out():
    known = Resolution(300, 150, "cm")
    result = Image.Exif()
    result.load(exif.composed(None, size=(4, 3), resolution=known))
    assert exif.read_exif(lambda: result).resolution == known


def test_a_damaged_block_costs_no_picture():
    source = Image.Exif()
    facts = exif.read_exif(lambda: source.load(b"Exif\0\0nonsense") or source)
    assert facts.block is None
    assert facts.notes


def test_private_notes_of_the_camera_give_way_when_there_is_no_room():
    source = block()
    source.get_ifd(ExifTags.IFD.Exif)[Base.MakerNote] = bytes(70_000)
    result = exif.composed(exif.kept(source), size=(4, 3), resolution=None, caption="here")
    assert len(result) < 1000
    assert b"Zeiss Ikon" in result


@pytest.mark.parametrize("numbers", [(0, 72), (-1, 1), (float("nan"), 1), (None, 1), ("x", 1)])
def test_a_resolution_that_cannot_be_true_is_none(numbers):
    assert exif.positive(*numbers, "inch") is None
