from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from napari_colorize.networks import layers
from napari_colorize.networks.layers import (
    PublishedAttention,
    SelfAttention,
    SubPixelUpsample,
    WeightNormConv2d,
    attend,
    attention_weights_at,
    blur,
    conv2d,
)


class LargestTensor(TorchDispatchMode):
    """Notes how many numbers the largest tensor holds that any operation makes."""

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
def test_blur_is_the_mean_with_left_and_upper_neighbours(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    padded = np.pad(image, ((1, 0), (1, 0)), mode="edge")
    expected = (padded[1:, 1:] + padded[1:, :-1] + padded[:-1, 1:] + padded[:-1, :-1]) / 4

    blurred = blur(torch.from_numpy(image)[None, None])

    np.testing.assert_allclose(blurred[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_new_upsampling_repeats_pixels_before_it_blurs(scale):
    upsample = SubPixelUpsample(5, 3, scale=scale).eval()
    x = torch.randn(1, 5, 4, 6)

    sharp = F.pixel_shuffle(upsample.conv(x).relu(), scale)

    torch.testing.assert_close(
        sharp, F.interpolate(sharp[..., ::scale, ::scale], size=sharp.shape[2:])
    )
    torch.testing.assert_close(upsample(x), blur(sharp))


def test_an_upsampling_has_a_bias_or_a_batch_norm():
    with_norm, without = SubPixelUpsample(4, 4), SubPixelUpsample(4, 4, batch_norm=False)

    assert "conv.1.bias" in with_norm.state_dict()
    assert "conv.0.bias" not in with_norm.state_dict()
    assert "conv.0.bias" in without.state_dict()


def test_weight_norm_is_torchs_under_the_old_names():
    ours = conv2d(5, 8, 3, bias=True, norm="weight")
    assert isinstance(ours, WeightNormConv2d)
    nn.init.uniform_(ours.weight_g, 1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, and still the reference
        theirs = nn.utils.weight_norm(nn.Conv2d(5, 8, 3, padding=1))
    x = torch.randn(1, 5, 6, 7)

    theirs.load_state_dict(ours.state_dict())

    assert list(ours.state_dict()) == ["bias", "weight_g", "weight_v"]
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.plain()(x), theirs(x))


def test_spectral_norm_divides_by_what_u_and_v_say_and_iterates_in_training_only():
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


def test_reading_attention_is_scaled_dot_product_attention_with_exchanged_names():
    query, key, value = random_attention()

    expected = F.scaled_dot_product_attention(key.mT, query.mT, value.mT, scale=1.0).mT

    torch.testing.assert_close(attend(query, key, value), expected)


def test_written_attention_normalises_over_the_last_axis():
    query, key, value = random_attention()

    weights = torch.softmax(torch.einsum("ndi,ndj->nij", query, key), dim=-1)

    result = attend(query, key, value, softmax_over="written")
    torch.testing.assert_close(result, torch.einsum("nci,nij->ncj", value, weights))


@pytest.mark.parametrize("softmax_over", ["read", "written"])
@pytest.mark.parametrize("positions", [1, 30])
def test_attention_in_blocks_is_attention_at_once(monkeypatch, softmax_over, positions):
    inputs = random_attention(positions, dtype=torch.float64)
    for tensor in inputs:
        tensor.requires_grad_()
    whole = attend(*inputs, softmax_over=softmax_over)
    gradients = torch.autograd.grad(whole.square().sum(), inputs)

    monkeypatch.setattr(layers, "BLOCK_NUMBERS", 7 * 2 * positions)
    blocks = attend(*inputs, softmax_over=softmax_over)

    torch.testing.assert_close(blocks, whole)
    in_blocks = torch.autograd.grad(blocks.square().sum(), inputs)
    torch.testing.assert_close(in_blocks, gradients)


@pytest.mark.parametrize("softmax_over", ["read", "written"])
def test_attention_never_holds_more_than_a_block_of_weights(monkeypatch, softmax_over):
    inputs = random_attention(positions=100, batch=1)
    monkeypatch.setattr(layers, "BLOCK_NUMBERS", 1000)

    with LargestTensor() as largest:
        attend(*inputs, softmax_over=softmax_over)

    assert largest.numbers == 1000


@pytest.mark.parametrize("softmax_over", ["read", "written"])
def test_what_is_heard_at_a_position_are_the_weights_of_attention(monkeypatch, softmax_over):
    query, key, _ = random_attention(positions=30)
    each = torch.eye(30).expand(2, -1, -1)  # as a value, it shows the weights themselves
    weights = attend(query, key, each, softmax_over=softmax_over)[..., 11]

    monkeypatch.setattr(layers, "BLOCK_NUMBERS", 7 * 2 * 30)
    heard = attention_weights_at(query, key, 11, softmax_over=softmax_over)

    torch.testing.assert_close(heard, weights / weights.sum(-1, keepdim=True))


def test_a_position_that_next_to_nothing_is_written_to_still_hears_from_somewhere():
    query, key, _ = random_attention()

    heard = attention_weights_at(query.abs() * 1e3, key - 10, 0, softmax_over="written")

    torch.testing.assert_close(heard.sum(-1), torch.ones(2))


def test_the_weights_of_one_row_need_no_table_of_all_pairs():
    query, key, _ = random_attention(positions=100)

    with LargestTensor() as largest:
        attention_weights_at(query, key, 50)

    assert largest.numbers == query.numel()


@pytest.mark.parametrize("make", [SelfAttention, PublishedAttention])
def test_an_attention_tells_its_weights_at_a_pixel(make):
    attention = make(16).eval()
    nn.init.constant_(attention.gamma, 1.0)
    x = torch.randn(2, 16, 5, 3)

    weights = attention.weights_at(x, 4, 1)

    value = attention.value(x.flatten(2)) if make is SelfAttention else attention.h(x).flatten(2)
    direction = (value @ weights.flatten(1)[..., None])[..., 0]
    heard = (attention(x) - x)[..., 4, 1]
    torch.testing.assert_close(F.normalize(heard), F.normalize(direction))


@pytest.mark.parametrize("make", [SelfAttention, PublishedAttention])
def test_a_new_attention_is_the_identity_and_can_be_turned_off(make):
    attention = make(16).eval()
    x = torch.randn(2, 16, 5, 3)

    untrained = attention(x)
    nn.init.constant_(attention.gamma, 0.7)

    torch.testing.assert_close(untrained, x)
    assert not torch.allclose(attention(x), x, atol=1e-3)
    assert attention(x, self_attention=False) is x


@pytest.mark.parametrize("make", [SelfAttention, PublishedAttention])
def test_attention_is_the_same_however_memory_is_laid_out(make):
    attention = make(16).eval()
    nn.init.constant_(attention.gamma, 0.7)
    x = torch.randn(2, 16, 5, 3)

    torch.testing.assert_close(attention(x.to(memory_format=torch.channels_last)), attention(x))
