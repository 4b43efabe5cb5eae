from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2yuv, yuv2rgb

from napari_colorize.color import add_offset, chroma_to_offset, rgb_to_yuv, yuv_to_rgb


def test_yuv_is_scikit_images():
    rgb = np.random.default_rng(0).random((40, 30, 3))

    yuv = rgb_to_yuv(torch.from_numpy(rgb))

    np.testing.assert_allclose(yuv, rgb2yuv(rgb), atol=1e-12)
    np.testing.assert_allclose(yuv_to_rgb(yuv), yuv2rgb(rgb2yuv(rgb)), atol=1e-12)


@given(
    gray=st.floats(0, 1),
    u=st.floats(-0.6, 0.6),
    v=st.floats(-0.8, 0.8),
    saturation=st.floats(0, 4),
)
def test_luminance_stays_and_every_pixel_is_a_color(gray, u, v, saturation):
    plane = torch.tensor([[gray]])
    uv = torch.tensor([u, v]).view(2, 1, 1)

    rgb = add_offset(plane, chroma_to_offset(uv), saturation)

    pixel = rgb.view(3).double().numpy()
    assert pixel.min() >= -1e-6 and pixel.max() <= 1 + 1e-6
    assert rgb2yuv(pixel)[0] == pytest.approx(float(plane), abs=1e-6)


@given(u=st.floats(-0.4, 0.4), v=st.floats(-0.4, 0.4), saturation=st.floats(0.5, 4))
def test_hue_stays_where_chroma_gives_way(u, v, saturation):
    uv = torch.tensor([u, v], dtype=torch.float64).view(2, 1, 1)
    gray = torch.full((1, 1), 0.3, dtype=torch.float64)

    rgb = add_offset(gray, chroma_to_offset(uv), saturation).view(3).numpy()

    _, kept_u, kept_v = rgb2yuv(rgb)
    assert kept_u * v - kept_v * u == pytest.approx(0, abs=1e-9)  # parallel to what was asked
    assert np.hypot(kept_u, kept_v) <= saturation * np.hypot(u, v) + 1e-9


def test_a_color_inside_the_gamut_is_scaled_by_saturation_alone():
    uv = torch.tensor([0.02, -0.03]).view(2, 1, 1)
    gray = torch.full((1, 1), 0.5)

    rgb = add_offset(gray, chroma_to_offset(uv), 1.5).view(3).double().numpy()

    np.testing.assert_allclose(rgb2yuv(rgb), [0.5, 0.03, -0.045], atol=1e-6)


def test_gray_and_chroma_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="same pixels"):
        add_offset(torch.zeros(4, 5), torch.zeros(3, 5, 4), 1.0)
