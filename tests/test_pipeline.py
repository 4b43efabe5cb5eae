from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab, rgb2yuv

from napari_colorize import pipeline
from napari_colorize.imaging.planes import to_plane
from napari_colorize.imaging.resample import Window, resize
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.pipeline import (
    compose,
    network_hints,
    network_input,
    predict,
    render_size,
    to_rgb,
)
from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers
from napari_colorize.refine.hints import Hints


@given(
    height=st.integers(1, 9000),
    width=st.integers(1, 9000),
    render_factor=st.integers(1, 100),
    multiple=st.sampled_from([16, 32]),
)
def test_a_render_size_has_the_aspect_ratio_of_the_image_and_the_area_of_the_square(
    height, width, render_factor, multiple
):
    rows, columns = render_size(height, width, render_factor, fit="aspect", multiple=multiple)

    assert rows % multiple == columns % multiple == 0
    side = 16 * render_factor
    wanted = min(max(width / height, 0.25), 4)
    assert abs(rows - side / wanted**0.5) <= multiple / 2 or rows == multiple
    assert abs(columns - side * wanted**0.5) <= multiple / 2 or columns == multiple


@pytest.mark.parametrize(("multiple", "side"), [(16, 80), (32, 96)])
def test_a_square_render_size_is_rounded_up_to_the_multiple(multiple, side):
    assert render_size(300, 200, 5, fit="square", multiple=multiple) == (side, side)


def test_shrinking_averages_areas():
    gray = torch.rand(1, 1, 64, 96)

    small = resize(gray, (16, 24))

    torch.testing.assert_close(small, F.avg_pool2d(gray, 4))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5), (100, 3)])
def test_any_size_is_resized_to_any_other(shape):
    assert resize(torch.rand(2, 1, *shape), (32, 48)).shape == (2, 1, 32, 48)


def test_row_blocks_leave_no_seams(monkeypatch):
    plane = to_plane(np.random.default_rng(0).random((57, 43)))
    uv = torch.rand(9, 6, 2) * 0.3 - 0.15
    whole = compose(plane, uv, 1.5)

    monkeypatch.setattr(pipeline, "BLOCK_ON_CPU", 100)

    np.testing.assert_array_equal(compose(plane, uv, 1.5), whole)


def test_chroma_is_enlarged_bilinearly():
    plane = to_plane(np.full((40, 60), 0.5))
    uv = torch.rand(5, 7, 2) * 0.1 - 0.05

    rgb = torch.from_numpy(compose(plane, uv, 1.0))

    enlarged = F.interpolate(uv.movedim(-1, 0)[None], (40, 60), mode="bilinear")[0]
    blue_minus_y = rgb[..., 2] - 0.5
    torch.testing.assert_close(blue_minus_y.float(), enlarged[0] * 2.0321, atol=1e-4, rtol=0)


@given(data=st.data(), dtype=st.sampled_from(["u1", "u2", "f4"]), channels=st.sampled_from([0, 4]))
def test_the_composition_of_a_window_is_the_window_of_the_composition(data, dtype, channels):
    rng = np.random.default_rng(0)
    image = (rng.random((31, 45, 4)[: 2 + bool(channels)]) * 200).astype(dtype)
    uv = torch.rand(9, 6, 2, generator=torch.Generator().manual_seed(0)) * 0.3 - 0.15
    part = data.draw(st.slices(31)), data.draw(st.slices(45))
    rows, columns = range(31)[part[0]], range(45)[part[1]]
    assume(rows and columns)
    limits, rgb = (0, 200), bool(channels)
    whole = compose(to_plane(image, limits=limits, rgb=rgb), uv, 1.5)

    plane = to_plane(image[part].copy(), limits=limits, rgb=rgb)
    window = compose(plane, uv, 1.5, Window(rows, columns, (0, 31), (0, 45)))

    # The rounding of sums depends on the number of pixels.
    atol = 1 if whole.dtype.kind == "u" else 1e-5
    np.testing.assert_allclose(window.astype(float), whole[part].astype(float), rtol=0, atol=atol)


def test_chroma_can_cover_a_part_of_the_image():
    image = np.full((40, 60), 0.5)
    uv = torch.rand(5, 7, 2) * 0.1 - 0.05
    alone = compose(to_plane(image[10:30, 24:52]), uv, 1.0)

    window = Window(range(15, 30), range(30, 50), (10, 30), (24, 52))
    part = compose(to_plane(image[15:30, 30:50]), uv, 1.0, window)

    np.testing.assert_allclose(part, alone[5:, 6:26], atol=1e-6)


def test_rgb_networks_use_the_normalization_of_imagenet():
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    color = torch.tensor([0.8, 0.4, 0.2]).view(1, 3, 1, 1)
    inputs = []

    def network(x, self_attention):
        inputs.append(x * std + mean)
        return ((color - mean) / std).expand_as(x)

    gray = torch.full((1, 20, 30), 0.7)
    uv = predict(network, ARCHITECTURES["deoldify-deep"], gray, (32, 32))

    torch.testing.assert_close(inputs[0], torch.full((1, 3, 32, 32), 0.7), atol=1e-6, rtol=0)
    luminance = 0.299 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2
    wanted = torch.tensor([(0.2 - luminance) / 2.0321, (0.8 - luminance) / 1.13988])
    torch.testing.assert_close(uv[0, 3, 4], wanted, atol=1e-4, rtol=0)


LAB = replace(ARCHITECTURES["compact"], input_space="L", output_space="ab")


def test_lab_networks_take_and_return_cielab():
    inputs = []

    def network(x, self_attention):
        inputs.append(x)
        return torch.tensor([20.0, -30.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8)

    uv = predict(network, LAB, torch.full((1, 20, 30), 0.7), (32, 32))

    lightness = rgb2lab(np.full(3, 0.7))[0]
    torch.testing.assert_close(inputs[0], torch.full((1, 1, 32, 32), lightness), check_dtype=False)
    wanted = rgb2yuv(lab2rgb(np.array([lightness, 20, -30])))[1:]
    assert uv.shape == (1, 8, 8, 2)
    np.testing.assert_allclose(uv[0, 3, 4], wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["deoldify-deep", "compact"])
def test_an_identity_network_keeps_the_gray(name):
    known = ARCHITECTURES[name]
    gray = torch.rand(2, 1, 32, 48)
    x = network_input(known, gray)

    output = x if known.output_space == "rgb" else torch.zeros(2, 2, 8, 12)
    rgb = to_rgb(known, output, gray)

    wanted = gray if known.output_space == "rgb" else F.avg_pool2d(gray, 4)
    torch.testing.assert_close(rgb, wanted.expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("known", [*(ARCHITECTURES[n] for n in ("deoldify-deep", "compact")), LAB])
def test_network_input_and_output_conversions_are_differentiable(known):
    gray = torch.rand(1, 1, 16, 16).requires_grad_()

    x = network_input(known, gray)
    channels = 3 if known.output_space == "rgb" else 2
    to_rgb(known, x[:, :1].expand(-1, channels, -1, -1) * 0.1, gray).square().sum().backward()

    assert gray.grad is not None
    assert gray.grad.isfinite().all() and gray.grad.abs().min() > 0


@pytest.mark.parametrize("channels", [None, 3])
def test_floats_outside_a_mask_are_mapped_by_the_contrast_limits(channels):
    image = np.array([[0.0, 4.0, 6.0, 12.0]], np.float32)
    if channels is not None:
        image = np.repeat(image[..., None], channels, axis=-1)
    plane = to_plane(image, limits=(2, 10))
    layers = ChromaLayers(ChromaField(torch.zeros(1, 1, 2)), mask=np.zeros((1, 4), bool))

    pixels = compose(plane, layers, 1.0)

    np.testing.assert_allclose(pixels[0, :, 0], [0, 0.25, 0.5, 1])
    assert pixels.dtype == np.float32


def test_integers_outside_a_mask_are_unchanged():
    image = np.array([[[3, 9, 1], [200, 10, 30]]], np.uint8)
    layers = ChromaLayers(ChromaField(torch.full((1, 1, 2), 0.2)), mask=np.array([[False, True]]))

    pixels = compose(to_plane(image, limits=(0, 100)), layers, 1.0)

    np.testing.assert_array_equal(pixels[0, 0], image[0, 0])
    assert (pixels[0, 1] != image[0, 1]).any()


@pytest.mark.parametrize("outside", [0.0, 1.0, np.nan])
def test_colors_outside_the_hint_mask_do_not_reach_the_network(outside):
    rgb = np.full((8, 8, 3), outside, np.float32)
    mask = np.zeros((8, 8), bool)
    rgb[1, 1:3], mask[1, 1:3] = (1.0, 0.0, 0.0), True

    colors, given = network_hints(Hints(mask, rgb), torch.zeros(1, 1, 4, 4))

    red = torch.tensor(rgb2lab([[[1.0, 0.0, 0.0]]])[0, 0, 1:]).float()
    torch.testing.assert_close(colors[0, :, 0, 0], red, atol=1e-2, rtol=0)
    torch.testing.assert_close(colors[0, :, 0, 1], red, atol=1e-2, rtol=0)
    assert (colors[0, :, 1:] == 0).all()
    assert given.sum() == 2
