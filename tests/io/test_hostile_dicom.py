"""DICOM files with wrong numbers of frames, that unfold to gigabytes, or with patient data."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from little_memory import little_memory
from PIL import Image

from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ImageError
from napari_colorize.io.images import read_image

pydicom = pytest.importorskip("pydicom")

from pydicom import uid  # noqa: E402
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402

SIDE = 32
MARK = "Zyxwvut"


def dataset(pixels, syntax=uid.ExplicitVRLittleEndian, frames=None):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Rows = made.Columns = SIDE
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 7, 0, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    if frames is not None:
        made.NumberOfFrames = frames
    made.PixelData = pixels
    return made


def native(count):
    return (np.arange(count * SIDE * SIDE) % 251).astype(np.uint8).tobytes()


def jpeg(side=SIDE):
    buffer = io.BytesIO()
    Image.fromarray(np.tile(np.arange(side, dtype=np.uint8), (side, 1))).save(buffer, "JPEG")
    return buffer.getvalue()


def compressed(count, **options):
    return encapsulate([jpeg() for _ in range(count)], **options)


def saved(tmp_path, made):
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    return tmp_path / "a.dcm"


@pytest.mark.parametrize("declared", [None, 1, 2])
@pytest.mark.parametrize("kind", ["native", "compressed"])
def test_more_frames_than_declared_are_read_with_a_note(tmp_path, kind, declared):
    syntax = uid.ExplicitVRLittleEndian if kind == "native" else uid.JPEGBaseline8Bit
    pixels = native(3) if kind == "native" else compressed(3)
    image = read_image(saved(tmp_path, dataset(pixels, syntax, declared)))
    assert image.array.shape == (3, SIDE, SIDE)
    assert image.is_stack
    expected = f"NumberOfFrames is {declared or 1}, but the file contains 3 frames; all were read."
    assert expected in image.notes


@pytest.mark.parametrize("kind", ["native", "compressed", "compressed without a table"])
def test_fewer_frames_than_declared_give_one_sentence(tmp_path, kind):
    syntax = uid.ExplicitVRLittleEndian if kind == "native" else uid.JPEGBaseline8Bit
    pixels = native(2) if kind == "native" else compressed(2, has_bot=kind == "compressed")
    with pytest.raises(ImageError, match="declares 5 frames, but contains 2"):
        read_image(saved(tmp_path, dataset(pixels, syntax, 5)))


def test_a_frame_of_several_fragments_is_one_frame(tmp_path):
    pixels = encapsulate([jpeg()], fragments_per_frame=3, has_bot=False)
    image = read_image(saved(tmp_path, dataset(pixels, uid.JPEGBaseline8Bit)))
    assert image.array.shape == (SIDE, SIDE)


@pytest.mark.parametrize("frames", [0, -1, "x"])
def test_an_invalid_number_of_frames_gives_one_sentence(tmp_path, frames):
    path = saved(tmp_path, dataset(native(1), frames=77))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"77", f"{frames} "[:2].encode()))
    with pytest.raises(ImageError, match="NumberOfFrames"):
        read_image(path)


@pytest.mark.parametrize("missing", ["Rows", "BitsAllocated", "PixelData"])
def test_missing_elements_give_one_sentence(tmp_path, missing):
    made = dataset(native(1))
    made["PixelData"].VR = "OB"
    delattr(made, missing)
    with pytest.raises(ImageError) as caught:
        read_image(saved(tmp_path, made))
    assert "\n" not in str(caught.value)


def refused(path):
    with little_memory(), pytest.raises(ImageError) as caught:
        read_image(path)
    return str(caught.value)


def test_a_deflated_data_set_that_unfolds_to_gigabytes_is_refused(tmp_path):
    path = saved(tmp_path, dataset(native(1), uid.DeflatedExplicitVRLittleEndian))
    data = path.read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = [packer.compress(bytes(2**22)) for _ in range(300)]
    path.write_bytes(data[:start] + b"".join([*bomb, packer.flush()]))
    assert "is a decompression bomb" in refused(path)


def test_millions_of_sequence_items_are_refused(tmp_path):
    path = saved(tmp_path, dataset(native(1)))
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 2_000_000
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    data = path.read_bytes()
    path.write_bytes(data + sequence + end)
    assert "sequence items" in refused(path)


def test_a_frame_that_declares_another_size_is_not_decoded(tmp_path):
    huge = jpeg()
    start = huge.index(b"\xff\xc0") + 5
    huge = huge[:start] + b"\xea\x60\xea\x60" + huge[start + 4 :]
    path = saved(tmp_path, dataset(encapsulate([huge]), uid.JPEGBaseline8Bit))
    assert "60000 x 60000 pixels instead of 32 x 32" in refused(path)


def test_patient_data_are_in_no_result(tmp_path, tiny_colorizer: Colorizer, caplog):
    made = dataset(native(2), frames=2)
    texts = {"AE", "AS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"}
    for tag, (
        kind,
        _,
        _,
        is_retired,
        keyword,
    ) in pydicom.datadict.DicomDictionary.items():
        if tag >> 16 > 2 and kind in texts and keyword and not is_retired:
            value = MARK[:4] if kind in ("AS", "AE", "SH") else MARK
            made.add_new(tag, kind, value)
    made.PatientBirthDate, made.PatientID = "19010203", MARK
    made.add_new((0x0009, 0x0010), "LO", MARK)  # a private block
    path = saved(tmp_path, made)
    caplog.clear()  # pydicom logs texts that are not valid when the file is made

    image = read_image(path)
    record = tiny_colorizer(image.array[0])
    for suffix in (".tif", ".png", ".jpg", ".webp"):
        record.save(tmp_path / f"b{suffix}")
        content = (tmp_path / f"b{suffix}").read_bytes()
        assert MARK[:4].encode() not in content and b"19010203" not in content
    assert MARK[:4] not in repr(image.metadata) + repr(image.notes) + caplog.text

    made.Rows = 500  # and the sentence for a damaged one
    with pytest.raises(ImageError) as caught:
        read_image(saved(tmp_path, made))
    assert MARK[:4] not in str(caught.value)


def segmented(tmp_path, segments, bits=16, **changes):
    """A palette image with the same segments for all colors."""
    made = dataset(native(1))
    made.PhotometricInterpretation = "PALETTE COLOR"
    data = np.array(segments, f"<u{bits // 8}").tobytes()
    for color in ("Red", "Green", "Blue"):
        setattr(made, f"{color}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(made, f"Segmented{color}PaletteColorLookupTableData", data)
    return saved(tmp_path, made)


@pytest.mark.parametrize(
    ("bits", "segments"),
    [
        (16, [0, 1, 7] + [1, 65535, 7] * 20_000),  # linear
        (16, [0, 1, 7] + [1, 65535, 7] * 9 + [2, 10, 0, 0] * 9_000),  # nine times what was before
        (16, [0, 1, 7] + [1, 0, 7] * 20_000 + [2, 20_000, 0, 0] * 9_000),  # takes time only
        (8, [0, 1, 7] + [1, 255, 7] * 80_000),
        (8, [0, 1, 7] + [1, 255, 7] * 99 + [2, 99, 0, 0, 0, 0] * 40_000),
        (16, [0, 1, 7, 2, 3, 3, 0]),  # itself
    ],
    ids=["linear", "indirect", "empty", "bytes", "indirect bytes", "recursive"],
)
def test_a_palette_does_not_unfold_to_gigabytes(tmp_path, bits, segments):
    path = segmented(tmp_path, segments, bits)
    assert path.stat().st_size < 1_000_000
    with little_memory(5 * 10**8), pytest.raises(ImageError) as caught:
        read_image(path)
    reasons = (f"{caught.value}", f"{caught.value.__cause__}")
    expected = "refers to another" if len(segments) < 9 else "more than 65,536 entries"
    assert any(expected in each for each in reasons)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_segmented_palette_is_read(tmp_path, bits):
    indirect = [2, 2, 0, 0, 0, 0] if bits == 8 else [2, 2, 0, 0]
    path = segmented(tmp_path, [0, 2, 10, 20, 1, 10, 120, *indirect, 0, 242, *range(242)], bits)
    found = read_image(path).array
    table = [10, 20, *range(30, 121, 10), 10, 20, *range(30, 121, 10), *range(242)]
    expected = np.array(table)[np.frombuffer(native(1), np.uint8)].reshape(SIDE, SIDE)
    np.testing.assert_array_equal(found[..., 1], expected)


@pytest.mark.parametrize("name", ["WindowCenter", "RescaleSlope", "PixelSpacing"])
def test_millions_of_numbers_are_refused(tmp_path, name):
    made = dataset(native(1), syntax=uid.ImplicitVRLittleEndian)
    path = saved(tmp_path, made)
    data = path.read_bytes()
    element = pydicom.datadict.tag_for_keyword(name)
    header = struct.pack("<HHI", element >> 16, element & 0xFFFF, 12_000_000)
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    path.write_bytes(data[:start] + header + b"1\\" * 6_000_000 + data[start:])
    with little_memory(3 * 10**8), pytest.raises(ImageError, match="bytes of numbers"):
        read_image(path)
