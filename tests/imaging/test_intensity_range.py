from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import camera

from napari_colorize.imaging.intensity_range import (
    SAMPLE,
    IntensityRange,
    Summary,
    declared_range,
    find_range,
    image_range,
    range_of_images,
)
from napari_colorize.imaging.planes import stack_range, to_plane

WINDOW = declared_range((-160, 240), "DICOM window")


def image_up_to(largest: int, dtype: str) -> np.ndarray:
    return np.array([[0, largest // 2], [largest // 3, largest]], dtype)


@pytest.mark.parametrize(
    ("largest", "dtype", "white"),
    [
        (0, "uint16", 255),  # nothing to stretch
        (255, "uint16", 255),
        (256, "uint16", 1023),
        (1023, "uint16", 1023),
        (1024, "uint16", 4095),
        (4095, ">u2", 4095),
        (4096, "uint16", 16383),
        (16384, "uint16", 65535),
        (4000, "uint32", 4095),
        (65535, "uint32", 65535),
        (65536, "uint32", 2**18 - 1),
        (2**32 - 1, "uint32", 2**32 - 1),
        (2**64 - 1, "uint64", 2**64 - 1),
        (255, "int64", 255),
        (4000, "int16", 4095),
        (20000, "int16", 32767),  # an int16 holds no 65535
        (100, "int8", 127),
        (3, "uint8", 255),
    ],
)
def test_white_of_integers_is_the_largest_value_of_their_significant_bits(largest, dtype, white):
    assert image_range(image_up_to(largest, dtype)).limits == (0, white)


@given(st.integers(256, 2**64 - 1))
def test_the_largest_value_is_above_a_fifth_of_white(largest):
    black, white = image_range(np.array([[largest]], np.uint64)).limits

    assert black == 0
    assert white / 5 < largest <= white


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        (np.array([-3, 9], np.int16), (-3, 9)),
        (np.array([-1024, 3071], np.int32), (-1024, 3071)),
        (np.array([0.1, 0.5]), (0, 1)),
        (np.array([0.0, 4080.0], np.float32), (0, 4080)),
        (np.array([np.nan, -2, np.inf, 7]), (-2, 7)),
        (np.array([np.nan, np.inf]), (0, 1)),
        (np.array([True, True]), (0, 1)),
        (np.array([7.0, 7.0]), (7, 7)),
    ],
)
def test_signed_values_and_floats_without_a_range_use_that_of_the_data(values, limits):
    assert image_range(values[None]).limits == limits


@pytest.mark.parametrize(
    ("asked", "limits"),
    [
        (None, (0, 4095)),
        ("auto", (0, 4095)),
        ("dtype", (0, 65535)),
        ("data", (1, 4000)),
        ((5, 50), (5, 50)),
    ],
)
def test_the_range_is_the_one_that_was_asked_for(asked, limits):
    values = np.array([[1, 300], [4000, 20]], np.uint16)

    assert image_range(values, asked).limits == limits


def test_percentiles_leave_out_a_thousandth_at_each_end():
    values = np.arange(10_001, dtype=np.uint16).reshape(73, 137)
    values[0, 0], values[-1, -1] = 60_000, 60_001

    assert image_range(values, "percentile").limits == (11, 9_991)
    floats = values.astype(np.float64)
    assert image_range(floats, "percentile").limits == pytest.approx(
        np.percentile(floats, (0.1, 99.9))
    )


def test_percentiles_of_many_values_are_sampled_in_every_plane():
    planes = [np.full((1, SAMPLE), level, np.float32) for level in (0.0, 8.0)]

    assert range_of_images(planes, 2, "percentile").limits == (0, 8)


def test_percentiles_of_almost_constant_data_are_their_minimum_and_maximum():
    values = np.zeros((100, 100), np.int32)
    values[0, 0] = 9

    assert image_range(values, "percentile").limits == (0, 9)


@pytest.mark.parametrize("asked", ["dtype", "data", "percentile", (0, 9)])
def test_what_is_asked_for_wins_over_the_declared_range(asked):
    values = image_up_to(300, "int16")

    assert image_range(values, None, WINDOW).limits == (-160, 240)
    assert image_range(values, asked, WINDOW) == image_range(values, asked)


def test_a_declared_range_is_used_without_reading_the_data():
    def refuse(rule: str) -> Summary:
        raise AssertionError("The data were read.")

    found = find_range(np.dtype("int16"), refuse, None, WINDOW)

    assert found.source == "DICOM window"
    assert "-160 and 240: DICOM window" in str(found.note)


@pytest.mark.parametrize("limits", [(5, 5), (9, 1), (0, np.inf), (np.nan, 1)])
def test_a_declared_range_that_makes_no_sense_is_ignored(limits):
    assert declared_range(limits, "ImageJ display range") is None


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        (np.array([[3]], np.uint8), None),
        (np.array([[60_000]], np.uint16), None),
        (np.array([[0.5]]), None),
        (np.array([[True]]), None),
        (np.array([[300]], np.uint16), "dtype"),
        (np.array([[0, 65535]], np.uint16), "data"),
        (np.array([[300]], np.uint16), (0, 300)),
    ],
)
def test_there_is_no_note_on_the_range_of_the_dtype_or_on_numbers_that_were_given(values, asked):
    assert image_range(values, asked).note is None


def test_a_declared_range_that_is_the_one_of_the_dtype_needs_no_note():
    whole = declared_range((0, 65535), "OME SignificantBits")

    assert image_range(image_up_to(300, "uint16"), None, whole).note is None


@pytest.mark.parametrize("asked", [None, "data", "percentile"])
def test_a_note_names_the_limits_and_how_to_change_them(asked):
    found = image_range(np.arange(4000, dtype=np.uint16)[None], asked)

    assert f"{found.limits[0]} and {found.limits[1]}" in str(found.note)
    assert "contrast_limits=" in str(found.note)


def test_a_stack_has_one_range_though_a_plane_is_dark():
    stack = np.stack([camera() // 64, camera() * np.uint16(16)])

    assert stack_range(stack, None).limits == (0, 4095)
    assert stack_range(stack, None, "data").limits == (0, 4080)
    assert (
        stack_range(stack, None, "percentile").limits
        == image_range(stack.reshape(1024, 512), "percentile").limits
    )


def test_planes_are_not_read_after_the_range_is_decided():
    def planes():
        yield np.array([[70]], np.uint16)
        yield np.array([[16_384]], np.uint16)
        raise AssertionError("A third plane was read.")

    assert range_of_images(planes(), 3).limits == (0, 65535)


def test_alpha_does_not_count_and_keeps_its_values():
    image = np.zeros((4, 5, 4), np.uint16)
    image[..., :3], image[..., 3] = 4000, 65535

    plane = to_plane(image)

    assert plane.limits == (0, 4095)
    assert plane.alpha is not None
    assert (plane.alpha == 65535).all()


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int16", "int32", "float32"])
@pytest.mark.parametrize("factor", [4, 16])
def test_the_network_sees_the_same_gray_whatever_the_scale_is(dtype, factor):
    gray = to_plane(camera()).gray

    scaled = to_plane(camera().astype(dtype) * np.dtype(dtype).type(factor)).gray

    assert abs(scaled - gray).max() < 0.004


def test_the_record_states_limits_and_source():
    assert IntensityRange((0, 4095), "12 significant bits").record == {
        "limits": [0, 4095],
        "source": "12 significant bits",
    }
