from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2hsv, rgb2lab, yuv2rgb
from torch import Tensor

from napari_colorize.refine.damping import HUE_FADE, damp_hues, shadow_factor, uncolored

UNIT = st.floats(0, 1, width=32)
DEGREES = st.floats(0, 360, width=32)


def all_hues() -> tuple[Tensor, np.ndarray]:
    """U and V of all hues, and their HSV hues in degrees computed by scikit-image."""
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    uv = 0.1 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    rgb = yuv2rgb(np.concatenate([np.full((720, 1), 0.5), uv], axis=-1))
    return torch.from_numpy(uv).float(), rgb2hsv(rgb)[..., 0] * 360


def factor_of(uv: Tensor, damped: Tensor) -> np.ndarray:
    """Factor by which each color was scaled."""
    return (damped.norm(dim=-1) / uv.norm(dim=-1)).numpy()


def distance_to_range(hues: np.ndarray, hue_from: float, hue_to: float) -> np.ndarray:
    """Distance in degrees from each hue to the range, by brute force over its hues."""
    width = (hue_to - hue_from) % 360
    inside = hue_from + np.linspace(0, width, 3601)
    distance = np.abs((hues[:, None] - inside + 180) % 360 - 180)
    nearest: np.ndarray = distance.min(axis=1)
    return nearest


def test_shadows_of_0_keep_all_chroma():
    gray = torch.linspace(0, 1, 11)

    assert shadow_factor(gray, 0).tolist() == [1] * 11


@given(st.floats(0.01, 1))
def test_the_shadow_factor_decreases_smoothly_below_the_threshold(shadows):
    gray = torch.linspace(0, 1, 2001)

    factor = shadow_factor(gray, shadows)

    assert factor[0] == 0
    assert (factor[gray >= shadows] == 1).all()
    assert (factor.diff() >= 0).all()
    assert (
        factor.diff().max() <= 1.6 / shadows / 2000
    )  # continuous: the maximum slope of the cubic step is 1.5


def test_the_shadow_factor_is_one_half_at_half_of_the_threshold():
    assert shadow_factor(torch.tensor([0.1]), 0.2).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("hue_from", "hue_to"), [(290, 360), (100, 140), (350, 20), (20, 350), (90, 90), (340, 0)]
)
def test_only_hues_in_the_range_are_damped(hue_from, hue_to):
    uv, hues = all_hues()

    factor = factor_of(uv, damp_hues(uv, hue_from, hue_to, 0.75))

    outside = distance_to_range(hues, hue_from, hue_to)
    inside, far = outside < 0.2, outside > HUE_FADE + 0.2
    assert inside.any()
    np.testing.assert_allclose(factor[inside], 0.25, atol=1e-3)
    np.testing.assert_allclose(factor[far], 1, atol=1e-5)
    order = np.argsort(outside)
    assert (np.diff(factor[order]) > -1e-2).all()  # damping decreases with the distance


def test_a_range_of_0_to_360_covers_all_hues():
    uv, _ = all_hues()

    torch.testing.assert_close(damp_hues(uv, 0, 360, 0.5), uv / 2)


@given(DEGREES, DEGREES, UNIT)
def test_damping_only_scales_chrominance(hue_from, hue_to, damping):
    uv, _ = all_hues()

    damped = damp_hues(uv, hue_from, hue_to, damping)

    factor = (damped * uv).sum(dim=-1) / uv.square().sum(dim=-1)
    torch.testing.assert_close(damped, uv * factor[:, None])
    assert factor.min() >= 1 - damping - 1e-5
    assert factor.max() <= 1 + 1e-5


def test_damping_of_0_returns_the_input():
    uv, _ = all_hues()

    assert damp_hues(uv, 290, 360, 0) is uv


@pytest.mark.parametrize("shape", [(2,), (1, 1, 2), (3, 5, 2)])
def test_gray_stays_gray(shape):
    damped = damp_hues(torch.zeros(shape), 0, 360, 1)

    assert damped.shape == shape
    assert (damped == 0).all()


@pytest.mark.parametrize("below", [2.0, 10.0])
def test_uncolored_agrees_with_lab_chroma_of_scikit_image(below):
    random = np.random.default_rng(0)
    gray = random.random((40, 30, 1))
    rgb = (gray + random.normal(0, 0.02, (40, 30, 3))).clip(0, 1)
    chroma = np.hypot(*np.moveaxis(rgb2lab(rgb)[..., 1:], -1, 0))

    mask = uncolored(torch.from_numpy(rgb), below)

    unambiguous = np.abs(chroma - below) > 1e-3  # excludes pixels that rounding decides
    assert mask.dtype == torch.bool
    assert 0 < mask.sum() < mask.numel()
    np.testing.assert_array_equal(mask.numpy()[unambiguous], (chroma < below)[unambiguous])


def test_a_large_image_gives_the_same_mask_as_its_parts():
    rgb = torch.rand(1100, 1000, 3, generator=torch.Generator().manual_seed(0)) * 0.05 + 0.4

    mask = uncolored(rgb)

    assert 0 < mask.sum() < mask.numel()
    torch.testing.assert_close(mask[1040:], uncolored(rgb[1040:]))


def test_nan_is_not_uncolored():
    rgb = torch.full((2, 2, 3), 0.5)
    rgb[0, 0] = torch.nan

    assert uncolored(rgb).tolist() == [[False, True], [True, True]]
