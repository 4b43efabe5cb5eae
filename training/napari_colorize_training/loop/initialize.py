"""What a run begins with: a network, and how often each colour occurs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_colorize.errors import SettingsError
from napari_colorize.networks import ARCHITECTURES, Architecture
from napari_colorize_training.data import Crops, ImageCache
from napari_colorize_training.data.batch import prepare_batch
from napari_colorize_training.loop import losses
from napari_colorize_training.loop.objective import GeneratorWrapper, encode, target
from napari_colorize_training.models.backbones import encoder_in, load_encoder, published_encoder
from napari_colorize_training.recipe import NetworkPlan, Recipe

# Architecture -> its published encoder; the architecture for all others, and which decoder.
OTHER_ENCODERS = {
    "deoldify-deep": ("resnet34", "deoldify-other", "deep"),
    "deoldify-wide": ("resnet101", "deoldify-other", "wide"),
    "ipol-uv": ("resnet101", "ipol-other", "wide"),
}
FREQUENCY_PICTURES = 2000  # enough for the frequencies of colour classes
FREQUENCY_BATCH = 50
FREQUENCY_SIDE = 64  # px
RAREST = 1e-5  # share of pixels; what is rarer counts as much


def build_network(
    plan: NetworkPlan,
    *,
    encoder: Path | None,
    untrained: bool,
    base: tuple[nn.Module, Architecture] | None,
) -> tuple[nn.Module, Architecture, str]:
    """The network of a recipe, its passport, and a sentence on what it begins with.

    Raises
    ------
    SettingsError
        If the recipe's architecture is unknown, does not have its options, or is not the base's.
    """
    if base is not None:
        network, architecture = base
        if architecture.name != plan.architecture:
            raise SettingsError(
                f"The recipe is for the architecture {plan.architecture!r}, the base model is a "
                f"{architecture.name!r}; choose a base or a recipe of the same architecture."
            )
        return network.requires_grad_(True), architecture, "Begins with the weights of the base."
    plan = _suited_to(plan, encoder)
    if plan.architecture not in ARCHITECTURES:
        raise SettingsError(
            f"There is no architecture {plan.architecture!r}. Choose one of: "
            f"{', '.join(ARCHITECTURES)}."
        )
    architecture = ARCHITECTURES[plan.architecture]
    options = dict(plan.options)
    if plan.input == "edges":
        options["edges"] = True
    try:
        network = architecture.create(**options)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"The architecture {plan.architecture!r} cannot be built with the options "
            f"{', '.join(options)}: {error}."
        ) from error
    return network, architecture, _fill_encoder(network, plan, encoder, untrained=untrained)


def open_base(name_or_path: str | Path) -> tuple[nn.Module, Architecture]:
    """A model of the zoo as it was trained: nothing fused, everything learns.

    Raises
    ------
    UnknownModelError, DownloadError, CheckpointError
        If there is none, or it cannot be had.
    """
    from napari_colorize.zoo import load
    from napari_colorize.zoo.build import build

    checkpoint, weights = load(name_or_path)
    architecture = ARCHITECTURES[checkpoint.architecture]
    return build(architecture, weights.state).requires_grad_(True), architecture


def _suited_to(plan: NetworkPlan, encoder: Path | None) -> NetworkPlan:
    """The variant that gives the target, or the same U-Net on the encoder that a file holds."""
    if plan.target == "rgb":
        return replace(plan, architecture=f"{plan.architecture}-rgb")
    if encoder is None or plan.architecture not in OTHER_ENCODERS:
        return plan
    published, other, kind = OTHER_ENCODERS[plan.architecture]
    name = encoder_in(encoder)
    if name == published:
        return plan
    options = {"encoder": name, "kind": kind, **plan.options}
    return replace(plan, architecture=other, options=options)


def _fill_encoder(
    network: nn.Module, plan: NetworkPlan, encoder: Path | None, *, untrained: bool
) -> str:
    if encoder is not None:
        return f"The encoder begins as {load_encoder(network, encoder)}."
    if untrained or plan.encoder == "none":
        return "Every layer begins untrained."
    return f"The encoder begins as {load_encoder(network, published_encoder(plan.encoder))}."


def class_weights_from(
    recipe: Recipe, painter: GeneratorWrapper, photographs: ImageCache
) -> Tensor:
    """How much each colour class counts, from how often the pictures have it, `(K,)`."""
    plan = recipe.loss.classes
    centers = getattr(painter.network, "centers", None)
    if not isinstance(centers, Tensor):
        raise SettingsError(
            f"The architecture {painter.architecture.name!r} does not tell colour classes: set "
            "loss.pixel to l1, l2 or smooth-l1."
        )
    counts = torch.zeros(len(centers))
    for truth in _truths(recipe, painter.architecture, photographs):
        classes, shares = encode(plan.coding, truth, painter.network)
        counts.index_add_(0, classes.flatten().cpu(), shares.flatten().cpu())
    frequency = counts / counts.sum()
    known = getattr(painter.network, "log_frequency", None)
    if isinstance(known, Tensor):
        known.copy_(frequency.clamp_min(RAREST).log())
    if plan.weighing == "mixture":
        prior = losses.smooth_prior(counts, centers.cpu())
        return losses.zhang_weights(prior, plan.rebalance)
    return losses.class_weights(frequency, plan.rebalance, plan.heaviest)


def _truths(recipe: Recipe, architecture: Architecture, photographs: ImageCache) -> list[Tensor]:
    crops = Crops(
        photographs,
        side=FREQUENCY_SIDE,
        batch=FREQUENCY_BATCH,
        shrink=(1.0, 1.0),
        seed=recipe.seed,
        mirror=False,
    )
    steps = math.ceil(min(FREQUENCY_PICTURES, len(photographs)) / FREQUENCY_BATCH)
    quarter = (FREQUENCY_SIDE // 4, FREQUENCY_SIDE // 4)  # a class network's output is smaller
    cpu = torch.device("cpu")
    return [
        target(
            architecture,
            prepare_batch(crops.at(step), recipe.data, cpu, training=False).rgb,
            quarter,
        )
        for step in range(steps)
    ]
