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
    """U and V around a mean that depend on each other."""
    return (random(count, 2, seed=seed) - 0.5) @ torch.tensor(mix) + torch.tensor(mean)


def picture() -> tuple[np.ndarray, Tensor, Tensor]:
    """A photograph in 8 bits, its gray and its chrominance at the size a network sees."""
    rgb = astronaut()
    yuv = resize_map(torch.from_numpy(rgb2yuv(rgb)).float(), (128, 128))
    return rgb, yuv[..., 0], yuv[..., 1:]


def even(shape: tuple[int, int], *rgb: tuple[float, float, float]) -> np.ndarray:
    """Vertical stripes of a colour each."""
    stripes = np.array_split(np.empty((*shape, 3), np.float32), len(rgb), axis=1)
    return np.concatenate(
        [np.full_like(stripe, color) for stripe, color in zip(stripes, rgb, strict=True)], axis=1
    )


def test_mean_and_covariance_become_the_references():
    uv, wanted = colors(500, 1), colors(700, 2, (-0.1, 0.2), ((0.04, -0.05), (0.03, 0.06)))

    matched = match_statistics(uv, wanted)

    np.testing.assert_allclose(matched.mean(dim=0), wanted.mean(dim=0), atol=1e-6)
    np.testing.assert_allclose(
        matched.std(dim=0, correction=0), wanted.std(dim=0, correction=0), rtol=1e-4
    )
    np.testing.assert_allclose(np.cov(matched.T, bias=True), np.cov(wanted.T, bias=True), atol=1e-7)


def test_the_matrix_is_that_of_the_linear_monge_kantorovitch_mapping():
    uv, wanted = colors(500, 1), colors(700, 2, mix=((0.04, -0.05), (0.03, 0.06)))

    matched = match_statistics(uv, wanted)

    own, their = (np.cov(part.double().T, bias=True) for part in (uv, wanted))
    root = np.real(sqrtm(own))
    matrix = np.linalg.inv(root) @ np.real(sqrtm(root @ their @ root)) @ np.linalg.inv(root)
    expected = (uv.double() - uv.double().mean(dim=0)) @ matrix + wanted.double().mean(dim=0)
    np.testing.assert_allclose(matched, expected, atol=1e-6)


def test_axes_that_are_independent_are_scaled_as_reinhard_does():
    across, along = np.meshgrid(np.linspace(-0.1, 0.1, 9), np.linspace(-0.02, 0.02, 7))
    grid = torch.from_numpy(np.stack([across.ravel(), along.ravel()], axis=1)).float()
    wanted = grid * torch.tensor([0.5, 3.0]) + torch.tensor([0.1, -0.2])

    torch.testing.assert_close(match_statistics(grid, wanted), wanted)


def test_colours_that_are_the_references_stay():
    uv = colors(300, 3)

    torch.testing.assert_close(match_statistics(uv, uv.flip(0)), uv)


def test_a_gray_prediction_is_moved_but_its_noise_is_not_stretched():
    flat, noise = torch.zeros(400, 2), 1e-4 * (random(400, 2) - 0.5)
    wanted = colors(400, 4)

    shifted, stretched = match_statistics(flat, wanted), match_statistics(noise, wanted)

    torch.testing.assert_close(shifted, wanted.mean(dim=0).expand(400, 2))
    spread = (stretched - stretched.mean(dim=0)).abs().max() / noise.abs().max()
    assert spread <= 1.5 * module.LARGEST_GAIN
    torch.testing.assert_close(stretched.mean(dim=0), wanted.mean(dim=0))


@pytest.mark.parametrize("wanted", [torch.zeros(50, 2), torch.full((1, 2), 0.1)])
def test_a_reference_of_one_colour_gives_that_colour(wanted):
    matched = match_statistics(colors(60, 1), wanted)

    torch.testing.assert_close(matched, wanted[:1].expand(60, 2), atol=1e-4, rtol=0)


def test_the_look_of_a_pixel_is_its_luminance_and_the_deviation_around_it():
    gray = random(11, 13)

    look = describe(gray)

    around = generic_filter(gray.double().numpy(), np.std, size=5, mode="nearest")
    assert torch.equal(look[..., 0], gray)
    np.testing.assert_allclose(look[..., 1], around, atol=1e-5)


def test_where_colour_follows_luminance_patches_find_it():
    gray, their_gray = random(60, 50).sort().values, random(70, 40, seed=1).sort().values
    look, their_look = describe(gray).view(-1, 2), describe(their_gray).view(-1, 2)
    their_uv = torch.stack([their_look[:, 0], -their_look[:, 0]], dim=1) * 0.2

    matched = match_patches(look, their_look, their_uv)

    wanted = torch.stack([look[:, 0], -look[:, 0]], dim=1) * 0.2
    assert (matched - wanted).abs().mean() < 0.005


def test_exposure_and_contrast_of_the_reference_do_not_matter():
    gray, their_gray = random(30, 50), random(40, 40, seed=1)
    their_uv = random(1600, 2, seed=2)
    look = describe(gray).view(-1, 2)

    plain, pale = (
        match_patches(look, describe(plane).view(-1, 2), their_uv)
        for plane in (their_gray, 0.3 * their_gray + 0.6)
    )

    assert (plain - pale).abs().mean() < 0.01


def test_parts_of_one_luminance_are_told_apart_by_their_texture():
    smooth, rough = torch.full((40, 40), 0.5), 0.5 + 0.2 * (random(40, 40) - 0.5)
    gray = torch.cat([smooth, rough], dim=1)
    their_gray = torch.cat([rough.flip(0), smooth], dim=1)
    their_uv = torch.zeros(40, 80, 2)
    their_uv[:, :40, 0], their_uv[:, 40:, 1] = 0.2, 0.2

    matched = match_patches(
        describe(gray).view(-1, 2), describe(their_gray).view(-1, 2), their_uv.view(-1, 2)
    ).view(40, 80, 2)

    assert (matched[:, :36, 1] > 0.15).float().mean() > 0.95
    assert (matched[:, 44:, 0] > 0.15).float().mean() > 0.95


def test_a_picture_as_its_own_reference_gets_back_near_its_colours():
    rgb, gray, uv = picture()

    taken = transfer_palette(
        gray, torch.zeros_like(uv), Reference(rgb), strength=1, method="patches"
    )

    error = torch.linalg.vector_norm(taken - uv, dim=-1).mean()
    assert error < 0.6 * torch.linalg.vector_norm(uv, dim=-1).mean()  # gray has 1


@pytest.mark.parametrize("method", METHODS)
def test_strength_goes_from_the_prediction_to_the_palette(method):
    _, gray, uv = picture()
    reference = Reference(even((20, 30), (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)))

    none, half, whole = (
        transfer_palette(gray, uv, reference, strength=strength, method=method)
        for strength in (0, 0.5, 1)
    )

    assert torch.equal(none, uv)
    assert not torch.equal(whole, uv)
    torch.testing.assert_close(half, (uv + whole) / 2)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_question_has_the_same_answer(method):
    rgb, gray, uv = picture()

    torch.manual_seed(1)
    one = transfer_palette(gray, uv, Reference(rgb), strength=1, method=method)
    torch.manual_seed(2)
    other = transfer_palette(gray, uv, Reference(rgb), strength=1, method=method)

    assert torch.equal(one, other)


def test_a_photograph_as_reference_gives_its_statistics():
    rgb, gray, uv = picture()
    predicted = 0.5 * uv.flip(1) + 0.05

    taken = transfer_palette(gray, predicted, Reference(rgb), strength=1)

    torch.testing.assert_close(taken.mean((0, 1)), uv.mean((0, 1)), atol=1e-4, rtol=0)
    torch.testing.assert_close(taken.std((0, 1)), uv.std((0, 1)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_each_region_takes_from_its_like_and_the_others_stay(method):
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)
    rgb = even((30, 90), (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.8, 0.1))
    theirs = np.repeat([[7, 2, 0]], 30, axis=0).repeat(30, axis=1)
    regions = np.repeat([[0, 2, 7, 5]], 48, axis=0).repeat(20, axis=1)

    taken = transfer_palette(
        gray, uv, Reference(rgb, theirs), strength=1, method=method, regions=regions
    )

    blue, red = (rgb2yuv(rgb[:1, column])[0, 1:] for column in (45, 0))
    assert torch.equal(taken[:, :10], uv[:, :10])  # no part
    assert torch.equal(taken[:, 30:], uv[:, 30:])  # a part that the reference lacks
    np.testing.assert_allclose(taken[:, 10:20].mean((0, 1)), blue, atol=1e-4)
    np.testing.assert_allclose(taken[:, 20:30].mean((0, 1)), red, atol=1e-4)


def test_regions_of_only_one_of_them_do_not_part_it():
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)
    rgb = random(30, 90, 3).numpy()
    regions, theirs = np.eye(24, 40, dtype=int), np.eye(30, 90, dtype=int)

    whole = transfer_palette(gray, uv, Reference(rgb), strength=1)

    assert torch.equal(transfer_palette(gray, uv, Reference(rgb, theirs), strength=1), whole)
    assert torch.equal(
        transfer_palette(gray, uv, Reference(rgb), strength=1, regions=regions), whole
    )


def test_what_is_transparent_gives_no_colours():
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)
    seen = np.broadcast_to(np.arange(60) < 33, (40, 60))
    rgb = np.where(seen[..., None], (0.9, 0.1, 0.1), (0.1, 0.2, 0.9))
    rgba = np.dstack([rgb, np.where(seen, 1.0, 0.2)])

    taken = transfer_palette(gray, uv, Reference(rgba), strength=1)

    red = rgb2yuv(rgb[:1, 0])[0, 1:]
    np.testing.assert_allclose(taken.mean((0, 1)), red, atol=1e-4)


def test_pixels_without_a_value_give_no_colours():
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)
    rgb = even((40, 60), (0.9, 0.1, 0.1), (0.1, 0.2, 0.9))
    rgb[:, 30:, 1] = np.nan

    taken = transfer_palette(gray, uv, Reference(rgb), strength=1)

    np.testing.assert_allclose(taken.mean((0, 1)), rgb2yuv(rgb[:1, 0])[0, 1:], atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float64"])
def test_a_reference_may_have_any_depth(dtype):
    rgb = random(40, 50, 3).numpy()
    rgb[0, 0], rgb[0, 1] = 0, 1
    full = {"uint8": 255, "uint16": 65535, "int32": 9000, "float64": 1}[dtype]
    gray, uv = random(24, 40), colors(24 * 40, 1).view(24, 40, 2)

    taken, wanted = (
        transfer_palette(gray, uv, Reference(image), strength=1)
        for image in ((rgb * full).astype(dtype), rgb)
    )

    torch.testing.assert_close(taken, wanted, atol=0.004, rtol=0)


def test_a_large_reference_is_read_in_parts_and_means_the_same(monkeypatch):
    rgb, gray, uv = picture()
    whole = transfer_palette(gray, uv.flip(0), Reference(rgb), strength=1)

    monkeypatch.setattr(module, "READ", rgb.shape[0] * rgb.shape[1] // 4)
    some = transfer_palette(gray, uv.flip(0), Reference(rgb), strength=1)

    torch.testing.assert_close(some, whole, atol=0.02, rtol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_the_smallest_pictures_and_references_work(method, size):
    reference = Reference(np.full((*size[::-1], 3), (0.8, 0.2, 0.2)))

    taken = transfer_palette(
        random(*size), torch.zeros(*size, 2), reference, strength=1, method=method
    )

    wanted = rgb2yuv(reference.rgb[:1, 0])[0, 1:]
    np.testing.assert_allclose(taken, np.broadcast_to(wanted, (*size, 2)), atol=1e-5)


def test_numbers_are_taken_from_the_middle_of_pixels():
    labels = np.arange(48).reshape(6, 8) + 2**40

    small = resize_labels(labels, (2, 4))

    assert small.dtype == torch.int64
    np.testing.assert_array_equal(small, labels[1::3, 1::2])
    np.testing.assert_array_equal(resize_labels(labels, (6, 8)), labels)
    np.testing.assert_array_equal(resize_labels(labels, (12, 16)), labels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2), (2, 4, 5, 3)])
def test_a_reference_must_be_a_picture_in_colour(shape):
    with pytest.raises(ImageError, match="a picture in colour"):
        Reference(np.zeros(shape))


@pytest.mark.parametrize("regions", [np.zeros((5, 4), int), np.zeros((4, 5))])
def test_regions_must_cover_the_reference(regions):
    with pytest.raises(ImageError, match="whole numbers for each of its pixels"):
        Reference(np.zeros((4, 5, 3)), regions)


@pytest.mark.parametrize("rgb", [np.zeros((4, 5, 4), np.uint8), np.full((4, 5, 3), np.nan)])
def test_a_reference_must_show_something(rgb):
    with pytest.raises(ImageError, match="choose another one"):
        Reference(rgb)


def test_an_unknown_method_is_told():
    with pytest.raises(SettingsError, match="statistics, patches"):
        transfer_palette(
            random(2, 2), random(2, 2, 2), Reference(np.ones((2, 2, 3))), strength=1, method="luck"
        )
