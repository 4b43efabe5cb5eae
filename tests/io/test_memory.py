"""Small files that unfold to gigabytes give one sentence before memory is reserved."""

from __future__ import annotations

import re
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hostile_files import (
    BOMBS,
    declared_segments,
    write_apng,
    write_dicom,
    write_tiff_pages,
    write_tiff_segment,
)
from little_memory import little_memory
from PIL import Image

from napari_colorize.errors import ImageError, OutputError, SettingsError
from napari_colorize.imaging.planes import stack_range
from napari_colorize.io import limits, tiff_reader
from napari_colorize.io.images import read_image, write_image
from napari_colorize.io.tiff_pages import TiffPages
from napari_colorize.runtime import memory
from napari_colorize.video.frames import ResumePoint
from napari_colorize.video.stacks import StackSource

GB = 10**9


def refused(path, **options):
    """The sentence for a file that is refused, with little memory."""
    with little_memory(GB // 2), pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_declares_gigabytes_is_refused(tmp_path, name):
    if name.endswith(".dcm"):
        pytest.importorskip("pydicom")
    BOMBS[name](tmp_path / name)
    assert (tmp_path / name).stat().st_size < 20_000_000
    assert name in refused(tmp_path / name)


def test_the_size_of_a_png_in_an_icon_is_checked(tmp_path):
    BOMBS["icon.ico"](tmp_path / "a.ico")
    assert "declares 60000 x 60000 pixels" in refused(tmp_path / "a.ico")
    Image.new("RGB", (300, 200), "red").save(tmp_path / "a.ico")
    assert read_image(tmp_path / "a.ico").array.shape == (85, 128, 3)


@pytest.mark.parametrize("compression", [7, 34712, 34887, 34933, 34934, 50001])
def test_a_strip_that_claims_to_be_a_large_image_is_refused(tmp_path, compression):
    data = declared_segments(tmp_path)[compression]
    write_tiff_segment(tmp_path / "a.tif", compression, data)
    expected = "a.tif needs about" if compression == 50001 else "a.tif declares 6000[01] x 6000[01]"
    assert re.search(expected, refused(tmp_path / "a.tif"))


@pytest.mark.parametrize("where", ["file", "tiff"])
def test_all_frames_of_a_jpeg_xl_are_counted(tmp_path, monkeypatch, where):
    frames = np.zeros((60, 200, 200), np.uint8)
    data = imagecodecs.jpegxl_encode(frames, effort=1, lossless=True, photometric="gray")
    path = tmp_path / "a.jxl"
    if where == "file":
        path.write_bytes(data)
    else:
        write_tiff_segment(path, 50002, data)
    monkeypatch.setattr(limits, "BOMB_BYTES", 2**20)
    assert "declares 60 x 200 x 200 pixels" in refused(path)


def test_an_animation_that_does_not_fit_into_memory_is_not_written(tmp_path):
    frames = np.zeros((40, 2000, 2000, 3), np.uint8)
    for name in ("a.png", "a.webp", "a.avif"):
        with little_memory(GB // 2), pytest.raises(OutputError, match=f"{name} needs about"):
            write_image(tmp_path / name, frames)
    assert not list(tmp_path.iterdir())


def test_a_declared_range_is_compared_with_some_planes_of_a_large_stack(tmp_path, monkeypatch):
    stack = np.full((100, 16, 16), 90, np.uint8)
    tags = [(280, "H", 1, 0, True), (281, "H", 1, 100, True)]
    tifffile.imwrite(
        tmp_path / "a.tif", stack, photometric="minisblack", compression="zlib", extratags=tags
    )
    monkeypatch.setattr(tiff_reader, "_MEMMAP_BYTES", 0)
    decoded = []
    plane = TiffPages._plane
    monkeypatch.setattr(
        TiffPages, "_plane", lambda self, number: decoded.append(number) or plane(self, number)
    )
    record = read_image(tmp_path / "a.tif")
    assert record.declared_range.limits == (0, 100)
    assert len(decoded) < 20
    assert decoded[0] == 0
    assert decoded[-1] == 99


def test_a_larger_limit_trusts_the_file(tmp_path):
    write_tiff_pages(tmp_path / "a.tif", 5, 8192)
    error = refused(tmp_path / "a.tif")
    assert "If you trust the file, save it without compression, or raise max_pixels" in error
    with little_memory(GB // 2):  # for one page at a time
        stack = read_image(tmp_path / "a.tif", max_pixels=2 * GB).array
        assert stack.shape == (5, 8192, 8192)
        assert stack[4].max() == 0


def test_planes_of_a_large_stack_that_do_not_fit_are_refused(tmp_path):
    write_tiff_pages(tmp_path / "a.tif", 12, 8192)
    stack = read_image(tmp_path / "a.tif", max_pixels=2 * GB).array
    for read in (lambda: stack[1:], lambda: np.asarray(stack), lambda: stack[...]):
        with little_memory(GB // 2), pytest.raises(ImageError, match="a.tif needs about 0.[78] GB"):
            read()
    with little_memory(GB // 2):
        assert stack[1:, 100:200, :1].shape == (11, 100, 1)


def test_a_large_stack_that_is_converted_stays_in_the_file(tmp_path):
    side, pages = 6000, 8  # uncompressed, white is zero: not the values that are needed
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in range(pages):
            values = np.full((side, side), page, np.uint8)
            writer.write(values, photometric="miniswhite", contiguous=True)
    with little_memory(GB // 4):
        stack = read_image(tmp_path / "a.tif").array
        assert [int(stack[page, -1, -1]) for page in range(pages)] == list(range(255, 247, -1))


def test_a_large_stack_is_colorized_plane_by_plane(tmp_path):
    side, pages = 4200, 16  # 282 MB
    values = np.linspace(0, 255, side).astype(np.uint8) * np.ones((side, 1), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(pages):
            writer.write(values, photometric="minisblack", compression="zlib", metadata=None)
    record = read_image(tmp_path / "a.tif", max_pixels=2 * GB)
    source = StackSource.of(tmp_path / "a.tif", record)
    with little_memory(GB // 5):
        found = stack_range(record.array, record.rgb, "percentile")
        (series,) = source.series(ResumePoint(), 0)
        frames = sum(frame.image.shape == (side, side) for frame in series)
    assert found.limits[0] < 10 < 240 < found.limits[1]
    assert frames == pages


def test_more_frames_than_an_apng_declares_are_not_decoded(tmp_path):
    write_apng(tmp_path / "a.png", 40, 2, 3000)
    with little_memory(GB):
        assert read_image(tmp_path / "a.png").array.shape == (2, 3000, 3000)


def test_a_stack_that_fits_into_memory_is_read(tmp_path):
    stack = np.random.default_rng(0).integers(0, 99, (5, 40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, compression="zlib", photometric="minisblack")
    assert read_image(tmp_path / "a.tif").array.shape == (5, 40, 50)


def test_the_limit_of_the_process_is_respected(tmp_path, monkeypatch):
    write_tiff_pages(tmp_path / "a.tif", 3, 4096)
    assert read_image(tmp_path / "a.tif").array.shape == (3, 4096, 4096)
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "100MB")  # less than this process has
    with pytest.raises(
        ImageError,
        match=r"to be read, and 0\.0 GB are available\. Raise the memory limit of 100MB",
    ):
        read_image(tmp_path / "a.tif")


def test_estimates_hold_for_conversions(tmp_path, monkeypatch):
    """Peaks that NumPy reports stay below what was compared with the available memory."""
    side = 1200
    gray = np.tile(np.arange(side, dtype=np.uint8), (side, 1))
    rgb = np.dstack([gray, gray.T, gray])
    rgba = np.dstack([rgb, gray])
    write = tifffile.imwrite
    write(tmp_path / "lab.tif", rgb, photometric="cielab", compression="zlib")
    write(tmp_path / "cmyk.tif", rgba, photometric="separated", compression="zlib")
    write(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["assocalpha"])
    palette = np.arange(768, dtype=np.uint16).reshape(3, 256) * 85
    write(tmp_path / "palette.tif", gray, photometric="palette", colormap=palette)
    if find_spec("pydicom") is not None:
        pixels = {"Rows": side, "Columns": side, "PixelData": gray.tobytes()}
        write_dicom(tmp_path / "slope.dcm", **pixels, RescaleSlope="2.5", RescaleIntercept="-3")
        write_dicom(tmp_path / "white.dcm", **pixels, PhotometricInterpretation="MONOCHROME1")
    frames = [Image.fromarray(np.roll(gray, 9 * number, 1)) for number in range(4)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    monkeypatch.setattr(limits, "BLOCK", 2**16)  # in proportion to these small images
    needed = []
    monkeypatch.setattr(limits, "refuse_memory", lambda path, size: needed.append(size))
    deep = np.dstack([gray, gray, gray]).astype(np.uint16) * 16
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(deep, bitspersample=12))
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(deep, effort=1, bitspersample=12))
    frames = [Image.fromarray(gray), *(Image.fromarray(rgb + np.uint8(9 * k)) for k in range(4))]
    write(tmp_path / "12.tif", deep[..., 0], photometric="minisblack", bitspersample=12)
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(deep[:600], bitspersample=12))
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    for path in sorted(tmp_path.iterdir()):
        read_image(path)  # imports
        needed.clear()
        tracemalloc.start()
        read_image(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < max(needed) + 2_000_000, (path.name, peak, needed)


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * GB), ("500 mb", GB // 2), ("2e9", 2 * GB), ("1.5G", 1.5 * GB)]
)
def test_sizes_of_memory_have_units(text, size):
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "much", "-1", "0", "inf", "nanG"])
def test_other_texts_are_no_sizes(text):
    with pytest.raises(SettingsError, match="such as 4GB"):
        memory.parse_size(text)


def test_an_ome_tiff_reads_no_files_of_other_folders(tmp_path):
    (tmp_path / "in").mkdir()
    page = '<TiffData IFD="0" FirstZ="{}" PlaneCount="1"><UUID FileName="{}">{}</UUID></TiffData>'
    uuid = "urn:uuid:00000000-0000-0000-0000-00000000000"
    for name in ("secret.ome.tif", "in/second.ome.tif"):
        tifffile.imwrite(tmp_path / name, np.full((2, 16, 16), 77, "u1"), metadata={"axes": "ZYX"})

    def write(other: str) -> Path:
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuid}1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
            'Type="uint8" SizeX="16" SizeY="16" SizeC="1" SizeZ="2" SizeT="1">'
            + page.format(0, "stack.ome.tif", uuid + "1")
            + page.format(1, other, uuid + "2")
            + "</Pixels></Image></OME>"
        )
        path = tmp_path / "in" / "stack.ome.tif"
        tifffile.imwrite(path, np.zeros((16, 16), "u1"), description=xml, metadata=None)
        return path

    for outside in ("../secret.ome.tif", str(tmp_path / "secret.ome.tif")):
        assert "outside of its folder" in refused(write(outside))
    (tmp_path / "in" / "link.ome.tif").symlink_to("../secret.ome.tif")
    assert "outside of its folder" in refused(write("link.ome.tif"))
    assert read_image(write("second.ome.tif")).array[:, 0, 0].tolist() == [0, 77]


def test_postscript_is_not_given_to_another_program(tmp_path):
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    (tmp_path / "a.png").write_text(text * 3)
    assert "is not an image in a readable format" in refused(tmp_path / "a.png")
