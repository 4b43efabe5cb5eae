from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2yuv
from skimage.data import chelsea
from torch import Tensor

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.imaging.color import chroma_to_offset
from napari_colorize.imaging.resample import resize_map
from napari_colorize.refine import propagation as module
from napari_colorize.refine.hints import Hints, shrink, strokes
from napari_colorize.refine.propagation import propagate, work_size

LEVEL = 1 / 255


def two_regions(size: int = 60, grain: float = 0.0) -> Tensor:
    """Dark on the left, bright on the right, the left side with grain."""
    gray = torch.full((size, size), 0.35)
    gray[:, size // 2 :] = 0.65
    noise = torch.randn(size, size // 2, generator=torch.Generator().manual_seed(0))
    gray[:, : size // 2] += grain * noise
    return gray.clamp(0, 1)


def dots(shape: tuple[int, int], *places: tuple[int, int]) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    for place in places:
        mask[place] = True
    return mask


def pairs(shape: tuple[int, int]):
    """Pixels that touch, and how far apart they are, each pair once."""
    for row, column in np.ndindex(shape):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            other = row + down, column + right
            if other[0] < shape[0] and 0 <= other[1] < shape[1]:
                yield (row, column), other, math.hypot(down, right)


def variance_around(gray: np.ndarray) -> np.ndarray:
    padded = np.pad(gray, 1, mode="edge")
    variance = np.empty(gray.shape)
    for row, column in np.ndindex(gray.shape):
        variance[row, column] = padded[row : row + 3, column : column + 3].var()
    padded = np.pad(variance, 2, mode="edge")
    least = np.empty(gray.shape)
    for row, column in np.ndindex(gray.shape):
        least[row, column] = padded[row : row + 5, column : column + 5].min()
    return np.clip(module.TEXTURE * least, module.SMOOTH**2, module.ROUGH**2)


def densely_spread(gray: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What `spread` is said to solve, pixel by pixel, with a full matrix."""
    index = np.arange(gray.size).reshape(gray.shape)
    variance = variance_around(gray)
    system = np.zeros((gray.size, gray.size))
    diagonal = max(math.hypot(*gray.shape), module.SHORTEST)
    distance = np.where(mask.ravel(), 0, np.inf)
    ways = []
    for one, other, apart in pairs(gray.shape):
        exponent = (gray[one] - gray[other]) ** 2 / min(variance[one], variance[other])
        exponent = min(exponent, module.LARGEST_EXPONENT)
        weight = (math.exp(-exponent) + module.LEAST_AFFINITY) / apart
        i, j = index[one], index[other]
        system[[i, j], [j, i]] -= weight
        system[[i, j], [i, j]] += weight
        ways.append((i, j, (1 + module.WAY * exponent) * apart / diagonal))
    before = None
    while not np.array_equal(before, distance):  # Bellman and Ford
        before = distance.copy()
        for i, j, length in ways:
            distance[i] = min(distance[i], distance[j] + length)
            distance[j] = min(distance[j], distance[i] + length)
    system += np.diag(module.HELD * np.exp(np.minimum(distance, module.FARTHEST)))
    right = np.zeros((gray.size, 1 + values.shape[-1]))
    for i in np.flatnonzero(mask | (distance.reshape(gray.shape) >= module.FARTHEST)):
        system[i] = np.eye(gray.size)[i]
        right[i] = [1, *values.reshape(gray.size, -1)[i]] if mask.ravel()[i] else 0
    solution = np.linalg.solve(system, right).reshape(*gray.shape, -1)
    cover = solution[..., :1]
    share = np.clip((cover - module.NOTHING) / (module.ALL - module.NOTHING), 0, 1)
    return solution[..., 1:] / np.maximum(cover, 1e-12) * (3 * share**2 - 2 * share**3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (9, 7), (8, 11), (2, 300)])
@pytest.mark.parametrize("contrast", [0.0, 0.02, 0.2, 1.0])
def test_it_is_the_solution_of_the_full_system(shape, contrast):
    random = np.random.default_rng(0)
    gray = contrast * random.random(shape)
    mask = random.random(shape) < 0.1
    mask[0, 0] = True
    values = random.standard_normal((*shape, 3))

    found = propagate(*map(torch.from_numpy, (gray, mask, values)))

    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, densely_spread(gray, mask, values), atol=2e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), contrast=st.sampled_from([0.01, 0.05, 1.0]))
def test_hints_are_kept_and_nothing_goes_beyond_them(seed, contrast):
    random = torch.Generator().manual_seed(seed)
    gray = contrast * torch.rand(12, 15, generator=random)
    mask = torch.rand(12, 15, generator=random) < 0.05
    values = torch.randn(12, 15, 2, generator=random)

    found = propagate(gray, mask, values)

    torch.testing.assert_close(found[mask], values[mask])
    given_values = torch.cat([values[mask], torch.zeros(1, 2)])
    assert (found <= given_values.amax(dim=0) + 1e-6).all()
    assert (found >= given_values.amin(dim=0) - 1e-6).all()


def test_it_is_linear_and_channels_do_not_mix():
    gray, mask = two_regions(30, grain=0.05), dots((30, 30), (5, 4), (20, 22), (25, 10))
    one, other = torch.randn(2, 30, 30, 2, generator=torch.Generator().manual_seed(0))

    together = propagate(gray, mask, torch.cat([one, other, 2 * one - 3 * other], dim=-1))

    parts = 2 * propagate(gray, mask, one) - 3 * propagate(gray, mask, other)
    torch.testing.assert_close(together[..., 4:], parts, atol=1e-5, rtol=0)


def test_a_picture_turned_around_is_the_same_picture():
    gray, mask = two_regions(31, grain=0.05)[:, :24], dots((31, 24), (5, 4), (20, 22))
    values = torch.randn(31, 24, 2, generator=torch.Generator().manual_seed(0))

    turned = propagate(*(part.flip(0).transpose(0, 1) for part in (gray, mask, values)))

    found = propagate(gray, mask, values).flip(0).transpose(0, 1)
    torch.testing.assert_close(turned, found, atol=1e-5, rtol=0)


@pytest.mark.parametrize("grain", [0.0, 0.01, 0.03])
def test_a_dot_fills_its_region_and_leaves_the_other_one_alone(grain):
    gray, mask = two_regions(grain=grain), dots((60, 60), (12, 7))

    found = propagate(gray, mask, torch.ones(60, 60, 1))[..., 0]

    assert (1 - found[:, :30]).mean() < 2 * LEVEL
    assert found[:, 30:].abs().max() < 0.1 * LEVEL


def test_a_scribble_fills_a_region_of_strong_texture():
    gray, mask = two_regions(grain=0.08), dots((60, 60), *((row, 15) for row in range(20, 40)))

    found = propagate(gray, mask, torch.ones(60, 60, 1))[..., 0]

    assert (found[:, :30] > 0.9).float().mean() > 0.8
    assert found[:, 34:].abs().max() < LEVEL


def test_regions_meet_where_the_luminance_changes():
    gray, mask = two_regions(), dots((60, 60), (50, 3), (10, 56))
    values = torch.where(torch.arange(60)[:, None] < 30, -1.0, 1.0).expand(60, 60)[..., None]

    found = propagate(gray, mask, values)[..., 0]

    torch.testing.assert_close(found[:, :30], torch.ones(60, 30), atol=0.03, rtol=0)
    torch.testing.assert_close(found[:, 30:], -torch.ones(60, 30), atol=0.03, rtol=0)


def test_a_dot_on_the_cats_eye_colours_the_eye_and_nothing_else():
    picture = torch.from_numpy(rgb2yuv(chelsea())[..., 0]).float()
    dot = Hints.from_points([(118, 146)], [(0.1, 0.8, 0.2)], 5, tuple(picture.shape))
    size = work_size(tuple(picture.shape))
    mask, uv = shrink(dot, size)

    found = resize_map(propagate(resize_map(picture, size), mask, uv), tuple(picture.shape))

    change = chroma_to_offset(found.movedim(-1, 0)).abs().amax(dim=0)
    rows, columns = torch.meshgrid(*map(torch.arange, picture.shape), indexing="ij")
    away = ((rows - 116) ** 2 + (columns - 172) ** 2).sqrt()
    iris = (away > 14) & (away < 22)
    assert change[away > 80].max() < 2 * LEVEL
    # Where the iris mirrors the room it is as bright as nothing else of it.
    whole = chroma_to_offset(uv[mask].mean(dim=0)[:, None]).abs().max()
    assert (change[iris] > 0.9 * whole).float().mean() > 0.8


def test_without_hints_nothing_is_spread():
    found = propagate(two_regions(20), dots((20, 20)), torch.ones(20, 20, 3))

    assert found.shape == (20, 20, 3) and not found.any()


def test_pixels_without_a_value_count_as_black():
    gray = torch.full((20, 20), 0.01)
    broken = gray.clone()
    gray[3:5, 3:5], broken[3:5, 3:5] = 0, torch.nan

    found, wanted = (
        propagate(plane, dots((20, 20), (8, 8)), torch.ones(20, 20, 1)) for plane in (broken, gray)
    )

    assert torch.equal(found, wanted)


def test_maps_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="must cover the same pixels"):
        propagate(torch.zeros(4, 5), torch.zeros(4, 5, dtype=torch.bool), torch.zeros(5, 4, 2))


@given(height=st.integers(1, 20_000), width=st.integers(1, 20_000))
def test_work_is_bounded_and_keeps_proportions(height, width):
    rows, columns = work_size((height, width))

    assert 1 <= rows <= height and 1 <= columns <= width
    assert rows * columns <= 1.01 * module.MOST + rows
    if min(rows, columns) > 50:
        assert rows / columns == pytest.approx(height / width, rel=0.02)


def test_small_pictures_are_worked_on_as_they_are_and_long_ones_are_shortened():
    assert work_size((150, 200)) == (150, 200)
    assert work_size((2, 3_000_000)) == (1, module.MOST)
    assert work_size((3_000_000, 1)) == (module.MOST, 1)
    assert work_size((1000, 1000)) == (316, 316)


def test_one_hinted_pixel_of_many_survives_the_shrinking():
    mask = np.zeros((1000, 1000), bool)
    mask[0, 0] = mask[567, 123] = mask[999, 999] = True
    rgb = np.full((1000, 1000, 3), (0.2, 0.5, 0.9), np.float32)

    small, uv = shrink(Hints(mask, rgb), (100, 90))

    assert small.nonzero().tolist() == [[0, 0], [56, 11], [99, 89]]
    wanted = rgb2yuv(rgb[:1, 0])[0, 1:]
    np.testing.assert_allclose(uv[small], np.tile(wanted, (3, 1)), atol=1e-6)
    assert not uv[~small].any()


def test_pixels_that_shrink_into_one_are_averaged_over_what_is_hinted():
    rgb = np.random.default_rng(0).random((6, 6, 3), dtype=np.float32)
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[2, 1] = mask[4, 4] = True

    small, uv = shrink(Hints(mask, rgb), (2, 2))

    yuv = rgb2yuv(rgb)[..., 1:]
    assert small.tolist() == [[True, False], [False, True]]
    np.testing.assert_allclose(uv[0, 0], (yuv[0, 0] + yuv[2, 1]) / 2, atol=1e-6)
    np.testing.assert_allclose(uv[1, 1], yuv[4, 4], atol=1e-6)


def test_strokes_are_the_hinted_pixels_by_rows():
    rgb = np.random.default_rng(0).random((5, 6, 3), dtype=np.float32)
    mask = np.random.default_rng(1).random((5, 6)) < 0.4

    rows, columns, uv = strokes(Hints(mask, rgb))

    assert torch.stack([rows, columns], dim=1).tolist() == np.argwhere(mask).tolist()
    np.testing.assert_allclose(uv, rgb2yuv(rgb)[mask][:, 1:], atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", "float16"])
def test_opaque_pixels_of_an_rgba_picture_are_hints(dtype):
    full = np.iinfo(dtype).max if dtype.startswith("uint") else 4000 if dtype == "int32" else 1
    image = np.zeros((4, 5, 4))
    image[1, 2] = 1, 0.5, 0, 1
    image[3, 0] = 0, 1, 0, 0.6
    image[0, 0] = 1, 1, 1, 0.4

    hints = Hints.from_rgba((image * full).astype(dtype))

    assert np.argwhere(hints.mask).tolist() == [[1, 2], [3, 0]]
    np.testing.assert_allclose(hints.rgb[1, 2], [1, 0.5, 0], atol=0.003)
    assert hints.rgb.dtype == np.float32


def test_a_transparent_picture_has_no_hints():
    assert not Hints.from_rgba(np.zeros((4, 5, 4), np.int32)).mask.any()


def test_points_are_dots_of_their_diameter():
    hints = Hints.from_points([(10, 12.0)], [(1, 0, 0, 1)], 9, (30, 40))

    rows, columns = np.ogrid[:30, :40]
    np.testing.assert_array_equal(hints.mask, (rows - 10) ** 2 + (columns - 12) ** 2 <= 4.5**2)
    assert (hints.rgb[hints.mask] == [1, 0, 0]).all()


def test_the_later_point_is_on_top_and_the_smallest_is_a_pixel():
    colors = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]

    hints = Hints.from_points([(5, 5), (5, 6), (0.4, 0.4)], colors, [5, 1, 0.1], (9, 9))

    assert hints.rgb[5, 6].tolist() == [0, 1, 0] and hints.rgb[5, 4].tolist() == [1, 0, 0]
    assert hints.mask[0, 0] and not hints.mask[0, 1] and not hints.mask[1, 0]


def test_points_beyond_the_picture_and_invisible_ones_are_left_out():
    points = [(-20, 3), (-1, 2), (4, 4), (3, 100)]
    colors = [(1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 0), (1, 1, 1, 1)]

    hints = Hints.from_points(points, colors, 4, (6, 6))

    assert np.argwhere(hints.mask).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2]]
    assert not Hints.from_points([], [], 5, (6, 6)).mask.any()


def test_labels_with_a_colour_are_hints():
    labels = np.array([[0, 1, 1], [2, 3, 0], [4, 4, 1]], np.uint8)
    colors = {0: (1, 1, 1), 1: (1, 0, 0), 2: (0, 0.5, 0, 1), 4: (0, 0, 1, 0), 7: (1, 1, 0)}

    hints = Hints.from_labels(labels, colors)

    np.testing.assert_array_equal(hints.mask, (labels == 1) | (labels == 2))
    np.testing.assert_array_equal(hints.rgb[labels == 1], [[1, 0, 0]] * 3)
    np.testing.assert_array_equal(hints.rgb[labels == 2], [[0, 0.5, 0]])


@pytest.mark.parametrize(
    ("mask", "rgb", "says"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2, 3)), "of the same pixels"),
        (np.zeros((2, 3, 1)), np.zeros((2, 3, 3)), "of the same pixels"),
        (np.ones((2, 3)), np.full((2, 3, 3), 255.0), "divide 8-bit ones by 255"),
        (np.ones((2, 3)), np.full((2, 3, 3), np.nan), "within 0 and 1"),
        (np.ones((2, 3)), np.full((2, 3, 3), "red"), "are real numbers"),
    ],
)
def test_what_are_no_hints_is_told(mask, rgb, says):
    with pytest.raises(ImageError, match=says):
        Hints(mask, rgb)


@pytest.mark.parametrize("image", [np.zeros((4, 5, 3)), np.zeros((4, 5)), -np.ones((4, 5, 4))])
def test_scribbles_must_be_an_rgba_picture(image):
    if image.shape == (4, 5, 4):
        image[..., 3] = 1
    with pytest.raises(ImageError, match=r"RGBA picture|within 0 and 1"):
        Hints.from_rgba(image)


@pytest.mark.parametrize(
    ("points", "colors", "size", "says"),
    [
        ([(1, 2, 3)], [(1, 0, 0)], 5, "rows and columns"),
        ([(1, np.nan)], [(1, 0, 0)], 5, "rows and columns"),
        ([(1, 2)], [(1, 0, 0), (0, 1, 0)], 5, "Expected 1 colours"),
        ([(1, 2)], [(255, 0, 0)], 5, "divide 8-bit ones by 255"),
        ([(1, 2)], ["red"], 5, "rows of three or four numbers"),
        ([(1, 2)], [(1, 0, 0)], 0, "above 0"),
        ([(1, 2)], [(1, 0, 0)], [1, 2], "one for all or one for each"),
    ],
)
def test_what_are_no_points_is_told(points, colors, size, says):
    with pytest.raises(SettingsError, match=says):
        Hints.from_points(points, colors, size, (10, 10))


def test_what_are_no_labels_is_told():
    with pytest.raises(ImageError, match="whole numbers in two axes"):
        Hints.from_labels(np.zeros((3, 3)), {1: (1, 0, 0)})
    with pytest.raises(SettingsError, match="three or four numbers"):
        Hints.from_labels(np.ones((3, 3), int), {1: (1, 0)})
