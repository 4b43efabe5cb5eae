from __future__ import annotations

import math
import warnings
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from napari_colorize.networks import layers
from napari_colorize.networks.layers import (
    IpolSelfAttention,
    PixelShuffleICNR,
    SelfAttention,
    WeightNormConv2d,
    attention,
    attention_weights_at,
    blur,
    conv2d,
)


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation creates."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def random_attention(positions=30, batch=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, 4, positions), (batch, 4, positions), (batch, 6, positions)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 4)])
def test_blur_is_the_mean_with_left_and_upper_neighbors(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    padded = np.pad(image, ((1, 0), (1, 0)), mode="edge")
    expected = (padded[1:, 1:] + padded[1:, :-1] + padded[:-1, 1:] + padded[:-1, :-1]) / 4

    blurred = blur(torch.from_numpy(image)[None, None])

    np.testing.assert_allclose(blurred[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_new_upsampling_repeats_pixels_before_the_blur(scale):
    upsample = PixelShuffleICNR(5, 3, scale=scale).eval()
    x = torch.randn(1, 5, 4, 6)

    sharp = F.pixel_shuffle(upsample.conv(x).relu(), scale)

    torch.testing.assert_close(
        sharp, F.interpolate(sharp[..., ::scale, ::scale], size=sharp.shape[2:])
    )
    torch.testing.assert_close(upsample(x), blur(sharp))


def test_an_upsampling_has_either_a_bias_or_a_batch_norm():
    with_norm, without = PixelShuffleICNR(4, 4), PixelShuffleICNR(4, 4, batch_norm=False)

    assert "conv.1.bias" in with_norm.state_dict()
    assert "conv.0.bias" not in with_norm.state_dict()
    assert "conv.0.bias" in without.state_dict()


def test_weight_norm_equals_that_of_torch_with_the_old_names():
    ours = conv2d(5, 8, 3, bias=True, norm="weight")
    assert isinstance(ours, WeightNormConv2d)
    nn.init.uniform_(ours.weight_g, 1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # deprecated, but the reference for published files
        reference = nn.utils.weight_norm(nn.Conv2d(5, 8, 3, padding=1))
    x = torch.randn(1, 5, 6, 7)

    reference.load_state_dict(ours.state_dict())

    assert list(ours.state_dict()) == ["bias", "weight_g", "weight_v"]
    torch.testing.assert_close(ours(x), reference(x))
    torch.testing.assert_close(ours.plain()(x), reference(x))


def test_spectral_norm_uses_stored_u_and_v_and_iterates_in_training_only():
    conv = conv2d(5, 8, 3, bias=True)
    state = conv.state_dict()
    assert list(state) == ["bias", "weight_orig", "weight_u", "weight_v"]
    u, v = (F.normalize(torch.randn_like(state[name]), dim=0) for name in ("weight_u", "weight_v"))
    conv.load_state_dict(state | {"weight_u": u, "weight_v": v})
    weight = state["weight_orig"] / (u @ state["weight_orig"].flatten(1) @ v)
    x = torch.randn(1, 5, 6, 7)

    result = conv.eval()(x)

    torch.testing.assert_close(result, F.conv2d(x, weight, padding=1), rtol=1e-4, atol=1e-4)
    assert torch.equal(conv.state_dict()["weight_u"], u)
    conv.train()(x)
    assert not torch.equal(conv.state_dict()["weight_u"], u)


def test_a_new_spectral_norm_is_near_the_largest_singular_value():
    conv = conv2d(16, 32, 3).eval()
    conv(torch.zeros(1, 16, 3, 3))

    largest = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), ord=2)

    assert 1 <= largest < 1.5


def test_attention_over_sources_is_dot_product_attention_with_exchanged_names():
    query, key, value = random_attention()

    expected = F.scaled_dot_product_attention(key.mT, query.mT, value.mT, scale=1.0).mT

    torch.testing.assert_close(attention(query, key, value), expected)


def test_attention_over_targets_normalizes_over_the_last_axis():
    query, key, value = random_attention()

    weights = torch.softmax(torch.einsum("ndi,ndj->nij", query, key), dim=-1)

    result = attention(query, key, value, softmax_over="target")
    torch.testing.assert_close(result, torch.einsum("nci,nij->ncj", value, weights))


@pytest.mark.parametrize("softmax_over", ["source", "target"])
@pytest.mark.parametrize("positions", [1, 30])
def test_attention_in_blocks_equals_attention_in_one_step(monkeypatch, softmax_over, positions):
    inputs = random_attention(positions, dtype=torch.float64)
    for tensor in inputs:
        tensor.requires_grad_()
    whole = attention(*inputs, softmax_over=softmax_over)
    gradients = torch.autograd.grad(whole.square().sum(), inputs)

    monkeypatch.setattr(layers, "MAX_BLOCK_WEIGHTS", 7 * 2 * positions)
    blocks = attention(*inputs, softmax_over=softmax_over)

    torch.testing.assert_close(blocks, whole)
    in_blocks = torch.autograd.grad(blocks.square().sum(), inputs)
    torch.testing.assert_close(in_blocks, gradients)


@pytest.mark.parametrize("softmax_over", ["source", "target"])
def test_attention_stores_at_most_one_block_of_weights(monkeypatch, softmax_over):
    inputs = random_attention(positions=100, batch=1)
    monkeypatch.setattr(layers, "MAX_BLOCK_WEIGHTS", 1000)

    with LargestTensor() as largest:
        attention(*inputs, softmax_over=softmax_over)

    assert largest.numbers == 1000


@pytest.mark.parametrize("softmax_over", ["source", "target"])
def test_attention_weights_at_a_position_equal_those_of_attention(monkeypatch, softmax_over):
    query, key, _ = random_attention(positions=30)
    each = torch.eye(30).expand(2, -1, -1)  # with these values, the result is the weights
    weights = attention(query, key, each, softmax_over=softmax_over)[..., 11]

    monkeypatch.setattr(layers, "MAX_BLOCK_WEIGHTS", 7 * 2 * 30)
    attended = attention_weights_at(query, key, 11, softmax_over=softmax_over)

    torch.testing.assert_close(attended, weights / weights.sum(-1, keepdim=True))


def test_attention_weights_sum_to_1_despite_underflow():
    query, key, _ = random_attention()

    attended = attention_weights_at(query.abs() * 1e3, key - 10, 0, softmax_over="target")

    torch.testing.assert_close(attended.sum(-1), torch.ones(2))


def test_attention_weights_of_one_position_need_no_full_matrix():
    query, key, _ = random_attention(positions=100)

    with LargestTensor() as largest:
        attention_weights_at(query, key, 50)

    assert largest.numbers == query.numel()


@pytest.mark.parametrize("make", [SelfAttention, IpolSelfAttention])
def test_weights_at_a_pixel_agree_with_the_output_of_the_layer(make):
    attention = make(16).eval()
    nn.init.constant_(attention.gamma, 1.0)
    x = torch.randn(2, 16, 5, 3)

    weights = attention.weights_at(x, 4, 1)

    value = attention.value(x.flatten(2)) if make is SelfAttention else attention.h(x).flatten(2)
    direction = (value @ weights.flatten(1)[..., None])[..., 0]
    attended = (attention(x) - x)[..., 4, 1]
    torch.testing.assert_close(F.normalize(attended), F.normalize(direction))


@pytest.mark.parametrize("make", [SelfAttention, IpolSelfAttention])
def test_a_new_attention_layer_is_the_identity_and_can_be_disabled(make):
    attention = make(16).eval()
    x = torch.randn(2, 16, 5, 3)

    untrained = attention(x)
    nn.init.constant_(attention.gamma, 0.7)

    torch.testing.assert_close(untrained, x)
    assert not torch.allclose(attention(x), x, atol=1e-3)
    assert attention(x, self_attention=False) is x


@pytest.mark.parametrize("make", [SelfAttention, IpolSelfAttention])
def test_attention_does_not_depend_on_the_memory_format(make):
    attention = make(16).eval()
    nn.init.constant_(attention.gamma, 0.7)
    x = torch.randn(2, 16, 5, 3)

    torch.testing.assert_close(attention(x.to(memory_format=torch.channels_last)), attention(x))


def test_smoothing_equals_its_definition():
    torch.manual_seed(0)
    maps, gray, tolerance = torch.randn(1, 2, 5, 6), torch.rand(1, 1, 5, 6), 0.3

    expected = maps[0]
    for step in layers.SMOOTHING_STEPS:
        smooth = torch.zeros_like(expected)
        for y, x in product(range(5), range(6)):
            total = 0.0
            for dy, dx in product((-step, 0, step), repeat=2):
                place = min(max(y + dy, 0), 4), min(max(x + dx, 0), 5)
                difference = float(gray[0, 0][place] - gray[0, 0, y, x])
                weight = math.exp(-((difference / tolerance) ** 2) / 2)
                smooth[:, y, x] += weight * expected[(slice(None), *place)]
                total += weight
            smooth[:, y, x] /= total
        expected = smooth

    for layout in (torch.contiguous_format, torch.channels_last):
        found = layers.smooth_along_luminance(maps.contiguous(memory_format=layout), gray, 0.3)
        torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)


def test_logits_are_smoothed_where_luminance_is_even():
    torch.manual_seed(0)
    maps = torch.randn(1, 3, 12, 16)
    gray = torch.zeros(1, 1, 12, 16)
    gray[..., 8:] = 1.0

    smooth = layers.smooth_along_luminance(maps, gray, 0.05)

    assert smooth[..., :8].std() < 0.5 * maps.std()
    assert smooth.mean() == pytest.approx(float(maps.mean()), abs=0.1)
    changed = layers.smooth_along_luminance(maps + 9 * (gray == 0), gray, 0.05)
    torch.testing.assert_close(changed[..., 8:], smooth[..., 8:])  # nothing crosses the edge
    constant = torch.full_like(maps, 2.0)
    torch.testing.assert_close(layers.smooth_along_luminance(constant, gray, 0.05), constant)
    assert layers.smooth_along_luminance(maps, gray, 0.0) is maps
    enlarged = gray.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(layers.smooth_along_luminance(maps, enlarged, 0.05), smooth)
