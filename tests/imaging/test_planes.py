from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from skimage.color import rgb2gray, rgb2yuv

from napari_colorize.errors import ImageError
from napari_colorize.imaging.intensity_range import FROM_DATA, REMEDY
from napari_colorize.imaging.planes import (
    HAD_COLOR,
    NOT_FINITE,
    split_stack,
    stack_range,
    to_plane,
)
from napari_colorize.io.image_record import ImageRecord
from napari_colorize.pipeline import compose

REAL_DTYPES = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
]
images = st.sampled_from(REAL_DTYPES).flatmap(
    lambda name: npst.arrays(
        name, npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
    )
)
chromas = npst.arrays("float32", (2, 3, 2), elements=st.floats(-0.625, 0.625, width=32))


def as_unit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map the limits to 0 and 1 in exact arithmetic."""
    span = int(high) - int(low) if values.dtype.kind in "iu" else float(high) - float(low)
    exact = values.astype(object) - (int(low) if values.dtype.kind in "iu" else float(low))
    return (exact / span).astype(np.float64) if span else np.zeros(values.shape)


def tolerance(dtype: np.dtype, span: float) -> float:
    """Documented precision: one step of integers or float16, otherwise 2e-6 of the range.

    Integers that span more than 500,000 values have a step below 2e-6.
    """
    if dtype.kind in "iu":
        return max(1 / span, 2e-6)
    return 2.0**-11 if dtype == np.float16 else 2e-6


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint32", 0, 2**26),
        ("uint32", 0, 2**32 - 1),
        ("int64", -(2**40), 2**40),
        ("uint64", 0, 2**64 - 1),
        ("float64", -1.7e308, 1.7e308),  # the difference is beyond float64
        ("float64", -1e-300, 1e-300),
        ("float32", -3e38, 3e38),
    ],
)
def test_luminance_of_wide_ranges_has_the_documented_precision(dtype, low, high):
    unit = np.random.default_rng(0).random((40, 50))
    unit.flat[:2] = 0, 1
    exact = [
        Fraction(low) + Fraction(each) * (Fraction(high) - Fraction(low)) for each in unit.flat
    ]
    values = [int(each) if np.dtype(dtype).kind in "iu" else float(each) for each in exact]
    image = np.array(values, dtype).reshape(unit.shape)

    rgb = compose(to_plane(image, limits=(low, high)), torch.full((4, 5, 2), 0.1), 1.0)

    result = rgb.astype(np.float64)
    if rgb.dtype.kind in "iu":
        result = (result - low) / (high - low)
    np.testing.assert_allclose(rgb2yuv(result)[..., 0], unit, rtol=0, atol=2e-6)


@given(image=images, uv=chromas, saturation=st.floats(0, 4))
def test_luminance_and_dtype_equal_the_input(image, uv, saturation):
    image = np.where(np.isfinite(image), image, 0).astype(image.dtype)
    plane = to_plane(image)

    rgb = compose(plane, torch.from_numpy(uv), saturation)

    low, high = plane.limits
    assert rgb.shape == (*image.shape, 3)
    assert rgb.dtype == (np.uint8 if image.dtype.kind == "b" else image.dtype)
    if image.dtype.kind == "b":
        np.testing.assert_array_equal(rgb, np.repeat(image[..., None] * 255, 3, axis=-1))
    elif image.dtype.kind in "iu":
        assert rgb.min() >= low and rgb.max() <= high
        if high > low:
            luminance = rgb2yuv(as_unit(rgb, low, high))[..., 0]
            wanted = as_unit(image, low, high)
            allowed = tolerance(image.dtype, int(high) - int(low))
            np.testing.assert_allclose(luminance, wanted, rtol=0, atol=allowed)
    elif np.isfinite(float(high) - float(low)):
        assert rgb.min() >= 0 and rgb.max() <= 1
        luminance = rgb2yuv(rgb.astype(np.float64))[..., 0]
        allowed = tolerance(image.dtype, 1)
        np.testing.assert_allclose(luminance, as_unit(image, low, high), rtol=0, atol=allowed)


@given(image=npst.arrays("float32", (6, 5), elements=st.floats(width=32)), uv=chromas)
def test_nan_and_infinity_stay_gray_and_affect_no_other_pixel(image, uv):
    plane = to_plane(image)

    rgb = compose(plane, torch.from_numpy(uv), 2.0)

    finite = np.isfinite(image)
    np.testing.assert_array_equal(rgb[~finite][:, 0], rgb[~finite][:, 1])
    np.testing.assert_array_equal(rgb[~finite][:, 1], rgb[~finite][:, 2])
    assert np.isfinite(rgb[finite]).all()
    assert (NOT_FINITE in plane.warnings) == (not finite.all())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_contrast_limits_and_gamma_apply_to_the_output(dtype):
    image = np.arange(240, dtype=dtype).reshape(12, 20)
    uv = torch.full((2, 2, 2), 0.2)

    plane = to_plane(image, limits=(20, 200), gamma=0.5)
    rgb = compose(plane, uv, 1.0).astype(np.float64)

    wanted = np.clip((image.astype(np.float64) - 20) / 180, 0, 1) ** 0.5
    unit = (rgb - 20) / 180 if image.dtype.kind in "iu" else rgb
    step = 1 / 180 if image.dtype.kind in "iu" else 2e-6
    np.testing.assert_allclose(rgb2yuv(unit)[..., 0], wanted, rtol=0, atol=step)


@given(
    image=st.sampled_from(
        ["uint8", "int8", "uint16", "int32", "uint32", "int64", "uint64"]
    ).flatmap(lambda name: npst.arrays(name, (3, 4))),
    low=st.integers(-(2**40), 2**40) | st.integers(-(2**63), 2**63),
    span=st.integers(1, 2**40) | st.integers(2**40, 2**66),
    gamma=st.sampled_from([0.3, 1.0, 2.2]),
    uv=chromas,
    saturation=st.floats(0, 4),
)
def test_integers_do_not_wrap_around_for_any_limits(image, low, span, gamma, uv, saturation):
    plane = to_plane(image, limits=(low, low + span), gamma=gamma)
    order = np.argsort(image, axis=None, kind="stable")

    rgb = compose(plane, torch.from_numpy(uv), saturation)
    grays = compose(plane, torch.zeros_like(torch.from_numpy(uv)), 1.0)[..., 0]

    info = np.iinfo(image.dtype)
    assert info.min <= int(rgb.min()) <= int(rgb.max()) <= info.max
    assert all(np.diff(grays.ravel()[order].astype(object)) >= 0)  # monotone
    luminance = rgb.astype(np.float64) @ [0.299, 0.587, 0.114]
    allowed = 1.01 + 1e-6 * min(span, 2**64)
    np.testing.assert_allclose(luminance, grays.astype(np.float64), rtol=1e-6, atol=allowed)


def test_limits_outside_the_dtype_do_not_overflow():
    image = np.full((4, 4), 250, np.uint8)

    rgb = compose(to_plane(image, limits=(-100, 400)), torch.full((1, 1, 2), 0.4), 4.0)

    assert rgb.min() >= 0
    np.testing.assert_allclose(rgb @ [0.299, 0.587, 0.114], 250, atol=1)


def test_colors_become_rec_601_luminance_with_a_note():
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)

    plane = to_plane(image)

    np.testing.assert_allclose(plane.gray, rgb2yuv(image)[..., 0], atol=1e-6)
    assert not np.allclose(plane.gray, rgb2gray(image))  # Rec. 709
    assert plane.notes == (HAD_COLOR,)


def test_gray_in_three_channels_has_no_color_note():
    image = np.repeat(1000 * np.arange(64, dtype=np.uint16).reshape(8, 8, 1), 3, axis=-1)

    assert to_plane(image).notes == ()


def test_gray_with_compression_errors_has_no_color_note():
    gray = np.random.default_rng(0).integers(2, 250, (8, 9, 1), dtype=np.uint8)

    assert to_plane(gray + np.array([0, 1, 2], np.uint8)).notes == ()
    assert to_plane(gray + np.array([0, 1, 3], np.uint8)).notes == (HAD_COLOR,)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_alpha_is_unchanged(dtype):
    image = np.random.default_rng(0).random((6, 5, 4))
    image = (image * (1 if dtype == "float32" else np.iinfo(dtype).max)).astype(dtype)

    rgba = compose(to_plane(image), torch.zeros(2, 2, 2), 1.0)

    assert rgba.shape == image.shape
    np.testing.assert_array_equal(rgba[..., 3], image[..., 3])


def test_limits_come_from_the_data_if_the_dtype_has_no_default():
    image = np.array([[-3, 5], [9, 0]], np.int16)

    plane = to_plane(image)

    assert plane.limits == (-3, 9)
    assert plane.notes == (f"{FROM_DATA.format(-3, 9)} {REMEDY}",)


def test_differences_of_large_integers_are_exact():
    image = 2**62 + np.arange(100, dtype=np.int64).reshape(10, 10)

    rgb = compose(to_plane(image, limits="data"), torch.zeros(1, 1, 2), 1.0)

    np.testing.assert_array_equal(rgb[..., 0], image)


@pytest.mark.parametrize("value", [0, 7, -2])
def test_a_constant_image_is_unchanged_by_the_range_of_the_data(value):
    image = np.full((3, 3), value, np.int32)

    rgb = compose(to_plane(image, limits="data"), torch.full((2, 2, 2), 0.3), 2.0)

    np.testing.assert_array_equal(rgb, np.full((3, 3, 3), value))


def test_alpha_is_a_copy():
    image = np.full((4, 5, 4), 200, np.uint8)
    plane = to_plane(image)

    image[..., 3] = 0

    assert plane.alpha.min() == 200


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.ma.masked_greater(np.arange(20).reshape(4, 5), 7), "filled"),
        (torch.zeros(4, 5).to_sparse(), "not an image"),
    ],
)
def test_ambiguous_inputs_are_refused(image, sentence):
    with pytest.raises(ImageError, match=sentence):
        to_plane(image)


@pytest.mark.parametrize("mode", ["1", "L", "I", "F", "RGB", "RGBA"])
def test_pillow_images_are_read(mode):
    assert to_plane(Image.new(mode, (6, 4))).gray.shape == (4, 6)


@pytest.mark.parametrize("mode", ["P", "LA", "PA", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_pillow_images_of_other_modes_are_converted_to_rgb(mode):
    ramp = np.repeat(np.arange(0, 256, 17, dtype=np.uint8)[None], 4, axis=0)
    image = Image.fromarray(ramp)
    image = image.convert(mode) if mode in ("P", "LA", "PA") else image.convert("RGB").convert(mode)

    plane = to_plane(image)

    np.testing.assert_allclose(plane.gray * 255, ramp, atol=1)  # YCbCr is rounded
    assert (plane.alpha is not None) == (mode in ("LA", "PA"))


def test_a_range_wider_than_float64_is_mapped():
    image = np.array([[-1.7e308, 0.0, 1.7e308]])

    plane = to_plane(image)

    np.testing.assert_allclose(plane.gray, [[0, 0.5, 1]])


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((0, 5)), "no pixels"),
        (np.zeros(5), "at least two axes"),
        (np.zeros((4, 5, 6)), "stack"),
        (np.zeros((2, 4, 5, 3)), "stack"),
        (np.zeros((4, 5), complex), "real numbers"),
        (np.full((4, 5), "x"), "real numbers"),
        ("photo.jpg", r"colorize\(path\)"),
        (None, "real numbers"),
        (ImageRecord(array=np.zeros((4, 5)), is_stack=False, rgb=False), r"record\.array"),
        ([[1, 2], [3]], "not an image"),
    ],
)
def test_inputs_that_are_no_image_are_refused(image, sentence):
    with pytest.raises(ImageError, match=sentence):
        to_plane(image)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_read_only_and_reversed_arrays_are_read(dtype):
    image = np.arange(30, dtype=dtype).reshape(5, 6)
    image.flags.writeable = False

    plane = to_plane(image[::-1, ::2], limits=(0, 29))

    np.testing.assert_allclose(plane.gray, image[::-1, ::2] / 29, atol=1e-6)


def test_byte_order_does_not_matter():
    image = np.arange(30, dtype=np.uint16).reshape(5, 6) * 1000

    np.testing.assert_array_equal(to_plane(image.astype(">u2")).gray, to_plane(image).gray)


def test_planes_of_a_stack_are_found_with_and_without_colors():
    assert list(split_stack(np.zeros((2, 3, 8, 9)), None)) == [
        (first, second) for first in range(2) for second in range(3)
    ]
    assert list(split_stack(np.zeros((2, 8, 9, 3)), None)) == [(0,), (1,)]
    assert list(split_stack(np.zeros((2, 9, 3)), False)) == [(0,), (1,)]
    assert list(split_stack(np.zeros((8, 9)), None)) == [()]


def test_a_stack_has_one_pair_of_limits():
    stack = np.stack([np.full((4, 5), value, np.int32) for value in (-2, 10, 4)])

    assert stack_range(stack, None).limits == (-2, 10)
    assert stack_range(stack / 100 + 0.05, None).limits == (0, 1)


@pytest.mark.parametrize(
    ("image", "limits"),
    [
        ([[0.25, 1.0]], (0, 1)),
        ([[0.0, 0.5]], (0, 1)),
        ([[0.25, 1.5]], (0.25, 1.5)),
        ([[-0.25, 0.5]], (-0.25, 0.5)),
    ],
)
def test_floats_within_zero_and_one_have_the_limits_zero_and_one(image, limits):
    assert to_plane(np.array(image)).limits == limits
