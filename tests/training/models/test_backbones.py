from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from napari_colorize_training.models import backbones
from napari_colorize_training.models.backbones import (
    MOBILENET,
    FeatureNetwork,
    backbone_of,
    encoder_in,
    feature_network,
    load_encoder,
    published_encoder,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napari_colorize.errors import CheckpointError, DownloadError, SettingsError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.networks.mobilenet import for_gray
from napari_colorize.networks.vision import torchvision_models

NARROW = {"width": 0.05}


def create(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return ARCHITECTURES[name].create(**options)


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if "num_batches" not in key}


def stored(network: nn.Module, path: Path) -> Path:
    """Write a file in half precision without counters, as users share them."""
    state = without_counters(network.state_dict())
    save_file({key: value.half().contiguous() for key, value in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """Return torchvision's ResNet-18 with random statistics in its norms."""
    torch.manual_seed(1)
    network = torchvision_models().resnet18(weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def resnet_file(resnet, tmp_path_factory) -> Path:
    return stored(resnet, tmp_path_factory.mktemp("weights") / "resnet18.safetensors")


def has_weights(encoder: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether all common weights of an encoder and a file are equal."""
    own = encoder.state_dict()
    return all(torch.equal(own[key], state[key].float()) for key in without_counters(own))


@pytest.fixture
def stages_of_file(shared):
    """Return the outputs of timm or torchvision at each stage, for a file of the shared folder."""

    def stages(name: str, x: Tensor) -> list[Tensor]:
        state = {
            key: value.float() for key, value in load_file(shared / "backbones" / name).items()
        }
        if name.startswith("resnet18"):
            net = torchvision_models().resnet18(weights=None)
            net.load_state_dict(state, strict=False)
            net.eval()
            found = [net.relu(net.bn1(net.conv1(x)))]
            x = net.maxpool(found[0])
            found += [x := layer(x) for layer in (net.layer1, net.layer2, net.layer3)]
            return found
        torchvision_models()
        import timm

        net = timm.create_model(
            "mobilenet_edgetpu_100", pad_type="same", bn_eps=1e-3, features_only=True
        )
        net.blocks[0][0].bn1.act = nn.Identity()
        net.load_state_dict(state, strict=False)
        return net.eval()(x)

    return stages


@pytest.mark.parametrize("name", ["deoldify-other", "ipol-other"])
@pytest.mark.parametrize(
    ("encoder", "file", "words"),
    [
        ("resnet18-layer3", "resnet18_to_layer3.safetensors", "resnet18 up to layer3"),
        ("mobilenet_edgetpu", "mobilenet_edgetpu_100.safetensors", MOBILENET),
    ],
)
def test_a_loaded_encoder_has_the_features_of_the_files_network(
    shared, stages_of_file, name, encoder, file, words
):
    network = create(name, encoder=encoder, **NARROW).eval()
    gray = torch.rand(1, 1, 64, 96)
    like_imagenet = ((gray - 0.485) / 0.229).expand(-1, 3, -1, -1)

    description = load_encoder(network, shared / "backbones" / file)

    assert description == words
    net = network.modules_in_order()
    with torch.no_grad():
        # MobileNet's input is one channel in [-1, 1] here, and three at timm; ResNet's is the same.
        wanted = (gray * 2 - 1).expand(-1, 3, -1, -1) if "mobile" in encoder else like_imagenet
        expected = stages_of_file(file, wanted)
        ours = [net.stem(like_imagenet)]
        x = net.pool(ours[0])
        ours += [x := stage(x) for stage in net.down]
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_the_compact_encoder_gets_filters_summed_over_colors(shared):
    path = shared / "backbones/mobilenet_edgetpu_100.safetensors"
    network = create("compact")

    assert load_encoder(network, path) == MOBILENET
    assert has_weights(network.encoder, for_gray(load_file(path)))


def test_the_region_encoder_is_efficientnet_lite0(shared):
    path = shared / "backbones/tf_efficientnet_lite0.safetensors"
    network = create("region")

    assert load_encoder(network, path) == "tf_efficientnet_lite0"
    assert has_weights(network.encoder, for_gray(load_file(path)))
    with pytest.raises(CheckpointError, match="no encoder for this network"):
        encoder_in(path)  # DeOldify's decoders cannot use it


def test_a_one_channel_resnet_gets_filters_summed_over_colors(resnet, resnet_file):
    network = create("resnet18-unet")

    assert load_encoder(network, resnet_file) == "resnet18"

    state = load_file(resnet_file)
    state["conv1.weight"] = state["conv1.weight"].float().sum(1, keepdim=True)
    assert has_weights(network.encoder, state)


def test_published_files_fit_published_networks(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "resnet34.pth"
    published = torchvision_models().resnet34(weights=None)
    torch.save(published.state_dict(), path)
    network = create("deoldify-deep", **NARROW)

    assert load_encoder(network, path) == "resnet34"
    assert has_weights(network.encoder, published.state_dict())


def test_stages_missing_from_a_file_stay_random_and_are_named(shared):
    path = shared / "backbones/resnet18_to_layer3.safetensors"
    network = create("deoldify-other", encoder="resnet18", **NARROW)
    before = network.encoder.state_dict()["layer4.0.conv1.weight"].clone()

    description = load_encoder(network, path)

    assert description == "resnet18 up to layer3, layer4 untrained"
    assert torch.equal(network.encoder.state_dict()["layer4.0.conv1.weight"], before)
    layer3 = {
        key.removeprefix("layer3."): value
        for key, value in load_file(path).items()
        if key.startswith("layer3.")
    }
    assert has_weights(network.encoder["layer3"], layer3)


def test_stages_missing_from_a_network_are_ignored(resnet_file):
    network = create("deoldify-other", encoder="resnet18-layer3", **NARROW)

    assert load_encoder(network, resnet_file) == "resnet18 up to layer3"
    assert has_weights(network.encoder, load_file(resnet_file))


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({"layer2.0.conv1.weight": None}, "another network|resnet18"),
        ({"layer2.2.conv1.weight": torch.zeros(128, 128, 3, 3)}, "holds another network"),
        ({"layer3.0.conv1.weight": torch.zeros(7, 7, 3, 3)}, "holds resnet18"),
        ({"bn1.weight": None, "bn1.bias": None}, "holds resnet18"),
    ],
)
def test_a_file_of_another_network_is_refused_and_nothing_is_changed(
    resnet_file, tmp_path, change, holds
):
    state = load_file(resnet_file) | {key: new for key, new in change.items() if new is not None}
    path = tmp_path / "other.safetensors"
    save_file({key: value for key, value in state.items() if change.get(key, 0) is not None}, path)
    network = create("deoldify-other", encoder="resnet18-layer3", **NARROW)
    before = {key: value.clone() for key, value in network.state_dict().items()}

    with pytest.raises(CheckpointError, match=f"{holds}.*is resnet18 up to layer3.*none"):
        load_encoder(network, path)

    torch.testing.assert_close(dict(network.state_dict()), before)


def test_the_backbone_of_the_metrics_is_no_encoder(shared):
    with pytest.raises(CheckpointError, match="holds another network, .* is mobilenet_edgetpu_100"):
        load_encoder(create("compact"), shared / "backbones/mobilenetv2_100.safetensors")


def test_a_network_without_an_encoder_is_refused(resnet_file):
    with pytest.raises(SettingsError, match="Conv2d has no encoder .* use --encoder none"):
        load_encoder(nn.Conv2d(1, 2, 3), resnet_file)


def test_published_weights_are_read_from_torchs_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _no_way)
    cached = tmp_path / "hub/checkpoints/resnet34-b627a593.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()

    assert published_encoder("resnet34") == cached


def test_published_weights_are_downloaded_with_the_checksum_in_their_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    requests = []

    def download(url: str, path: str, checksum: str, progress: bool) -> None:
        requests.append((url, checksum))
        Path(path).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)

    path = published_encoder("resnet34")

    assert requests == [("https://download.pytorch.org/models/resnet34-b627a593.pth", "b627a593")]
    assert path.is_file()


@pytest.mark.parametrize("name", ["resnet34", "no_such_net"])
def test_unavailable_weights_are_explained_in_one_line(tmp_path, monkeypatch, name):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _no_way)

    with pytest.raises(DownloadError, match=f"{name}.* give --encoder FILE .* --encoder none"):
        published_encoder(name)


def _no_way(*args: object, **options: object) -> None:
    raise URLError("unreachable")


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("resnet18_to_layer3.safetensors", [1, 2, 3]),
        ("mobilenet_edgetpu_100.safetensors", [2, 3, 4]),
    ],
)
def test_feature_maps_agree_with_the_files_network(shared, stages_of_file, name, maps):
    rgb = torch.rand(2, 3, 64, 64)
    mobile = name.startswith("mobile")
    mean = torch.tensor((0.5, 0.5, 0.5) if mobile else (0.485, 0.456, 0.406)).view(3, 1, 1)
    std = torch.tensor((0.5, 0.5, 0.5) if mobile else (0.229, 0.224, 0.225)).view(3, 1, 1)

    network = feature_network(shared / "backbones" / name)

    with torch.no_grad():
        expected = stages_of_file(name, (rgb - mean) / std)
        ours = network(rgb)
    assert [found.shape[-1] for found in ours] == ([8, 4, 2] if mobile else [16, 8, 4])
    for found, index in zip(ours, maps, strict=True):
        torch.testing.assert_close(found, expected[index], rtol=1e-3, atol=1e-4)


def test_vgg_features_are_the_relus_before_the_last_three_poolings():
    torch.manual_seed(0)
    network = feature_network("vgg16_bn", untrained=True)
    features = [part for stage in network.parts for part in stage]
    rgb = torch.rand(1, 3, 64, 64)
    x = (rgb - network.mean) / network.std

    ours = network(rgb)

    # DeOldify: the layers before the max pools, the first two of which are left out.
    assert len(features) == 43
    expected = []
    with torch.no_grad():
        for index, part in enumerate([*features, nn.MaxPool2d(2)]):
            if isinstance(part, nn.MaxPool2d):
                assert isinstance(features[index - 1], nn.ReLU)
                expected.append(x.clone())
            x = part(x)
    torch.testing.assert_close(ours, expected[2:])
    assert [found.shape[1] for found in ours] == [256, 512, 512]


def test_a_vgg_file_is_detected_by_its_keys():
    with torch.device("meta"):
        models = torchvision_models()
        for name in ("vgg11", "vgg16_bn", "resnet50", "resnet152"):
            assert backbone_of(getattr(models, name)().state_dict()) == name
    assert backbone_of({"conv1.weight": torch.zeros(1)}) is None


def test_the_number_of_maps_is_an_option(resnet_file):
    network = feature_network(resnet_file, layers=5)

    shapes = [tuple(found.shape[1:]) for found in network(torch.rand(1, 3, 64, 64))]

    assert shapes[0] == (3, 64, 64)  # before the first convolution: the image itself
    assert shapes[1:] == [(64, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4)]
    with pytest.raises(SettingsError, match="resnet18 has 5 feature maps .* 6 were requested"):
        feature_network(resnet_file, layers=6)


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v2", "squeezenet1_1"])
def test_sequential_torchvision_networks_give_maps_of_decreasing_size(name):
    maps = feature_network(name, untrained=True)(torch.rand(1, 3, 64, 64))

    sides = [found.shape[-1] for found in maps]
    assert len(maps) == 3
    assert sides == sorted(set(sides), reverse=True)


def test_a_feature_network_is_frozen_and_propagates_gradients(resnet_file):
    parent = nn.ModuleDict({"features": feature_network(resnet_file)}).train()
    network = parent["features"]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    rgb = torch.rand(2, 3, 64, 64, requires_grad=True)

    sum(found.mean() for found in network(rgb)).backward()

    assert isinstance(network, FeatureNetwork)
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert rgb.grad.abs().sum() > 0
    torch.testing.assert_close(dict(network.state_dict()), before)


def test_an_incomplete_file_is_refused(resnet_file, tmp_path):
    state = load_file(resnet_file)
    path = tmp_path / "short.safetensors"
    save_file({key: value for key, value in state.items() if key[:6] != "layer3"}, path)

    with pytest.raises(CheckpointError, match="seems to be resnet18, but layer3.0 is missing"):
        feature_network(path)


def test_a_file_without_a_backbone_is_refused(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")

    with pytest.raises(CheckpointError, match="holds no supported feature network"):
        feature_network(tmp_path / "other.safetensors")


def test_unavailable_feature_networks_are_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _no_way)

    with pytest.raises(DownloadError, match="weights of vgg16_bn .* give --features FILE"):
        feature_network("vgg16_bn")


def test_heavy_libraries_are_imported_lazily():
    code = f"import sys, {backbones.__name__}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"requests", "psygnal", "platformdirs", "timm", "torchmetrics", "torchvision"} & set(
        loaded
    )
