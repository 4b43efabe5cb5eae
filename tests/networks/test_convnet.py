from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from skimage.filters import sobel

from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.convnet import ConvNet, Encoder, edges_of
from napari_colorize.networks.fuse import fuse
from napari_colorize.zoo.build import build

NARROW = (8, 8, 8, 16, 16, 16)


@pytest.fixture(scope="module", params=["gray", "edges"])
def network(request) -> ConvNet:
    """A narrow one that has taken a step in training, so that its norms are not new."""
    torch.manual_seed(0)
    network = ConvNet(edges=request.param == "edges", widths=NARROW)
    torch.nn.init.normal_(network.decoder.head.weight)
    with torch.no_grad():
        network(torch.rand(4, 1, 64, 64))
    return network.eval().requires_grad_(False)


def test_it_has_this_many_parameters():
    network = ConvNet()

    assert sum(weight.numel() for weight in network.parameters()) == 12_542_979


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (31, 97), (1, 1)])
def test_rgb_has_the_size_of_any_picture(network, size):
    rgb = network(torch.rand(2, 1, *size))

    assert rgb.shape == (2, 3, *size)
    assert float(rgb.min()) >= 0 and float(rgb.max()) <= 1


def test_the_encoder_halves_six_times_and_takes_any_channels():
    features = Encoder(4, NARROW, slope=0.2)(torch.rand(2, 4, 128, 192))

    assert features.shape == (2, NARROW[-1], 2, 3)
    assert bool((features < 0).any())


def test_edges_are_those_of_scikit_image():
    gray = np.random.default_rng(0).random((13, 9), dtype=np.float32)
    x = torch.from_numpy(gray)[None, None]

    edges = edges_of(x, ConvNet(edges=True, widths=NARROW).sobel)

    np.testing.assert_allclose(edges[0, 0], sobel(gray), atol=1e-5)


def test_edges_of_a_plain_picture_have_a_derivative():
    gray = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)

    edges_of(gray, ConvNet(edges=True, widths=NARROW).sobel).sum().backward()

    assert bool(gray.grad.isfinite().all())


def test_only_a_network_of_gray_knows_how_bright_a_picture_is(network):
    gray = torch.rand(1, 1, 64, 64) * 0.5
    same = torch.allclose(network(gray), network(gray + 0.4), atol=1e-4)

    assert same == network.sees_edges


def test_a_file_opens_as_what_was_trained(network):
    state = network.state_dict()
    gray = torch.rand(1, 1, 48, 32)

    assert identify(state) is ARCHITECTURES["convnet"]
    reloaded = build(ARCHITECTURES["convnet"], state)
    assert reloaded.sees_edges == network.sees_edges
    torch.testing.assert_close(reloaded(gray), network(gray), atol=0, rtol=0)


def test_a_fused_network_says_the_same(network):
    gray = torch.rand(1, 1, 80, 112)
    fused = fuse(copy.deepcopy(network))

    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused.modules())
    torch.testing.assert_close(fused(gray), network(gray), atol=2e-5, rtol=0)
