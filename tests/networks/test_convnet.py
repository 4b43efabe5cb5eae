from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from skimage.filters import sobel

from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.convnet import ConvNet, Encoder, edges_of
from napari_colorize.networks.fuse import fuse
from napari_colorize.zoo.weights import build

NARROW = (8, 8, 8, 16, 16, 16)


@pytest.fixture(scope="module", params=["gray", "edges"])
def network(request) -> ConvNet:
    """Narrow network after one forward pass in training, so that its norms have statistics."""
    torch.manual_seed(0)
    network = ConvNet(edges=request.param == "edges", widths=NARROW)
    torch.nn.init.normal_(network.decoder.head.weight)
    with torch.no_grad():
        network(torch.rand(4, 1, 64, 64))
    return network.eval().requires_grad_(False)


def test_the_number_of_parameters():
    network = ConvNet()

    assert sum(weight.numel() for weight in network.parameters()) == 12_542_979


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (31, 97), (1, 1)])
def test_rgb_has_the_size_of_the_image(network, size):
    rgb = network(torch.rand(2, 1, *size))

    assert rgb.shape == (2, 3, *size)
    assert float(rgb.min()) >= 0 and float(rgb.max()) <= 1


def test_the_encoder_halves_six_times_and_accepts_any_channels():
    features = Encoder(4, NARROW, slope=0.2)(torch.rand(2, 4, 128, 192))

    assert features.shape == (2, NARROW[-1], 2, 3)
    assert bool((features < 0).any())


def test_edges_equal_those_of_scikit_image():
    gray = np.random.default_rng(0).random((13, 9), dtype=np.float32)
    x = torch.from_numpy(gray)[None, None]

    edges = edges_of(x, ConvNet(edges=True, widths=NARROW).sobel)

    np.testing.assert_allclose(edges[0, 0], sobel(gray), atol=1e-5)


def test_edges_of_a_constant_image_have_a_finite_gradient():
    gray = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)

    edges_of(gray, ConvNet(edges=True, widths=NARROW).sobel).sum().backward()

    assert bool(gray.grad.isfinite().all())


def test_only_a_network_with_gray_input_depends_on_brightness(network):
    gray = torch.rand(1, 1, 64, 64) * 0.5
    unchanged = torch.allclose(network(gray), network(gray + 0.4), atol=1e-4)

    assert unchanged == network.uses_edges


def test_a_network_is_rebuilt_from_its_state_dict(network):
    state = network.state_dict()
    gray = torch.rand(1, 1, 48, 32)

    assert identify(state) is ARCHITECTURES["convnet"]
    reloaded = build(ARCHITECTURES["convnet"], state)
    assert reloaded.uses_edges == network.uses_edges
    torch.testing.assert_close(reloaded(gray), network(gray), atol=0, rtol=0)


def test_a_fused_network_gives_the_same_output(network):
    gray = torch.rand(1, 1, 80, 112)
    fused = fuse(copy.deepcopy(network))

    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused.modules())
    torch.testing.assert_close(fused(gray), network(gray), atol=2e-5, rtol=0)
