"""Reading and writing images: pixels, metadata and provenance."""

from __future__ import annotations

import errno
import os
import warnings

import imagecodecs
import numpy as np
import PIL
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import ExifTags, Image, ImageCms, ImageOps

from napari_colorize import provenance
from napari_colorize.errors import ColorizeNote, OutputError
from napari_colorize.io.images import (
    Metadata,
    Resolution,
    fill_range,
    read_image,
    read_provenance,
    write_image,
)
from napari_colorize.settings import ColorizeSettings

Base = ExifTags.Base
RECORD = provenance.describe(
    checkpoint_name="embedded",
    architecture="compact",
    sha256="ab" * 32,
    settings=ColorizeSettings(render_factor=12, saturation=1.5),
    notes=["The image had color: 写真."],
)
EXACT = {
    ".png": ("uint8", "uint16"),
    ".webp": ("uint8",),
    ".tif": ("uint8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"),
    ".ome.tif": ("uint8", "uint16", "int16", "float32", "float64"),
    ".bmp": ("uint8",),
    ".tga": ("uint8",),
    ".ppm": ("uint8",),
    ".jp2": ("uint8",),
}
NEEDS_PILLOW_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow cannot read its own file"
)
WITH_PROVENANCE = [".png", ".jpg", ".webp", ".avif", ".jp2", ".tif", ".ome.tif"]


def photograph(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    """A smooth image, so that lossy formats change it little."""
    y, x = np.indices(shape[-3:-1]) / max(shape[-3:-1])
    samples = [x, y, (x + y) / 2, 1 - x / 2][: shape[-1]]
    unit = np.broadcast_to(np.stack(samples, axis=-1), shape)
    if np.dtype(dtype).kind == "f":
        return unit.astype(dtype)
    return np.rint(unit * np.iinfo(dtype).max).astype(dtype)


def gray_file(path, **options):
    image = Image.fromarray(photograph((24, 40, 3))[..., 0])
    image.save(path, **options)
    return path


# Pixels


@pytest.mark.parametrize(
    ("suffix", "dtype"), [(suffix, dtype) for suffix in EXACT for dtype in EXACT[suffix]]
)
@pytest.mark.parametrize("samples", [3, 4])
def test_pixels_survive_writing_and_reading(tmp_path, suffix, dtype, samples):
    if samples == 4 and suffix in (".bmp", ".ppm"):
        pytest.skip("holds no alpha")
    array = photograph((33, 40, samples), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColorizeNote)
        write_image(tmp_path / f"a{suffix}", array, None, RECORD)
    record = read_image(tmp_path / f"a{suffix}")
    assert record.rgb
    assert not record.is_stack
    assert record.array.dtype == dtype
    np.testing.assert_array_equal(record.array, array)


@pytest.mark.parametrize("suffix", [".jpg", ".avif"])
def test_lossy_formats_stay_close(tmp_path, suffix):
    array = photograph((33, 40, 3))
    write_image(tmp_path / f"a{suffix}", array)
    read = read_image(tmp_path / f"a{suffix}").array
    np.testing.assert_allclose(read.astype(int), array.astype(int), atol=6)


def test_jpeg_chroma_is_not_subsampled(tmp_path):
    write_image(tmp_path / "a.jpg", photograph((16, 16, 3)))
    with Image.open(tmp_path / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".png", ".tif", ".webp"]))
def test_any_shape_and_values_survive_writing_and_reading(tmp_path, data, suffix):
    dtype = data.draw(st.sampled_from(EXACT[suffix]))
    samples = data.draw(st.sampled_from([3, 4]))
    sides = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    array = data.draw(hnp.arrays(dtype, (*sides, samples)))
    write_image(tmp_path / f"a{suffix}", array, overwrite=True)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}").array, array)


def test_arrays_are_writable_and_contiguous(tmp_path):
    path = gray_file(tmp_path / "a.jpg", exif=_oriented(6))
    array = read_image(path).array
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert array.dtype.isnative


@pytest.mark.parametrize(
    ("mode", "suffix", "dtype", "shape"),
    [
        ("1", ".png", "bool", (24, 40)),
        ("L", ".png", "uint8", (24, 40)),
        ("L", ".jpg", "uint8", (24, 40)),
        ("L", ".gif", "uint8", (24, 40)),
        ("L", ".pgm", "uint8", (24, 40)),
        ("I;16", ".png", "uint16", (24, 40)),
        ("I;16", ".pgm", "uint16", (24, 40)),
        ("I", ".tif", "int32", (24, 40)),
        ("F", ".tif", "float32", (24, 40)),
        ("LA", ".png", "uint8", (24, 40, 4)),
        ("P", ".png", "uint8", (24, 40, 3)),
        ("PA", ".tif", "uint8", (24, 40, 3)),
        ("CMYK", ".jpg", "uint8", (24, 40, 3)),
        ("CMYK", ".tif", "uint8", (24, 40, 3)),
        ("YCbCr", ".jpg", "uint8", (24, 40, 3)),
        pytest.param("YCbCr", ".tif", "uint8", (24, 40, 3), marks=NEEDS_PILLOW_13),
    ],
)
def test_every_pixel_mode_is_read_as_gray_or_rgb(tmp_path, mode, suffix, dtype, shape):
    color = Image.fromarray(photograph((24, 40, 3)))
    wide = np.asarray(color.convert("L"), np.int32) * 257
    by_hand = {"I": wide, "I;16": wide.astype(np.uint16), "F": wide.astype(np.float32)}
    if mode in by_hand:
        image = Image.fromarray(by_hand[mode])
    else:
        image = color.convert("P").convert("PA") if mode == "PA" else color.convert(mode)
    image.save(tmp_path / f"a{suffix}")
    record = read_image(tmp_path / f"a{suffix}")
    assert (record.array.dtype, record.array.shape) == (np.dtype(dtype), shape)
    assert record.rgb == (len(shape) == 3)


def test_16_bit_gray_with_alpha_is_kept(tmp_path):
    array = photograph((5, 7, 3), "uint16")[..., :2].copy()
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array))
    read = read_image(tmp_path / "a.png").array
    np.testing.assert_array_equal(read, array[..., [0, 0, 0, 1]])


def test_a_palette_with_a_transparent_color_has_alpha(tmp_path):
    image = Image.fromarray(photograph((24, 40, 3))).convert("P")
    image.save(tmp_path / "a.png", transparency=image.getpixel((0, 0)))
    array = read_image(tmp_path / "a.png").array
    assert array.shape == (24, 40, 4)
    assert array[0, 0, 3] == 0
    assert array[-1, -1, 3] == 255


def test_cmyk_becomes_srgb_with_a_note_and_without_its_profile(tmp_path):
    image = Image.fromarray(photograph((24, 40, 3))).convert("CMYK")
    image.save(tmp_path / "a.jpg", icc_profile=bytes(16) + b"CMYK" + bytes(200))
    record = read_image(tmp_path / "a.jpg")
    assert record.metadata.icc is None
    assert any("CMYK" in note for note in record.notes)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_is_a_stack_in_time(tmp_path, suffix):
    frames = [Image.new("L", (8, 6), value) for value in (0, 100, 200)]
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[40, 60, 80], **options)
    record = read_image(path)
    assert record.is_stack
    assert not record.rgb
    assert record.array[:, 0, 0].tolist() == [0, 100, 200]
    assert record.metadata.axes == "T"
    assert record.metadata.durations == (40, 60, 80)


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animation_is_written_with_its_timing(tmp_path, suffix):
    stack = np.stack([np.full((6, 8, 3), value, np.uint8) for value in (0, 100, 200)])
    metadata = Metadata(axes="T", durations=(40, 60, 80))
    write_image(tmp_path / f"a{suffix}", stack, metadata, RECORD)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.n_frames == 3
    assert read_image(tmp_path / f"a{suffix}").metadata.durations == (40, 60, 80)
    assert read_provenance(tmp_path / f"a{suffix}") == RECORD


def test_frames_without_a_duration_are_shown_for_a_tenth_of_a_second(tmp_path):
    stack = np.stack([np.full((6, 8, 3), value, np.uint8) for value in (0, 100, 200)])

    write_image(tmp_path / "a.webp", stack, Metadata(axes="T", durations=(0, 60, 0)), RECORD)
    write_image(tmp_path / "b.webp", stack, Metadata(axes="T"), RECORD)

    assert read_image(tmp_path / "a.webp").metadata.durations == (100, 60, 100)
    assert read_image(tmp_path / "b.webp").metadata.durations == (100, 100, 100)


# Metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_is_applied_once(tmp_path, orientation, suffix):
    source = Image.fromarray(photograph((24, 40, 3)))
    options = {"lossless": True} if suffix == ".webp" else {}
    source.save(tmp_path / f"a{suffix}", exif=_oriented(orientation), **options)
    record = read_image(tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(record.array, expected)

    write_image(tmp_path / f"b{suffix}", record.array, record.metadata)
    assert read_image(tmp_path / f"b{suffix}").array.shape == expected.shape
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.getexif().get(Base.Orientation, 1) == 1
        assert image.getexif()[Base.Make] == "Zeiss Ikon"


def test_the_resolution_follows_the_orientation(tmp_path):
    path = gray_file(tmp_path / "a.jpg", exif=_oriented(6), dpi=(300, 150))
    assert read_image(path).metadata.resolution == Resolution(150, 300)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif", ".ome.tif", ".bmp"])
@pytest.mark.parametrize(("known", "per_inch"), [(("inch", 300), 300), (("cm", 120), 304.8)])
def test_resolution_is_kept(tmp_path, suffix, known, per_inch):
    unit, number = known
    metadata = Metadata(resolution=Resolution(number, number, unit))
    write_image(tmp_path / f"a{suffix}", photograph((24, 40, 3)), metadata)
    found = read_image(tmp_path / f"a{suffix}").metadata.resolution
    factor = 2.54 if found.unit == "cm" else 1
    # JPEG stores integers.
    assert found.x * factor == pytest.approx(per_inch, abs=0.5)
    assert found.y * factor == pytest.approx(per_inch, abs=0.5)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif", ".ome.tif"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_color_profile_is_kept(tmp_path, suffix, dtype):
    if dtype not in EXACT.get(suffix, "uint8"):
        pytest.skip("holds no 16 bits")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_image(tmp_path / f"a{suffix}", photograph((24, 40, 3), dtype), Metadata(icc=profile))
    assert read_image(tmp_path / f"a{suffix}").metadata.icc == profile


def test_a_gray_profile_becomes_one_for_rgb(tmp_path):
    gray = bytes(imagecodecs.cms_profile("gray", gamma=1.8))
    record = read_image(gray_file(tmp_path / "a.jpg", icc_profile=gray))
    assert record.metadata.icc[16:20] == b"RGB "


@pytest.mark.parametrize("source_suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif", ".ome.tif"])
def test_camera_date_artist_and_caption_are_kept(tmp_path, source_suffix, suffix):
    source = _oriented(1)
    source[Base.Artist] = "A. Karlsson"
    source[Base.ImageDescription] = "Grandmother, 1921"
    source[Base.DateTime] = "1999:12:31 23:59:59"
    source.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    source.get_ifd(ExifTags.IFD.Exif)[Base.DateTimeOriginal] = "1921:05:01 12:00:00"
    path = gray_file(tmp_path / f"a{source_suffix}", exif=source.tobytes())
    record = read_image(path)
    write_image(tmp_path / f"b{suffix}", photograph((24, 40, 3)), record.metadata, RECORD)

    copied = read_image(tmp_path / f"b{suffix}").metadata.exif
    result = Image.Exif()
    result.load(copied)
    assert result[Base.Make] == "Zeiss Ikon"
    assert result[Base.Artist] == "A. Karlsson"
    assert result[Base.DateTime] == "1999:12:31 23:59:59"
    assert result.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert result[Base.ImageDescription].startswith("Grandmother, 1921")
    details = result.get_ifd(ExifTags.IFD.Exif)
    assert details[Base.DateTimeOriginal] == "1921:05:01 12:00:00"
    assert read_provenance(tmp_path / f"b{suffix}") == RECORD


def test_exif_directories_of_a_tiff_begin_at_even_offsets(tmp_path):
    source = _oriented(1)
    source.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    source.get_ifd(ExifTags.IFD.Exif)[Base.DateTimeOriginal] = "1921:05:01 12:00:00"
    starts = []
    for width in range(40, 50):  # compressed pixels of an even or an odd number of bytes
        path = tmp_path / f"{width}.tif"
        write_image(path, photograph((24, width, 3)), Metadata(exif=source.tobytes()), {})
        with Image.open(path) as image:
            starts += [image.tag_v2[ifd] for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)]

    assert len(starts) == 20 and not any(start % 2 for start in starts)


def test_a_gray_thumbnail_is_not_copied(tmp_path):
    gray_file(tmp_path / "thumbnail.jpg", quality=20)
    thumbnail = (tmp_path / "thumbnail.jpg").read_bytes()
    path = gray_file(tmp_path / "a.jpg", exif=_with_thumbnail(thumbnail))
    record = read_image(path)
    write_image(tmp_path / "b.jpg", photograph((24, 40, 3)), record.metadata)
    assert thumbnail in path.read_bytes()
    assert thumbnail not in (tmp_path / "b.jpg").read_bytes()


def test_png_text_fields_are_kept(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    words = PngInfo()
    words.add_itxt("Author", "Åse")
    record = read_image(gray_file(tmp_path / "a.png", pnginfo=words))
    write_image(tmp_path / "b.tif", photograph((24, 40, 3)), record.metadata)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert "Åse" in repr(tiff.pages[0].tags["Artist"].value)


# Provenance


@pytest.mark.parametrize("suffix", WITH_PROVENANCE)
def test_results_contain_provenance(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", photograph((40, 40, 3)), None, RECORD)
    assert read_provenance(tmp_path / f"a{suffix}") == RECORD
    # The sentence is stored as plain text in the file.
    assert b"Colors are predicted" in (tmp_path / f"a{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", WITH_PROVENANCE)
def test_provenance_can_be_switched_off(tmp_path, suffix):
    for nothing in (None, {}):
        write_image(tmp_path / f"a{suffix}", photograph((40, 40, 3)), None, nothing, overwrite=True)
        assert read_provenance(tmp_path / f"a{suffix}") is None
        assert b"predicted" not in (tmp_path / f"a{suffix}").read_bytes()


def test_16_bit_png_contains_provenance(tmp_path):
    write_image(tmp_path / "a.png", photograph((9, 9, 3), "uint16"), None, RECORD)
    assert read_provenance(tmp_path / "a.png") == RECORD


@pytest.mark.parametrize("suffix", [".bmp", ".tga", ".ppm"])
def test_formats_that_cannot_hold_provenance_warn(tmp_path, suffix):
    with pytest.warns(
        ColorizeNote, match="provenance record of a.* was dropped because .* cannot hold it"
    ):
        write_image(tmp_path / f"a{suffix}", photograph((9, 9, 3)), None, RECORD)


def test_a_new_record_replaces_the_one_of_the_source(tmp_path):
    write_image(tmp_path / "a.jpg", photograph((16, 16, 3)), None, RECORD)
    again = RECORD | {"model": "deoldify-artistic"}
    source = read_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg", source.array, source.metadata, again)
    assert read_provenance(tmp_path / "b.jpg") == again
    assert (tmp_path / "b.jpg").read_bytes().count(b"Colors are predicted") == 1


# Refusals and safety of existing files


@pytest.mark.parametrize(
    ("name", "dtype", "samples", "words"),
    [
        ("a.jpg", "uint16", 3, r"JPEG cannot store uint16\. Choose \.png"),
        ("a.jpg", "uint8", 4, r"with transparency\. Choose \.png"),
        ("a.png", "float32", 3, r"PNG cannot store float32\. Choose \.tif"),
        ("a.png", "int16", 3, r"Choose \.tif"),
        ("a.ome.tif", "float16", 3, r"OME-TIFF cannot store float16\. Choose \.tif"),
        ("a.webp", "uint16", 3, r"Choose \.png"),
    ],
)
def test_a_format_that_cannot_store_the_result_is_refused(tmp_path, name, dtype, samples, words):
    with pytest.raises(OutputError, match=words):
        write_image(tmp_path / name, photograph((5, 7, samples), dtype))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])
def test_a_format_without_frames_refuses_stacks(tmp_path, name):
    with pytest.raises(OutputError, match=r"as a stack\. Choose \.tif"):
        write_image(tmp_path / name, photograph((2, 5, 7, 3)))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_nothing_is_overwritten_unless_allowed(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        write_image(path, photograph((5, 7, 3)))
    assert path.read_bytes() == b"precious"
    write_image(path, photograph((5, 7, 3)), overwrite=True)
    assert read_image(path).array.shape == (5, 7, 3)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_existing_files_unchanged(tmp_path, monkeypatch, suffix, overwrite):
    path = tmp_path / f"a{suffix}"
    if overwrite:
        path.write_bytes(b"precious")
    monkeypatch.setattr(Image.Image, "save", _fill_the_disk)
    monkeypatch.setattr(tifffile.TiffWriter, "write", _fill_the_disk)
    with pytest.raises(OutputError, match="the disk is full"):
        write_image(path, photograph((5, 7, 3)), overwrite=overwrite)
    assert [one.name for one in tmp_path.iterdir()] == [path.name] * overwrite
    assert not overwrite or path.read_bytes() == b"precious"


def test_encoder_errors_name_the_file_and_other_formats(tmp_path):
    with pytest.raises(OutputError, match=r"could not be written as WEBP.*Choose \.png or \.tif"):
        write_image(tmp_path / "a.webp", np.zeros((1, 20_000, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 2), (0, 7, 3)])
def test_only_color_can_be_written(tmp_path, shape):
    with pytest.raises(ValueError, match="RGB or RGBA"):
        write_image(tmp_path / "a.png", np.zeros(shape, np.uint8))


# Filling the range


def test_a_window_is_stretched_to_the_full_range():
    rgb = np.array([[[-160, 40, 240]]], np.int16)
    np.testing.assert_array_equal(fill_range(rgb, (-160, 240)), [[[0, 32768, 65535]]])
    assert fill_range(rgb, (-160, 240)).dtype == np.uint16


def test_uint8_stays_uint8_and_floats_are_unchanged():
    assert fill_range(np.array([[[0, 8, 15]]], np.uint8), (0, 15)).tolist() == [[[0, 136, 255]]]
    floats = np.random.default_rng(0).random((2, 2, 3))
    assert fill_range(floats, (-1000, 1000)) is floats


def _oriented(orientation: int) -> Image.Exif:
    result = Image.Exif()
    result[Base.Make] = "Zeiss Ikon"
    result[Base.Orientation] = orientation
    return result


def _with_thumbnail(jpeg: bytes) -> bytes:
    """An EXIF block whose second directory points to a small JPEG, as written by cameras."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    first, second = ImageFileDirectory_v2(), ImageFileDirectory_v2()
    first[Base.Make] = "Zeiss Ikon"
    start = 8 + len(first.tobytes(8))
    second[Base.JpegIFByteCount] = len(jpeg)
    second[Base.JpegIFOffset] = 0
    second[Base.JpegIFOffset] = start + len(second.tobytes(start))
    # The offset of the next directory follows the entries and precedes the values.
    entries = 2 + 12 * len(first)
    head = first.tobytes(8)
    head = head[:entries] + start.to_bytes(4, "little") + head[entries + 4 :]
    return b"Exif\0\0II*\0\x08\0\0\0" + head + second.tobytes(start) + jpeg


def _fill_the_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
