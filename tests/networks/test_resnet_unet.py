from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file

from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.resnet_unet import ResNet18Encoder, ResNetUNet
from napari_colorize.networks.vision import torchvision_models
from napari_colorize.zoo.weights import build

NARROW = {"layer3": (32, 16, 8), "layer4": (32, 32, 16, 8)}


@pytest.fixture(scope="module", params=["layer3", "layer4"])
def network(request) -> ResNetUNet:
    """Narrow network after one forward pass in training, so that its norms have statistics."""
    torch.manual_seed(0)
    network = ResNetUNet(request.param, NARROW[request.param])
    torch.nn.init.normal_(network.head.weight, std=0.1)
    torch.nn.init.constant_(network.refine.conv2[1].weight, 0.5)
    with torch.no_grad():
        network(torch.rand(2, 1, 64, 64) * 100)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(("depth", "count"), [("layer4", 31_103_898), ("layer3", 7_638_266)])
def test_the_number_of_parameters(depth, count):
    network = ResNetUNet(depth)

    assert sum(weight.numel() for weight in network.parameters()) == count


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (31, 97), (1, 1)])
def test_ab_has_the_size_of_the_image(network, size):
    assert network(torch.rand(2, 1, *size) * 100).shape == (2, 2, *size)


def test_the_encoder_equals_that_of_torchvision():
    torch.manual_seed(0)
    reference = torchvision_models().resnet18().eval()
    state = reference.state_dict()
    encoder = ResNet18Encoder().eval()
    state["conv1.weight"] = state["conv1.weight"].sum(dim=1, keepdim=True)
    _, unexpected = encoder.load_state_dict(state, strict=False)
    gray = torch.randn(1, 1, 64, 96)

    with torch.inference_mode():
        *_, eighth, _, deepest = encoder(gray)
        x = reference.maxpool(
            reference.relu(reference.bn1(reference.conv1(gray.repeat(1, 3, 1, 1))))
        )
        expected = reference.layer2(reference.layer1(x))
        torch.testing.assert_close(eighth, expected, atol=1e-4, rtol=1e-4)
        expected = reference.layer4(reference.layer3(expected))
        torch.testing.assert_close(deepest, expected, atol=1e-4, rtol=1e-4)

    assert unexpected == ["fc.weight", "fc.bias"]


def test_the_pretrained_file_contains_all_weights_of_the_encoder(shared):
    state = load_file(shared / "backbones" / "resnet18_to_layer3.safetensors")
    state["conv1.weight"] = state["conv1.weight"].sum(dim=1, keepdim=True)

    missing, unexpected = ResNet18Encoder("layer3").load_state_dict(state, strict=False)

    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)


def test_a_new_network_predicts_almost_gray():
    torch.manual_seed(0)
    network = ResNetUNet("layer3", NARROW["layer3"]).eval().requires_grad_(False)

    assert float(network(torch.rand(1, 1, 32, 32) * 100).abs().max()) < 2


def test_the_last_layer_is_linear_in_units_of_110(network):
    lightness = torch.rand(1, 1, 32, 32) * 100
    stronger = copy.deepcopy(network)
    stronger.head.weight.mul_(1000)
    torch.nn.init.constant_(stronger.head.bias, 1.0)

    expected = 1000 * (network(lightness) - 110 * network.head.bias[:, None, None]) + 110
    torch.testing.assert_close(stronger(lightness), expected, atol=1e-1, rtol=1e-3)


def test_a_network_is_rebuilt_from_its_state_dict(network):
    state = network.state_dict()
    lightness = torch.rand(1, 1, 48, 32) * 100

    assert identify(state) is ARCHITECTURES["resnet18-unet"]
    reloaded = build(ARCHITECTURES["resnet18-unet"], state)
    torch.testing.assert_close(reloaded(lightness), network(lightness), atol=0, rtol=0)


def test_a_fused_network_gives_the_same_output(network):
    lightness = torch.rand(1, 1, 48, 80) * 100
    fused = fuse(copy.deepcopy(network))

    assert isinstance(fused.encoder.bn1, torch.nn.Identity)
    torch.testing.assert_close(fused(lightness), network(lightness), atol=2e-3, rtol=1e-4)
