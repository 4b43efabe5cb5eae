"""Pretrained networks: encoder weights, and feature networks for losses and critics.

`load_encoder` loads a file's weights into a network's encoder, and `published_encoder` downloads
the file that torchvision publishes. `feature_network` makes the phi of the feature loss from such a
file. The network in a file is detected from its state-dict keys, in torchvision's or timm's names.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from napari_colorize.errors import CheckpointError, DownloadError, SettingsError
from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD
from napari_colorize.networks.mobilenet import MobileNetEdgeTPU, SameConv2d
from napari_colorize.networks.vision import torchvision_models
from napari_colorize.zoo.weights import read_weights

logger = logging.getLogger(__name__)

MOBILENET = "mobilenet_edgetpu_100"  # timm's names
EFFICIENTNET = "tf_efficientnet_lite0"
MOBILENET_MEAN = MOBILENET_STD = (0.5, 0.5, 0.5)
# Whether blocks are bottlenecks, and number of blocks in each stage (He et al. 2016, table 1).
RESNETS = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
    "resnet152": (True, (3, 8, 36, 3)),
}
# Dense layers of a VGG, which are counted in its name besides the convolutions.
VGG_CLASSIFIER = 3
MIN_STAGES = 3  # first convolution, its norm, and one stage
PROBE_SIDE = 64  # px, of an image with which downsampling layers are found
HALF = 0.6  # slightly more than 0.5, because sizes are rounded up

Option = Literal["--encoder", "--features"]
Trunk = Sequence[tuple[str, nn.Module]]


def load_encoder(network: nn.Module, path: Path) -> str:
    """Load a file's weights into a network's encoder, in place; returns a description of them.

    The encoder has torchvision's or timm's parameter names. Stages at the end that the file lacks
    keep their random weights. Classifiers, and stages that the encoder lacks, are ignored. The
    first filters are summed over R, G and B if the encoder has one input channel.

    Raises
    ------
    SettingsError
        If the network has no encoder.
    CheckpointError
        If the file cannot be read, or holds another network.
    """
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise SettingsError(
            f"{type(network).__name__} has no encoder to load weights into: use --encoder none."
        )
    given = _without_counters(read_weights(path).state)
    wanted = _without_counters(encoder.state_dict())
    fitted = {key: _fit(given[key], like) for key, like in wanted.items() if key in given}
    loaded, left = _matching_stages(wanted, given, fitted)
    if len(loaded) < MIN_STAGES:
        raise CheckpointError(
            f"{path} holds {backbone_of(given) or 'another network'}, but this network's encoder "
            f"is {_describe(wanted)}: give a file of that network, or --encoder none."
        )
    encoder.load_state_dict({key: fitted[key] for key in fitted if _stage(key) in loaded}, False)
    return _describe(wanted, loaded) + (f", {' and '.join(left)} untrained" if left else "")


def _without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state without the unused counters of batch norms, which some files lack."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _stage(key: str) -> str:
    """Return the stage of a parameter, the unit of loading: `layer2`, `blocks.3`, `bn1`."""
    found = re.match(r"blocks\.\d+|[^.]+", key)
    assert found is not None
    return found[0]


def _fit(weight: Tensor, like: Tensor) -> Tensor:
    """Sum filters for R, G and B to filters for gray if `like` has one input channel."""
    sums = weight.ndim == 4 and like.ndim == 4 and weight.shape[1] == 3 and like.shape[1] == 1
    return weight.float().sum(1, keepdim=True) if sums else weight


def _matching_stages(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], fitted: Mapping[str, Tensor]
) -> tuple[list[str], list[str]]:
    """Return the stages to load, and the stages after them that the file lacks.

    Nothing is loaded if a stage has other shapes, or is missing before one that exists.
    """
    stages = list(dict.fromkeys(map(_stage, wanted)))
    loaded: list[str] = []
    for stage in stages:
        ours = {key: like.shape for key, like in wanted.items() if _stage(key) == stage}
        theirs = {
            key: fitted[key].shape if key in fitted else value.shape
            for key, value in given.items()
            if _stage(key) == stage
        }
        if theirs and (theirs != ours or len(loaded) < stages.index(stage)):
            return [], stages
        if theirs:
            loaded.append(stage)
    return loaded, stages[len(loaded) :]


def _describe(state: Mapping[str, Tensor], loaded: Sequence[str] = ()) -> str:
    """Return the name of an encoder, and the last stage that it has or that was loaded."""
    name = backbone_of(state)
    last = loaded[-1] if loaded else _stage(list(state)[-1])
    if name in RESNETS and last != "layer4":
        return f"{name} up to {last}"
    return name or "an encoder for which no file is published"


def backbone_of(state: Mapping[str, Tensor]) -> str | None:
    """Detect the network of a state dict; torchvision's or timm's name, or None if unknown.

    A ResNet may lack its last stages. MobileNet EdgeTPU and EfficientNet-Lite are supported in one
    size.
    """
    if {"conv_stem.weight", "blocks.1.0.conv_exp.weight"} <= state.keys():
        return MOBILENET
    if _is_efficientnet(state):
        return EFFICIENTNET
    if {"conv1.weight", "layer1.0.conv1.weight"} <= state.keys():
        return _resnet_of(state)
    if "features.0.weight" in state:
        return _vgg_of(state)
    return None


def encoder_in(path: Path) -> str:
    """Return the encoder in a file by the name in DeOldify's networks: "resnet18-layer3".

    Raises
    ------
    CheckpointError
        If the file holds no known encoder.
    """
    state = read_weights(path).state
    name = backbone_of(state)
    if name is None or name == EFFICIENTNET:
        raise CheckpointError(
            f"{path} holds no encoder for this network: give torchvision's weights of a ResNet, "
            f"timm's {MOBILENET}, or --encoder none."
        )
    if name == MOBILENET:
        return "mobilenet_edgetpu"
    ends_early = name in RESNETS and not any(key.startswith("layer4.") for key in state)
    return f"{name}-layer3" if ends_early else name


def _is_efficientnet(state: Mapping[str, Tensor]) -> bool:
    """Whether it is EfficientNet-Lite0: 5x5 kernels in the third stage, no squeeze-and-excitation.

    MobileNetV2 has the same keys and 3x3 kernels only.
    """
    kernel = state.get("blocks.2.0.conv_dw.weight")
    return (
        kernel is not None
        and kernel.shape[-1] == 5
        and "blocks.3.2.conv_pwl.weight" in state
        and "blocks.3.3.conv_pwl.weight" not in state
        and not any(".se." in key for key in state)
    )


def _resnet_of(state: Mapping[str, Tensor]) -> str | None:
    blocks = [0, 0, 0, 0]
    for key in state:
        found = re.fullmatch(r"layer([1-4])\.\d+\.conv1\.weight", key)
        if found:
            blocks[int(found[1]) - 1] += 1
    present = tuple(number for number in blocks if number)
    bottleneck = "layer1.0.conv3.weight" in state
    return next(
        (
            name
            for name, (kind, usual) in RESNETS.items()
            if kind == bottleneck and usual[: len(present)] == present
        ),
        None,
    )


def _vgg_of(state: Mapping[str, Tensor]) -> str | None:
    convs = [key for key, value in state.items() if key.startswith("features.") and value.ndim == 4]
    norm = "_bn" if "features.1.running_mean" in state else ""
    depth = len(convs) + VGG_CLASSIFIER
    return f"vgg{depth}{norm}" if depth in (11, 13, 16, 19) else None


def published_encoder(name: str, *, option: Option = "--encoder") -> Path:
    """Return the file that torchvision publishes for a network; download it if necessary.

    If there are several, it is the first, which the published systems started from. `option` is the
    option with which users pass a file instead, for the error message. Raises `DownloadError` if
    there is none, or it cannot be downloaded.
    """
    remedy = f"give {option} FILE with weights of your own"
    if option == "--encoder":
        remedy += ", or --encoder none"
    models = torchvision_models()
    if name not in models.list_models():
        raise DownloadError(f"torchvision publishes no weights for {name!r}: {remedy}.")
    url = next(iter(models.get_model_weights(name))).url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if not path.is_file():
        _download(
            url,
            path,
            f"The weights of {name} are not in torch's cache and could not be "
            f"downloaded from {urlsplit(url).hostname}: {remedy}.",
        )
    return path


def _download(url: str, path: Path, failed: str) -> None:
    """Download a file; torch checks the part of its sha256 that is in its name."""
    logger.info("Downloading %s to %s.", url, path)
    checksum = re.search(r"-([0-9a-f]+)\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), checksum and checksum[1], progress=True)
    except (OSError, RuntimeError) as error:  # no connection; wrong checksum
        raise DownloadError(failed) from error


class FeatureNetwork(nn.Module):
    """Frozen network from RGB `(N, 3, H, W)` in [0, 1] to feature maps, finest first.

    The image gets gradients. Batch norms stay in evaluation mode, also in a parent's training mode.

    Parameters
    ----------
    parts : iterable of nn.Module
        Consecutive parts of the network, each of which ends with a feature map.
    mean, std : tuple of float
        Normalization of the network's input, for R, G and B.
    name : str
        torchvision's or timm's name of the network.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        parts: Iterable[nn.Module],
        *,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        name: str,
    ) -> None:
        super().__init__()
        self.name = name
        self.parts = nn.ModuleList(parts)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """Return one feature map `(N, C, h, w)` for each part."""
        x = (rgb.to(self.mean.dtype) - self.mean) / self.std
        maps = []
        for part in self.parts:
            x = part(x)
            maps.append(x)
        return maps

    def train(self, mode: bool = True) -> FeatureNetwork:
        """Stay in evaluation mode."""
        return super().train(False)


def feature_network(
    source: str | Path, *, layers: int = 3, untrained: bool = False
) -> FeatureNetwork:
    """Return the phi of the feature loss (IPOL review, eq. 7): feature maps at several sizes.

    The maps are those before the last `layers` downsampling steps of the published network. In
    VGG-16 with batch norm these are the ReLUs before the last three max pools, as in DeOldify; in a
    ResNet the ends of its first three stages, which `resnet18_to_layer3` has, too. MobileNet
    EdgeTPU's last map (192 channels), before the pooling of its classifier, is also one of them.

    Parameters
    ----------
    source : str or Path
        A classifier of torchvision by name, or a file of weights: MobileNet EdgeTPU, a ResNet
        or a VGG.
    layers : int
        Number of maps.
    untrained : bool
        Random weights, for a network given by name.

    Raises
    ------
    CheckpointError, DownloadError
        If the file holds another network, or the published one cannot be downloaded.
    SettingsError
        If the network has fewer maps.
    """
    name = str(source)
    if name in torchvision_models().list_models():
        path = None if untrained else published_encoder(name, option="--features")
        state = {} if path is None else read_weights(path).state
    else:
        path = Path(source).expanduser()
        state = read_weights(path).state
        name = _known_backbone(state, path)
    trunk, cuts = _cut(name, layers)
    if path is not None:
        _load_trunk(trunk[: cuts[-1]], state, path, name)
    stages = [nn.Sequential(*(part for _, part in trunk[a:b])) for a, b in pairwise((0, *cuts))]
    mean, std = (
        (MOBILENET_MEAN, MOBILENET_STD) if name == MOBILENET else (IMAGENET_MEAN, IMAGENET_STD)
    )
    return FeatureNetwork(stages, mean=mean, std=std, name=name)


def _known_backbone(state: Mapping[str, Tensor], path: Path) -> str:
    name = backbone_of(state)
    if name is None:
        raise CheckpointError(
            f"{path} holds no supported feature network: give weights of "
            f"{MOBILENET} (timm), a ResNet or a VGG (torchvision)."
        )
    return name


def _cut(name: str, layers: int) -> tuple[Trunk, list[int]]:
    """Return a network in steps, and the indices of its last `layers` downsampling steps."""
    trunk = _mobilenet_trunk() if name == MOBILENET else _torchvision_trunk(name)
    smaller = _downsampling_steps(trunk)
    if name == MOBILENET:
        smaller.append(len(trunk))
    if not 0 < layers <= len(smaller):
        raise SettingsError(
            f"{name} has {len(smaller)} feature maps before downsampling steps, but {layers} were "
            "requested: use fewer, or a ResNet or VGG."
        )
    return trunk, smaller[-layers:]


def _torchvision_trunk(name: str) -> Trunk:
    """Return the layers of a classifier in order, with sequences flattened."""
    model: nn.Module = torchvision_models().get_model(name, weights=None)
    trunk: list[tuple[str, nn.Module]] = []
    for key, child in model.named_children():
        if isinstance(child, nn.Sequential):
            trunk += [(f"{key}.{inner}", part) for inner, part in child.named_children()]
        else:
            trunk.append((key, child))
    return trunk


def _mobilenet_trunk() -> Trunk:
    """Return MobileNet EdgeTPU as published, with input R, G and B."""
    net = MobileNetEdgeTPU()
    stem = SameConv2d(3, net.bn1.num_features, 3, 2, bias=False)
    blocks = [(f"blocks.{index}", block) for index, block in enumerate(net.blocks)]
    return [("conv_stem", stem), ("bn1", net.bn1), ("relu", nn.ReLU()), *blocks]


@torch.no_grad()
def _downsampling_steps(trunk: Trunk) -> list[int]:
    """Return the indices of the parts that halve the size, up to the classifier."""
    x = torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE)
    found = []
    for index, (_, part) in enumerate(trunk):
        try:
            y = part.eval()(x)
        except (RuntimeError, TypeError, ValueError, AssertionError):  # no longer a chain
            break
        if not isinstance(y, Tensor) or y.ndim != 4 or isinstance(part, nn.AdaptiveAvgPool2d):
            break
        if y.shape[2] <= HALF * x.shape[2]:
            found.append(index)
        x = y
    return found


def _load_trunk(trunk: Trunk, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    for key, part in trunk:
        prefix = f"{key}."
        own = {
            other.removeprefix(prefix): value
            for other, value in state.items()
            if other.startswith(prefix)
        }
        try:
            missing = part.load_state_dict(own, strict=False).missing_keys
            fits = not _without_counters(dict.fromkeys(missing, torch.empty(0)))
        except RuntimeError:  # shapes
            fits = False
        if not fits:
            raise CheckpointError(
                f"{path} seems to be {name}, but {key} is missing or differs: give a complete file."
            )
