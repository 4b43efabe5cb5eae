from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.ndimage import generic_filter
from skimage.color import rgb2yuv
from skimage.data import astronaut
from torch import Tensor

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.imaging.resample import resize_map
from napari_colorize.refine import palette_transfer as module
from napari_colorize.refine.palette_transfer import (
    Reference,
    describe,
    match_patches,
    match_statistics,
    resize_labels,
    transfer_palette,
)

METHODS = ("statistics", "patches")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def colors(count: int, seed: int, mean=(0.05, -0.1), mix=((0.05, 0.02), (-0.01, 0.08))) -> Tensor:
    """Correlated U and V around a mean."""
    return (random(count, 2, seed=seed) - 0.5) @ torch.tensor(mix) + torch.tensor(mean)


def photograph() -> tuple[np.ndarray, Tensor, Tensor]:
    """8-bit photograph, its gray and its chrominance at network size."""
    rgb = astronaut()
    yuv = resize_map(torch.from_numpy(rgb2yuv(rgb)).float(), (128, 128))
    return rgb, yuv[..., 0], yuv[..., 1:]


def stripes(shape: tuple[int, int], *rgb: tuple[float, float, float]) -> np.ndarray:
    """Image of vertical stripes, one color each."""
    parts = np.array_split(np.empty((*shape, 3), np.float32), len(rgb), axis=1)
    return np.concatenate(
        [np.full_like(stripe, color) for stripe, color in zip(parts, rgb, strict=True)], axis=1
    )


def test_mean_and_covariance_match_the_reference():
    uv, reference_uv = colors(500, 1), colors(700, 2, (-0.1, 0.2), ((0.04, -0.05), (0.03, 0.06)))

    matched = match_statistics(uv, reference_uv)

    np.testing.assert_allclose(matched.mean(dim=0), reference_uv.mean(dim=0), atol=1e-6)
    np.testing.assert_allclose(
        matched.std(dim=0, correction=0), reference_uv.std(dim=0, correction=0), rtol=1e-4
    )
    np.testing.assert_allclose(
        np.cov(matched.T, bias=True), np.cov(reference_uv.T, bias=True), atol=1e-7
    )


def test_the_matrix_is_the_linear_monge_kantorovitch_mapping():
    uv, reference_uv = colors(500, 1), colors(700, 2, mix=((0.04, -0.05), (0.03, 0.06)))

    matched = match_statistics(uv, reference_uv)

    covariance, reference_covariance = (
        np.cov(part.double().T, bias=True) for part in (uv, reference_uv)
    )
    root = np.real(sqrtm(covariance))
    matrix = (
        np.linalg.inv(root)
        @ np.real(sqrtm(root @ reference_covariance @ root))
        @ np.linalg.inv(root)
    )
    expected = (uv.double() - uv.double().mean(dim=0)) @ matrix + reference_uv.double().mean(dim=0)
    np.testing.assert_allclose(matched, expected, atol=1e-6)


def test_uncorrelated_axes_are_scaled_as_by_reinhard():
    across, along = np.meshgrid(np.linspace(-0.1, 0.1, 9), np.linspace(-0.02, 0.02, 7))
    grid = torch.from_numpy(np.stack([across.ravel(), along.ravel()], axis=1)).float()
    expected = grid * torch.tensor([0.5, 3.0]) + torch.tensor([0.1, -0.2])

    torch.testing.assert_close(match_statistics(grid, expected), expected)


def test_colors_with_the_statistics_of_the_reference_stay_unchanged():
    uv = colors(300, 3)

    torch.testing.assert_close(match_statistics(uv, uv.flip(0)), uv)


def test_the_gain_is_limited_for_gray_predictions():
    flat, noise = torch.zeros(400, 2), 1e-4 * (random(400, 2) - 0.5)
    expected = colors(400, 4)

    shifted, stretched = match_statistics(flat, expected), match_statistics(noise, expected)

    torch.testing.assert_close(shifted, expected.mean(dim=0).expand(400, 2))
    spread = (stretched - stretched.mean(dim=0)).abs().max() / noise.abs().max()
    assert spread <= 1.5 * module.MAX_GAIN
    torch.testing.assert_close(stretched.mean(dim=0), expected.mean(dim=0))


@pytest.mark.parametrize("expected", [torch.zeros(50, 2), torch.full((1, 2), 0.1)])
def test_a_reference_of_one_color_gives_that_color(expected):
    matched = match_statistics(colors(60, 1), expected)

    torch.testing.assert_close(matched, expected[:1].expand(60, 2), atol=1e-4, rtol=0)


def test_features_are_luminance_and_local_standard_deviation():
    gray = random(11, 13)

    features = describe(gray)

    around = generic_filter(gray.double().numpy(), np.std, size=5, mode="nearest")
    assert torch.equal(features[..., 0], gray)
    np.testing.assert_allclose(features[..., 1], around, atol=1e-5)


def test_patches_recover_colors_that_depend_on_luminance():
    gray, reference_gray = random(60, 50).sort().values, random(70, 40, seed=1).sort().values
    features, reference_features = describe(gray).view(-1, 2), describe(reference_gray).view(-1, 2)
    reference_uv = torch.stack([reference_features[:, 0], -reference_features[:, 0]], dim=1) * 0.2

    matched = match_patches(features, reference_features, reference_uv)

    expected = torch.stack([features[:, 0], -features[:, 0]], dim=1) * 0.2
    assert (matched - expected).abs().mean() < 0.005


def test_patches_are_invariant_to_exposure_and_contrast_of_the_reference():
    gray, reference_gray = random(30, 50), random(40, 40, seed=1)
    reference_uv = random(1600, 2, seed=2)
    features = describe(gray).view(-1, 2)

    plain, low_contrast = (
        match_patches(features, describe(plane).view(-1, 2), reference_uv)
        for plane in (reference_gray, 0.3 * reference_gray + 0.6)
    )

    assert (plain - low_contrast).abs().mean() < 0.01


def test_patches_distinguish_textures_of_equal_luminance():
    smooth, rough = torch.full((40, 40), 0.5), 0.5 + 0.2 * (random(40, 40) - 0.5)
    gray = torch.cat([smooth, rough], dim=1)
    reference_gray = torch.cat([rough.flip(0), smooth], dim=1)
    reference_uv = torch.zeros(40, 80, 2)
    reference_uv[:, :40, 0], reference_uv[:, 40:, 1] = 0.2, 0.2

    matched = match_patches(
        describe(gray).view(-1, 2), describe(reference_gray).view(-1, 2), reference_uv.view(-1, 2)
    ).view(40, 80, 2)

    assert (matched[:, :36, 1] > 0.15).float().mean() > 0.95
    assert (matched[:, 44:, 0] > 0.15).float().mean() > 0.95


def test_an_image_as_its_own_reference_recovers_its_colors():
    rgb, gray, uv = photograph()

    result = transfer_palette(
        gray, torch.zeros_like(uv), Reference(rgb), strength=1, method="patches"
    )

    error = torch.linalg.vector_norm(result - uv, dim=-1).mean()
    assert error < 0.6 * torch.linalg.vector_norm(uv, dim=-1).mean()  # gray has 1


@pytest.mark.parametrize("method", METHODS)
def test_strength_interpolates_between_prediction_and_palette(method):
    _, gray, uv = photograph()
    reference = Reference(stripes((20, 30), (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)))

    none, half, whole = (
        transfer_palette(gray, uv, reference, strength=strength, method=method)
        for strength in (0, 0.5, 1)
    )

    assert torch.equal(none, uv)
    assert not torch.equal(whole, uv)
    torch.testing.assert_close(half, (uv + whole) / 2)


@pytest.mark.parametrize("method", METHODS)
def test_the_result_is_deterministic(method):
    rgb, gray, uv = photograph()

    torch.manual_seed(1)
    one = transfer_palette(gray, uv, Reference(rgb), strength=1, method=method)
    torch.manual_seed(2)
    other = transfer_palette(gray, uv, Reference(rgb), strength=1, method=method)

    assert torch.equal(one, other)


def test_the_result_has_the_statistics_of_the_reference():
    rgb, gray, uv = photograph()
    predicted = 0.5 * uv.flip(1) + 0.05

    result = transfer_palette(gray, predicted, Reference(rgb), strength=1)

    torch.testing.assert_close(result.mean((0, 1)), uv.mean((0, 1)), atol=1e-4, rtol=0)
    torch.testing.assert_close(result.std((0, 1)), uv.std((0, 1)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_each_region_uses_the_reference_region_of_the_same_number(method):
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)
    rgb = stripes((30, 90), (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.8, 0.1))
    reference_regions = np.repeat([[7, 2, 0]], 30, axis=0).repeat(30, axis=1)
    regions = np.repeat([[0, 2, 7, 5]], 48, axis=0).repeat(20, axis=1)

    result = transfer_palette(
        gray, uv, Reference(rgb, reference_regions), strength=1, method=method, regions=regions
    )

    blue, red = (rgb2yuv(rgb[:1, column])[0, 1:] for column in (45, 0))
    assert torch.equal(result[:, :10], uv[:, :10])  # background
    assert torch.equal(result[:, 30:], uv[:, 30:])  # not in the reference
    np.testing.assert_allclose(result[:, 10:20].mean((0, 1)), blue, atol=1e-4)
    np.testing.assert_allclose(result[:, 20:30].mean((0, 1)), red, atol=1e-4)


def test_regions_of_only_one_image_are_ignored():
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)
    rgb = random(30, 90, 3).numpy()
    regions, reference_regions = np.eye(24, 40, dtype=int), np.eye(30, 90, dtype=int)

    whole = transfer_palette(gray, uv, Reference(rgb), strength=1)

    assert torch.equal(
        transfer_palette(gray, uv, Reference(rgb, reference_regions), strength=1), whole
    )
    assert torch.equal(
        transfer_palette(gray, uv, Reference(rgb), strength=1, regions=regions), whole
    )


def test_transparent_reference_pixels_are_ignored():
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)
    visible = np.broadcast_to(np.arange(60) < 33, (40, 60))
    rgb = np.where(visible[..., None], (0.9, 0.1, 0.1), (0.1, 0.2, 0.9))
    rgba = np.dstack([rgb, np.where(visible, 1.0, 0.2)])

    result = transfer_palette(gray, uv, Reference(rgba), strength=1)

    red = rgb2yuv(rgb[:1, 0])[0, 1:]
    np.testing.assert_allclose(result.mean((0, 1)), red, atol=1e-4)


def test_nan_reference_pixels_are_ignored():
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)
    rgb = stripes((40, 60), (0.9, 0.1, 0.1), (0.1, 0.2, 0.9))
    rgb[:, 30:, 1] = np.nan

    result = transfer_palette(gray, uv, Reference(rgb), strength=1)

    np.testing.assert_allclose(result.mean((0, 1)), rgb2yuv(rgb[:1, 0])[0, 1:], atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float64"])
def test_the_dtype_of_the_reference_does_not_matter(dtype):
    rgb = random(40, 50, 3).numpy()
    rgb[0, 0], rgb[0, 1] = 0, 1
    full = {"uint8": 255, "uint16": 65535, "int32": 16383, "float64": 1}[dtype]
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)

    result, expected = (
        transfer_palette(gray, uv, Reference(image), strength=1)
        for image in ((rgb * full).astype(dtype), rgb)
    )

    torch.testing.assert_close(result, expected, atol=0.004, rtol=0)


def test_a_subsampled_reference_gives_a_similar_palette(monkeypatch):
    rgb, gray, uv = photograph()
    whole = transfer_palette(gray, uv.flip(0), Reference(rgb), strength=1)

    monkeypatch.setattr(module, "MAX_READ_PIXELS", rgb.shape[0] * rgb.shape[1] // 4)
    subsampled = transfer_palette(gray, uv.flip(0), Reference(rgb), strength=1)

    torch.testing.assert_close(subsampled, whole, atol=0.02, rtol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_images_and_references_of_one_pixel_work(method, size):
    reference = Reference(np.full((*size[::-1], 3), (0.8, 0.2, 0.2)))

    result = transfer_palette(
        random(*size), torch.zeros(*size, 2), reference, strength=1, method=method
    )

    expected = rgb2yuv(reference.rgb[:1, 0])[0, 1:]
    np.testing.assert_allclose(result, np.broadcast_to(expected, (*size, 2)), atol=1e-5)


def test_labels_are_sampled_at_pixel_centers():
    labels = np.arange(48).reshape(6, 8) + 2**40

    small = resize_labels(labels, (2, 4))

    assert small.dtype == torch.int64
    np.testing.assert_array_equal(small, labels[1::3, 1::2])
    np.testing.assert_array_equal(resize_labels(labels, (6, 8)), labels)
    np.testing.assert_array_equal(resize_labels(labels, (12, 16)), labels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2), (2, 4, 5, 3)])
def test_a_reference_must_be_a_color_image(shape):
    with pytest.raises(ImageError, match="must be a color image"):
        Reference(np.zeros(shape))


@pytest.mark.parametrize("regions", [np.zeros((5, 4), int), np.zeros((4, 5))])
def test_regions_must_cover_the_reference(regions):
    with pytest.raises(ImageError, match="must be integers, one per pixel"):
        Reference(np.zeros((4, 5, 3)), regions)


@pytest.mark.parametrize("rgb", [np.zeros((4, 5, 4), np.uint8), np.full((4, 5, 3), np.nan)])
def test_a_reference_without_opaque_pixels_raises(rgb):
    with pytest.raises(ImageError, match="use another image"):
        Reference(rgb)


def test_an_unknown_method_raises():
    with pytest.raises(SettingsError, match="statistics, patches"):
        transfer_palette(
            random(2, 2), random(2, 2, 2), Reference(np.ones((2, 2, 3))), strength=1, method="luck"
        )
