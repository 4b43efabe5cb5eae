"""DICOM: values as a viewer displays them, and no patient data."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from napari_colorize.errors import ImageError
from napari_colorize.io.images import Resolution, read_image, write_image

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

PATIENT = "Doe^Jane"
GRAY = np.array([[0, 1000], [2000, 4095]], np.uint16)


def dicom_file(path, array=GRAY, *, bits=None, has_magic=True, **changes):
    """A small DICOM file; `changes` are attributes of its data set."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = changes.pop("syntax", ExplicitVRLittleEndian)
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
    dataset.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    for name, value in changes.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=has_magic, implicit_vr=False, little_endian=True)
    return path


def as_gray(record):
    """Gray values as the pipeline maps them."""
    low, high = record.contrast_limits
    return np.clip((record.array - np.float64(low)) / (high - low), 0, 1)


def test_without_a_window_the_stored_bits_are_the_limits(tmp_path):
    record = read_image(dicom_file(tmp_path / "a.dcm"))
    assert record.contrast_limits == (0, 4095)
    assert record.array.dtype == np.uint16
    np.testing.assert_array_equal(record.array, GRAY)


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
    [(None, (-160.0, 239.0)), ("LINEAR_EXACT", (-160, 240)), ("SIGMOID", (-160, 240))],
)
def test_a_window_becomes_the_limits(tmp_path, function, limits):
    attributes = {"VOILUTFunction": function} if function else {}
    path = dicom_file(
        tmp_path / "a.dcm", WindowCenter=40, WindowWidth=400, RescaleSlope=1,
        RescaleIntercept=-1024, **attributes,
    )  # fmt: skip
    record = read_image(path)
    assert record.contrast_limits == limits
    assert bool(record.notes) == (function == "SIGMOID")


def test_the_window_agrees_with_pydicom(tmp_path):
    from pydicom.pixels import apply_voi_lut

    path = dicom_file(tmp_path / "a.dcm", WindowCenter=1500, WindowWidth=2000)
    dataset = pydicom.dcmread(path)
    expected = apply_voi_lut(dataset.pixel_array, dataset) / 4095
    np.testing.assert_allclose(as_gray(read_image(path)), expected, atol=1e-9)


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
    record = read_image(dicom_file(tmp_path / "a.dcm", array, NumberOfFrames=3, **attributes))
    assert record.is_stack
    assert record.metadata.axes == axis
    np.testing.assert_array_equal(record.array, array)


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


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_results_contain_no_patient_data(tmp_path, name):
    record = read_image(dicom_file(tmp_path / "a.dcm"))
    colors = np.zeros((2, 2, 3), np.uint8)
    write_image(tmp_path / name, colors, record.metadata, {"software": "napari-colorize"})
    for secret in (PATIENT, "Jane", "12345678"):
        assert secret.encode() not in (tmp_path / name).read_bytes()


def test_dicom_is_recognized_by_content(tmp_path):
    assert read_image(dicom_file(tmp_path / "IM0001")).contrast_limits == (0, 4095)


def test_old_files_without_magic_are_recognized_by_suffix(tmp_path):
    path = dicom_file(tmp_path / "a.dcm", has_magic=False)
    np.testing.assert_array_equal(read_image(path).array, GRAY)


def test_without_pydicom_the_error_names_the_extra(tmp_path, monkeypatch):
    path = dicom_file(tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r'pip install "napari-colorize\[dicom\]"'):
        read_image(path)


def test_a_compression_without_a_decoder_is_named(tmp_path, monkeypatch):
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder
    from pydicom.uid import JPEGLSLossless

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    content = encapsulate([bytes(8)])
    path = dicom_file(tmp_path / "a.dcm", syntax=JPEGLSLossless, PixelData=content)
    with pytest.raises(ImageError, match=r"a\.dcm is compressed as JPEG-LS.*no decoder"):
        read_image(path)


def test_a_report_without_pixels_is_refused(tmp_path):
    path = dicom_file(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    with pytest.raises(ImageError, match=r"a\.dcm contains no image"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("content", [b"not DICOM at all", bytes(500)])
def test_a_false_dicom_file_is_refused(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.dcm"):
        read_image(tmp_path / "a.dcm")


def test_sizes_larger_than_the_file_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"a\.dcm is damaged"):
        read_image(dicom_file(tmp_path / "a.dcm", Rows=500, Columns=500))
    with pytest.raises(ImageError, match="more than the limit"):
        read_image(dicom_file(tmp_path / "b.dcm", Rows=65535, Columns=65535))
