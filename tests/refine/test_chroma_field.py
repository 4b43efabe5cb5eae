"""Chroma layers: an image composed in parts equals the image composed as a whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2yuv

from napari_colorize.imaging.planes import to_plane
from napari_colorize.imaging.resample import Window
from napari_colorize.pipeline import compose
from napari_colorize.refine import chroma_field as module
from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers, FixedPixels


def random(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape, dtype=np.float32))


def all_layers(height=40, width=56):
    colors = ChromaField((random(5, 7, 2) - 0.5) * 0.2, (random(5, 7, 2, seed=1) - 0.5) * 0.1)
    hinted = ChromaField((random(10, 14, 2, seed=2) - 0.5) * 0.1)
    rows, columns = torch.tensor([3, 3, 20, 39]), torch.tensor([5, 6, 30, 55])
    fixed_pixels = FixedPixels(rows, columns, torch.full((4, 2), 0.05), (height, width))
    mask = np.ones((height, width), bool)
    mask[:, :9] = False
    correction = ChromaField((random(10, 14, 2, seed=5) - 0.5) * 0.1)
    return ChromaLayers(colors, correction, hinted, fixed_pixels, shadows=0.3, mask=mask)


def test_a_slope_makes_chroma_proportional_to_gray():
    gray = np.tile(np.array([0.3, 0.7], np.float32), (4, 8))
    slope = torch.zeros(1, 1, 2)
    slope[..., 1] = 0.25

    image = compose(to_plane(gray), ChromaLayers(ChromaField(torch.zeros(1, 1, 2), slope)), 1.0)

    np.testing.assert_allclose(rgb2yuv(image)[..., 2], 0.25 * gray, atol=1e-6)


@pytest.mark.parametrize("step", [1, 3])
def test_a_window_equals_that_part_of_the_whole_image(step):
    gray = random(40, 56, seed=3).numpy()
    layers = all_layers()
    rows, columns = range(2, 37, step), range(4, 56, step)

    part = compose(
        to_plane(np.ascontiguousarray(gray[2:37:step, 4:56:step])),
        layers,
        1.3,
        Window(rows, columns, (0, 40), (0, 56)),
    )

    whole = compose(to_plane(gray), layers, 1.3)
    np.testing.assert_allclose(part, whole[2:37:step, 4:56:step], atol=2e-6)


def test_enlarging_rows_first_gives_the_same_image(monkeypatch):
    gray = random(40, 56, seed=3).numpy()
    expected = compose(to_plane(gray), all_layers(), 1.3)

    monkeypatch.setattr(module, "MAX_WIDE_VALUES", 0)

    np.testing.assert_allclose(compose(to_plane(gray), all_layers(), 1.3), expected, atol=2e-6)


def test_saturation_scales_predictions_but_not_hints():
    gray = np.full((4, 4), 0.5, np.float32)
    hinted = ChromaField(torch.full((1, 1, 2), 0.05))
    layers = ChromaLayers(ChromaField(torch.full((1, 1, 2), 0.02)), hinted=hinted)

    for saturation in (0.0, 1.0, 2.0):
        uv = rgb2yuv(compose(to_plane(gray), layers, saturation))[..., 1:]
        np.testing.assert_allclose(uv, 0.02 * saturation + 0.05, atol=1e-6)


@pytest.mark.parametrize("saturation", [0.0, 1.0, 4.0])
def test_fixed_pixels_are_exact_at_any_saturation(saturation):
    gray = np.full((40, 56), 0.5, np.float32)

    image = compose(to_plane(gray), all_layers(), saturation)

    np.testing.assert_allclose(rgb2yuv(image[20, 30])[1:], 0.05, atol=1e-6)


def test_fixed_pixels_are_scaled_by_their_centers():
    one = torch.tensor([2])
    fixed_pixels = FixedPixels(one, one, torch.full((1, 2), 0.05), (5, 5))
    layers = ChromaLayers(ChromaField(torch.zeros(1, 1, 2)), fixed_pixels=fixed_pixels)
    window = Window(range(2), range(2), (0, 2), (0, 2))

    image = compose(to_plane(np.full((2, 2), 0.5, np.float32)), layers, 1.0, window)

    expected = np.zeros((2, 2))
    expected[1, 1] = 0.05  # the center 2.5 of 5 is at 1.0 of 2
    np.testing.assert_allclose(rgb2yuv(image)[..., 1], expected, atol=1e-6)


def test_the_size_in_bytes_includes_all_maps_and_the_mask():
    layers = all_layers()

    fields = 4 * (2 * 5 * 7 * 2 + 2 * 10 * 14 * 2)  # float32 maps
    fixed = 4 * (8 + 8 + 2 * 4)  # rows and columns in int64, U and V in float32
    assert layers.nbytes == fields + fixed + 40 * 56


def test_outside_a_mask_the_colors_of_the_input_are_kept():
    image = np.random.default_rng(4).integers(0, 256, (40, 56, 3)).astype(np.uint8)

    composed = compose(to_plane(image), all_layers(), 1.0)

    np.testing.assert_array_equal(composed[:, :9], image[:, :9])
    assert (composed[:, 9:] != image[:, 9:]).any()


def test_outside_a_mask_gray_stays_gray():
    gray = random(40, 56).numpy()

    image = compose(to_plane(gray), all_layers(), 1.0)

    np.testing.assert_allclose(image[:, :9], np.repeat(gray[:, :9, None], 3, -1), atol=1e-6)


def test_shadow_damping_reduces_chroma_and_keeps_luminance():
    gray = np.tile(np.array([0.0, 0.02, 0.8], np.float32), (3, 1))
    colors = ChromaField(torch.full((1, 1, 2), 0.05))

    plain = rgb2yuv(compose(to_plane(gray), ChromaLayers(colors), 1.0))
    damped = rgb2yuv(compose(to_plane(gray), ChromaLayers(colors, shadows=0.4), 1.0))

    np.testing.assert_allclose(damped[..., 0], gray, atol=1e-6)
    assert np.abs(damped[:, 1, 1:]).max() < 0.2 * np.abs(plain[:, 1, 1:]).max()
    np.testing.assert_allclose(damped[:, 2], plain[:, 2], atol=1e-6)


def test_a_nan_pixel_does_not_change_other_pixels():
    gray = np.full((4, 4), 0.5, np.float32)
    gray[1, 1] = np.nan
    colors = ChromaField(torch.full((2, 2, 2), 0.05), torch.full((2, 2, 2), 0.05))

    image = compose(to_plane(gray), ChromaLayers(colors), 1.0)

    others = np.delete(image.reshape(-1, 3), 5, axis=0)
    assert np.isnan(image[1, 1]).all()
    np.testing.assert_array_equal(others, np.broadcast_to(others[0], others.shape))
