from __future__ import annotations

import copy
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.dcgan_unet import DcganUNet
from napari_colorize.networks.fuse import fuse
from napari_colorize.zoo.weights import build

NARROW = (8, 8, 16, 16)
OPTIONS = [
    {"batch_norm": batch_norm, "strides": strides, "leaky": leaky}
    for batch_norm, strides, leaky in product([True, False], repeat=3)
]


def trained(**options) -> DcganUNet:
    """Narrow network after one forward pass in training, with strong colors."""
    torch.manual_seed(0)
    network = DcganUNet(**{"widths": NARROW, **options})
    torch.nn.init.normal_(network.head.weight)
    with torch.no_grad():
        network(torch.rand(2, 1, 64, 64) * 100)
    return network.eval().requires_grad_(False)


def test_the_number_of_parameters():
    network = DcganUNet()

    assert sum(weight.numel() for weight in network.parameters()) == 16_783_298


@pytest.mark.parametrize("strides", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (48, 80), (31, 97), (1, 1)])
def test_ab_has_the_size_of_the_image_and_is_within_110(strides, size):
    ab = trained(strides=strides)(torch.rand(2, 1, *size) * 100)

    assert ab.shape == (2, 2, *size)
    assert float(ab.abs().max()) <= 110


def test_other_sizes_are_padded_by_repeating_the_border():
    network = trained()
    lightness = torch.rand(1, 1, 24, 40) * 100

    padded = network(F.pad(lightness, (0, 8, 0, 8), mode="replicate"))

    torch.testing.assert_close(network(lightness), padded[..., :24, :40])


@pytest.mark.parametrize("switches", OPTIONS)
def test_a_network_is_rebuilt_from_its_state_dict(switches):
    network = trained(**switches, dropout=0.3)
    state = network.state_dict()
    lightness = torch.rand(1, 1, 48, 32) * 100

    assert identify(state) is ARCHITECTURES["dcgan-unet"]
    reloaded = build(ARCHITECTURES["dcgan-unet"], state)
    torch.testing.assert_close(reloaded(lightness), network(lightness), atol=0, rtol=0)
    assert [up.dropout.p for up in reloaded.ups] == [0.3, 0.3, 0, 0]


def test_every_option_changes_the_output():
    lightness = torch.rand(1, 1, 32, 32) * 100
    results = [trained(**switches)(lightness) for switches in OPTIONS]

    for index, result in enumerate(results):
        assert not any(torch.allclose(result, other) for other in results[:index])


def test_dropout_is_active_in_training_only():
    network = trained(batch_norm=False)
    lightness = torch.rand(1, 1, 32, 32) * 100

    assert torch.equal(network(lightness), network(lightness))
    network.train()
    assert not torch.equal(network(lightness), network(lightness))


def test_initial_weights_are_those_of_dcgan():
    network = DcganUNet(widths=(64, 64, 64)).requires_grad_(False)
    weights = torch.cat(
        [conv.weight.flatten() for conv in (network.downs[1][0], network.ups[0].conv)]
    )

    assert float(weights.mean()) == pytest.approx(0, abs=1e-3)
    assert float(weights.std()) == pytest.approx(0.02, rel=0.05)
    assert float(network.ups[1].norm.weight.mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("strides", [True, False])
def test_a_fused_network_gives_the_same_output(strides):
    network = trained(strides=strides)
    lightness = torch.rand(1, 1, 80, 112) * 100

    fused = fuse(copy.deepcopy(network))

    assert isinstance(fused.downs[1][1], torch.nn.Identity)
    torch.testing.assert_close(fused(lightness), network(lightness), atol=2e-3, rtol=0)
