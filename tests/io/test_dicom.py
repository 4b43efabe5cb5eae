"""DICOM: values as a viewer displays them, and no patient data."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from napari_colorize.errors import ImageError
from napari_colorize.io.images import Resolution, read_image, write_image

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

PATIENT = "Doe^Jane"
GRAY = np.array([[0, 1000], [2000, 4095]], np.uint16)
RAMP = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (8, 1))
ENCAPSULATED = pydicom.uid.JPEGLSLossless


def dicom_file(path, array=GRAY, *, bits=None, has_magic=True, frames=1, **changes):
    """A small DICOM file; `changes` are attributes of its data set, None leaves one out."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    syntax = changes.pop("syntax", ExplicitVRLittleEndian)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID = PATIENT, "12345678"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = array.shape[-2:]
    dataset.BitsAllocated = 8 * array.dtype.itemsize
    dataset.BitsStored = bits or (12 if array.dtype == np.uint16 else dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    for name, value in changes.items():
        setattr(dataset, name, value)
        if value is None:
            delattr(dataset, name)
    if not has_magic:
        del dataset.file_meta
    dataset.save_as(
        path,
        enforce_file_format=has_magic,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
    )
    return path


def compressed_file(path, syntax, frames, array=GRAY, **changes):
    """A file with encoded frames of the pixels of `array`."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    count = len(frames)
    changes |= {"PixelData": encapsulate(frames), "frames": count}
    path = dicom_file(path, array, syntax=ENCAPSULATED, **changes)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    # Forced, because pydicom does not know the newest syntaxes.
    pydicom.dcmwrite(path, dataset, force_encoding=True, implicit_vr=False, little_endian=True)
    return path


def item(**attributes):
    """A sequence with one item."""
    dataset = pydicom.Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return pydicom.Sequence([dataset])


def table(values, first=0, bits=16):
    """The sequence of a lookup table."""
    from pydicom.dataelem import DataElement

    sequence = item()
    vr = "SS" if first < 0 else "US"
    sequence[0].add(DataElement("LUTDescriptor", vr, [len(values), first, bits]))
    sequence[0].add(DataElement("LUTData", "US", list(values)))
    return sequence


def as_gray(record):
    """Gray values as the pipeline maps them."""
    if isinstance(record, Path):
        record = read_image(record)
    low, high = record.contrast_limits
    return np.clip((record.array - np.float64(low)) / (high - low), 0, 1)


def test_without_a_window_the_smallest_and_largest_pixel_are_the_limits(tmp_path):
    record = read_image(dicom_file(tmp_path / "a.dcm", RAMP + np.uint16(10)))
    assert record.contrast_limits == (10, 4042)
    assert record.array.dtype == np.uint16
    assert record.declared_range is not None
    assert "taken from the data: 10 and 4042" in str(record.declared_range.note)
    np.testing.assert_array_equal(record.array, RAMP + 10)


def test_the_limits_of_a_stack_come_from_all_frames(tmp_path):
    stack = np.stack([GRAY // 10, GRAY])
    assert read_image(dicom_file(tmp_path / "a.dcm", stack, frames=2)).contrast_limits == (0, 4095)


def test_flat_images_have_the_range_of_the_stored_bits(tmp_path):
    record = read_image(dicom_file(tmp_path / "a.dcm", np.full_like(GRAY, 100)))
    assert record.contrast_limits == (0, 4095)
    assert record.notes == ()


@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("padding", "limit"), [(-2000, None), (-2000, -1900), (3500, 3400)])
def test_padding_is_black_and_not_part_of_the_range(tmp_path, polarity, padding, limit):
    array = RAMP.astype(np.int16) - 1024
    array[:2] = padding
    array[0] = padding if limit is None else limit
    range_limit = {} if limit is None else {"PixelPaddingRangeLimit": limit}
    path = dicom_file(
        tmp_path / "a.dcm", array, PixelPaddingValue=padding, PhotometricInterpretation=polarity,
        **range_limit,
    )  # fmt: skip
    gray = as_gray(path)
    np.testing.assert_array_equal(gray[:2], 0)
    expected = (RAMP[2:] / RAMP.max())[:, :: -1 if polarity == "MONOCHROME1" else 1]
    np.testing.assert_allclose(gray[2:], expected, atol=1e-9)


def test_a_modality_table_is_applied(tmp_path):
    path = dicom_file(tmp_path / "a.dcm", RAMP, ModalityLUTSequence=table(range(4095, -1, -1)))
    record = read_image(path)
    np.testing.assert_array_equal(record.array, 4095 - RAMP)
    assert record.contrast_limits == (63, 4095)


@pytest.mark.parametrize(("storage", "is_applied"), [("12.1", False), ("1", True)])
def test_modality_tables_of_logarithmic_angiograms_are_not_for_display(
    tmp_path, storage, is_applied
):
    path = dicom_file(
        tmp_path / "a.dcm", RAMP, ModalityLUTSequence=table(range(4095, -1, -1)),
        SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{storage}", PixelIntensityRelationship="LOG",
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(path).array, 4095 - RAMP if is_applied else RAMP)


def test_tables_of_8_bits_map_12_bits(tmp_path):
    entries = np.arange(4096) // 16
    modality = dicom_file(
        tmp_path / "a.dcm", RAMP, ModalityLUTSequence=table(entries.tolist(), bits=8)
    )
    voi = dicom_file(tmp_path / "b.dcm", RAMP, VOILUTSequence=table(entries.tolist(), bits=8))
    np.testing.assert_array_equal(read_image(modality).array, RAMP // 16)
    np.testing.assert_array_equal(as_gray(voi), RAMP // 16 / 255)


@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
def test_voi_tables_agree_with_pydicom(tmp_path, polarity):
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    curve = (4095 * (np.arange(3000) / 2999) ** 2).astype(int)
    path = dicom_file(
        tmp_path / "a.dcm", RAMP, VOILUTSequence=table(curve.tolist(), first=-500, bits=12),
        RescaleSlope=1, RescaleIntercept=-1024, PhotometricInterpretation=polarity,
        WindowCenter=40, WindowWidth=400,
    )  # fmt: skip
    dataset = pydicom.dcmread(path)
    values = apply_modality_lut(dataset.pixel_array, dataset).astype(np.int32)
    expected = apply_voi_lut(values, dataset) / 4095
    if polarity == "MONOCHROME1":
        expected = 1 - expected
    np.testing.assert_allclose(as_gray(path), expected, atol=1e-9)


def test_slope_and_intercept_give_hounsfield_units(tmp_path):
    record = read_image(dicom_file(tmp_path / "a.dcm", RescaleSlope=1, RescaleIntercept=-1024))
    np.testing.assert_array_equal(record.array, GRAY.astype(int) - 1024)
    assert record.array.dtype == np.int16
    assert record.contrast_limits == (-1024, 3071)


def test_fractions_become_floats(tmp_path):
    record = read_image(dicom_file(tmp_path / "a.dcm", RescaleSlope=0.5, RescaleIntercept=0.25))
    assert record.array.dtype == np.float32
    np.testing.assert_array_equal(record.array, GRAY * 0.5 + 0.25)


@pytest.mark.parametrize(
    ("function", "limits"),
    [(None, (-160.0, 239.0)), ("LINEAR_EXACT", (-160, 240))],
)
def test_a_window_becomes_the_limits(tmp_path, function, limits):
    attributes = {"VOILUTFunction": function} if function else {}
    path = dicom_file(
        tmp_path / "a.dcm", WindowCenter=40, WindowWidth=400, RescaleSlope=1,
        RescaleIntercept=-1024, **attributes,
    )  # fmt: skip
    record = read_image(path)
    assert record.contrast_limits == limits
    assert record.notes == ()


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("width", [1, 2000])
def test_windows_agree_with_pydicom(tmp_path, function, width):
    from pydicom.pixels import apply_voi_lut

    path = dicom_file(
        tmp_path / "a.dcm", RAMP, WindowCenter=1500, WindowWidth=width, VOILUTFunction=function
    )
    dataset = pydicom.dcmread(path)
    with np.errstate(over="ignore"):  # of pydicom's exponential
        expected = apply_voi_lut(dataset.pixel_array, dataset) / 4095
    np.testing.assert_allclose(as_gray(path), expected, atol=1e-5)


@pytest.mark.parametrize(("center", "width"), [(0.5, 1), (1, 1), (0.5, 0.5)])
def test_a_window_of_one_step_keeps_black_and_white(tmp_path, tiny_colorizer, center, width):
    function = "LINEAR" if width == 1 else "LINEAR_EXACT"
    mask = (GRAY.mean() < GRAY).astype(np.uint8)
    dicom_file(
        tmp_path / "a.dcm", mask, WindowCenter=center, WindowWidth=width, VOILUTFunction=function
    )
    record = read_image(tmp_path / "a.dcm")

    result = tiny_colorizer(record.array, contrast_limits=record.contrast_limits, saturation=0)

    assert record.contrast_limits == (0, 1)
    np.testing.assert_array_equal(result.pixels[..., 0], mask)


def test_the_first_of_several_windows_is_used(tmp_path):
    path = dicom_file(tmp_path / "a.dcm", WindowCenter=[1000.5, 9], WindowWidth=[1001, 9])
    assert read_image(path).contrast_limits == (500, 1500)


@pytest.mark.parametrize("array", [GRAY, (GRAY // 16).astype(np.uint8), GRAY.astype(np.int16)])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 100, "WindowWidth": 50}])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 2, "RescaleIntercept": -7}])
def test_monochrome1_is_inverted(tmp_path, array, window, rescale):
    attributes = window | rescale
    upright = read_image(dicom_file(tmp_path / "a.dcm", array, **attributes))
    attributes["PhotometricInterpretation"] = "MONOCHROME1"
    inverted = read_image(dicom_file(tmp_path / "b.dcm", array, **attributes))
    assert inverted.array.dtype == upright.array.dtype
    np.testing.assert_allclose(as_gray(inverted), 1 - as_gray(upright), atol=1e-9)


@pytest.mark.parametrize(("attributes", "axis"), [({}, "Z"), ({"FrameTime": 33.3}, "T")])
def test_several_frames_are_a_stack(tmp_path, attributes, axis):
    array = np.stack([GRAY, GRAY[::-1], GRAY])
    record = read_image(dicom_file(tmp_path / "a.dcm", array, frames=3, **attributes))
    assert record.is_stack
    assert record.metadata.axes == axis
    np.testing.assert_array_equal(record.array, array)


def test_rescale_and_window_of_all_frames_come_from_functional_groups(tmp_path):
    stack = np.stack([RAMP, RAMP])
    shared = item(
        FrameVOILUTSequence=item(WindowCenter=1024, WindowWidth=2049),
    )
    own = [
        item(PixelValueTransformationSequence=item(RescaleSlope=slope, RescaleIntercept=0))[0]
        for slope in (1, 0.5)
    ]
    path = dicom_file(
        tmp_path / "a.dcm", stack, frames=2, SharedFunctionalGroupsSequence=shared,
        PerFrameFunctionalGroupsSequence=pydicom.Sequence(own),
    )  # fmt: skip
    record = read_image(path)
    np.testing.assert_array_equal(record.array, [RAMP, RAMP * 0.5])
    assert record.contrast_limits == (-0.5, 2047.5)


def test_different_windows_of_frames_are_applied_to_each(tmp_path):
    stack = np.stack([RAMP, RAMP])
    own = [
        item(FrameVOILUTSequence=item(WindowCenter=center, WindowWidth=1000))[0]
        for center in (1000, 3000)
    ]
    path = dicom_file(
        tmp_path / "a.dcm", stack, frames=2, PerFrameFunctionalGroupsSequence=pydicom.Sequence(own)
    )
    record = read_image(path)
    expected = [((RAMP - low) / 999).clip(0, 1) for low in (500.0, 2500.0)]
    np.testing.assert_allclose(as_gray(record), expected, atol=1e-5)
    assert "different windows" in record.notes[0]


@pytest.mark.parametrize(
    ("name", "dtype"), [("FloatPixelData", "f4"), ("DoubleFloatPixelData", "f8")]
)
def test_float_pixels_are_read(tmp_path, name, dtype):
    values = np.linspace(-2, 6, 12, dtype=dtype).reshape(3, 4)
    values[0, 1] = np.nan
    path = dicom_file(
        tmp_path / "a.dcm", values, PixelData=None, BitsStored=None, HighBit=None,
        PixelRepresentation=None, **{name: values.tobytes()},
    )  # fmt: skip
    record = read_image(path)
    assert record.array.dtype == np.float32
    assert record.contrast_limits == (-2, 6)
    np.testing.assert_allclose(record.array, values, rtol=1e-6)


def test_pixels_of_one_bit_are_read(tmp_path):
    mask = np.eye(5, 7, dtype=np.uint8)
    packed = np.packbits(mask, bitorder="little").tobytes() + b"\0"
    path = dicom_file(tmp_path / "a.dcm", mask, PixelData=packed, BitsAllocated=1, bits=1)
    np.testing.assert_array_equal(as_gray(path), mask)


@pytest.mark.parametrize("bits", [10, 12, 20])
@pytest.mark.parametrize("kind", ["u4", "i4"])
def test_packed_samples_are_read(tmp_path, bits, kind):
    array = np.arange(35, dtype=kind).reshape(5, 7) * 29 - (500 if kind == "i4" else 0)
    samples = np.unpackbits(array.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little")
    packed = np.packbits(samples[:, :bits], bitorder="little").tobytes()
    path = dicom_file(
        tmp_path / "a.dcm", array, bits=bits, BitsAllocated=bits,
        PixelData=packed + b"\0" * (len(packed) % 2),
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(path).array, array)


def rle(*segments):
    """A frame of uncompressed runs; one segment for each byte of a pixel, the highest first."""
    encoded = []
    for segment in segments:
        data = segment.tobytes()
        runs = (data[start : start + 128] for start in range(0, len(data), 128))
        encoded.append(b"".join(bytes([len(run) - 1]) + run for run in runs))
    starts = [64 + sum(map(len, encoded[:index])) for index in range(len(encoded))]
    header = struct.pack("<16L", len(encoded), *starts, *[0] * (15 - len(encoded)))
    return header + b"".join(encoded)


def test_rle_of_one_bit_is_read(tmp_path):
    masks = np.random.default_rng(0).integers(0, 2, (3, 5, 7), dtype=np.uint8)
    frames = [rle(np.packbits(mask, bitorder="little")) for mask in masks]
    path = compressed_file(
        tmp_path / "a.dcm", "1.2.840.10008.1.2.5", frames, masks[0], BitsAllocated=1, bits=1
    )
    np.testing.assert_array_equal(as_gray(path), masks)


@pytest.mark.parametrize("kind", ["u2", "i2"])
def test_values_in_the_highest_bits_are_read(tmp_path, kind):
    array = RAMP.astype(kind) - (2048 if kind == "i2" else 0)
    path = dicom_file(tmp_path / "a.dcm", array << 4 | 9, bits=12, HighBit=15)
    np.testing.assert_array_equal(read_image(path).array, array)


@pytest.mark.parametrize("kind", ["YBR_FULL", "YBR_FULL_422"])
def test_uncompressed_ycbcr_becomes_rgb(tmp_path, kind):
    rgb = np.zeros((4, 6, 3), np.uint8) + np.array([200, 90, 30], np.uint8)
    ybr = pydicom.pixels.convert_color_space(rgb, "RGB", "YBR_FULL")
    if kind == "YBR_FULL_422":  # two of Y, then one of each color
        y, b, r = np.moveaxis(ybr.reshape(-1, 3), -1, 0)
        ybr = np.stack([y[::2], y[1::2], b[::2], r[::2]], axis=-1)
    path = dicom_file(
        tmp_path / "a.dcm", rgb[..., 0], PixelData=ybr.tobytes(), SamplesPerPixel=3,
        PhotometricInterpretation=kind, PlanarConfiguration=0,
    )  # fmt: skip
    np.testing.assert_allclose(read_image(path).array, rgb, atol=2)


def test_colors_of_12_bits_have_their_range(tmp_path):
    rgb = np.full((4, 6, 3), 2000, np.uint16)
    path = dicom_file(
        tmp_path / "a.dcm", rgb, Rows=4, Columns=6, SamplesPerPixel=3, bits=12,
        PhotometricInterpretation="RGB", PlanarConfiguration=0,
    )  # fmt: skip
    assert read_image(path).contrast_limits == (0, 4095)


def test_targa_files_are_not_taken_for_dicom_without_preamble(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.tga", id_section=b"ab")
    assert (tmp_path / "a.tga").read_bytes()[:2] == b"\2\0"
    assert tuple(read_image(tmp_path / "a.tga").array[0, 0]) == (255, 0, 0)


CODECS = {
    "1.2.840.10008.1.2.4.57": lambda a: imagecodecs.ljpeg_encode(a, bitspersample=12),
    "1.2.840.10008.1.2.4.70": lambda a: imagecodecs.ljpeg_encode(a, bitspersample=12),
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode,
    "1.2.840.10008.1.2.4.81": lambda a: imagecodecs.jpegls_encode(a, level=2),
    "1.2.840.10008.1.2.4.90": lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", level=0),
    "1.2.840.10008.1.2.4.201": imagecodecs.htj2k_encode,
    "1.2.840.10008.1.2.4.110": lambda a: imagecodecs.jpegxl_encode(a, lossless=True),
    "1.2.840.10008.1.2.5": lambda a: rle(a.view(np.uint8)[:, 1::2], a.view(np.uint8)[:, ::2]),
    "1.2.840.10008.1.2.8.1": lambda a: zlib.compress(a.tobytes(), wbits=-15),
}


@pytest.mark.parametrize("syntax", CODECS)
def test_compressed_frames_are_decoded(tmp_path, syntax):
    frames = [RAMP, RAMP[:, ::-1].copy()]
    path = compressed_file(
        tmp_path / "a.dcm", syntax, [CODECS[syntax](frame) for frame in frames], RAMP
    )
    tolerance = 2 if syntax.endswith(".81") else 0
    difference = read_image(path).array - np.stack(frames).astype(int)
    assert np.abs(difference).max() <= tolerance


def test_a_frame_that_claims_another_size_is_not_decoded(tmp_path):
    frames = {
        "1.2.840.10008.1.2.4.110": np.zeros((3000, 3000), np.uint16),
        "1.2.840.10008.1.2.4.90": np.zeros((3000, 3000), np.uint16),
        "1.2.840.10008.1.2.4.112": np.zeros((300, 8, 8), np.uint16),  # an animation
    }
    for syntax, pixels in frames.items():
        encode = imagecodecs.jpegxl_encode
        data = (
            encode(pixels, effort=1, lossless=True, photometric="gray")
            if syntax != "1.2.840.10008.1.2.4.90"
            else imagecodecs.jpeg2k_encode(pixels, codecformat="j2k")
        )
        path = compressed_file(tmp_path / "a.dcm", syntax, [data], RAMP)
        with pytest.raises(ImageError) as caught:
            read_image(path)
        reasons, error = [], caught.value
        while error is not None:
            reasons.append(str(error))
            error = error.__cause__
        assert any(
            f"a frame has {' x '.join(map(str, pixels.shape))} pixels" in each for each in reasons
        ), reasons


def test_signed_jpeg_ls_keeps_its_signs(tmp_path):
    array = RAMP.astype(np.int16) - 2048
    frame = imagecodecs.jpegls_encode(array.view(np.uint16))
    path = compressed_file(tmp_path / "a.dcm", ENCAPSULATED, [frame], array)
    np.testing.assert_array_equal(read_image(path).array, array)


@pytest.mark.parametrize("color", ["RGB", "YBR_FULL"])
def test_lossless_color_is_converted_once(tmp_path, color):
    rgb = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    stored = rgb if color == "RGB" else pydicom.pixels.convert_color_space(rgb, "RGB", color)
    path = compressed_file(
        tmp_path / "a.dcm", ENCAPSULATED, [imagecodecs.jpegls_encode(stored)],
        rgb[..., 0], SamplesPerPixel=3, PhotometricInterpretation=color, PlanarConfiguration=0,
    )  # fmt: skip
    np.testing.assert_allclose(read_image(path).array, rgb, atol=0 if color == "RGB" else 2)


@pytest.mark.parametrize("declared", ["RGB", "YBR_FULL_422"])
@pytest.mark.parametrize("transform", [0, 1])
def test_colors_of_jpeg_follow_adobes_marker(tmp_path, declared, transform):
    rgb = np.zeros((8, 8, 3), np.uint8) + np.array([200, 90, 30], np.uint8)
    space = "YCBCR" if transform else "RGB"
    jpeg = imagecodecs.jpeg8_encode(rgb, level=100, colorspace="RGB", outcolorspace=space)
    if transform:  # in place of the JFIF marker
        jpeg = jpeg[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1" + jpeg[20:]
    path = compressed_file(
        tmp_path / "a.dcm", "1.2.840.10008.1.2.4.50", [jpeg], rgb[..., 0], SamplesPerPixel=3,
        PhotometricInterpretation=declared, PlanarConfiguration=0,
    )  # fmt: skip
    np.testing.assert_allclose(read_image(path).array, rgb, atol=3)


def test_lossy_values_above_the_stored_bits_are_white(tmp_path):
    array = np.array([[0, 900], [900, 1100]], np.uint16).repeat(8, 0).repeat(8, 1)
    frame = imagecodecs.jpeg8_encode(array, level=100, bitspersample=12)
    path = compressed_file(tmp_path / "a.dcm", "1.2.840.10008.1.2.4.51", [frame], array, bits=10)
    np.testing.assert_allclose(read_image(path).array, array.clip(max=1023), atol=2)


def test_truncated_jpeg_is_refused(tmp_path):
    frame = imagecodecs.jpeg8_encode(np.eye(64, dtype=np.uint8) * 255)
    path = compressed_file(
        tmp_path / "a.dcm", "1.2.840.10008.1.2.4.50", [frame[: len(frame) // 2]],
        np.zeros((64, 64), np.uint8),
    )  # fmt: skip
    with pytest.raises(ImageError, match="truncated"):
        read_image(path)


def test_a_compression_without_a_decoder_is_named(tmp_path, monkeypatch):
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_unavailable", {})
    monkeypatch.setattr(imagecodecs.JPEGLS, "available", False)
    path = compressed_file(tmp_path / "a.dcm", ENCAPSULATED, [bytes(8)])
    with pytest.raises(ImageError, match=r"a\.dcm is compressed as JPEG-LS.*no decoder is inst"):
        read_image(path)


def test_frames_of_another_size_are_refused(tmp_path):
    frame = imagecodecs.jpeg8_encode(np.zeros((4, 4), np.uint8))
    path = compressed_file(
        tmp_path / "a.dcm", "1.2.840.10008.1.2.4.50", [frame], np.zeros((8, 8), np.uint8)
    )
    with pytest.raises(ImageError, match="4 x 4 pixels instead of 8 x 8"):
        read_image(path)


def test_the_reason_of_the_decoder_is_kept(tmp_path):
    path = compressed_file(tmp_path / "a.dcm", ENCAPSULATED, [bytes(8)])
    with pytest.raises(ImageError, match=r"a\.dcm cannot be decoded \(JPEG-LS.*charls"):
        read_image(path)


def test_videos_are_refused_by_name(tmp_path):
    path = compressed_file(tmp_path / "a.dcm", "1.2.840.10008.1.2.4.102", [bytes(8)])
    with pytest.raises(ImageError, match=r"a\.dcm is compressed as MPEG-4.*cannot be read"):
        read_image(path)


@pytest.mark.parametrize("order", ["LittleEndian", "BigEndian"])
def test_palettes_of_many_entries_follow_the_byte_order_of_the_file(tmp_path, order):
    syntax = getattr(pydicom.uid, f"ExplicitVR{order}")
    mark = "<" if syntax.is_little_endian else ">"
    entries = np.arange(4096) * 16
    tables = {}
    for name in ("Red", "Green", "Blue"):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [4096, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = entries.astype(f"{mark}u2").tobytes()
    path = dicom_file(
        tmp_path / "a.dcm", RAMP, PixelData=RAMP.astype(f"{mark}u2").tobytes(), syntax=syntax,
        PhotometricInterpretation="PALETTE COLOR", **tables,
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(path).array[..., 0], RAMP * 16)


def test_palettes_of_bytes_have_more_than_256_entries(tmp_path):
    tables = {}
    for name in ("Red", "Green", "Blue"):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [4096, 0, 8]
        tables[f"{name}PaletteColorLookupTableData"] = (
            (np.arange(4096) // 16).astype(np.uint8).tobytes()
        )
    path = dicom_file(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="PALETTE COLOR", **tables)
    np.testing.assert_array_equal(read_image(path).array[..., 1], RAMP // 16)


@pytest.mark.parametrize("depth", [8, 16])
def test_palettes_of_8_bits_may_be_stored_in_words(tmp_path, depth):
    index = np.array([[0, 1], [2, 3]], np.uint8)
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 200, 0], [10, 20, 30]], np.uint8)
    tables = {}
    for name, entries in zip(("Red", "Green", "Blue"), colors.T, strict=True):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 8]
        data = entries.astype(f"<u{depth // 8}").tobytes()
        tables[f"{name}PaletteColorLookupTableData"] = data
    path = dicom_file(
        tmp_path / "a.dcm", index, PhotometricInterpretation="PALETTE COLOR", **tables
    )
    record = read_image(path)
    assert record.array.dtype == np.uint8
    np.testing.assert_array_equal(record.array, colors[index])


@pytest.mark.parametrize("planar", [0, 1])
def test_color_is_rgb(tmp_path, planar):
    color = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    stored = np.moveaxis(color, -1, 0) if planar else color
    path = dicom_file(
        tmp_path / "a.dcm", stored, Rows=4, Columns=6, SamplesPerPixel=3,
        PhotometricInterpretation="RGB", PlanarConfiguration=planar,
    )  # fmt: skip
    record = read_image(path)
    assert record.rgb
    assert record.contrast_limits is None
    np.testing.assert_array_equal(record.array, color)


def test_resolution_comes_from_the_pixel_spacing(tmp_path):
    path = dicom_file(tmp_path / "a.dcm", PixelSpacing=[0.5, 0.25])
    assert read_image(path).metadata.resolution == Resolution(40, 20, "cm")


def test_physical_sizes_of_a_volume_come_from_functional_groups(tmp_path):
    measures = item(PixelSpacing=[0.5, 0.25], SliceThickness=2, SpacingBetweenSlices=1.5)
    path = dicom_file(
        tmp_path / "a.dcm", np.stack([RAMP, RAMP]), frames=2,
        SharedFunctionalGroupsSequence=item(PixelMeasuresSequence=measures),
    )  # fmt: skip

    metadata = read_image(path).metadata
    write_image(tmp_path / "a.ome.tif", np.zeros((2, 8, 9, 3), np.uint8), metadata)

    assert metadata.resolution == Resolution(40, 20, "cm")
    assert read_image(tmp_path / "a.ome.tif").metadata.spacing == metadata.spacing
    assert metadata.spacing == {
        "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 1.5,
        "PhysicalSizeXUnit": "mm", "PhysicalSizeYUnit": "mm", "PhysicalSizeZUnit": "mm",
    }  # fmt: skip


def test_the_frame_time_of_a_film_is_kept(tmp_path):
    path = dicom_file(tmp_path / "a.dcm", np.stack([RAMP, RAMP]), frames=2, FrameTime=40)
    assert read_image(path).metadata.spacing == {"TimeIncrement": 0.04, "TimeIncrementUnit": "s"}


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_results_contain_no_patient_data(tmp_path, name):
    record = read_image(dicom_file(tmp_path / "a.dcm"))
    colors = np.zeros((2, 2, 3), np.uint8)
    write_image(tmp_path / name, colors, record.metadata, {"software": "napari-colorize"})
    for secret in (PATIENT, "Jane", "12345678"):
        assert secret.encode() not in (tmp_path / name).read_bytes()


def test_dicom_is_recognized_by_content(tmp_path):
    assert read_image(dicom_file(tmp_path / "IM0001")).contrast_limits == (0, 4095)


@pytest.mark.parametrize("name", ["a.dcm", "IM0001"])
@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRLittleEndian"])
def test_files_without_preamble_and_meta_header_are_read(tmp_path, name, syntax):
    path = dicom_file(tmp_path / name, has_magic=False, syntax=getattr(pydicom.uid, syntax))
    np.testing.assert_array_equal(read_image(path).array, GRAY)


def test_big_endian_is_read(tmp_path):
    path = dicom_file(
        tmp_path / "a.dcm", syntax=pydicom.uid.ExplicitVRBigEndian,
        PixelData=GRAY.byteswap().tobytes(),
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(path).array, GRAY)


def test_folders_of_slices_are_sequences_in_the_order_of_instance_numbers(tmp_path):
    from fractions import Fraction

    from napari_colorize.video.folders import FolderSource

    for name, number in (("1.9", 10), ("1.7", 9), ("1.8", 2)):
        dicom_file(tmp_path / name, SeriesInstanceUID="1.2.3", InstanceNumber=number)
    assert FolderSource.of(tmp_path, Fraction(25)).names == ("1.8", "1.7", "1.9")
    dicom_file(tmp_path / "1.6", SeriesInstanceUID="1.2.4", InstanceNumber=1)
    assert FolderSource.of(tmp_path, Fraction(25)).names == ("1.6", "1.7", "1.8", "1.9")


def test_results_of_a_series_sort_in_its_order(tmp_path):
    from fractions import Fraction

    from napari_colorize.video.folders import FolderSource
    from napari_colorize.video.frames import ResumePoint

    for name, number in (("c.dcm", 1), ("a.dcm", 2), ("b.dcm", 3)):
        dicom_file(tmp_path / name, SeriesInstanceUID="1.2.3", InstanceNumber=number)
    (frames,) = FolderSource.of(tmp_path, Fraction(25)).series(ResumePoint(), 0)
    assert [frame.name for frame in frames] == ["000000-c.dcm", "000001-a.dcm", "000002-b.dcm"]


def test_slices_without_a_window_share_the_range_of_all(tmp_path):
    from fractions import Fraction

    from napari_colorize.video.folders import FolderSource

    dicom_file(tmp_path / "1.dcm", GRAY // 10)
    dicom_file(tmp_path / "2.dcm", GRAY)
    declared = FolderSource.of(tmp_path, Fraction(25)).info.declared_range
    assert declared.limits == (0, 4095)


def test_without_pydicom_the_error_names_the_extra(tmp_path, monkeypatch):
    path = dicom_file(tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r'pip install .*\[dicom\]"'):
        read_image(path)


def test_a_report_without_pixels_is_refused(tmp_path):
    path = dicom_file(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    with pytest.raises(
        ImageError,
        match=r"a\.dcm contains no image: .* without pixels \(CT Image Storage",
    ):
        read_image(path)


def test_a_dicom_file_without_an_image_says_what_is_missing(tmp_path):
    path = dicom_file(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    for name in ("SOPClassUID", "Rows", "PixelData"):
        delattr(dataset, name)
    dataset.save_as(path)
    with pytest.raises(ImageError, match=r"image are missing \(Rows, pixel data\)"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("content", [b"not DICOM at all", bytes(500)])
def test_a_false_dicom_file_is_refused(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.dcm"):
        read_image(tmp_path / "a.dcm")


def test_sizes_larger_than_the_file_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"a\.dcm cannot be decoded as DICOM.*less than expected"):
        read_image(dicom_file(tmp_path / "a.dcm", Rows=500, Columns=500))
    with pytest.raises(ImageError, match="more than the limit"):
        read_image(dicom_file(tmp_path / "b.dcm", Rows=65535, Columns=65535))
