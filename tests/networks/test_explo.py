from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.explo import REMOVED_PIXELS, ExploUNet
from napari_colorize.zoo.weights import build


@pytest.fixture(scope="module")
def network() -> ExploUNet:
    torch.manual_seed(0)
    return ExploUNet(width=4).eval().requires_grad_(False)


def test_the_number_of_parameters_equals_that_of_the_slides():
    network = ExploUNet()

    assert sum(weight.numel() for weight in network.parameters()) == 1_406_403


def test_the_bottleneck_is_24_pixels_smaller(network):
    sizes = []
    handle = network.bottleneck.register_forward_hook(
        lambda module, inputs, output: sizes.append(tuple(output.shape[-2:]))
    )

    rgb = network(torch.rand(1, 1, 120, 120))

    handle.remove()
    assert sizes == [(96, 96)]
    assert rgb.shape == (1, 3, 120, 120)


def test_the_forward_pass_is_that_of_the_slides(network):
    """LeakyReLU (0.3) in the encoder, tanh at the bottleneck, ReLU in the decoder."""
    state, gray = network.state_dict(), torch.randn(1, 1, 40, 32)
    x, skips = gray, []
    for block in range(3):
        for layer in (0, 2, 4):
            name = f"contract.{block}.{layer}"
            x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])
            x = torch.where(x < 0, 0.3 * x, x)
        skips.append(x)
    x = F.conv2d(x, state["bottleneck.weight"], state["bottleneck.bias"], padding=1).tanh()
    for block in range(3):
        x = torch.cat([x, skips.pop()], dim=1)
        for layer in (0, 2, 4):
            name = f"expand.{block}.{layer}"
            x = F.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"])
            x = torch.where(x < 0, 0.0, x)

    torch.testing.assert_close(network(gray), x, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (25, 24), (48, 80), (31, 97)])
def test_rgb_has_the_size_of_the_image(network, size):
    rgb = network(torch.rand(2, 1, *size))

    assert rgb.shape == (2, 3, *size)
    assert float(rgb.min()) >= 0


def test_images_smaller_than_the_border_are_padded_by_repeating_it(network):
    gray = torch.rand(1, 1, 16, 40)

    padded = network(F.pad(gray, (0, 0, 0, REMOVED_PIXELS + 1 - 16), mode="replicate"))

    torch.testing.assert_close(network(gray), padded[..., :16, :])


@pytest.mark.parametrize("seed", range(5))
def test_every_channel_of_a_new_network_is_mostly_positive(seed):
    torch.manual_seed(seed)
    network = ExploUNet()

    rgb = network(torch.rand(1, 1, 48, 48))

    assert bool((rgb > 0).float().mean(dim=(0, 2, 3)).gt(0.5).all())


def test_a_network_is_rebuilt_from_its_state_dict(network):
    state = network.state_dict()
    gray = torch.rand(1, 1, 48, 32)

    assert identify(state) is ARCHITECTURES["explo"]
    reloaded = build(ARCHITECTURES["explo"], state)
    torch.testing.assert_close(reloaded(gray), network(gray), atol=0, rtol=0)
