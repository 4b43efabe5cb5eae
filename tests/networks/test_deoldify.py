from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from reference import NETWORKS, empty_network, keys_of, published_keys
from stand_ins import SMALL
from torch import nn

from napari_colorize.networks import (
    ARCHITECTURES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    deoldify,
    identify,
    vision,
)
from napari_colorize.networks.deoldify import DEEP, WIDE, DeOldify, UNet
from napari_colorize.networks.deoldify_specs import config_for, config_of, scale_decoder
from napari_colorize.networks.encoders import ENCODER_CHANNELS
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.layers import IpolSelfAttention, SelfAttention
from napari_colorize.networks.mobilenet import SameConv2d
from napari_colorize.networks.winograd import accelerate_convs
from napari_colorize.zoo.weights import build

ARCHITECTURE = {
    "deep": "deoldify-deep",
    "wide": "deoldify-wide",
    "ipol": "ipol-uv",
    "siggraph17": "zhang-siggraph17",
    "eccv16": "zhang-eccv16",
    "ddcolor-tiny": "ddcolor",
    "ddcolor-large": "ddcolor",
}
# Unpublished variants: name of the architecture and options.
VARIANTS = [
    ("deoldify-deep", {"attention": 0}),
    ("deoldify-deep", {"attention": 2, "spectral": False}),
    ("deoldify-other", {"attention": 2}),
    ("deoldify-other", {"kind": "wide", "spectral": False}),
    ("deoldify-other", {"encoder": "resnet18", "attention": 0}),
    ("deoldify-other", {"encoder": "mobilenet_edgetpu", "spectral": False}),
    ("deoldify-other", {"encoder": "resnet34", "kind": "wide"}),
    ("ipol-other", {"attention": 2}),
    ("ipol-other", {"kind": "deep", "spectral": False}),
    ("ipol-other", {"encoder": "mobilenet_edgetpu", "attention": 0, "spectral": False}),
]
ENCODERS = ("layers.0.", "input_block.", "down_blocks.")
LARGE_VARIANTS = [
    ("deoldify-wide", {"attention": 2}),
    ("deoldify-wide", {"spectral": False}),
    ("ipol-uv", {"attention": 0}),
    ("ipol-uv", {"attention": 2, "spectral": False, "width": 0.5}),
]


def randomize(network: nn.Module) -> nn.Module:
    """Set the norms and attention of a new network to values as after training."""
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


def create(name: str, **options: object) -> UNet:
    """Create a variant with few channels whose features stay bounded."""
    torch.manual_seed(0)
    network = randomize(ARCHITECTURES[name].create(**{"width": 0.1} | options))
    for key, parameter in network.named_parameters():
        if key.endswith(".weight") and parameter.ndim > 2 and not key.startswith(ENCODERS):
            matrix = parameter.data.flatten(
                1
            )  # estimate of the largest singular value of a random matrix
            parameter.data /= matrix.std() * sum(side**0.5 for side in matrix.shape)
    return network


@pytest.fixture(scope="module")
def small() -> UNet:
    torch.manual_seed(0)
    return randomize(DeOldify(SMALL))


@pytest.mark.parametrize("name", NETWORKS)
def test_state_dict_entries_equal_the_published_ones(name):
    assert keys_of(empty_network(name)) == published_keys(name)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_architecture_is_detected_from_the_keys_and_builds_the_same_network(name):
    state = empty_network(name).state_dict()

    architecture = identify(state)

    assert architecture is ARCHITECTURES[ARCHITECTURE[name]]
    with torch.device("meta"):
        assert keys_of(architecture.build(state)) == keys_of(empty_network(name))


def test_the_configuration_is_read_from_the_shapes(small):
    assert identify(small.state_dict()) is ARCHITECTURES["deoldify-deep"]
    assert config_of(small.state_dict()) == SMALL


@pytest.mark.parametrize("keys", [[], ["layers.4.conv1.0.weight_orig"], ["dense.conv.weight"]])
def test_other_files_belong_to_no_architecture(keys):
    assert identify({key: torch.zeros(2, 2) for key in keys}) is None


@pytest.mark.parametrize("size", [(2, 2), (16, 16), (34, 50), (80, 96)])
def test_outputs_for_even_sizes_are_rgb_within_3(small, size):
    x = torch.randn(2, 3, *size)

    with torch.no_grad():
        rgb = small(x)

    assert rgb.shape == x.shape
    assert rgb.abs().max() <= 3


def test_self_attention_changes_the_output_and_can_be_disabled(small):
    x = torch.randn(1, 3, 48, 64)
    attention = small.layers["5"].get_submodule("conv2.3")

    with torch.no_grad():
        on, off = small(x), small(x, self_attention=False)
        nn.init.zeros_(attention.gamma)
        without_gradient = small(x)
        nn.init.constant_(attention.gamma, 0.7)

    torch.testing.assert_close(off, without_gradient)
    assert not torch.allclose(on, off, atol=1e-4)


def test_every_parameter_of_a_new_network_has_a_gradient():
    torch.manual_seed(0)
    network = DeOldify(SMALL)
    nn.init.constant_(network.get_parameter("layers.5.conv2.3.gamma"), 0.1)

    network(torch.randn(2, 3, 64, 64)).square().mean().backward()

    without_gradient = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]
    assert without_gradient == []


def test_ipol_preserves_the_luminance_of_its_input():
    network = create("ipol-other")
    x = torch.randn(1, 3, 32, 32)
    luminance = torch.tensor([0.299, 0.587, 0.114])

    with torch.no_grad():
        rgb, uv = network(x), network.chrominance(x)

    y, y_after = (torch.einsum("c,nchw->nhw", luminance, image) for image in (x, rgb))
    torch.testing.assert_close(y_after, y, rtol=1e-4, atol=1e-4)
    u = 0.492 * (rgb[:, 2] - y)  # Rec. 601: U is B - Y, V is R - Y, each times a constant
    torch.testing.assert_close(uv[:, 0], u, rtol=2e-3, atol=2e-3)


def test_a_fused_network_gives_the_same_output(small):
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


def test_fusing_keeps_only_norms_without_an_adjacent_convolution(small):
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


def test_a_network_in_bfloat16_has_float32_input_and_output(small):
    x = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        expected = small(x)
    with torch.device("meta"):
        network = DeOldify(SMALL)
    network.load_state_dict(small.state_dict(), assign=True)

    low = fuse(network).to(torch.bfloat16, memory_format=torch.channels_last)(x)

    assert low.dtype == torch.float32
    assert (low - expected).square().mean().sqrt() < 0.02


def test_importing_networks_imports_neither_torch_nor_torchvision():
    code = "import sys, napari_colorize.networks; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"torch", "torchvision"} & set(loaded)


def test_other_import_errors_of_torchvision_are_raised(monkeypatch):
    def fail(name: str) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(vision, "import_module", fail)
    with pytest.raises(RuntimeError, match="something else"):
        vision.resnet_stages("resnet34")


@pytest.mark.parametrize(
    ("encoder", "kind", "published"),
    [
        ("resnet34", "deep", DEEP),
        ("resnet101", "wide", WIDE),
    ],
)
def test_the_rule_for_other_encoders_gives_the_published_configurations(encoder, kind, published):
    assert config_for(encoder, kind) == published


def test_a_scaled_decoder_has_multiples_of_16_channels_and_the_same_encoder():
    half = scale_decoder(WIDE, 0.5)

    assert half.block_channels == half.upsample_channels == (256, 256, 256, 128)
    assert half.encoder_channels == WIDE.encoder_channels
    assert scale_decoder(DEEP, 1.0) is DEEP
    assert {channels % 16 for channels in scale_decoder(DEEP, 0.3).block_channels} == {0}


@pytest.mark.parametrize(("name", "options"), VARIANTS + LARGE_VARIANTS)
def test_a_variant_is_detected_from_its_keys_and_rebuilt(name, options):
    with torch.device("meta"):
        network = ARCHITECTURES[name].create(**{"width": 0.1} | options)
    state = network.state_dict()

    architecture = identify(state)

    assert architecture is ARCHITECTURES[name]
    assert [
        architecture.name for architecture in ARCHITECTURES.values() if architecture.matches(state)
    ] == [name]
    with torch.device("meta"):
        assert keys_of(architecture.build(state)) == keys_of(network)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_a_fused_and_accelerated_variant_gives_the_same_output(name, options, monkeypatch):
    network = create(name, **options)
    x = torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        expected = network(x), network(x, self_attention=False)
    monkeypatch.setattr(deoldify, "ROW_BLOCK_BYTES", 1)

    fused = fuse(build(ARCHITECTURES[name], network.state_dict()))
    accelerate_convs(fused.to(memory_format=torch.channels_last))

    assert expected[0].shape == x.shape
    outputs = fused(x), fused(x, self_attention=False)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_self_attention_layers_are_at_the_configured_sizes(name, options):
    network = create(name, **options)
    x = torch.randn(1, 3, 64, 96)
    sizes = []
    for part in network.modules():
        if isinstance(part, SelfAttention | IpolSelfAttention):
            part.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[2:]))

    with torch.no_grad():
        on, off = network(x), network(x, self_attention=False)

    layers = options.get("attention", 1)
    assert sizes == [(8, 12), (16, 24)][:layers] * 2  # at 1/8 of the size, then at 1/4
    assert torch.equal(on, off) == (layers == 0)
    assert network.has_self_attention == (layers > 0)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_spectral_norm_is_optional(name, options):
    keys = ARCHITECTURES[name].create(**{"width": 0.1} | options).state_dict()

    assert any(key.endswith("weight_orig") for key in keys) == options.get("spectral", True)


@pytest.mark.parametrize("encoder", ENCODER_CHANNELS)
def test_layer_groups_equal_those_of_fastai_and_contain_every_parameter_once(encoder):
    with torch.device("meta"):
        network = ARCHITECTURES["deoldify-other"].create(encoder=encoder, kind="deep", width=0.1)

    *encoding, decoder = [
        [parameter for part in group for parameter in part.parameters()]
        for group in network.layer_groups()
    ]

    ids = [id(parameter) for group in (*encoding, decoder) for parameter in group]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in network.parameters()}
    assert {id(parameter) for parameter in network.encoder_parameters()} == {
        id(parameter) for group in encoding for parameter in group
    }
    # fastai splits DeOldify's layers at `layers[0][6]` and at `layers[1]`.
    body = network.layers["0"]
    first = [id(parameter) for part in body[:6] for parameter in part.parameters()]
    assert sorted(first) == sorted(id(parameter) for parameter in encoding[0])


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_every_parameter_has_a_gradient_without_spectral_norm(mode):
    network = create("ipol-other", spectral=False, attention=2).requires_grad_(True)
    getattr(network, mode)()

    network(torch.randn(2, 3, 64, 64)).square().mean().backward()

    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()
        for parameter in network.parameters()
    )


def test_mobilenet_gets_gray_in_its_own_range():
    network = create("deoldify-other", encoder="mobilenet_edgetpu")
    gray = torch.rand(1, 1, 32, 48)
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    x = (gray - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    stem = network.encoder["conv_stem"]
    plain = SameConv2d(1, 32, 3, 2, bias=False)
    plain.load_state_dict(stem.state_dict())

    torch.testing.assert_close(stem(x), plain(gray * 2 - 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": 3}, "0, 1 or 2 self-attention layers, got 3"),
        ({"encoder": "resnet9"}, "resnet9.*use deep or wide, on one of resnet18, "),
        ({"kind": "tall"}, "tall.*use deep or wide"),
        ({"width": 0}, "above 0 and at most 4, got 0"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        ARCHITECTURES["deoldify-other"].create(**options)


def test_the_ipol_network_with_an_rgb_head_is_not_detected():
    state = create("ipol-other").state_dict()
    rgb = {"dense.conv.weight_orig": torch.zeros(3, *state["dense.conv.weight_orig"].shape[1:])}

    assert identify(state | rgb) is None
