"""DICOM opened in napari: its window, its pixel spacing, its frames; nothing about the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

import napari_colorize
from napari_colorize.errors import ImageError
from napari_colorize.napari.reader import get_dicom_reader, read_dicom

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

MANIFEST = Path(napari_colorize.__file__).with_name("napari.yaml")
PATIENT = "Doe^Jane"


@pytest.fixture(autouse=True)
def plugin(npe2pm):
    """napari knows this plugin, installed or not, and no other."""
    with npe2pm.tmp_plugin(manifest=MANIFEST):
        yield


def dicom_file(path, array, **changes):
    """A small DICOM file; `changes` are attributes of its data set."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName = PATIENT
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = array.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = array.tobytes()
    for name, value in changes.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return str(path)


@pytest.fixture
def gray():
    return np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 20


def test_a_file_becomes_a_layer_with_its_window_and_spacing(tmp_path, gray):
    path = dicom_file(
        tmp_path / "chest.dcm", gray, WindowCenter=1000.5, WindowWidth=801,
        PixelSpacing=[0.5, 0.25],
    )  # fmt: skip
    viewer = ViewerModel()

    [layer] = viewer.open(path, plugin="napari-colorize")

    assert layer.name == "chest" and not layer.rgb
    np.testing.assert_array_equal(layer.data, gray)
    assert tuple(layer.contrast_limits) == (600, 1400)
    np.testing.assert_allclose(layer.scale, (0.5, 0.25))
    assert [str(unit) for unit in layer.units] == ["millimeter", "millimeter"]


def test_no_patient_data_is_in_the_layer(tmp_path, gray):
    path = dicom_file(tmp_path / "a.dcm", gray)
    assert PATIENT not in repr(read_dicom(path)[0][1])


@pytest.mark.parametrize(("attributes", "axis"), [({"FrameTime": 40}, "t"), ({}, "z")])
def test_frames_become_a_stack(tmp_path, gray, attributes, axis):
    frames = np.stack([gray, gray + 1, gray + 2])
    path = dicom_file(
        tmp_path / "stack.dcm", frames, NumberOfFrames=3, PixelSpacing=[1, 1], **attributes
    )  # fmt: skip
    [layer] = ViewerModel().open(path, plugin="napari-colorize")

    np.testing.assert_array_equal(layer.data, frames)
    assert layer.axis_labels == (axis, "y", "x")


def test_files_opened_as_a_stack_are_one_layer(tmp_path, gray):
    paths = [dicom_file(tmp_path / f"{place}.dcm", gray + place) for place in range(3)]

    [layer] = ViewerModel().open(paths, stack=True, plugin="napari-colorize")

    np.testing.assert_array_equal(layer.data, np.stack([gray, gray + 1, gray + 2]))


def test_slices_of_a_series_are_sorted_by_instance_number(tmp_path, gray):
    series = {
        "SeriesInstanceUID": "1.2.3", "PixelSpacing": [0.5, 0.25], "SpacingBetweenSlices": 2.5
    }  # fmt: skip
    paths = [
        dicom_file(tmp_path / f"{name}.dcm", gray + number, InstanceNumber=number, **series)
        for name, number in (("1.9", 10), ("1.7", 9), ("1.8", 2))
    ]
    [layer] = ViewerModel().open(paths, stack=True, plugin="napari-colorize")

    np.testing.assert_array_equal(layer.data, np.stack([gray + 2, gray + 9, gray + 10]))
    assert tuple(layer.contrast_limits) == (gray.min() + 2, gray.max() + 10)
    np.testing.assert_allclose(layer.scale, (2.5, 0.5, 0.25))
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3


def test_slices_of_several_series_keep_their_order(tmp_path, gray):
    paths = [
        dicom_file(tmp_path / f"{place}.dcm", gray + place, InstanceNumber=9 - place,
                   SeriesInstanceUID=f"1.2.{place}")
        for place in range(3)
    ]  # fmt: skip
    [layer] = ViewerModel().open(paths, stack=True, plugin="napari-colorize")

    np.testing.assert_array_equal(layer.data, np.stack([gray, gray + 1, gray + 2]))


def test_files_of_different_sizes_are_no_stack(tmp_path, gray):
    paths = [dicom_file(tmp_path / "a.dcm", gray), dicom_file(tmp_path / "b.dcm", gray[:6])]
    with pytest.raises(ImageError, match="differ in size: open them one by one"):
        get_dicom_reader(paths)(paths)


@pytest.mark.parametrize("paths", ["photo.png", ["a.dcm", "b.png"], [], "dcm"])
def test_other_files_are_declined(paths):
    assert get_dicom_reader(paths) is None


def test_the_error_of_a_damaged_file_has_its_name(tmp_path):
    path = tmp_path / "broken.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"nonsense")
    with pytest.raises(ImageError, match=r"broken\.dcm"):
        get_dicom_reader(str(path))(str(path))
