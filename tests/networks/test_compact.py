from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from napari_colorize.networks import ARCHITECTURES, identify
from napari_colorize.networks.compact import CLASS_GRID, CompactUNet, build_compact
from napari_colorize.networks.fuse import fuse
from napari_colorize.networks.mobilenet import MobileNetEdgeTPU, for_gray
from napari_colorize.networks.vision import torchvision_models

# Mean and standard deviation of timm's feature maps at strides 4, 8, 16 and 32, with the pretrained
# weights and the image below; timm 1.0.31, loaded as described with the weights.
TIMM_STATISTICS = [
    (-0.38947, 14.67652),
    (-0.53432, 14.64102),
    (0.82697, 10.5384),
    (-0.01806, 4.39536),
]


@pytest.fixture(scope="module")
def network() -> CompactUNet:
    """Untrained network whose norms and attention have other values than a new one."""
    torch.manual_seed(0)
    network = CompactUNet(temperature=0.7).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    torch.nn.init.constant_(network.ups[1].attention.gamma, 0.7)
    return network.requires_grad_(False)


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (96, 64), (16, 208)])
def test_chroma_has_a_quarter_of_the_input_size(network, size):
    uv = network(torch.rand(2, 1, *size))

    assert uv.shape == (2, 2, size[0] // 4, size[1] // 4)


def test_a_fused_network_gives_the_same_output(network):
    gray = torch.rand(1, 1, 80, 112)
    fused = fuse(copy.deepcopy(network))

    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused.encoder.modules())
    for self_attention in (True, False):
        expected = network(gray, self_attention)
        torch.testing.assert_close(fused(gray, self_attention), expected, atol=2e-5, rtol=0)


def test_self_attention_can_be_disabled(network):
    gray = torch.rand(1, 1, 64, 64)

    assert not torch.allclose(network(gray), network(gray, self_attention=False))


def test_a_low_temperature_selects_one_class_and_a_high_one_averages():
    logits = torch.zeros(1, CLASS_GRID.count, 1, 1)
    logits[0, 30] = 2.0
    named = CompactUNet(temperature=0.01).expected(logits).flatten()
    averaged = CompactUNet(temperature=1000.0).expected(logits).flatten()

    torch.testing.assert_close(named, CLASS_GRID.centers()[30])
    torch.testing.assert_close(averaged, torch.zeros(2), atol=1e-2, rtol=0)


def test_vividness_is_a_factor_on_the_mean():
    logits = torch.randn(1, CLASS_GRID.count, 2, 3)

    vivid = CompactUNet(vividness=1.5).expected(logits)

    torch.testing.assert_close(vivid, 1.5 * CompactUNet().expected(logits))


def test_commonness_shifts_uncertain_pixels_to_common_or_rare_colors():
    logits = torch.zeros(1, CLASS_GRID.count, 1, 1)
    distances = []
    for commonness in (1.0, 0.0, -1.0):
        network = CompactUNet(temperature=0.1, commonness=commonness)
        network.log_frequency.fill_(-2.0)
        network.log_frequency[40] = 0.0
        distances.append((network.expected(logits).flatten() - CLASS_GRID.centers()[40]).norm())

    assert distances[0] < 1e-3 < distances[1] < distances[2]


def test_the_architecture_is_detected_from_the_keys(network):
    assert identify(network.state_dict()) is ARCHITECTURES["compact"]


def test_the_encoder_equals_that_of_timm(shared):
    weights = load_file(shared / "backbones" / "mobilenet_edgetpu_100.safetensors")
    encoder = MobileNetEdgeTPU().eval()
    missing, unexpected = encoder.load_state_dict(for_gray(weights), strict=False)

    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    row = torch.arange(96) / 95
    gray = (row[:, None] * row * 3 % 1).view(1, 1, 96, 96) * 2 - 1
    with torch.inference_mode():
        for feature, (mean, deviation) in zip(encoder(gray), TIMM_STATISTICS, strict=True):
            assert float(feature.mean()) == pytest.approx(mean, abs=1e-4)
            assert float(feature.std()) == pytest.approx(deviation, abs=1e-4)


def test_building_the_network_imports_neither_torchvision_nor_timm():
    code = (
        "import sys, torch\n"
        "from napari_colorize.networks.compact import CompactUNet\n"
        "CompactUNet()\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    assert not {"torchvision", "timm"} & set(loaded)


def test_options_are_read_from_the_shapes():
    options = {
        "names_objects": True,
        "commonness": 0.0,
        "upsampled": (16, 24, 8),
        "widths": (32, 20, 12),
    }
    network = CompactUNet(**options, calibration=5)

    rebuilt = build_compact(network.state_dict())

    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert {key: value.shape for key, value in rebuilt.state_dict().items()} == shapes
    assert build_compact(CompactUNet().state_dict()).encoder.conv_head is None


def test_sampled_logits_equal_those_of_the_whole_image(network):
    gray = torch.rand(1, 1, 64, 96)

    sampled = network.logits(gray, sample=(2, 1, 0))

    torch.testing.assert_close(sampled, network.logits(gray)[..., 1::2, ::2], atol=1e-5, rtol=1e-5)


def test_a_fused_network_with_classifier_features_gives_the_same_output():
    torch.manual_seed(0)
    network = CompactUNet(names_objects=True).eval().requires_grad_(False)
    torch.nn.init.uniform_(network.encoder.bn2.running_mean, -0.3, 0.3)
    torch.nn.init.uniform_(network.encoder.bn2.running_var, 0.5, 2.0)
    gray = torch.rand(1, 1, 48, 80)

    fused = fuse(copy.deepcopy(network))

    torch.testing.assert_close(fused(gray), network(gray), atol=2e-5, rtol=1e-4)


def test_every_parameter_is_in_one_layer_group():
    network = CompactUNet(names_objects=True)

    grouped = [
        item for group in network.layer_groups() for part in group for item in part.parameters()
    ]

    assert len(grouped) == len({id(item) for item in grouped}) == len(list(network.parameters()))


def test_classifier_features_equal_those_of_timm(shared):
    torchvision_models()  # timm imports torchvision, which needs the workaround
    import timm

    weights = load_file(shared / "backbones" / "mobilenet_edgetpu_100.safetensors")
    net = timm.create_model("mobilenet_edgetpu_100", pad_type="same", bn_eps=1e-3).eval()
    net.blocks[0][0].bn1.act = torch.nn.Identity()
    net.load_state_dict({key: value.float() for key, value in weights.items()}, strict=False)
    encoder = MobileNetEdgeTPU(names_objects=True).eval()
    encoder_weights = {
        key: value for key, value in weights.items() if not key.startswith("classifier")
    }
    encoder_weights["conv_stem.weight"] = (
        encoder_weights["conv_stem.weight"].float().sum(1, keepdim=True)
    )
    encoder.load_state_dict(
        {key: value.float() for key, value in encoder_weights.items()}, strict=False
    )
    gray = torch.rand(1, 1, 96, 96) * 2 - 1

    with torch.inference_mode():
        expected = net.forward_features(gray.expand(-1, 3, -1, -1))
        ours = encoder(gray)[-1]

    torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)
