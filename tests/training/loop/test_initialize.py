from __future__ import annotations

import pytest
import torch
from napari_colorize_training.data import ImageCache
from napari_colorize_training.loop.content_loss import GeneratorWrapper
from napari_colorize_training.loop.initialize import build_network, class_weights_from
from napari_colorize_training.recipe import NetworkConfig, parse_recipe
from safetensors.torch import save_file
from tiny_training import cached

from napari_colorize.errors import SettingsError
from napari_colorize.networks import ARCHITECTURES, identify


def begun(plan: NetworkConfig, encoder=None):
    return build_network(plan, encoder=encoder, untrained=encoder is None, base=None)


@pytest.mark.parametrize(
    ("target", "architecture"), [("ab", "lab-autoencoder"), ("rgb", "lab-autoencoder-rgb")]
)
def test_the_target_selects_the_output_of_an_autoencoder(target, architecture):
    plan = NetworkConfig(
        architecture="lab-autoencoder", target=target, options={"widths": (8, 8, 8, 8)}
    )

    network, passport, _ = begun(plan)

    assert passport.name == architecture
    assert identify(network.state_dict()).name == architecture


def test_an_architecture_without_an_rgb_variant_is_refused():
    with pytest.raises(SettingsError, match="No architecture is named 'convnet-rgb'"):
        begun(NetworkConfig(architecture="convnet", target="rgb"))


def test_edges_can_be_the_input():
    widths = (8,) * 6
    network, _, _ = begun(
        NetworkConfig(architecture="convnet", input="edges", options={"widths": widths})
    )
    bright, dark = torch.full((2, 1, 64, 64), 0.9), torch.full((2, 1, 64, 64), 0.1)

    assert torch.equal(network.eval()(bright), network(dark))  # neither has an edge


@pytest.mark.parametrize(
    ("architecture", "other"), [("deoldify-deep", "deoldify-other"), ("ipol-uv", "ipol-other")]
)
def test_deoldifys_networks_adapt_to_the_encoder_file(tmp_path, architecture, other):
    small = ARCHITECTURES["resnet18-unet"].create(depth="layer3").encoder.state_dict()
    small["conv1.weight"] = small["conv1.weight"].repeat(1, 3, 1, 1) / 3
    save_file(small, tmp_path / "encoder.safetensors")
    plan = NetworkConfig(architecture=architecture, options={"width": 0.0625})

    network, passport, note = begun(plan, tmp_path / "encoder.safetensors")

    assert passport.name == other
    assert "resnet18 up to layer3" in note
    loaded = network.encoder.state_dict()
    assert torch.equal(loaded["layer3.1.conv2.weight"], small["layer3.1.conv2.weight"])


def test_the_recipe_sets_the_dropout_of_a_base():
    region = ARCHITECTURES["region"]
    plan = NetworkConfig(architecture="region", options={"dropout": 0.15})

    network, _, _ = build_network(
        plan, encoder=None, untrained=False, base=(region.create(), region)
    )

    assert network.dropout.p == 0.15  # files of models do not contain it


def test_a_base_with_another_encoder_of_the_same_family_is_accepted():
    other = ARCHITECTURES["deoldify-other"]
    base = other.create(encoder="resnet18", kind="wide", width=0.0625), other
    stable = NetworkConfig(architecture="deoldify-wide", encoder="resnet101")

    network, architecture, _ = build_network(stable, encoder=None, untrained=False, base=base)

    assert network is base[0] and architecture is other
    for unrelated in ("ipol-uv", "pix2pix"):
        with pytest.raises(SettingsError, match="of the same family"):
            build_network(
                NetworkConfig(architecture=unrelated), encoder=None, untrained=False, base=base
            )


@pytest.mark.parametrize("new", [True, False])
def test_a_new_class_network_begins_with_the_frequencies_of_colors(tmp_path, new):
    images = ImageCache(cached(tmp_path), validation=False)
    recipe = parse_recipe(
        {
            "name": "classes",
            "title": "",
            "source": "",
            "network": {"architecture": "region", "options": {"width": 32, "blocks": 0}},
            "loss": {"pixel": "classes"},
            "stages": [{"side": 32, "batch": 2}],
        }
    )
    network, passport, _ = begun(recipe.network)
    before = network.head.bias.detach().clone()

    weights = class_weights_from(
        recipe, GeneratorWrapper(network, passport, classes=True), images, new=new
    )

    frequency = network.log_frequency.exp()
    assert frequency.sum() == pytest.approx(1, abs=0.01)
    assert weights[frequency.argmax()] < weights[frequency.argmin()]
    torch.testing.assert_close(network.head.bias.detach(), network.log_frequency if new else before)
