"""Networks that have seen other pictures before: encoders to begin with, features to compare by.

`load_encoder` puts a local file's weights into a network's encoder, and `published_encoder` finds
the file that torchvision publishes. `feature_network` makes of such a file the phi of the feature
loss. Which network a file holds is told from its keys, those of torchvision or timm.
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

MOBILENET = "mobilenet_edgetpu_100"  # as timm calls it
MOBILENET_MEAN = MOBILENET_STD = (0.5, 0.5, 0.5)
# Blocks in each stage of a ResNet (He et al. 2016, table 1), and whether these are bottlenecks.
RESNETS = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
    "resnet152": (True, (3, 8, 36, 3)),
}
# Convolutions of a VGG without its three last layers, which bring the number in its name.
VGG_CLASSIFIER = 3
FEWEST_STAGES = 3  # a first convolution, its norm and one stage: less is no encoder
PROBE = 64  # px, the side of a picture that shows where a network halves the size
HALF = 0.6  # a little over: sizes are rounded up

Option = Literal["--encoder", "--features"]
Trunk = Sequence[tuple[str, nn.Module]]


def load_encoder(network: nn.Module, path: Path) -> str:
    """Begin a network's encoder with the weights of a file.

    A stage that the file does not have stays untrained, if all before it are there. Classifiers,
    and stages that the encoder does not have, are passed over. The first filters are summed over
    R, G and B where the encoder sees one channel of gray.

    Parameters
    ----------
    network : nn.Module
        Its `encoder` names its parameters as torchvision or timm do; changed in place.
    path : Path
        A .safetensors or .pth file.

    Returns
    -------
    str
        What was loaded, in words: "resnet18 up to layer3".

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
            f"A {type(network).__name__} has no encoder that a file could fill: use --encoder none."
        )
    given = _counted_out(read_weights(path).state)
    wanted = _counted_out(encoder.state_dict())
    fitted = {key: _fit(given[key], like) for key, like in wanted.items() if key in given}
    loaded, left = _stages_in(wanted, given, fitted)
    if len(loaded) < FEWEST_STAGES:
        raise CheckpointError(
            f"{path} holds {backbone_of(given) or 'another network'}, but this network's encoder "
            f"is {_in_words(wanted)}: give a file of that, or --encoder none to start untrained."
        )
    encoder.load_state_dict({key: fitted[key] for key in fitted if _stage(key) in loaded}, False)
    return _in_words(wanted, loaded) + (f", {' and '.join(left)} untrained" if left else "")


def _counted_out(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the batch norms' counters, which say nothing and which some files leave out."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _stage(key: str) -> str:
    """The part that is loaded as a whole: `layer2`, `blocks.3`, `bn1`."""
    found = re.match(r"blocks\.\d+|[^.]+", key)
    assert found is not None
    return found[0]


def _fit(weight: Tensor, like: Tensor) -> Tensor:
    """Filters for R, G and B as filters for gray, where that is what is wanted."""
    sums = weight.ndim == 4 and like.ndim == 4 and weight.shape[1] == 3 and like.shape[1] == 1
    return weight.float().sum(1, keepdim=True) if sums else weight


def _stages_in(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], fitted: Mapping[str, Tensor]
) -> tuple[list[str], list[str]]:
    """The encoder's stages that the file has, and those after them that it has nothing of.

    Nothing is loaded if a stage is of another kind, or missing before one that is there.
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


def _in_words(state: Mapping[str, Tensor], loaded: Sequence[str] = ()) -> str:
    """The name of an encoder, and where it, or what was loaded of it, ends."""
    name = backbone_of(state)
    last = loaded[-1] if loaded else _stage(list(state)[-1])
    if name in RESNETS and last != "layer4":
        return f"{name} up to {last}"
    return name or "of a kind for which no file is published"


def backbone_of(state: Mapping[str, Tensor]) -> str | None:
    """The network whose keys a state dict has, by torchvision's or timm's name; None if unknown.

    A ResNet may end early. Of MobileNet EdgeTPU it is the only size that is used here.
    """
    if {"conv_stem.weight", "blocks.1.0.conv_exp.weight"} <= state.keys():
        return MOBILENET
    if {"conv1.weight", "layer1.0.conv1.weight"} <= state.keys():
        return _resnet_of(state)
    if "features.0.weight" in state:
        return _vgg_of(state)
    return None


def encoder_in(path: Path) -> str:
    """The encoder that a file holds, as DeOldify's networks call it: "resnet18-layer3".

    Raises
    ------
    CheckpointError
        If it holds none that we know.
    """
    state = read_weights(path).state
    name = backbone_of(state)
    if name is None:
        raise CheckpointError(
            f"{path} holds no encoder that we know; give a ResNet of torchvision's or timm's "
            f"{MOBILENET}, or --encoder none to start untrained."
        )
    if name == MOBILENET:
        return "mobilenet_edgetpu"
    ends_early = name in RESNETS and not any(key.startswith("layer4.") for key in state)
    return f"{name}-layer3" if ends_early else name


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
    """The file that torchvision publishes for a network, downloaded if it is not in torch's cache.

    Of several it is the first, which the systems of the literature began with.

    Parameters
    ----------
    name : str
        As torchvision has it, such as "resnet34".
    option : {"--encoder", "--features"}
        How a user gives a file instead; for the error's sentence.

    Raises
    ------
    DownloadError
        If there is none, or it cannot be fetched.
    """
    instead = f"give {option} FILE with weights of your own"
    if option == "--encoder":
        instead += ", or --encoder none to start untrained"
    models = torchvision_models()
    if name not in models.list_models():
        raise DownloadError(f"torchvision publishes no weights of {name!r}: {instead}.")
    url = next(iter(models.get_model_weights(name))).url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if not path.is_file():
        _download(
            url,
            path,
            f"The weights of {name} are not on this machine and could not be "
            f"downloaded from {urlsplit(url).hostname}: {instead}.",
        )
    return path


def _download(url: str, path: Path, failed: str) -> None:
    """Fetch a file whose name holds the beginning of its sha256; torch checks it."""
    logger.info("Downloading %s to %s.", url, path)
    checksum = re.search(r"-([0-9a-f]+)\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), checksum and checksum[1], progress=True)
    except (OSError, RuntimeError) as error:  # no way there; not what was published
        raise DownloadError(failed) from error


class FeatureNetwork(nn.Module):
    """RGB `(N, 3, H, W)` in [0, 1] to feature maps, fine ones first; it never learns.

    Gradients reach the picture. Its batch norms keep their statistics, whatever a parent's mode.

    Parameters
    ----------
    parts : iterable of nn.Module
        Each goes on where the one before ended, and ends with a feature map.
    mean, std : tuple of float
        Of R, G and B, as the network wants its input normalised.
    name : str
        The network, by torchvision's or timm's name.
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
        """As many maps as there are parts, `(N, C, h, w)` each."""
        x = (rgb.to(self.mean.dtype) - self.mean) / self.std
        maps = []
        for part in self.parts:
            x = part(x)
            maps.append(x)
        return maps

    def train(self, mode: bool = True) -> FeatureNetwork:
        """Stays in evaluation mode."""
        return super().train(False)


def feature_network(
    source: str | Path, *, layers: int = 3, untrained: bool = False
) -> FeatureNetwork:
    """The phi of the feature loss (IPOL review, eq. 7): what a network sees at several sizes.

    The maps are those right before the last `layers` steps at which the network, as published,
    makes them smaller. In VGG-16 with batch norm these are the ReLUs before the last three max
    pools, as DeOldify has it; in a ResNet the ends of its first three stages, so that
    `resnet18_to_layer3`, which lacks the fourth, has them all. MobileNet EdgeTPU's last map, of 192
    channels, is before its classifier's pooling and counts as well.

    Parameters
    ----------
    source : str or Path
        A classifier of torchvision by name, or a file of weights: MobileNet EdgeTPU, a ResNet
        or a VGG.
    layers : int
        How many maps.
    untrained : bool
        Of a named network, take random weights.

    Raises
    ------
    CheckpointError, DownloadError
        If the file is of no such network, or a named network's cannot be had.
    SettingsError
        If the network has not so many maps.
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
            f"{path} holds no network whose features can be compared: give a file of "
            f"{MOBILENET} (timm), a ResNet or a VGG (torchvision)."
        )
    return name


def _cut(name: str, layers: int) -> tuple[Trunk, list[int]]:
    """A network in steps, and the last `layers` steps that make its features smaller."""
    trunk = _mobilenet_trunk() if name == MOBILENET else _torchvision_trunk(name)
    smaller = _where_smaller(trunk)
    if name == MOBILENET:
        smaller.append(len(trunk))
    if not 0 < layers <= len(smaller):
        raise SettingsError(
            f"{name} has {len(smaller)} feature maps before steps to a smaller size, and {layers} "
            "were asked for: choose another number, or a ResNet or VGG."
        )
    return trunk, smaller[-layers:]


def _torchvision_trunk(name: str) -> Trunk:
    """What a classifier applies one after the other, sequences taken apart."""
    model: nn.Module = torchvision_models().get_model(name, weights=None)
    trunk: list[tuple[str, nn.Module]] = []
    for key, child in model.named_children():
        if isinstance(child, nn.Sequential):
            trunk += [(f"{key}.{inner}", part) for inner, part in child.named_children()]
        else:
            trunk.append((key, child))
    return trunk


def _mobilenet_trunk() -> Trunk:
    """MobileNet EdgeTPU as it was published: it sees R, G and B."""
    net = MobileNetEdgeTPU()
    stem = SameConv2d(3, net.bn1.num_features, 3, 2, bias=False)
    blocks = [(f"blocks.{index}", block) for index, block in enumerate(net.blocks)]
    return [("conv_stem", stem), ("bn1", net.bn1), ("relu", nn.ReLU()), *blocks]


@torch.no_grad()
def _where_smaller(trunk: Trunk) -> list[int]:
    """Indices of the parts that give features of half the size or less; up to the classifier."""
    x = torch.zeros(1, 3, PROBE, PROBE)
    found = []
    for index, (_, part) in enumerate(trunk):
        try:
            y = part.eval()(x)
        except (RuntimeError, TypeError, ValueError, AssertionError):  # no chain from here on
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
            fits = not _counted_out(dict.fromkeys(missing, torch.empty(0)))
        except RuntimeError:  # shapes
            fits = False
        if not fits:
            raise CheckpointError(
                f"{path} looks like {name}, but its {key} is missing or another: give a whole file."
            )
