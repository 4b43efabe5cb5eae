from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from reference import NETWORKS, empty_network, keys_of, published_keys
from stand_ins import SMALL
from torch import nn

from napari_colorize.networks import ARCHITECTURES, identify, vision
from napari_colorize.networks.deoldify import DeOldify, IpolUNet, UNet, widths_of
from napari_colorize.networks.fuse import fuse

ARCHITECTURE = {"deep": "deoldify-deep", "wide": "deoldify-wide", "ipol": "ipol-uv"}


def randomize(network: nn.Module) -> nn.Module:
    """A new network as training would leave it: norms with statistics, attention with a say."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, low in [("weight", 0.8), ("bias", -0.2), ("running_mean", -0.2)]:
                values = torch.rand(len(module.weight), generator=generator) * 0.4 + low
                getattr(module, name).data.copy_(values)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.7)
    return network.eval()


@pytest.fixture(scope="module")
def small() -> UNet:
    torch.manual_seed(0)
    return randomize(DeOldify(SMALL))


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_shapes_dtypes_and_order_are_the_published_ones(name):
    assert keys_of(empty_network(name)) == published_keys(name)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_architecture_is_told_from_the_keys_and_builds_the_same_network(name):
    state = empty_network(name).state_dict()

    architecture = identify(state)

    assert architecture is ARCHITECTURES[ARCHITECTURE[name]]
    with torch.device("meta"):
        assert keys_of(architecture.build(state)) == keys_of(empty_network(name))


def test_widths_are_read_off_the_shapes(small):
    assert identify(small.state_dict()) is ARCHITECTURES["deoldify-deep"]
    assert widths_of(small.state_dict()) == SMALL


@pytest.mark.parametrize("keys", [[], ["layers.4.conv1.0.weight_orig"], ["dense.conv.weight"]])
def test_other_files_belong_to_no_architecture(keys):
    assert identify({key: torch.zeros(2, 2) for key in keys}) is None


@pytest.mark.parametrize("size", [(2, 2), (16, 16), (34, 50), (80, 96)])
def test_any_even_size_comes_back_as_rgb_within_three(small, size):
    x = torch.randn(2, 3, *size)

    with torch.no_grad():
        rgb = small(x)

    assert rgb.shape == x.shape
    assert rgb.abs().max() <= 3


def test_attention_matters_until_it_is_turned_off(small):
    x = torch.randn(1, 3, 48, 64)
    attention = small.layers["5"].get_submodule("conv2.3")

    with torch.no_grad():
        on, off = small(x), small(x, self_attention=False)
        nn.init.zeros_(attention.gamma)
        silent = small(x)
        nn.init.constant_(attention.gamma, 0.7)

    torch.testing.assert_close(off, silent)
    assert not torch.allclose(on, off, atol=1e-4)


def test_a_new_network_can_be_trained_in_every_part():
    torch.manual_seed(0)
    network = DeOldify(SMALL)
    nn.init.constant_(network.get_parameter("layers.5.conv2.3.gamma"), 0.1)

    network(torch.randn(2, 3, 64, 64)).square().mean().backward()

    silent = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]
    assert silent == []


def test_ipol_keeps_the_luminance_of_its_input():
    torch.manual_seed(0)
    network = randomize(IpolUNet())
    x = torch.randn(1, 3, 32, 32)
    luminance = torch.tensor([0.299, 0.587, 0.114])

    with torch.no_grad():
        rgb, uv = network(x), network.chrominance(x)

    y, y_after = (torch.einsum("c,nchw->nhw", luminance, image) for image in (x, rgb))
    torch.testing.assert_close(y_after, y, rtol=1e-4, atol=1e-4)
    u = 0.492 * (rgb[:, 2] - y)  # Rec. 601: U is B - Y, V is R - Y, each times a constant
    torch.testing.assert_close(uv[:, 0], u, rtol=2e-3, atol=2e-3)


def test_a_fused_network_is_the_same_network(small):
    x = torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        expected = [small(x), small(x, self_attention=False)]
    with torch.device("meta"):
        fused = DeOldify(SMALL)
    fused.load_state_dict(small.state_dict(), assign=True)

    fused = fuse(fuse(fused).to(memory_format=torch.channels_last))

    torch.testing.assert_close([fused(x), fused(x, self_attention=False)], expected)
    assert not fused.training
    assert not any(parameter.requires_grad for parameter in fused.parameters())


def test_fusing_leaves_only_the_norms_that_have_no_convolution_to_go_to(small):
    with torch.device("meta"):
        network = DeOldify(SMALL)
    network.load_state_dict(small.state_dict(), assign=True)

    fuse(network)

    left = [name for name, part in network.named_modules() if isinstance(part, nn.BatchNorm2d)]
    before_3x3 = ["layers.3.0.2", *(f"layers.{step}.conv1.2" for step in (4, 5, 6, 7))]
    before_attention = ["layers.5.conv2.2"]
    before_relu = ["layers.1", *(f"layers.{step}.bn" for step in (4, 5, 6, 7))]
    assert sorted(left) == sorted(before_3x3 + before_attention + before_relu)
    assert not any("weight_" in name for name in network.state_dict())


def test_a_network_in_bfloat16_takes_and_gives_float32(small):
    x = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        expected = small(x)
    with torch.device("meta"):
        network = DeOldify(SMALL)
    network.load_state_dict(small.state_dict(), assign=True)

    low = fuse(network).to(torch.bfloat16, memory_format=torch.channels_last)(x)

    assert low.dtype == torch.float32
    assert (low - expected).square().mean().sqrt() < 0.02


def test_torchvision_is_not_imported_before_a_resnet_is_wanted():
    code = "import sys, napari_colorize.networks; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"torch", "torchvision"} & set(loaded)


def test_a_failure_of_torchvision_that_we_cannot_cure_is_passed_on(monkeypatch):
    def fail(name: str) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(vision, "import_module", fail)
    with pytest.raises(RuntimeError, match="something else"):
        vision.resnet_stages("resnet34")
