from __future__ import annotations

import copy

import pytest
import torch

from napari_colorize.networks import ARCHITECTURES, identify, region
from napari_colorize.networks.compact import CompactUNet
from napari_colorize.networks.efficientnet import EfficientNetLite0
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.layers import smooth_along_luminance
from napari_colorize.networks.region import (
    AttentionBlock,
    ColorAttention,
    RegionNet,
    build_region,
)


@pytest.fixture(scope="module")
def network() -> RegionNet:
    """An untrained network whose norms and attention blocks are not those of a new one."""
    torch.manual_seed(0)
    network = RegionNet(temperature=0.7, smoothing=0.1, chroma_power=1.2).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            if module.affine:
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    for block in network.blocks:
        torch.nn.init.normal_(block.proj.weight, std=0.1)
        torch.nn.init.normal_(block.fc2.weight, std=0.1)
    return network.requires_grad_(False)


def squared_distances(height: int, width: int) -> torch.Tensor:
    """Squared distance from each pixel of a map of twice the size to each cell, in cells."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    py, px = torch.meshgrid(
        (torch.arange(2 * height) + 0.5) / 2, (torch.arange(2 * width) + 0.5) / 2, indexing="ij"
    )
    cells = torch.stack([y.flatten(), x.flatten()], 1)
    pixels = torch.stack([py.flatten(), px.flatten()], 1)
    return (pixels[:, None] - cells[None]).square().sum(-1)


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (96, 64), (16, 208)])
def test_chroma_has_a_quarter_of_any_size_that_16_divides(network, size):
    uv = network(torch.rand(2, 1, *size))

    assert uv.shape == (2, 2, size[0] // 4, size[1] // 4)


@pytest.mark.parametrize("sample", [(1, 0, 0), (2, 0, 1), (3, 2, 1), (4, 3, 3)])
def test_a_sample_of_the_logits_equals_the_same_pixels_of_all_logits(network, sample):
    gray = torch.rand(1, 1, 80, 112)
    step, row, column = sample

    whole = network.logits(gray, sample=(1, 0, 0))
    expected = whole[..., row::step, column::step]

    torch.testing.assert_close(network.logits(gray, sample=sample), expected, atol=1e-4, rtol=0)


def test_a_fused_network_gives_the_same_colors(network):
    gray = torch.rand(1, 1, 80, 112)
    fused = fuse(copy.deepcopy(network))

    for self_attention in (True, False):
        expected = network(gray, self_attention)
        torch.testing.assert_close(fused(gray, self_attention), expected, atol=2e-5, rtol=0)


def test_attention_weights_are_those_of_the_block():
    torch.manual_seed(0)
    block = AttentionBlock(64, heads=2).eval()
    x = torch.randn(1, 64, 4, 5)
    value = torch.zeros(1, 3 * 64, 4, 5)
    value[:, :128] = block.qkv(block.norm1(x))[:, :128]
    value[:, 128:, 2, 3] = 1.0  # the weight of this position is what each position sees of it

    seen = block._attend(value).unflatten(1, (2, 32)).mean((1, 2))

    for row, column in ((0, 0), (3, 2)):
        weights = block.weights_at(x, row, column)
        assert weights.shape == (1, 4, 5) and float(weights.sum()) == pytest.approx(1)
        assert float(weights[0, 2, 3]) == pytest.approx(float(seen[0, row, column]), rel=1e-5)


def test_smoothing_the_input_of_the_head_smooths_the_logits(network):
    gray = torch.rand(1, 1, 48, 64)

    expected = smooth_along_luminance(network.logits(gray, sample=(1, 0, 0)), gray, 0.1)

    torch.testing.assert_close(network.logits(gray), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("pixels", [1, 100, 10**6])
def test_blocks_of_the_head_give_the_colors_expected_from_its_logits(network, monkeypatch, pixels):
    monkeypatch.setattr(region, "HEAD_PIXELS", pixels)
    changed = copy.deepcopy(network)
    changed.commonness.fill_(0.3)
    torch.nn.init.uniform_(changed.log_frequency, -9, -1)
    torch.nn.init.normal_(changed.head.weight, std=0.3)
    gray = torch.rand(2, 1, 80, 48)

    expected = changed.expected(changed.logits(gray))

    torch.testing.assert_close(changed(gray), expected, atol=2e-5, rtol=0)


def test_a_chroma_power_moves_pale_and_strong_colors_apart():
    network = RegionNet(temperature=1e-3, vividness=2.0, chroma_power=1.5)
    logits = torch.zeros(1, 357, 1, 3)
    colors = torch.tensor([[0.0, 0.05], [0.0, 0.1], [0.3, 0.0]])
    for index, color in enumerate(colors):
        nearest = (network.centers - color).square().sum(1).argmin()
        logits[0, nearest, 0, index] = 1.0

    uv = network.expected(logits)[0, :, 0].T

    factor = 2 * (colors.norm(dim=1, keepdim=True) / 0.1) ** 0.5
    torch.testing.assert_close(uv, factor * colors, atol=1e-4, rtol=1e-4)


def test_color_attention_equals_its_definition():
    torch.manual_seed(0)
    attention = ColorAttention(6, 5, 8, heads=2, key_channels=3)
    pixels, cells = torch.randn(1, 6, 8, 10), torch.randn(1, 5, 4, 5)
    rows, columns = torch.arange(8) / 2 + 0.25, torch.arange(10) / 2 + 0.25
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1)

    query = attention.query(pixels).view(1, 2, 3, 80)
    key = attention.key(cells).view(1, 2, 3, 20)
    value = attention.value(cells).view(1, 2, 4, 20)
    decay = attention.log_reach.exp().view(1, 2, 1, 1)
    scores = torch.einsum("nhdp,nhdc->nhpc", query, key) / 3**0.5
    weights = (scores - decay * squared_distances(4, 5)).softmax(-1)
    expected = torch.einsum("nhpc,nhdc->nhdp", weights, value).reshape(1, 8, 8, 10)

    torch.testing.assert_close(attention(pixels, cells, places), expected, atol=1e-5, rtol=0)


def test_only_self_attention_sees_distant_parts_of_an_image(network):
    channels = EfficientNetLite0.CHANNELS
    features = [
        torch.randn(1, c, 64 // k, 256 // k) for c, k in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    changed = [x.clone() for x in features]
    for x in changed:
        x[..., x.shape[-1] // 2 :] = 0.0
    left = slice(0, 8)  # pixels at 1/4, of 64

    with_attention = [network.decode(x, True)[..., left] for x in (features, changed)]
    without = [network.decode(x, False)[..., left] for x in (features, changed)]

    torch.testing.assert_close(*without, atol=0, rtol=0)
    assert (with_attention[0] - with_attention[1]).abs().max() > 1e-3


def test_a_network_is_rebuilt_from_its_state():
    network = RegionNet(
        0.4, smoothing=0.2, width=64, blocks=1, upsampled=(24, 16), color_heads=2, calibration=5
    )
    state = network.state_dict()

    rebuilt = build_region(state)
    rebuilt.load_state_dict(state)

    gray = torch.rand(1, 1, 48, 64)
    torch.testing.assert_close(rebuilt.eval()(gray), network.eval()(gray), atol=0, rtol=0)


def test_a_checkpoint_is_told_from_one_of_the_compact_network(network):
    assert identify(network.state_dict()) is ARCHITECTURES["region"]
    assert identify(CompactUNet().state_dict()) is ARCHITECTURES["compact"]
