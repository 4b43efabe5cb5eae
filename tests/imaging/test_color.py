from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab, rgb2yuv, yuv2rgb

from napari_colorize.imaging.color import (
    REC601,
    add_offset,
    chroma_to_offset,
    gray_to_l,
    lab_to_rgb,
    rgb_to_lab,
    rgb_to_yuv,
    to_uint8,
    yuv_from_rgb,
    yuv_to_rgb,
)


def test_yuv_equals_that_of_scikit_image():
    rgb = np.random.default_rng(0).random((40, 30, 3))

    yuv = rgb_to_yuv(torch.from_numpy(rgb))

    np.testing.assert_allclose(yuv, rgb2yuv(rgb), atol=1e-12)
    np.testing.assert_allclose(yuv_to_rgb(yuv), yuv2rgb(rgb2yuv(rgb)), atol=1e-12)


def every_eighth_color() -> np.ndarray:
    """Grid of RGB colors in [0, 1], (33, 33, 33, 3), with very dark ones."""
    levels = np.append(np.linspace(0, 1, 32), 0.002)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1)


def test_lab_equals_that_of_scikit_image():
    rgb = every_eighth_color()

    lab = rgb_to_lab(torch.from_numpy(rgb))

    np.testing.assert_allclose(lab, rgb2lab(rgb), atol=1e-10)
    np.testing.assert_allclose(lab_to_rgb(lab), rgb, atol=1e-6)


def test_lab_in_float32_is_accurate_to_a_thousandth():
    rgb = every_eighth_color()

    lab = rgb_to_lab(torch.from_numpy(rgb).float())

    assert lab.dtype == torch.float32
    np.testing.assert_allclose(lab, rgb2lab(rgb), atol=1e-3)
    np.testing.assert_allclose(lab_to_rgb(lab), rgb, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_lab_outside_the_gamut_equals_that_of_scikit_image_after_clipping():
    lab = np.random.default_rng(0).uniform([0, -110, -110], [100, 110, 110], (40, 50, 3))

    rgb = lab_to_rgb(torch.from_numpy(lab))

    assert rgb.min() < -0.1 and rgb.max() > 1.1
    np.testing.assert_allclose(rgb.clamp(0, 1), lab2rgb(lab), atol=1e-10)


def test_lightness_of_gray_equals_that_of_scikit_image():
    gray = np.linspace(0, 1, 300)

    lightness = gray_to_l(torch.from_numpy(gray))

    wanted = rgb2lab(np.repeat(gray[:, None], 3, axis=1))[:, 0]
    np.testing.assert_allclose(lightness, wanted, atol=1e-10)


@pytest.mark.parametrize("value", [-0.1, 0.0, 1e-6, 0.04045, 0.5, 1.0, 1.2])
def test_gradients_of_lab_are_finite(value):
    rgb = torch.full((1, 3), value, requires_grad=True)
    lab = torch.tensor([[100 * value, 0.0, 0.0]], requires_grad=True)

    (slope,) = torch.autograd.grad(rgb_to_lab(rgb)[:, 0].sum(), rgb)
    (back,) = torch.autograd.grad(lab_to_rgb(lab).sum(), lab)
    (of_gray,) = torch.autograd.grad(gray_to_l(rgb).sum(), rgb)

    for gradient in (slope, back, of_gray):
        assert gradient.isfinite().all()
    assert slope.sum() > 0 and of_gray.sum() > 0 and back[0, 0] > 0


@pytest.mark.parametrize("color", [(0.2, 0.5, 0.7), (0.01, 0.02, 0.03), (0.9, 0.0, 0.1)])
def test_gradients_of_lab_equal_finite_differences(color):
    rgb = torch.tensor([color], dtype=torch.float64, requires_grad=True)

    lab = rgb_to_lab(rgb).detach().requires_grad_()

    assert torch.autograd.gradcheck(rgb_to_lab, rgb)
    assert torch.autograd.gradcheck(lab_to_rgb, lab)


@given(
    gray=st.floats(0, 1),
    u=st.floats(-0.6, 0.6),
    v=st.floats(-0.8, 0.8),
    saturation=st.floats(0, 4),
)
def test_luminance_is_unchanged_and_every_pixel_in_the_gamut(gray, u, v, saturation):
    plane = torch.tensor([[gray]])
    uv = torch.tensor([u, v]).view(2, 1, 1)

    rgb = add_offset(plane, chroma_to_offset(uv), saturation)

    pixel = rgb.view(3).double().numpy()
    assert pixel.min() >= -1e-6 and pixel.max() <= 1 + 1e-6
    assert rgb2yuv(pixel)[0] == pytest.approx(float(plane), abs=1e-6)


@given(u=st.floats(-0.4, 0.4), v=st.floats(-0.4, 0.4), saturation=st.floats(0.5, 4))
def test_hue_is_unchanged_where_chroma_is_reduced(u, v, saturation):
    uv = torch.tensor([u, v], dtype=torch.float64).view(2, 1, 1)
    gray = torch.full((1, 1), 0.3, dtype=torch.float64)

    rgb = add_offset(gray, chroma_to_offset(uv), saturation).view(3).numpy()

    _, kept_u, kept_v = rgb2yuv(rgb)
    assert kept_u * v - kept_v * u == pytest.approx(0, abs=1e-9)  # parallel to the requested chroma
    assert np.hypot(kept_u, kept_v) <= saturation * np.hypot(u, v) + 1e-9


def test_a_color_inside_the_gamut_is_scaled_by_saturation_alone():
    uv = torch.tensor([0.02, -0.03]).view(2, 1, 1)
    gray = torch.full((1, 1), 0.5)

    rgb = add_offset(gray, chroma_to_offset(uv), 1.5).view(3).double().numpy()

    np.testing.assert_allclose(rgb2yuv(rgb), [0.5, 0.03, -0.045], atol=1e-6)


def test_gray_and_chroma_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="same pixels"):
        add_offset(torch.zeros(4, 5), torch.zeros(3, 5, 4), 1.0)


def test_luma_weights_are_the_first_row_of_scikit_images_matrix():
    np.testing.assert_array_equal(yuv_from_rgb()[0], REC601)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_rounded_to_the_nearest_8_bit_step_alike_in_numpy_and_torch(dtype):
    unit = np.append(np.random.default_rng(0).random(500), [0, 0.5, 1]).astype(dtype)

    as_array, as_tensor = to_uint8(unit), to_uint8(torch.from_numpy(unit))

    assert as_array.dtype == np.uint8
    assert as_tensor.dtype == torch.uint8
    assert as_array[-3:].tolist() == [0, 128, 255]
    np.testing.assert_array_equal(as_array, as_tensor)
    np.testing.assert_allclose(as_array / 255, unit, atol=0.5 / 255 + 1e-6)
