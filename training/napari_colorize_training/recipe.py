"""Recipes: TOML files that define the network, data, losses, optimizer and stages of a training."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from napari_colorize.errors import SettingsError
from napari_colorize_training.recipe_parsing import build_dataclass, set_value, upgrade_keys
from napari_colorize_training.schedule import SCHEDULES

TrainedPart = Literal["generator", "critic", "gan"]
SUFFIX = ".toml"
SCHEDULE_NAMES = (*SCHEDULES, "plateau")
MIN_SIDE = 16  # px


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Architecture of the generator and its initial weights.

    Parameters
    ----------
    architecture : str
        A name in `ARCHITECTURES`.
    encoder : str
        Pretrained encoder by torchvision's name; "none" for random weights.
    input : {"gray", "edges"}
        Input of the network: luminance, or its edges.
    target : {"", "ab", "rgb"}
        "rgb" selects the variant of an architecture that predicts RGB; only `lab-autoencoder` has
        one.
    options : dict
        Keyword arguments of the architecture's `create`.
    """

    architecture: str
    encoder: str = "none"
    input: Literal["gray", "edges"] = "gray"
    target: Literal["", "ab", "rgb"] = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Cropping, augmentation and degradation of training images.

    Parameters
    ----------
    crop_scale : tuple of float
        Smallest and largest side of the square crops, as a share of the image's short side.
    horizontal_flip : bool
        Flip half of the crops left to right.
    augment : {"none", "photographs", "stains"}
        Random changes of gray and colors alike, for small data sets.
    degrade : {"none", "tone-and-grain", "old-photograph"}
        Random degradation of the gray input only.
    validate_degraded : bool
        Degrade the input in validation, too; the same way every time.
    group : str
        Images of one group are on the same side of the validation split. "": each image by
        itself; "folder"; or a regular expression searched in the file name.
    """

    crop_scale: tuple[float, float] = (0.65, 1.0)
    horizontal_flip: bool = True
    augment: Literal["none", "photographs", "stains"] = "none"
    degrade: Literal["none", "tone-and-grain", "old-photograph"] = "none"
    validate_degraded: bool = False
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Optimizer of the generator, and what is done to gradients and weights.

    Parameters
    ----------
    name : {"adamw", "adam"}
        AdamW decouples weight decay from the gradient.
    lr : float
        Peak learning rate of stages that have none of their own.
    betas : tuple of float
        Adam's beta1 and beta2.
    cyclic_momentum : bool
        beta1 falls from 0.95 to 0.85 while the learning rate rises, and rises again.
    weight_decay : float
        Weight decay of the optimizer.
    clip_grad_norm : float
        Largest norm of the gradient; 0 for no limit.
    ema_decay : float
        Decay per step of an exponential moving average of the weights, which is what is
        validated and exported; 0 for none.
    lora_rank : int
        Rank of low-rank additions that are trained in place of the weights (LoRA, Hu et al.
        2021); 0 for none.
    """

    name: Literal["adamw", "adam"] = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    cyclic_momentum: bool = False
    weight_decay: float = 0.0
    clip_grad_norm: float = 0.0
    ema_decay: float = 0.0
    lora_rank: int = 0


@dataclass(frozen=True, kw_only=True)
class ClassConfig:
    """Classification loss over color classes: encoding of the target and weights of the classes.

    Parameters
    ----------
    encoding : {"bilinear", "gaussian"}
        Soft target: bilinear shares of the four grid points around a color, or Zhang's Gaussian
        over the nearest classes.
    weighting : {"power", "mixture"}
        Class weights: inverse frequency to the power `rebalance`, or Zhang's mixture with a
        uniform prior whose share is `rebalance`.
    rebalance : float
        0: frequent colors dominate the loss; 1: rare ones do.
    max_weight : float
        Upper limit of a class weight, relative to the mean ("power" only).
    regression_weight : float
        Weight of the smooth L1 distance of the expected color.
    pixel_stride : int
        The loss uses one pixel in so many along both axes, with a random offset in each step.
        Neighboring pixels are highly correlated. Stages whose losses need whole images use all.
    """

    encoding: Literal["bilinear", "gaussian"] = "bilinear"
    weighting: Literal["power", "mixture"] = "power"
    rebalance: float = 0.4
    max_weight: float = 8.0
    regression_weight: float = 0.0
    pixel_stride: int = 1


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Content loss of the generator.

    Parameters
    ----------
    pixel : {"l1", "l2", "smooth-l1", "classes"}
        Distance between output and target, in the network's own color space and unit.
    weight : float
        Weight of the pixel loss.
    sampling : {"mean", "point"}
        Target of a network with a smaller output: mean over each output pixel's area, or its
        first input pixel.
    feature_weights : tuple of float
        Weights of the layers in the feature loss, IPOL review eq. (7); empty for none.
    feature_norm : {"l1", "l2"}
        Distance between features.
    feature_network : str
        Network that computes the features, by torchvision's name.
    noise_weight : float
        lambda_noise of eq. (9); applies in stages with `noise_consistency`.
    noise_probability : tuple of float
        p of eq. (8) is uniform between these, for each image.
    noise_amplitude : float
        a of eq. (8), for gray in [0, 1].
    colorfulness_weight : float
        Weight of the colorfulness loss.
    classes : ClassConfig
        Options of `pixel = "classes"`.
    """

    pixel: Literal["l1", "l2", "smooth-l1", "classes"] = "l1"
    weight: float = 1.0
    sampling: Literal["mean", "point"] = "mean"
    feature_weights: tuple[float, ...] = ()
    feature_norm: Literal["l1", "l2"] = "l1"
    feature_network: str = "vgg16_bn"
    noise_weight: float = 0.0
    noise_probability: tuple[float, float] = (0.001, 0.4)
    noise_amplitude: float = 30 / 255
    colorfulness_weight: float = 0.0
    classes: ClassConfig = field(default_factory=ClassConfig)


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """Critic of adversarial stages, its loss and its optimizer.

    Parameters
    ----------
    name : str
        A key of `critics.CRITICS`.
    options : dict
        Keyword arguments of its class.
    feature_layers : int
        Number of maps of the feature network that the critic "features" uses.
    loss : {"bce", "hinge"}
        Adversarial loss of critic and generator.
    label_smoothing : float
        Labels of real images are 1 minus this (one-sided).
    saturating : bool
        Goodfellow's minimax cost log(1 - D(G)) instead of -log D(G).
    conditional : bool
        The critic gets the gray image beside the colors.
    lr, betas, weight_decay : float, tuple of float, float
        Options of its optimizer; stages can set another learning rate.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    feature_layers: int = 3
    loss: Literal["bce", "hinge"] = "bce"
    label_smoothing: float = 0.0
    saturating: bool = False
    conditional: bool = True
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a training: what is trained, image size, length and learning rate.

    Parameters
    ----------
    train : {"generator", "critic", "gan"}
        The generator with its content loss; the critic alone, with a frozen generator; or both
        against each other.
    side : int
        Side of the square crops, px.
    batch : int
        Crops per step, of all processes together.
    epochs : float
        Length in passes over all images.
    steps : int, optional
        Length in steps, instead of `epochs`.
    lr, encoder_lr : float, optional
        Peak learning rate of the last and of the first group of layers; geometric between them.
        In a stage that trains the critic only, `lr` is the critic's.
    critic_lr : float, optional
        Learning rate of the critic in a "gan" stage.
    betas : tuple of float, optional
        Betas of the generator's optimizer in this stage.
    schedule : str
        A key of `schedule.SCHEDULES`; or "plateau", which divides the learning rate by ten when
        the validation measure stops falling.
    warmup : float
        Share of the steps in which the learning rate rises.
    trainable : {"all", "except_first", "decoder", "head", "gradual"}
        Layers that are trained; see `adapt.freeze`.
    batch_norm : {"frozen", "update", "train", "frozen_encoder"}
        Batch norms of layers that are not trained; see `adapt.BatchNormMode`.
    content_weight, gan_weight : float
        Weights of content loss and adversarial loss in a "gan" stage.
    critic_loss_threshold : float, optional
        Only the critic is trained, batch by batch, until its loss is below this; then the
        generator is trained for one batch. Without it both are trained with every batch.
    noise_consistency : bool
        Use the noise consistency loss of eq. (9), if the recipe has one.
    feature_loss : bool
        Use the feature loss, if the recipe has one.
    checkpoint_every : int
        Steps between checkpoints, of which the best is kept; 0: the last weights are kept.
    patience : int
        The stage ends after so many checkpoints in a row that are not the best; 0: never.
    in_cycle : bool
        The stage is one of those that are repeated `cycles` times.
    """

    train: TrainedPart = "generator"
    side: int
    batch: int
    epochs: float = 1.0
    steps: int | None = None
    lr: float | None = None
    encoder_lr: float | None = None
    critic_lr: float | None = None
    betas: tuple[float, float] | None = None
    schedule: str = "linear-cosine"
    warmup: float = 0.1
    trainable: Literal["all", "except_first", "decoder", "head", "gradual"] = "all"
    batch_norm: Literal["frozen", "update", "train", "frozen_encoder"] = "frozen"
    content_weight: float = 1.0
    gan_weight: float = 1.0
    critic_loss_threshold: float | None = None
    noise_consistency: bool = False
    feature_loss: bool = True
    checkpoint_every: int = 0
    patience: int = 0
    in_cycle: bool = False

    def __post_init__(self) -> None:
        if self.side < MIN_SIDE or self.batch < 1:
            raise SettingsError(
                f"A stage needs a side of at least {MIN_SIDE} px and a batch of at least 1; got "
                f"{self.side} px and {self.batch}."
            )
        if not self.epochs > 0 or (self.steps is not None and self.steps < 1):
            raise SettingsError(
                f"A stage needs epochs above 0 or at least 1 step; got {self.epochs:g} epochs and "
                f"{self.steps} steps."
            )
        if self.schedule not in SCHEDULE_NAMES:
            raise SettingsError(
                f"No schedule is named {self.schedule!r}. Choose one of: "
                f"{', '.join(SCHEDULE_NAMES)}."
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a training run depends on, except data and machine.

    Parameters
    ----------
    name, title : str
        Short name, and one line of description.
    source : str
        Publication or program that the recipe follows.
    license : str
        License of the trained model.
    notes : str
        Deviations from the source, and choices where its text and code disagree.
    seed : int
        Seed of all random numbers.
    cycles : int
        Number of times that the stages with `in_cycle` are run.
    export : dict
        Values written into the exported model: buffers of the network by name, and the
        recommended `saturation` and `render_factor`.
    snapshot_epochs : tuple of float
        Epochs after which a model is exported beside the last one.
    """

    name: str
    title: str
    source: str
    license: str = "BSD-3-Clause"
    notes: str = ""
    seed: int = 0
    cycles: int = 1
    export: dict[str, float] = field(default_factory=dict)
    snapshot_epochs: tuple[float, ...] = ()
    network: NetworkConfig
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    critic: CriticConfig | None = None
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise SettingsError(f"The recipe {self.name!r} has no stages; it needs at least one.")
        needs_critic = any(stage.train != "generator" for stage in self.stages)
        if needs_critic and self.critic is None:
            raise SettingsError(
                f"The recipe {self.name!r} has stages with a critic, but no table [critic]."
            )

    def unrolled_stages(self) -> Iterator[Stage]:
        """Yield the stages in the order in which they run, with cycles unrolled."""
        yield from (stage for stage in self.stages if not stage.in_cycle)
        for _ in range(self.cycles):
            yield from (stage for stage in self.stages if stage.in_cycle)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain dicts, lists and numbers."""
        return asdict(self)


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package."""
    folder = resources.files("napari_colorize_training") / "recipes"
    names = (item.name for item in folder.iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def read_recipe(name_or_path: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by its name, or from a file.

    Parameters
    ----------
    name_or_path : str
        A name in `recipe_names`, or a TOML file.
    changes : mapping of str to value, optional
        Values that replace those of the recipe, by dotted name: `{"optimizer.lr": 1e-4}`,
        `{"stages.0.side": 96}`.

    Raises
    ------
    FileNotFoundError
        If there is no such recipe and no such file; the message lists the names.
    SettingsError
        If the file or a change has an unknown key or an invalid value.
    """
    packaged = resources.files("napari_colorize_training") / "recipes" / f"{name_or_path}{SUFFIX}"
    source = packaged if packaged.is_file() else Path(name_or_path)
    if not source.is_file():
        raise FileNotFoundError(
            f"No recipe is named {name_or_path!r}. Choose one of: {', '.join(recipe_names())}; "
            "or give a TOML file."
        )
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source} is not a valid TOML file: {error}.") from error
    table = upgrade_keys(table)
    for name, value in (changes or {}).items():
        set_value(table, name, value)
    return parse_recipe(table)


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a table, as read from TOML or made by `Recipe.to_dict`.

    Keys of earlier versions are accepted; SettingsError if the table is no valid recipe.
    """
    recipe: Recipe = build_dataclass(Recipe, upgrade_keys(table))
    return recipe


def parse_change(text: str) -> tuple[str, Any]:
    """Split `"optimizer.lr=1e-4"` into name and value; values are TOML, or plain words.

    Raises
    ------
    SettingsError
        If there is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(
            f"{text!r} is not a change of the form NAME=VALUE, such as optimizer.lr=1e-4."
        )
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()
