from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.pix2pix import Pix2PixUNet
from napari_colorize.zoo.weights import build

PIX2PIX = ARCHITECTURES["pix2pix"]


@pytest.fixture(scope="module")
def small() -> Pix2PixUNet:
    """Network of four steps with values as after training."""
    torch.manual_seed(0)
    network = Pix2PixUNet(downs=4, width=8).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.2, 0.2)
        elif isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, std=0.1)
    return network.requires_grad_(False)


def recursive_unet(network: Pix2PixUNet, lightness: torch.Tensor) -> torch.Tensor:
    """Independent recursive implementation: each level contains the next one."""
    downs, ups = network.contracting, [*network.expanding, network.head]

    def level(x: torch.Tensor, depth: int) -> torch.Tensor:
        down, up = downs[depth], ups[-1 - depth]
        y = F.conv2d(x if depth == 0 else F.leaky_relu(x, 0.2), down.conv.weight, None, 2, 1)
        y = down.norm(y)
        if depth < len(downs) - 1:
            y = torch.cat([level(y, depth + 1), y], dim=1)
        if depth == 0:
            return F.conv_transpose2d(F.relu(y), up.weight, up.bias, 2, 1)
        return up.norm(F.conv_transpose2d(F.relu(y), up.conv.weight, None, 2, 1))

    return 110 * torch.tanh(level(lightness / 50 - 1, 0))


def test_the_number_of_parameters_equals_the_published_one():
    with torch.device("meta"):
        network = Pix2PixUNet()

    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(
        54.41, abs=0.005
    )


def test_the_output_equals_that_of_a_recursive_implementation(small):
    lightness = torch.rand(2, 1, 48, 64) * 100

    ab = small(lightness)

    torch.testing.assert_close(ab, recursive_unet(small, lightness), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 48), (33, 131)])
def test_ab_has_the_size_of_the_image_and_is_within_110(small, size):
    ab = small(torch.rand(2, 1, *size) * 100)

    assert ab.shape == (2, 2, *size)
    assert 0 < ab.abs().max() <= 110


def test_eight_steps_work_on_sixteen_pixels():
    network = Pix2PixUNet(downs=8, width=4).eval()

    assert network(torch.rand(1, 1, 16, 16) * 100).shape == (1, 2, 16, 16)


@pytest.mark.parametrize(("downs", "dropout_steps"), [(5, 1), (6, 2), (7, 3), (8, 3)])
def test_the_coarsest_decoder_steps_have_dropout_and_the_bottleneck_no_norm(downs, dropout_steps):
    with torch.device("meta"):
        network = Pix2PixUNet(downs=downs)

    shares = [up.dropout.p for up in network.expanding]
    assert shares == [0.5] * dropout_steps + [0.0] * (downs - 1 - dropout_steps)
    norms = [isinstance(down.norm, nn.BatchNorm2d) for down in network.contracting]
    assert norms == [False, *[True] * (downs - 2), False]


def test_dropout_is_active_in_training_only():
    network = Pix2PixUNet(downs=5, width=4)
    lightness = torch.rand(2, 1, 64, 64) * 100

    assert not torch.equal(network(lightness), network(lightness))
    network.eval()
    assert torch.equal(network(lightness), network(lightness))


def test_training_on_one_image_with_a_one_pixel_bottleneck_works():
    network = Pix2PixUNet(downs=5, width=4)

    network(torch.rand(1, 1, 32, 32) * 100).square().mean().backward()

    assert all(weight.grad is not None for weight in network.parameters())
    assert network.contracting[0].conv.weight.grad.abs().max() > 0


def test_initial_weights_are_those_of_the_program():
    torch.manual_seed(0)
    network = Pix2PixUNet(downs=5, width=16).requires_grad_(False)

    convs = torch.cat(
        [w.flatten() for name, w in network.named_parameters() if name.endswith("conv.weight")]
    )
    norms = torch.cat(
        [w.flatten() for name, w in network.named_parameters() if name.endswith("norm.weight")]
    )
    assert convs.std() == pytest.approx(0.02, rel=0.02) and abs(convs.mean()) < 1e-3
    assert norms.std() == pytest.approx(0.02, rel=0.2) and abs(norms.mean() - 1) < 5e-3
    assert not network.head.bias.any()


@pytest.mark.parametrize(("downs", "width"), [(3, 4), (5, 8), (7, 2)])
def test_steps_and_width_are_read_from_the_keys(downs, width):
    network = Pix2PixUNet(downs=downs, width=width).eval()
    state = network.state_dict()
    lightness = torch.rand(1, 1, 40, 24) * 100

    assert identify(state) is PIX2PIX
    assert torch.equal(build(PIX2PIX, state)(lightness), network(lightness))


def test_a_fused_network_gives_the_same_output(small):
    lightness = torch.rand(1, 1, 50, 70) * 100

    fused = fuse(copy.deepcopy(small))

    assert not any(isinstance(part, nn.BatchNorm2d) for part in fused.contracting.modules())
    torch.testing.assert_close(fused(lightness), small(lightness), atol=1e-3, rtol=0)
