"""Initial state of a run: network, pretrained encoder, and weights of color classes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_colorize.errors import SettingsError
from napari_colorize.networks import ARCHITECTURES, Architecture
from napari_colorize_training.data import Crops
from napari_colorize_training.data.batch import prepare_batch
from napari_colorize_training.data.cache import Images
from napari_colorize_training.loop import losses
from napari_colorize_training.loop.content_loss import GeneratorWrapper, encode, target
from napari_colorize_training.models.backbones import encoder_in, load_encoder, published_encoder
from napari_colorize_training.recipe import NetworkConfig, Recipe

# Architecture -> published encoder, architecture for other encoders, kind of its decoder.
OTHER_ENCODERS = {
    "deoldify-deep": ("resnet34", "deoldify-other", "deep"),
    "deoldify-wide": ("resnet101", "deoldify-other", "wide"),
    "ipol-uv": ("resnet101", "ipol-other", "wide"),
}
FAMILIES = {*OTHER_ENCODERS, *(other for _, other, _ in OTHER_ENCODERS.values())}
FREQUENCY_IMAGES = 2000  # from which the frequencies of color classes are estimated
FREQUENCY_BATCH = 50
FREQUENCY_SIDE = 64  # px
MIN_FREQUENCY = 1e-5  # share of pixels; lower frequencies are set to this


def build_network(
    config: NetworkConfig,
    *,
    encoder: Path | None,
    untrained: bool,
    base: tuple[nn.Module, Architecture] | None,
) -> tuple[nn.Module, Architecture, str]:
    """Return the network of a recipe, its architecture, and a sentence on its initial weights.

    Raises
    ------
    SettingsError
        If the architecture is unknown, has not these options, or differs from the base's.
    """
    if base is not None:
        network, architecture = base
        if _family(architecture.name) != _family(config.architecture):
            raise SettingsError(
                f"The recipe is for the architecture {config.architecture!r}, the base model is a "
                f"{architecture.name!r}; choose a base or a recipe of the same family."
            )
        dropout = getattr(network, "dropout", None)
        if "dropout" in config.options and isinstance(dropout, nn.Dropout2d):
            dropout.p = config.options["dropout"]  # not part of the weights
        return (
            network.requires_grad_(True),
            architecture,
            "Training starts from the weights of the base model.",
        )
    config = _adapted_config(config, encoder)
    if config.architecture not in ARCHITECTURES:
        raise SettingsError(
            f"No architecture is named {config.architecture!r}. Choose one of: "
            f"{', '.join(ARCHITECTURES)}."
        )
    architecture = ARCHITECTURES[config.architecture]
    options = dict(config.options)
    if config.input == "edges":
        options["edges"] = True
    try:
        network = architecture.create(**options)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"The architecture {config.architecture!r} cannot be built with the options "
            f"{', '.join(options)}: {error}."
        ) from error
    return (
        network,
        architecture,
        _load_encoder_weights(network, config, encoder, untrained=untrained),
    )


def _family(architecture: str) -> str:
    """Return the name that architectures with other encoders and widths share."""
    return architecture.split("-")[0] if architecture in FAMILIES else architecture


def open_base(name_or_path: str | Path) -> tuple[nn.Module, Architecture]:
    """Return a model of the zoo with unfused layers, all trainable.

    Raises
    ------
    UnknownModelError, DownloadError, CheckpointError
        If there is no such model, or it cannot be downloaded or read.
    """
    from napari_colorize.zoo import load
    from napari_colorize.zoo.weights import build

    checkpoint, weights = load(name_or_path)
    architecture = ARCHITECTURES[checkpoint.architecture]
    return build(architecture, weights.state).requires_grad_(True), architecture


def _adapted_config(config: NetworkConfig, encoder: Path | None) -> NetworkConfig:
    """Return the configuration for an RGB target, or for the encoder in a file."""
    if config.target == "rgb":
        return replace(config, architecture=f"{config.architecture}-rgb")
    if encoder is None or config.architecture not in OTHER_ENCODERS:
        return config
    published, other, kind = OTHER_ENCODERS[config.architecture]
    name = encoder_in(encoder)
    if name == published:
        return config
    options = {"encoder": name, "kind": kind, **config.options}
    return replace(config, architecture=other, options=options)


def _load_encoder_weights(
    network: nn.Module, config: NetworkConfig, encoder: Path | None, *, untrained: bool
) -> str:
    if encoder is not None:
        return f"Encoder: pretrained {load_encoder(network, encoder)}."
    if untrained or config.encoder == "none":
        return "All layers start with random weights."
    return f"Encoder: pretrained {load_encoder(network, published_encoder(config.encoder))}."


def class_weights_from(
    recipe: Recipe, generator: GeneratorWrapper, images: Images, *, new: bool = True
) -> Tensor:
    """Return a weight for each color class `(K,)`, from its frequency in the images.

    The network gets the frequencies. A `new` one also begins with them: the bias of its head is
    their logarithm, so that the first steps do not learn them.
    """
    config = recipe.loss.classes
    centers = getattr(generator.network, "centers", None)
    if not isinstance(centers, Tensor):
        raise SettingsError(
            f"The architecture {generator.architecture.name!r} has no color classes: set "
            "loss.pixel to l1, l2 or smooth-l1."
        )
    counts = torch.zeros(len(centers))
    for truth in _targets(recipe, generator.architecture, images):
        classes, shares = encode(config.encoding, truth, generator.network)
        counts.index_add_(0, classes.flatten().cpu(), shares.flatten().cpu())
    frequency = counts / counts.sum()
    known = getattr(generator.network, "log_frequency", None)
    if isinstance(known, Tensor):
        known.copy_(frequency.clamp_min(MIN_FREQUENCY).log())
        head = getattr(generator.network, "head", None)
        if new and isinstance(head, nn.Conv2d) and head.bias is not None:
            with torch.no_grad():
                head.bias.copy_(known)
    if config.weighting == "mixture":
        prior = losses.smooth_prior(counts, centers.cpu())
        return losses.zhang_weights(prior, config.rebalance)
    return losses.class_weights(frequency, config.rebalance, config.max_weight)


def _targets(recipe: Recipe, architecture: Architecture, images: Images) -> list[Tensor]:
    crops = Crops(
        images,
        side=FREQUENCY_SIDE,
        batch=FREQUENCY_BATCH,
        crop_scale=(1.0, 1.0),
        seed=recipe.seed,
        horizontal_flip=False,
    )
    steps = math.ceil(min(FREQUENCY_IMAGES, len(images)) / FREQUENCY_BATCH)
    size = (FREQUENCY_SIDE // 4, FREQUENCY_SIDE // 4)  # output size of class networks
    cpu = torch.device("cpu")
    return [
        target(
            architecture,
            prepare_batch(crops.at(step), recipe.data, cpu, training=False).rgb,
            size,
        )
        for step in range(steps)
    ]
