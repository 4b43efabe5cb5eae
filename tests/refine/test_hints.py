from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab, rgb2yuv
from skimage.data import chelsea
from torch import Tensor

from napari_colorize.errors import ColorizeNote, ImageError, SettingsError
from napari_colorize.imaging.color import chroma_to_offset
from napari_colorize.imaging.resample import resize_map
from napari_colorize.pipeline import network_hints
from napari_colorize.refine import propagation as module
from napari_colorize.refine.hints import Hints, hinted_pixels, shrink_hints
from napari_colorize.refine.propagation import propagate, work_size

LEVEL = 1 / 255


def two_regions(size: int = 60, grain: float = 0.0) -> Tensor:
    """Gray image: dark left half with grain, bright right half."""
    gray = torch.full((size, size), 0.35)
    gray[:, size // 2 :] = 0.65
    noise = torch.randn(size, size // 2, generator=torch.Generator().manual_seed(0))
    gray[:, : size // 2] += grain * noise
    return gray.clamp(0, 1)


def dots(shape: tuple[int, int], *positions: tuple[int, int]) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    for position in positions:
        mask[position] = True
    return mask


def pairs(shape: tuple[int, int]):
    """Yield 8-connected pixel pairs and their distance, each pair once."""
    for row, column in np.ndindex(shape):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            other = row + down, column + right
            if other[0] < shape[0] and 0 <= other[1] < shape[1]:
                yield (row, column), other, math.hypot(down, right)


def tolerated_variance(gray: np.ndarray) -> np.ndarray:
    padded = np.pad(gray, 1, mode="edge")
    variance = np.empty(gray.shape)
    for row, column in np.ndindex(gray.shape):
        variance[row, column] = padded[row : row + 3, column : column + 3].var()
    padded = np.pad(variance, 2, mode="edge")
    minimum = np.empty(gray.shape)
    for row, column in np.ndindex(gray.shape):
        minimum[row, column] = padded[row : row + 5, column : column + 5].min()
    return np.clip(module.TEXTURE * minimum, module.MIN_DEVIATION**2, module.MAX_DEVIATION**2)


def dense_propagate(gray: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Reference implementation of `propagate` with a full matrix and explicit loops."""
    index = np.arange(gray.size).reshape(gray.shape)
    variance = tolerated_variance(gray)
    system = np.zeros((gray.size, gray.size))
    diagonal = max(math.hypot(*gray.shape), module.MIN_DIAGONAL)
    path_length = np.where(mask.ravel(), 0, np.inf)
    links = []
    for one, other, distance in pairs(gray.shape):
        exponent = (gray[one] - gray[other]) ** 2 / min(variance[one], variance[other])
        exponent = min(exponent, module.MAX_EXPONENT)
        weight = (math.exp(-exponent) + module.MIN_AFFINITY) / distance
        i, j = index[one], index[other]
        system[[i, j], [j, i]] -= weight
        system[[i, j], [i, j]] += weight
        links.append((i, j, (1 + module.EDGE_LENGTH * exponent) * distance / diagonal))
    before = None
    while not np.array_equal(before, path_length):  # Bellman-Ford
        before = path_length.copy()
        for i, j, length in links:
            path_length[i] = min(path_length[i], path_length[j] + length)
            path_length[j] = min(path_length[j], path_length[i] + length)
    system += np.diag(module.ANCHOR * np.exp(np.minimum(path_length, module.FARTHEST)))
    right = np.zeros((gray.size, 1 + values.shape[-1]))
    for i in np.flatnonzero(mask | (path_length.reshape(gray.shape) >= module.FARTHEST)):
        system[i] = np.eye(gray.size)[i]
        right[i] = [1, *values.reshape(gray.size, -1)[i]] if mask.ravel()[i] else 0
    solution = np.linalg.solve(system, right).reshape(*gray.shape, -1)
    cover = solution[..., :1]
    share = np.clip((cover - module.COVER_LOW) / (module.COVER_HIGH - module.COVER_LOW), 0, 1)
    return solution[..., 1:] / np.maximum(cover, 1e-12) * (3 * share**2 - 2 * share**3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (9, 7), (8, 11), (2, 300)])
@pytest.mark.parametrize("contrast", [0.0, 0.02, 0.2, 1.0])
def test_the_result_solves_the_full_system(shape, contrast):
    random = np.random.default_rng(0)
    gray = contrast * random.random(shape)
    mask = random.random(shape) < 0.1
    mask[0, 0] = True
    values = random.standard_normal((*shape, 3))

    result = propagate(*map(torch.from_numpy, (gray, mask, values)))

    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, dense_propagate(gray, mask, values), atol=2e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), contrast=st.sampled_from([0.01, 0.05, 1.0]))
def test_hints_are_exact_and_bound_all_values(seed, contrast):
    random = torch.Generator().manual_seed(seed)
    gray = contrast * torch.rand(12, 15, generator=random)
    mask = torch.rand(12, 15, generator=random) < 0.05
    values = torch.randn(12, 15, 2, generator=random)

    result = propagate(gray, mask, values)

    torch.testing.assert_close(result[mask], values[mask])
    given_values = torch.cat([values[mask], torch.zeros(1, 2)])
    assert (result <= given_values.amax(dim=0) + 1e-6).all()
    assert (result >= given_values.amin(dim=0) - 1e-6).all()


def test_propagation_is_linear_and_channels_are_independent():
    gray, mask = two_regions(30, grain=0.05), dots((30, 30), (5, 4), (20, 22), (25, 10))
    one, other = torch.randn(2, 30, 30, 2, generator=torch.Generator().manual_seed(0))

    together = propagate(gray, mask, torch.cat([one, other, 2 * one - 3 * other], dim=-1))

    parts = 2 * propagate(gray, mask, one) - 3 * propagate(gray, mask, other)
    torch.testing.assert_close(together[..., 4:], parts, atol=1e-5, rtol=0)


def test_propagation_commutes_with_rotation():
    gray, mask = two_regions(31, grain=0.05)[:, :24], dots((31, 24), (5, 4), (20, 22))
    values = torch.randn(31, 24, 2, generator=torch.Generator().manual_seed(0))

    turned = propagate(*(part.flip(0).transpose(0, 1) for part in (gray, mask, values)))

    result = propagate(gray, mask, values).flip(0).transpose(0, 1)
    torch.testing.assert_close(turned, result, atol=1e-5, rtol=0)


@pytest.mark.parametrize("grain", [0.0, 0.01, 0.03])
def test_a_point_fills_its_region_only(grain):
    gray, mask = two_regions(grain=grain), dots((60, 60), (12, 7))

    result = propagate(gray, mask, torch.ones(60, 60, 1))[..., 0]

    assert (1 - result[:, :30]).mean() < 2 * LEVEL
    assert result[:, 30:].abs().max() < 0.1 * LEVEL


def test_a_scribble_fills_a_region_of_strong_texture():
    gray, mask = two_regions(grain=0.08), dots((60, 60), *((row, 15) for row in range(20, 40)))

    result = propagate(gray, mask, torch.ones(60, 60, 1))[..., 0]

    assert (result[:, :30] > 0.9).float().mean() > 0.8
    assert result[:, 34:].abs().max() < LEVEL


def test_regions_meet_where_the_luminance_changes():
    gray, mask = two_regions(), dots((60, 60), (50, 3), (10, 56))
    values = torch.where(torch.arange(60)[:, None] < 30, -1.0, 1.0).expand(60, 60)[..., None]

    result = propagate(gray, mask, values)[..., 0]

    torch.testing.assert_close(result[:, :30], torch.ones(60, 30), atol=0.03, rtol=0)
    torch.testing.assert_close(result[:, 30:], -torch.ones(60, 30), atol=0.03, rtol=0)


def test_a_point_on_the_cats_eye_colors_only_the_eye():
    gray = torch.from_numpy(rgb2yuv(chelsea())[..., 0]).float()
    dot = Hints.from_points([(118, 146)], [(0.1, 0.8, 0.2)], 5, tuple(gray.shape))
    size = work_size(tuple(gray.shape))
    mask, uv = shrink_hints(dot, size)

    result = resize_map(propagate(resize_map(gray, size), mask, uv), tuple(gray.shape))

    change = chroma_to_offset(result.movedim(-1, 0)).abs().amax(dim=0)
    rows, columns = torch.meshgrid(*map(torch.arange, gray.shape), indexing="ij")
    radius = ((rows - 116) ** 2 + (columns - 172) ** 2).sqrt()
    iris = (radius > 14) & (radius < 22)
    assert change[radius > 80].max() < 2 * LEVEL
    # Excludes the bright reflection in the iris.
    full_change = chroma_to_offset(uv[mask].mean(dim=0)[:, None]).abs().max()
    assert (change[iris] > 0.9 * full_change).float().mean() > 0.8


def test_without_hints_the_result_is_0():
    result = propagate(two_regions(20), dots((20, 20)), torch.ones(20, 20, 3))

    assert result.shape == (20, 20, 3) and not result.any()


def test_nan_counts_as_black():
    gray = torch.full((20, 20), 0.01)
    broken = gray.clone()
    gray[3:5, 3:5], broken[3:5, 3:5] = 0, torch.nan

    result, expected = (
        propagate(plane, dots((20, 20), (8, 8)), torch.ones(20, 20, 1)) for plane in (broken, gray)
    )

    assert torch.equal(result, expected)


def test_maps_of_different_sizes_raise():
    with pytest.raises(ValueError, match="must cover the same pixels"):
        propagate(torch.zeros(4, 5), torch.zeros(4, 5, dtype=torch.bool), torch.zeros(5, 4, 2))


@given(height=st.integers(1, 20_000), width=st.integers(1, 20_000))
def test_the_work_size_is_bounded_and_keeps_the_aspect_ratio(height, width):
    rows, columns = work_size((height, width))

    assert 1 <= rows <= height and 1 <= columns <= width
    assert rows * columns <= 1.01 * module.MAX_PIXELS + rows
    if min(rows, columns) > 50:
        assert rows / columns == pytest.approx(height / width, rel=0.02)


def test_small_images_keep_their_size_and_long_images_are_shortened():
    assert work_size((150, 200)) == (150, 200)
    assert work_size((2, 3_000_000)) == (1, module.MAX_PIXELS)
    assert work_size((3_000_000, 1)) == (module.MAX_PIXELS, 1)
    assert work_size((1000, 1000)) == (316, 316)


def test_single_hinted_pixels_survive_shrinking():
    mask = np.zeros((1000, 1000), bool)
    mask[0, 0] = mask[567, 123] = mask[999, 999] = True
    rgb = np.full((1000, 1000, 3), (0.2, 0.5, 0.9), np.float32)

    small, uv = shrink_hints(Hints(mask, rgb), (100, 90))

    assert small.nonzero().tolist() == [[0, 0], [56, 11], [99, 89]]
    expected = rgb2yuv(rgb[:1, 0])[0, 1:]
    np.testing.assert_allclose(uv[small], np.tile(expected, (3, 1)), atol=1e-6)
    assert not uv[~small].any()


def test_shrinking_averages_over_hinted_pixels_only():
    rgb = np.random.default_rng(0).random((6, 6, 3), dtype=np.float32)
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[2, 1] = mask[4, 4] = True

    small, uv = shrink_hints(Hints(mask, rgb), (2, 2))

    yuv = rgb2yuv(rgb)[..., 1:]
    assert small.tolist() == [[True, False], [False, True]]
    np.testing.assert_allclose(uv[0, 0], (yuv[0, 0] + yuv[2, 1]) / 2, atol=1e-6)
    np.testing.assert_allclose(uv[1, 1], yuv[4, 4], atol=1e-6)


def test_network_hints_average_over_hinted_pixels_only():
    rgb = np.random.default_rng(0).random((4, 4, 3), dtype=np.float32)
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = mask[1, 1] = mask[3, 2] = True

    ab, coverage = network_hints(Hints(mask, rgb), torch.zeros(1, 1, 2, 2))

    expected = np.zeros((2, 2, 2))
    lab = rgb2lab(rgb)[..., 1:]
    expected[:, 0, 0], expected[:, 1, 1] = (lab[0, 0] + lab[1, 1]) / 2, lab[3, 2]
    np.testing.assert_allclose(ab[0], expected, atol=1e-3)
    assert coverage[0, 0].tolist() == [[1, 0], [0, 1]]


def test_hinted_pixels_are_listed_by_rows():
    rgb = np.random.default_rng(0).random((5, 6, 3), dtype=np.float32)
    mask = np.random.default_rng(1).random((5, 6)) < 0.4

    rows, columns, uv = hinted_pixels(Hints(mask, rgb))

    assert torch.stack([rows, columns], dim=1).tolist() == np.argwhere(mask).tolist()
    np.testing.assert_allclose(uv, rgb2yuv(rgb)[mask][:, 1:], atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", "float16"])
def test_opaque_pixels_of_an_rgba_image_are_hints(dtype):
    full = np.iinfo(dtype).max if dtype.startswith("uint") else 4095 if dtype == "int32" else 1
    image = np.zeros((4, 5, 4))
    image[1, 2] = 1, 0.5, 0, 1
    image[3, 0] = 0, 1, 0, 0.6
    image[0, 0] = 1, 1, 1, 0.4

    hints = Hints.from_rgba((image * full).astype(dtype))

    assert np.argwhere(hints.mask).tolist() == [[1, 2], [3, 0]]
    np.testing.assert_allclose(hints.rgb[1, 2], [1, 0.5, 0], atol=0.003)
    assert hints.rgb.dtype == np.float32


def test_a_transparent_image_has_no_hints():
    assert not Hints.from_rgba(np.zeros((4, 5, 4), np.int32)).mask.any()


def test_points_are_disks_of_their_diameter():
    hints = Hints.from_points([(10, 12.0)], [(1, 0, 0, 1)], 9, (30, 40))

    rows, columns = np.ogrid[:30, :40]
    np.testing.assert_array_equal(hints.mask, (rows - 10) ** 2 + (columns - 12) ** 2 <= 4.5**2)
    assert (hints.rgb[hints.mask] == [1, 0, 0]).all()


def test_later_points_cover_earlier_ones_and_the_smallest_is_one_pixel():
    colors = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]

    hints = Hints.from_points([(5, 5), (5, 6), (0.4, 0.4)], colors, [5, 1, 0.1], (9, 9))

    assert hints.rgb[5, 6].tolist() == [0, 1, 0] and hints.rgb[5, 4].tolist() == [1, 0, 0]
    assert hints.mask[0, 0] and not hints.mask[0, 1] and not hints.mask[1, 0]


def test_points_outside_the_image_and_transparent_points_are_ignored():
    points = [(-20, 3), (-1, 2), (4, 4), (3, 100)]
    colors = [(1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 0), (1, 1, 1, 1)]

    with pytest.warns(ColorizeNote, match=r"2 points outside .*: \(-20, 3\), \(3, 100\)\."):
        hints = Hints.from_points(points, colors, 4, (6, 6))

    assert np.argwhere(hints.mask).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2]]
    assert not Hints.from_points([], [], 5, (6, 6)).mask.any()


def test_labels_with_a_color_are_hints():
    labels = np.array([[0, 1, 1], [2, 3, 0], [4, 4, 1]], np.uint8)
    colors = {0: (1, 1, 1), 1: (1, 0, 0), 2: (0, 0.5, 0, 1), 4: (0, 0, 1, 0), 7: (1, 1, 0)}

    hints = Hints.from_labels(labels, colors)

    np.testing.assert_array_equal(hints.mask, (labels == 1) | (labels == 2))
    np.testing.assert_array_equal(hints.rgb[labels == 1], [[1, 0, 0]] * 3)
    np.testing.assert_array_equal(hints.rgb[labels == 2], [[0, 0.5, 0]])


@pytest.mark.parametrize(
    ("mask", "rgb", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2, 3)), "of the same size"),
        (np.zeros((2, 3, 1)), np.zeros((2, 3, 3)), "of the same size"),
        (np.ones((2, 3)), np.full((2, 3, 3), 255.0), "divide 8-bit colors by 255"),
        (np.ones((2, 3)), np.full((2, 3, 3), np.nan), "between 0 and 1"),
        (np.ones((2, 3)), np.full((2, 3, 3), "red"), "must be real numbers"),
    ],
)
def test_invalid_hints_raise(mask, rgb, message):
    with pytest.raises(ImageError, match=message):
        Hints(mask, rgb)


@pytest.mark.parametrize("image", [np.zeros((4, 5, 3)), np.zeros((4, 5)), -np.ones((4, 5, 4))])
def test_from_rgba_requires_a_valid_rgba_image(image):
    if image.shape == (4, 5, 4):
        image[..., 3] = 1
    with pytest.raises(ImageError, match=r"RGBA image|between 0 and 1"):
        Hints.from_rgba(image)


def test_the_shape_of_an_image_in_color_is_refused():
    with pytest.raises(SettingsError, match=r"give image\.shape\[:2\]"):
        Hints.from_points([(1, 1)], [(1, 0, 0)], 3, (20, 30, 3))


@pytest.mark.parametrize(
    ("points", "colors", "size", "message"),
    [
        ([(1, 2, 3)], [(1, 0, 0)], 5, "rows and columns"),
        ([(1, np.nan)], [(1, 0, 0)], 5, "rows and columns"),
        ([(1, 2)], [(1, 0, 0), (0, 1, 0)], 5, "Expected 1 colors"),
        ([(1, 2)], [(255, 0, 0)], 5, "divide 8-bit colors by 255"),
        ([(1, 2)], ["red"], 5, "rows of three or four numbers"),
        ([(1, 2)], [(1, 0, 0)], 0, "above 0"),
        ([(1, 2)], [(1, 0, 0)], [1, 2], "one size, or one per point"),
    ],
)
def test_invalid_points_raise(points, colors, size, message):
    with pytest.raises(SettingsError, match=message):
        Hints.from_points(points, colors, size, (10, 10))


def test_invalid_labels_raise():
    with pytest.raises(ImageError, match="integers with two axes"):
        Hints.from_labels(np.zeros((3, 3)), {1: (1, 0, 0)})
    with pytest.raises(SettingsError, match="three or four numbers"):
        Hints.from_labels(np.ones((3, 3), int), {1: (1, 0)})
