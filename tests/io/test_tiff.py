"""TIFF: interpretation of samples, shapes of stacks, writing page by page."""

from __future__ import annotations

import errno
import os
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_colorize import provenance
from napari_colorize.errors import ImageError, OutputError
from napari_colorize.io import exif, tiff_reader, tiff_writer
from napari_colorize.io.images import (
    Metadata,
    Resolution,
    StackWriter,
    read_image,
    read_provenance,
    write_image,
)
from napari_colorize.io.tiff_pages import TiffPages
from napari_colorize.settings import ColorizeSettings

RECORD = provenance.describe(
    checkpoint_name="embedded",
    architecture="compact",
    sha256="ab" * 32,
    settings=ColorizeSettings(render_factor=12, saturation=1.5),
)
MICRONS = {
    "PhysicalSizeX": 0.25,
    "PhysicalSizeY": 0.25,
    "PhysicalSizeZ": 1.5,
    "PhysicalSizeXUnit": "µm",
    "PhysicalSizeYUnit": "µm",
    "PhysicalSizeZUnit": "µm",
}


def noise(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


# Reading


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"]
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (5, 7, 3)])
def test_every_dtype_is_kept(tmp_path, dtype, byteorder, shape):
    array = noise(shape) > 127 if dtype == "bool" else noise(shape, dtype)
    rgb = shape[-1] == 3
    if rgb and dtype == "bool":
        pytest.skip("no such thing")
    photometric = "rgb" if rgb else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=byteorder, photometric=photometric)
    record = read_image(tmp_path / "a.tif")
    assert record.array.dtype == dtype
    assert record.array.dtype.isnative
    assert (record.rgb, record.is_stack) == (rgb, shape[0] == 3)
    np.testing.assert_array_equal(record.array, array)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"tile": (16, 16)},
        {"rowsperstrip": 3},
        {"bigtiff": True},
        {"planarconfig": "separate"},
    ],
)
def test_every_layout_is_read(tmp_path, options):
    array = noise((40, 50, 3), "uint16")
    stored = np.moveaxis(array, -1, 0) if "planarconfig" in options else array
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **options)
    record = read_image(tmp_path / "a.tif")
    assert record.rgb
    np.testing.assert_array_equal(record.array, array)


def test_jpeg_inside_tiff_is_rgb(tmp_path):
    color = np.zeros((32, 32, 3), np.uint8)
    color[..., 0] = 200
    tifffile.imwrite(tmp_path / "a.tif", color, photometric="rgb", compression="jpeg")
    read = read_image(tmp_path / "a.tif").array
    np.testing.assert_allclose(read.astype(int), color.astype(int), atol=4)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "float32"])
def test_white_is_zero_is_inverted(tmp_path, dtype):
    array = np.array([[0, 1]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
    black, white = read_image(tmp_path / "a.tif").array[0, ::-1].astype(float)
    assert black < white


def test_twelve_bits_fill_sixteen(tmp_path):
    # Two samples of 12 bits, 0xFFF and 0x000, in three bytes.
    packed = b"\xff\xf0\x00"
    array = np.array([[0xFFF, 0]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", iter([packed]), shape=(1, 2), dtype=array.dtype,
                     bitspersample=12, photometric="minisblack", compression=1)  # fmt: skip
    assert read_image(tmp_path / "a.tif").array.tolist() == [[65535, 0]]


@pytest.mark.parametrize(("mode", "ndim"), [("L", 2), ("RGB", 3)])
def test_a_palette_is_looked_up(tmp_path, mode, ndim):
    source = Image.fromarray(noise((8, 8, 3))).convert(mode).quantize(16)
    source.save(tmp_path / "a.tif")
    record = read_image(tmp_path / "a.tif")
    expected = np.asarray(source.convert(mode))
    assert record.array.ndim == ndim
    np.testing.assert_array_equal(record.array, expected)


def test_gray_with_alpha_is_rgba(tmp_path):
    array = noise((5, 7, 2), "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig",
        extrasamples=["unassalpha"],
    )  # fmt: skip
    record = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(record.array, array[..., [0, 0, 0, 1]])


def test_premultiplied_alpha_is_undone(tmp_path):
    stored = np.array([[[50, 100, 0, 128], [10, 20, 30, 255], [0, 0, 0, 0]]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    read = read_image(tmp_path / "a.tif").array
    assert read.tolist() == [[[100, 199, 0, 128], [10, 20, 30, 255], [0, 0, 0, 0]]]


def test_unspecified_extra_samples_are_left_out_with_a_note(tmp_path):
    array = noise((5, 7, 5))
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unspecified"] * 2)
    record = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(record.array, array[..., :3])
    assert any("left out" in note for note in record.notes)


def test_bands_that_are_not_colors_are_a_stack(tmp_path):
    array = noise((5, 7, 6))
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig")
    record = read_image(tmp_path / "a.tif")
    assert (record.is_stack, record.rgb, record.metadata.axes) == (True, False, "C")
    np.testing.assert_array_equal(record.array, np.moveaxis(array, -1, 0))
    assert len(record.notes) == 1
    assert "6 channels are colorized as separate planes" in record.notes[0]


def test_an_unspecified_second_sample_is_mentioned(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise((5, 7, 2)),
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unspecified"],
    )
    record = read_image(tmp_path / "a.tif")
    assert record.array.shape == (2, 5, 7)
    assert "2 channels are colorized as separate planes" in record.notes[0]


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".ome.tif"])
def test_a_description_before_the_one_of_tifffile_is_kept(tmp_path, suffix):
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 7)), description="Harbor, plate 7")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages.first.tags.getall("ImageDescription")) == 2
    metadata = read_image(tmp_path / "a.tif").metadata
    write_image(tmp_path / f"b{suffix}", noise((5, 7, 3)), metadata, RECORD)
    block = read_image(tmp_path / f"b{suffix}").metadata.exif
    assert provenance.without_record(exif.caption_of(exif.load(block))) == "Harbor, plate 7"


def test_several_descriptions_are_kept(tmp_path):
    texts = ("Harbor", '{"plate": 7}', '{"shape": [5, 7]}', "Harbor")
    tags = [(270, 2, 0, text, True) for text in texts]
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 7)), metadata=None, extratags=tags)
    block = read_image(tmp_path / "a.tif").metadata.exif
    assert exif.caption_of(exif.load(block)) == 'Harbor\n{"plate": 7}'


def test_pages_of_other_sizes_are_mentioned(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(noise((5, 7)))
        writer.write(noise((8, 9)))
    record = read_image(tmp_path / "a.tif")
    assert record.array.shape == (5, 7)
    assert any("holds 2 images" in note for note in record.notes)


def write_pages(path, *pages, **options):
    """Write pages, each with its own options, as scanners do."""
    with tifffile.TiffWriter(path) as writer:
        for values, own in pages:
            writer.write(values, metadata=None, contiguous=False, **{**options, **own})


def test_each_page_has_its_own_palette(tmp_path):
    indices = noise((20, 30)) % 4
    first, second = (Image.fromarray(each, mode="P") for each in (indices, 3 - indices))
    levels = np.repeat([0, 85, 170, 255], 3).tolist()
    first.putpalette(levels)
    second.putpalette(levels[::-1])
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])

    record = read_image(tmp_path / "a.tif")

    assert record.is_stack and not record.rgb
    np.testing.assert_array_equal(record.array, np.stack([indices * 85] * 2))


def test_each_page_has_its_own_orientation(tmp_path):
    gray = noise((20, 30))
    pages = [(gray, 1), (gray[::-1, ::-1], 3), (gray[:, ::-1], 2), (np.rot90(gray), 6)]
    write_pages(
        tmp_path / "a.tif",
        *((values, {"extratags": [(274, "H", 1, code, True)]}) for values, code in pages),
    )

    record = read_image(tmp_path / "a.tif")

    np.testing.assert_array_equal(record.array, np.stack([gray] * 4))
    assert record.notes == ()


def test_pages_that_are_turned_differently_are_mentioned(tmp_path):
    tags = ({"extratags": [(274, "H", 1, code, True)]} for code in (1, 6))
    write_pages(tmp_path / "a.tif", *((noise((20, 30)), own) for own in tags))

    record = read_image(tmp_path / "a.tif")

    assert record.array.shape == (2, 20, 30) and record.notes == (tiff_reader.AS_THE_FIRST,)


def test_pages_that_are_stored_differently_are_one_stack(tmp_path):
    gray = noise((20, 30))
    write_pages(
        tmp_path / "a.tif",
        (gray, {"photometric": "minisblack"}),
        (255 - gray, {"photometric": "miniswhite"}),
        (gray > 99, {"photometric": "minisblack"}),
        (gray, {"photometric": "minisblack", "compression": "zlib"}),
    )

    record = read_image(tmp_path / "a.tif")

    expected = np.stack([gray, gray, (gray > 99) * np.uint8(255), gray])
    np.testing.assert_array_equal(record.array, expected)


def test_gray_and_color_pages_are_one_stack(tmp_path):
    gray, rgb = noise((20, 30)), noise((20, 30, 3))
    write_pages(tmp_path / "a.tif", (gray, {}), (rgb, {"photometric": "rgb"}), (gray, {}))

    record = read_image(tmp_path / "a.tif")

    assert record.rgb and record.is_stack
    np.testing.assert_array_equal(record.array[0], np.repeat(gray[..., np.newaxis], 3, axis=-1))
    np.testing.assert_array_equal(record.array[1], rgb)


def test_a_thumbnail_is_not_the_image(tmp_path):
    gray = noise((80, 120))
    for name, order in (("first.tif", (1, 0)), ("last.tif", (0, 1))):
        pages = ((gray, {}), (gray[::4, ::4].copy(), {"subfiletype": 1}))
        write_pages(tmp_path / name, *(pages[number] for number in order))

        record = read_image(tmp_path / name)

        np.testing.assert_array_equal(record.array, gray)
        assert record.notes == ()


def test_complex_numbers_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 7), "float32").astype("complex64"))
    with pytest.raises(ImageError, match=r"a\.tif contains values of type complex64"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (2, 3, 9, 11, 3)])
def test_axes_without_names_are_a_stack_too(tmp_path, shape):
    array = noise(shape)
    photometric = "rgb" if len(shape) == 5 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", array, photometric=photometric)
    record = read_image(tmp_path / "a.tif")
    assert (record.rgb, record.is_stack) == (len(shape) == 5, True)
    np.testing.assert_array_equal(record.array, array)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_lzw", "packbits"])
def test_bilevel_scans_are_read(tmp_path, compression):
    source = Image.fromarray(noise((40, 50)) > 127)
    source.save(tmp_path / "a.tif", compression=compression)
    read = read_image(tmp_path / "a.tif").array
    assert read.dtype == bool
    np.testing.assert_array_equal(read, np.asarray(source))


@pytest.mark.parametrize("samples", [1, 3])
def test_a_large_contiguous_stack_is_memory_mapped(tmp_path, monkeypatch, samples):
    array = noise((4, 50, 60, samples), "uint16").squeeze()
    photometric = "rgb" if samples == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", array, photometric=photometric)
    monkeypatch.setattr(tiff_reader, "_MEMMAP_BYTES", array.nbytes)
    read = read_image(tmp_path / "a.tif").array
    assert isinstance(read, np.memmap)
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("options", "samples"),
    [
        ({"compression": "zlib"}, ()),
        ({"compression": "lzw", "predictor": True, "tile": (16, 16)}, ()),
        ({"photometric": "miniswhite"}, ()),
        ({"photometric": "miniswhite", "compression": "zlib", "extratags": [(274, 3, 1, 6)]}, ()),
        ({"photometric": "rgb", "extratags": [(274, 3, 1, 4)]}, (3,)),
        ({"photometric": "rgb", "extrasamples": ["assocalpha"], "compression": "zlib"}, (4,)),
        ({"photometric": "separated", "compression": "zlib"}, (4,)),
        ({"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"}, (2,)),
        ({"photometric": "palette", "colormap": np.arange(768, dtype="u2").reshape(3, 256)}, ()),
        ({"compression": "zlib", "metadata": {"axes": "TZYX"}, "ome": True}, ()),
    ],
)
def test_a_large_stack_read_by_page_is_the_same(tmp_path, monkeypatch, options, samples):
    stack = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 30, *samples), np.uint8)
    options = {"photometric": "minisblack", **options}
    ome = options.pop("ome", False)
    path = tmp_path / ("a.ome.tif" if ome else "a.tif")
    tifffile.imwrite(path, stack, **options)
    whole = read_image(path)
    assert isinstance(whole.array, np.ndarray)
    monkeypatch.setattr(tiff_reader, "_MEMMAP_BYTES", 1)

    by_page = read_image(path)

    lazy = by_page.array
    assert isinstance(lazy, TiffPages)
    for name in ("is_stack", "rgb", "declared_range", "metadata", "notes"):
        assert getattr(by_page, name) == getattr(whole, name), name
    assert (lazy.shape, lazy.dtype, lazy.ndim, lazy.size, lazy.nbytes, len(lazy)) == (
        *(whole.array.shape, whole.array.dtype, whole.array.ndim),
        *(whole.array.size, whole.array.nbytes, len(whole.array)),
    )
    some = np.array([1, 0])
    keys = [0, (1, 2), (1, -1, 1), np.s_[:], np.s_[..., 2], np.s_[1, ..., :4, ::2], np.s_[::-1, 1:]]
    for key in [*keys, some, (some, 2), (0, some), np.array([False, True])]:
        np.testing.assert_array_equal(lazy[key], whole.array[key], err_msg=str(key))
    assert lazy[0, 1].flags.c_contiguous
    assert lazy[0, 1].flags.writeable
    np.testing.assert_array_equal(np.asarray(list(lazy), np.float64), whole.array)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy)), whole.array)
    with pytest.raises(IndexError):
        lazy[2]


def test_a_page_that_is_damaged_gives_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_reader, "_MEMMAP_BYTES", 1)
    stack = np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        at = tiff.pages[2].dataoffsets[0]
    with (tmp_path / "a.tif").open("r+b") as file:
        file.seek(at)
        file.write(b"damage")

    pages = read_image(tmp_path / "a.tif").array

    np.testing.assert_array_equal(pages[:2], stack[:2])
    with pytest.raises(ImageError, match="Page 2 of a.tif cannot be decoded"):
        pages[2]
    (tmp_path / "a.tif").unlink()
    with pytest.raises(ImageError, match="Page 0 of a.tif cannot be decoded"):
        pages[0]


def test_pages_are_read_from_several_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_reader, "_MEMMAP_BYTES", 1)
    stack = np.random.default_rng(0).integers(0, 256, (40, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, compression="zlib", photometric="minisblack")
    pages = read_image(tmp_path / "a.tif").array
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: pages[number], [*range(40)] * 3))
    np.testing.assert_array_equal(found, np.concatenate([stack] * 3))


def test_imagej_spacing_is_read(tmp_path):
    metadata = {"axes": "TZYX", "unit": "um", "spacing": 1.5, "finterval": 20.0}
    tifffile.imwrite(
        tmp_path / "a.tif", noise((2, 3, 5, 7)), imagej=True, resolution=(4, 4), metadata=metadata
    )
    read = read_image(tmp_path / "a.tif").metadata
    assert read.axes == "TZ"
    assert read.spacing == MICRONS | {"TimeIncrement": 20.0}
    assert read.exif is None or b"ImageJ=" not in read.exif


# Writing


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize(
    ("axes", "leading"), [("", ()), ("T", (3,)), ("TZ", (2, 3)), ("TZC", (2, 3, 2)), ("QI", (2, 3))]
)
@pytest.mark.parametrize("samples", [3, 4])
def test_a_stack_comes_back_in_shape(tmp_path, name, axes, leading, samples):
    array = noise((*leading, 9, 11, samples), "uint16")
    write_image(tmp_path / name, array, Metadata(axes=axes, spacing=MICRONS), RECORD)
    record = read_image(tmp_path / name)
    np.testing.assert_array_equal(record.array, array)
    assert (record.rgb, record.is_stack) == (True, bool(leading))
    assert read_provenance(tmp_path / name) == RECORD
    if name == "a.ome.tif" or leading:
        assert record.metadata.spacing == MICRONS
    if axes != "QI":  # not representable in OME
        assert record.metadata.axes == axes
    np.testing.assert_array_equal(tifffile.imread(tmp_path / name), array)


def test_ome_in_is_ome_out(tmp_path):
    gray = noise((2, 3, 9, 11), "uint16")
    attributes = {"axes": "TZYX", "Description": "Zebra <fish> & co.", "TimeIncrement": 20.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", gray, metadata=attributes | MICRONS)
    source = read_image(tmp_path / "a.ome.tif")
    colors = np.stack([source.array] * 3, axis=-1)
    write_image(tmp_path / "b.ome.tif", colors, source.metadata, RECORD)

    result = read_image(tmp_path / "b.ome.tif")
    assert result.metadata.axes == "TZ"
    assert result.metadata.spacing == MICRONS | {"TimeIncrement": 20.0}
    assert read_provenance(tmp_path / "b.ome.tif") == RECORD
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as file:
        assert file.is_ome
        assert "Zebra &lt;fish&gt; &amp; co." in file.ome_metadata


def test_a_single_image_has_a_plain_text_description(tmp_path):
    write_image(tmp_path / "a.tif", noise((9, 11, 3)), None, RECORD)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].description == provenance.to_text(RECORD)
        assert file.pages[0].software == provenance.software(RECORD)


def test_other_programs_read_it(tmp_path):
    array = noise((9, 11, 3))
    write_image(tmp_path / "a.tif", array, Metadata(resolution=Resolution(300, 300)), RECORD)
    with Image.open(tmp_path / "a.tif") as image:
        assert image.info["dpi"] == (300, 300)
        np.testing.assert_array_equal(np.asarray(image), array)


def test_nan_is_kept(tmp_path):
    array = noise((5, 7, 3), "float32")
    array[2, 3] = np.nan
    write_image(tmp_path / "a.tif", array)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, array)


def test_above_four_gigabytes_a_bigtiff_is_written(tmp_path, monkeypatch):
    array = noise((5, 7, 3))
    monkeypatch.setattr(tiff_writer, "_CLASSIC_LIMIT", array.nbytes - 1)
    write_image(tmp_path / "a.tif", array, None, RECORD)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
    assert read_provenance(tmp_path / "a.tif") == RECORD


def test_writing_page_by_page_needs_little_memory(tmp_path):
    shape = (30, 200, 200, 3)
    page = noise(shape[1:])
    tracemalloc.start()
    with StackWriter(tmp_path / "a.tif", shape=shape, dtype="uint8") as writer:
        for _ in range(shape[0]):
            writer.write(page)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < page.nbytes * shape[0] / 2
    assert read_image(tmp_path / "a.tif").array.shape == shape


def test_a_stack_with_pages_missing_is_not_written(tmp_path):
    with (
        pytest.raises(OutputError, match="only 1 of 2 pages"),
        StackWriter(tmp_path / "a.tif", shape=(2, 5, 7, 3), dtype="uint8") as writer,
    ):
        writer.write(noise((5, 7, 3)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_stack_leaves_no_file(tmp_path, error):
    def write_half():
        with StackWriter(tmp_path / "a.tif", shape=(2, 5, 7, 3), dtype="uint8") as writer:
            writer.write(noise((5, 7, 3)))
            raise error

    with pytest.raises(error):
        write_half()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_file(tmp_path, monkeypatch):
    def fill(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_too_much():
        with StackWriter(tmp_path / "a.tif", shape=(2, 5, 7, 3), dtype="uint8") as writer:
            writer.write(noise((5, 7, 3)))
            monkeypatch.setattr(tifffile.TiffWriter, "write", fill)
            writer.write(noise((5, 7, 3)))

    with pytest.raises(OutputError, match="the disk is full"):
        write_too_much()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.png", "a.dcm"])
def test_stacks_are_written_as_tiff_only(tmp_path, name):
    with pytest.raises(OutputError, match=r"\.tif"):
        StackWriter(tmp_path / name, shape=(2, 5, 7, 3), dtype="uint8")


def test_a_page_of_another_shape_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="A page must be"),
        StackWriter(tmp_path / "a.tif", shape=(2, 5, 7, 3), dtype="uint8") as writer,
    ):
        writer.write(noise((5, 7, 4)))
