"""XMP, IPTC, comments, PNG text, gamma and timing reach the result, or one sentence names them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import png_files
import pytest
import tifffile
from PIL import Image, ImageCms, IptcImagePlugin, PngImagePlugin

from napari_colorize import provenance
from napari_colorize.errors import ColorizeNote
from napari_colorize.io import tiff_reader
from napari_colorize.io.images import Metadata, read_image, read_provenance, write_image
from napari_colorize.io.text_metadata import Dropped, dropped, dropped_sentence, resources_of
from napari_colorize.settings import ColorizeSettings

RECORD = provenance.describe(
    checkpoint_name="embedded",
    architecture="compact",
    sha256="ab" * 32,
    settings=ColorizeSettings(render_factor=12, saturation=1.5),
)
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description tiff:Orientation="6" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    b' dc:creator="\xc3\x85se" xmlns:dc="http://purl.org/dc/elements/1.1/"/></rdf:RDF></x:xmpmeta>'
)
UPRIGHT_XMP = XMP.replace(b'Orientation="6"', b'Orientation="1"')
CAPTION = b"The harbor in 1931"
IPTC = b"\x1c\x02\x00\x00\x02\x00\x02" + struct.pack(">BBBH", 0x1C, 2, 120, len(CAPTION)) + CAPTION
PHOTOSHOP = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(IPTC)) + IPTC + b"\0" * (len(IPTC) % 2)
GRAY = np.tile(np.arange(40, dtype=np.uint8) * 6, (24, 1))
RGB = np.stack([GRAY] * 3, axis=-1)


def app13(content):
    return b"\xff\xed" + struct.pack(">H", len(content) + 16) + b"Photoshop 3.0\0" + content


def source(path, *, xmp=None, iptc=False, comment=None):
    """A gray file with these metadata, written by other programs."""
    image, options = Image.fromarray(GRAY), {}
    if path.suffix in (".tif", ".tiff"):
        tags = [(700, 1, len(xmp), xmp, True)] if xmp else []
        tags += [(33723, 7, len(IPTC), IPTC, True)] if iptc else []
        tifffile.imwrite(path, GRAY, extratags=tags)
        return path
    if path.suffix == ".png":
        texts = PngImagePlugin.PngInfo()
        if xmp:
            texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
        if iptc:
            digits = PHOTOSHOP.hex()
            texts.add_text(
                "Raw profile type iptc", f"\niptc\n {len(PHOTOSHOP)}\n{digits}\n", zip=True
            )
        if comment:
            texts.add_text("Comment", comment)
        options["pnginfo"] = texts
    else:
        options |= {"xmp": xmp} if xmp else {}
        options |= {"extra": app13(PHOTOSHOP)} if iptc else {}
        options |= {"comment": comment} if comment else {}
    image.save(path, **options)
    return path


def copied(source_path, target):
    record = read_image(source_path)
    write_image(target, RGB, record.metadata, RECORD)
    return read_image(target).metadata


# XMP and IPTC


@pytest.mark.parametrize("given", [".jpg", ".png", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".avif", ".tif", ".ome.tif"])
def test_xmp_is_kept_with_its_orientation_applied(tmp_path, given, target):
    path = source(tmp_path / f"a{given}", xmp=XMP)
    result = tmp_path / f"b{target}"
    assert copied(path, result).xmp == UPRIGHT_XMP
    with Image.open(result) as image:  # another reader
        image.load()
        assert image.info["xmp"] == UPRIGHT_XMP
    assert read_provenance(result) == RECORD


@pytest.mark.parametrize("given", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".ome.tif"])
def test_iptc_is_kept(tmp_path, given, target):
    path = source(tmp_path / f"a{given}", iptc=True)
    result = tmp_path / f"b{target}"
    assert copied(path, result).iptc == IPTC
    if target != ".png":
        with Image.open(result) as image:
            assert IptcImagePlugin.getiptcinfo(image)[(2, 120)] == CAPTION


def test_iptc_in_the_photoshop_tag_of_a_tiff(tmp_path):
    tags = [(34377, 7, len(PHOTOSHOP), PHOTOSHOP, True)]
    tifffile.imwrite(tmp_path / "a.tif", GRAY, extratags=tags)
    assert read_image(tmp_path / "a.tif").metadata.iptc == IPTC


def test_iptc_of_a_tiff_that_pillow_decodes(tmp_path):
    tags = [(33723, 7, len(IPTC), IPTC, True), (700, 1, len(XMP), XMP, True)]
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="ycbcr", extratags=tags)
    metadata = read_image(tmp_path / "a.tif").metadata
    assert metadata.iptc == IPTC
    assert b"\xc3\x85se" in metadata.xmp


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("tag", [None, 3])
def test_the_orientation_of_xmp_counts_without_a_tag_as_in_pillow(tmp_path, photometric, tag):
    tags = [(700, 1, len(XMP), XMP, True)] + ([(274, 3, 1, tag, True)] if tag else [])
    array = RGB + np.arange(24, dtype=np.uint8)[:, np.newaxis, np.newaxis] // 2
    tifffile.imwrite(tmp_path / "a.tif", array, photometric=photometric, extratags=tags)
    with Image.open(tmp_path / "a.tif") as image:
        expected = np.asarray(image.convert("RGB"))
    assert expected.shape == ((24, 40, 3) if tag else (40, 24, 3))
    record = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(record.array, expected)
    if photometric == "rgb":
        assert record.notes == (() if tag else (tiff_reader.ROTATED,))


@pytest.mark.parametrize("given", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif", ".ome.tif"])
@pytest.mark.parametrize("program", ["Nikon Scan 4", "", "napari-colorize 0.0.1"])
def test_the_program_of_the_source_is_kept(tmp_path, given, target, program):
    block, texts = Image.Exif(), PngImagePlugin.PngInfo()
    if program:
        block[0x0131] = program
        texts.add_text("Software", program)
    options = {".png": {"pnginfo": texts}, ".jpg": {"exif": block}, ".tif": {"tiffinfo": block}}
    Image.fromarray(GRAY).save(tmp_path / f"a{given}", **options[given])
    copied(tmp_path / f"a{given}", tmp_path / f"b{target}")
    expected = program if program.startswith("Nikon") else provenance.software(RECORD)
    with Image.open(tmp_path / f"b{target}") as image:
        image.load()
        found = image.tag_v2 if target.endswith(".tif") else image.getexif()
        assert found[0x0131] == expected
        assert target != ".png" or image.text["Software"] == expected
    assert read_provenance(tmp_path / f"b{target}") == RECORD


def test_tags_of_a_tiff_that_are_not_copied_are_named(tmp_path):
    thumbnail = b"8BIM\x04\x0c\x00\x00" + struct.pack(">I", 4) + bytes(4)
    tags = [
        (700, 1, len(XMP), XMP, True),
        (34377, 7, len(PHOTOSHOP + thumbnail), PHOTOSHOP + thumbnail, True),
        (65001, 3, 1, 7, True),
    ]
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", extratags=tags)
    names = "ImageResources (34377), 65001"
    assert tiff_reader.LEFT_OUT.format(names=names) in read_image(tmp_path / "a.tif").notes

    tags = [(34377, 7, len(PHOTOSHOP), PHOTOSHOP, True)]  # IPTC only, which is copied
    tifffile.imwrite(tmp_path / "b.tif", RGB, photometric="rgb", extratags=tags)
    assert read_image(tmp_path / "b.tif").notes == ()


def test_metadata_of_16_bit_png(tmp_path):
    metadata = Metadata(xmp=UPRIGHT_XMP, iptc=IPTC, comment="a", texts={"Title": "Hafen"})
    write_image(tmp_path / "a.png", RGB.astype(np.uint16), metadata, RECORD)
    found = read_image(tmp_path / "a.png").metadata
    assert (found.xmp, found.iptc, found.comment) == (UPRIGHT_XMP, IPTC, "a")
    assert found.texts == {"Title": "Hafen"}
    assert read_provenance(tmp_path / "a.png") == RECORD


def test_metadata_of_photoshop_files(tmp_path):
    resources = PHOTOSHOP + b"8BIM\x04\x24\x00\x00" + struct.pack(">I", len(XMP)) + XMP
    resources += b"\0" * (len(XMP) % 2)
    density = struct.pack(">IHHIHH", 300 << 16, 1, 1, 300 << 16, 1, 1)
    resources += b"8BIM\x03\xed\x00\x00" + struct.pack(">I", len(density)) + density
    for depth in (8, 16):
        head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 1, 4, 5, depth, 1)
        body = struct.pack(">II", 0, len(resources)) + resources + bytes(4)
        (tmp_path / "a.psd").write_bytes(head + body + b"\0\0" + bytes(20 * depth // 8))
        found = read_image(tmp_path / "a.psd").metadata
        assert (found.iptc, found.xmp) == (IPTC, UPRIGHT_XMP)
        assert found.resolution.x == 300


def test_metadata_of_12_bit_jpeg(tmp_path):
    plain = bytes(imagecodecs.jpeg_encode(RGB.astype(np.uint16) * 16, bitspersample=12))
    comment = b"\xff\xfe\x00\x09harbor\0"
    (tmp_path / "a.jpg").write_bytes(plain[:2] + app13(PHOTOSHOP) + comment + plain[2:])
    found = read_image(tmp_path / "a.jpg").metadata
    assert (found.iptc, found.comment) == (IPTC, "harbor")


@pytest.mark.parametrize("compress", [False, True])
def test_metadata_of_jpeg_xl(tmp_path, compress):
    encoded = bytes(imagecodecs.jpegxl_encode(GRAY, lossless=True, usecontainer=True))
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Zeiss Ikon", 6
    boxes = [(b"Exif", bytes(4) + exif.tobytes()[6:]), (b"xml ", XMP)]
    if compress:
        boxes = [(b"brob", kind + imagecodecs.brotli_encode(data)) for kind, data in boxes]
    tail = b"".join(struct.pack(">I", len(data) + 8) + kind + data for kind, data in boxes)
    (tmp_path / "a.jxl").write_bytes(encoded + tail)
    record = read_image(tmp_path / "a.jxl")
    assert record.array.shape == GRAY.shape  # the codestream's orientation counts, not EXIF's
    assert record.metadata.xmp == UPRIGHT_XMP
    assert b"Zeiss Ikon" in record.metadata.exif


def test_incomplete_image_resources_are_left_out():
    assert resources_of(PHOTOSHOP) == {0x0404: IPTC}
    for length in range(len(PHOTOSHOP)):
        resources_of(PHOTOSHOP[:length])


# Comments and text


@pytest.mark.parametrize("given", [".jpg", ".png", ".gif", ".jp2"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".avif", ".tif", ".ome.tif", ".jp2"])
def test_comments_are_beside_the_provenance(tmp_path, given, target):
    path = source(tmp_path / f"a{given}", comment="Grandmother, 1921")
    result = tmp_path / f"b{target}"
    copied(path, result)
    assert read_provenance(result) == RECORD
    with Image.open(result) as image:
        image.load()
        places = [image.info.get("comment", b""), image.info.get("Comment", "")]
        places += [image.getexif().get(0x010E, "")]
    assert any("Grandmother, 1921" in str(place) for place in places)
    again = read_image(result).metadata
    write_image(tmp_path / f"c{target}", RGB, again, {**RECORD, "model": "other"})
    content = (tmp_path / f"c{target}").read_bytes()
    assert content.count(b"Grandmother, 1921") == 1
    assert read_provenance(tmp_path / f"c{target}")["model"] == "other"


def test_all_comments_of_a_jpeg_are_kept(tmp_path):
    plain = source(tmp_path / "a.jpg", comment="second").read_bytes()
    (tmp_path / "a.jpg").write_bytes(plain[:2] + b"\xff\xfe\x00\x07first" + plain[2:])
    assert read_image(tmp_path / "a.jpg").metadata.comment == "first\nsecond"


def test_all_comments_of_a_gif_are_kept(tmp_path):
    frames = [Image.fromarray(np.roll(GRAY, place)) for place in (0, 8, 16)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], comment="first")
    content = (tmp_path / "a.gif").read_bytes()
    second = content.rindex(b"\x21\xf9\x04")  # the graphic control extension of the last frame
    block = b"\x21\xfe\x06second\0"
    (tmp_path / "a.gif").write_bytes(content[:second] + block + content[second:])
    assert read_image(tmp_path / "a.gif").metadata.comment == "first\nsecond"


def test_text_of_every_chunk_type_of_a_png_is_kept(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "Harbour, 1931")
    texts.add_text("Source", "scan " * 500, zip=True)
    texts.add_itxt("Disclaimer", "Übersetzung: 写真", "de", "Hinweis")
    texts.add_text("Author", "Åse")
    texts.add_text("Software", "GIMP")
    Image.fromarray(GRAY).save(tmp_path / "a.png", pnginfo=texts)
    copied(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        image.load()
        assert image.text["Title"] == "Harbour, 1931"
        assert image.text["Source"] == "scan " * 500
        assert image.text["Disclaimer"] == "Übersetzung: 写真"
        assert image.text["Author"] == "Åse"
        assert image.text["Software"] == "GIMP"

    copied(tmp_path / "a.png", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif()[0x010D] == "Harbour, 1931"


# Color


def displayed(path):
    """Gray values as a color-managed viewer shows them on an sRGB display."""
    with Image.open(path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        srgb = ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(image.convert("RGB"), profile, srgb, outputMode="RGB")
    return np.asarray(shown).astype(int)


@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.2])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif"])
def test_png_gamma_becomes_a_profile(tmp_path, gamma, target):
    chunk = png_files.chunk(b"gAMA", struct.pack(">I", round(gamma * 1e5)))
    (tmp_path / "a.png").write_bytes(png_files.png(GRAY, 8, png_files.GRAY, chunk))
    copied(tmp_path / "a.png", tmp_path / f"b{target}")
    light = (GRAY / 255) ** (1 / gamma)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    expected = np.rint(255 * srgb)[..., np.newaxis]
    difference = np.abs(displayed(tmp_path / f"b{target}") - expected)
    assert difference.max() <= (2 if target != ".jpg" else 12)


def test_png_chromaticities_are_in_the_profile(tmp_path):
    # Primaries of Adobe RGB (1998), white point D65.
    points = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    chunks = [
        png_files.chunk(b"gAMA", struct.pack(">I", 45455)),
        png_files.chunk(b"cHRM", struct.pack(">8I", *(round(1e5 * value) for value in points))),
    ]
    (tmp_path / "a.png").write_bytes(png_files.png(GRAY, 8, png_files.GRAY, *chunks))
    metadata = copied(tmp_path / "a.png", tmp_path / "b.png")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(metadata.icc)).profile
    # Relative to the profile's D50 white, as in Adobe's own profile.
    assert profile.green_primary[1][:2] == pytest.approx((0.230, 0.701), abs=0.003)


def test_the_srgb_chunk_becomes_a_profile_and_an_embedded_profile_wins(tmp_path):
    chunk = png_files.chunk(b"sRGB", b"\0")
    (tmp_path / "a.png").write_bytes(png_files.png(GRAY, 8, png_files.GRAY, chunk))
    copied(tmp_path / "a.png", tmp_path / "b.png")
    np.testing.assert_allclose(displayed(tmp_path / "b.png"), RGB, atol=1)

    adobe = bytes(imagecodecs.cms_profile("rgb", gamma=1.8))
    Image.fromarray(RGB).save(tmp_path / "c.png", icc_profile=adobe)
    assert copied(tmp_path / "c.png", tmp_path / "d.png").icc == adobe


# Timing


@pytest.mark.parametrize("suffix", [".webp", ".png"])
@pytest.mark.parametrize("loop", [0, 1, 5])
def test_loop_counts_and_durations_are_kept(tmp_path, suffix, loop):
    frames = [Image.fromarray(np.roll(GRAY, place)) for place in (0, 8, 16)]
    options = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(
        tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], loop=loop,
        duration=[30, 70, 110], **options,
    )  # fmt: skip
    record = read_image(tmp_path / f"a{suffix}")
    assert (record.metadata.loop, record.metadata.durations) == (loop, (30, 70, 110))
    for target in (".webp", ".png"):
        write_image(tmp_path / f"b{target}", np.stack([RGB, RGB + 1, RGB]), record.metadata)
        with Image.open(tmp_path / f"b{target}") as image:
            assert image.info["loop"] == loop


@pytest.mark.parametrize(("repetitions", "plays"), [(None, 1), (0, 0), (1, 2), (4, 5)])
def test_a_gif_counts_repetitions(tmp_path, repetitions, plays):
    frames = [Image.fromarray(np.roll(GRAY, place)) for place in (0, 8)]
    options = {} if repetitions is None else {"loop": repetitions}
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], **options)
    assert read_image(tmp_path / "a.gif").metadata.loop == plays


# What is dropped


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        (".png", ()),
        (".jpg", ("PNG text",)),
        (".webp", ("IPTC", "PNG text")),
        (".avif", ("IPTC", "PNG text")),
        (".tif", ("PNG text",)),
        (".jp2", ("the color profile", "XMP", "IPTC", "PNG text")),
        (".bmp", ("the color profile", "XMP", "IPTC", "comments", "PNG text",
                  "the provenance record")),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_named(tmp_path, suffix, names):
    metadata = Metadata(
        xmp=UPRIGHT_XMP,
        iptc=IPTC,
        comment="here",
        icc=bytes(imagecodecs.cms_profile("rgb", gamma=1.8)),
        texts={"Title": "Harbor", "Source": "scan"},
    )
    assert dropped(Path(f"a{suffix}"), metadata, RECORD) == Dropped(
        {".jpg": "JPEG", ".tif": "TIFF", ".jp2": "JPEG2000"}.get(suffix, suffix[1:].upper()), names
    )
    if names:
        with pytest.warns(ColorizeNote, match=f"of a{suffix} were dropped because|was dropped"):
            write_image(tmp_path / f"a{suffix}", RGB, metadata, RECORD)
    else:
        write_image(tmp_path / f"a{suffix}", RGB, metadata, RECORD)


def test_xmp_that_is_too_long_for_a_jpeg_is_named(tmp_path):
    long = XMP + b" " * 70_000
    with pytest.warns(ColorizeNote, match="XMP of a.jpg was dropped because JPEG cannot hold it"):
        write_image(tmp_path / "a.jpg", RGB, Metadata(xmp=long, comment="here"), RECORD)
    assert read_image(tmp_path / "a.jpg").metadata.comment == "here"


def test_one_sentence_for_a_run():
    bmp = Dropped("BMP", ("XMP", "IPTC"))
    assert dropped_sentence([bmp] * 12) == (
        "XMP and IPTC of 12 files were dropped because BMP cannot hold them."
    )
    many = [bmp, bmp, Dropped("BMP", ("XMP",)), Dropped("WEBP", ("IPTC",)), Dropped("PNG", ())]
    assert dropped_sentence(many) == (
        "XMP of 3 files and IPTC of 2 files were dropped because BMP cannot hold them; "
        "IPTC of 1 file was dropped because WEBP cannot hold it."
    )
    assert dropped_sentence([Dropped("PNG", ())]) == ""


def test_a_png_with_text_that_is_too_long_for_pillow_is_read(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "Harbor")
    texts.add_text("Source", "scan " * 300_000, zip=True)
    Image.fromarray(GRAY).save(tmp_path / "a.png", pnginfo=texts)
    record = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(record.array, GRAY)
    assert record.notes == ("Text of more than a megabyte was left out.",)


def test_xmp_as_hexadecimal_text_of_imagemagick(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type xmp", f"\nxmp\n {len(XMP)}\n{XMP.hex()}\n", zip=True)
    Image.fromarray(GRAY).save(tmp_path / "a.png", pnginfo=texts)
    assert read_image(tmp_path / "a.png").metadata.xmp == UPRIGHT_XMP


@pytest.mark.parametrize("kind", ["exif", "xmp"])
def test_app1_as_hexadecimal_text(tmp_path, kind):
    exif = Image.Exif()
    exif[0x010F] = "Zeiss Ikon"
    data = exif.tobytes() if kind == "exif" else b"http://ns.adobe.com/xap/1.0/\0" + XMP
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type APP1", f"\ngeneric profile\n {len(data)}\n{data.hex()}\n")
    Image.fromarray(GRAY).save(tmp_path / "a.png", pnginfo=texts)
    found = read_image(tmp_path / "a.png").metadata
    assert (b"Zeiss Ikon" in (found.exif or b""), found.xmp) == (
        kind == "exif",
        UPRIGHT_XMP if kind == "xmp" else None,
    )
