from __future__ import annotations

import copy

import pytest
import torch

from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.convnet import LabAutoencoder
from napari_colorize.networks.fuse import fuse
from napari_colorize.zoo.weights import build

NARROW = (8, 8, 16, 16)
NAMES = {"ab": "lab-autoencoder", "rgb": "lab-autoencoder-rgb"}
RANGES = {"ab": (-110, 110), "rgb": (0, 1)}


@pytest.fixture(scope="module", params=["ab", "rgb"])
def network(request) -> LabAutoencoder:
    """Narrow network after one forward pass in training, with strong colors."""
    torch.manual_seed(0)
    network = LabAutoencoder(request.param, widths=NARROW)
    torch.nn.init.normal_(network.decoder.head.weight)
    with torch.no_grad():
        network(torch.rand(2, 1, 64, 64) * 100)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(("target", "count"), [("ab", 3_101_122), ("rgb", 3_101_699)])
def test_the_number_of_parameters(target, count):
    network = LabAutoencoder(target)

    assert sum(weight.numel() for weight in network.parameters()) == count


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (31, 97), (1, 1)])
def test_colors_have_the_size_of_the_image_and_are_in_range(network, size):
    output = network(torch.rand(2, 1, *size) * 100)

    low, high = RANGES[network.target]
    assert output.shape == (2, len(network.target), *size)
    assert low <= float(output.min()) and float(output.max()) <= high


@pytest.mark.parametrize("target", ["ab", "rgb"])
def test_a_new_network_predicts_middle_gray(target):
    torch.manual_seed(0)
    network = LabAutoencoder(target).eval().requires_grad_(False)
    output = network(torch.rand(1, 1, 64, 64) * 100)

    low, high = RANGES[target]
    assert float((output - (low + high) / 2).abs().max()) < 0.1 * (high - low)


def test_the_two_targets_differ_in_the_last_layer_only():
    torch.manual_seed(0)
    ab, rgb = (
        {key.replace(f"to_{target}", ""): value for key, value in state.items()}
        for target in ("ab", "rgb")
        for state in [LabAutoencoder(target, widths=NARROW).state_dict()]
    )

    differing = {key for key in ab | rgb if ab[key].shape != rgb[key].shape}
    assert differing == {".head.weight", ".head.bias"}


def test_a_network_is_rebuilt_from_its_state_dict(network):
    state = network.state_dict()
    architecture = ARCHITECTURES[NAMES[network.target]]
    lightness = torch.rand(1, 1, 48, 32) * 100

    assert identify(state) is architecture
    torch.testing.assert_close(
        build(architecture, state)(lightness), network(lightness), atol=0, rtol=0
    )


def test_a_fused_network_gives_the_same_output(network):
    lightness = torch.rand(1, 1, 80, 112) * 100
    fused = fuse(copy.deepcopy(network))

    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused.modules())
    torch.testing.assert_close(fused(lightness), network(lightness), atol=1e-3, rtol=0)
