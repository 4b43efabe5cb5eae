"""Recipes: TOML files that define the network, data, losses, optimizer and stages of a training."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from napari_colorize.errors import SettingsError
from napari_colorize.settings import RangeRule
from napari_colorize_training.recipe_parsing import build_dataclass, set_value, upgrade_keys
from napari_colorize_training.schedule import SCHEDULES

TrainedPart = Literal["generator", "critic", "gan"]
SUFFIX = ".toml"
SCHEDULE_NAMES = (*SCHEDULES, "plateau")
MIN_SIDE = 16  # px


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Architecture of the generator and its initial weights."""

    architecture: str  # a name in `ARCHITECTURES`
    encoder: str = "none"  # pretrained encoder by torchvision's name; "none" for random weights
    input: Literal["gray", "edges"] = "gray"  # input of the network: luminance, or its edges
    # "rgb" selects the variant of an architecture that predicts RGB; only `lab-autoencoder` has one
    target: Literal["", "ab", "rgb"] = ""
    # Keyword arguments of the architecture's `create`
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Cropping, augmentation and degradation of training images."""

    # Smallest and largest side of the square crops, as a share of the image's short side
    crop_scale: tuple[float, float] = (0.65, 1.0)
    # Reshape whole images to squares, as DeOldify and the IPOL program do, instead of cropping
    squeeze: bool = False
    horizontal_flip: bool = True  # flip half of the crops left to right
    # Random changes of gray and colors alike, for small data sets
    augment: Literal["none", "photographs", "stains"] = "none"
    # Random degradation of the gray input only
    degrade: Literal["none", "tone-and-grain", "slightly-old", "old-photograph", "old-scan"] = (
        "none"
    )
    degraded_share: float = 1.0  # probability that an image of the training is degraded, 0 to 1
    validate_degraded: bool = False  # degrade the input in validation, too; the same way every time
    # Rule for the intensity range of each image, as the setting of the Colorizer; recorded in the
    # checkpoint
    contrast_limits: RangeRule = "auto"
    # Share of the images in the validation split, in (0, 1); see `split.validation_split`
    validation_share: float = 0.02
    # Images of one group are on the same side of the validation split. "": each image by itself;
    # "folder"; or a regular expression searched in the file name.
    group: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.degraded_share <= 1:
            raise SettingsError(
                f"data.degraded_share is {self.degraded_share:g}; choose a share from 0 to 1."
            )


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Optimizer of the generator, and what is done to gradients and weights."""

    name: Literal["adamw", "adam"] = "adamw"  # AdamW decouples weight decay from the gradient
    lr: float = 1e-3  # peak learning rate of stages that have none of their own
    betas: tuple[float, float] = (0.9, 0.999)  # Adam's beta1 and beta2
    # beta1 falls from 0.95 to 0.85 while the learning rate rises, and rises again
    cyclic_momentum: bool = False
    weight_decay: float = 0.0  # weight decay of the optimizer
    # Weight decay also for biases and for scales of norms (parameters with one dimension)
    decay_biases: bool = True
    clip_grad_norm: float = 0.0  # largest norm of the gradient; 0 for no limit
    # Decay per step of an exponential moving average of the weights, which is what is validated and
    # exported; 0 for none
    ema_decay: float = 0.0
    # Rank of low-rank additions that are trained in place of the weights (LoRA, Hu et al. 2021); 0
    # for none
    lora_rank: int = 0


@dataclass(frozen=True, kw_only=True)
class ClassConfig:
    """Classification loss over color classes: encoding of the target and weights of the classes."""

    # Soft target: bilinear shares of the four grid points around a color, or Zhang's Gaussian over
    # the nearest classes
    encoding: Literal["bilinear", "gaussian"] = "bilinear"
    # Class weights: inverse frequency to the power `rebalance`, or Zhang's mixture with a uniform
    # prior whose share is `rebalance`
    weighting: Literal["power", "mixture"] = "power"
    rebalance: float = 0.4  # 0: frequent colors dominate the loss; 1: rare ones do
    max_weight: float = 8.0  # upper limit of a class weight, relative to the mean ("power" only)
    regression_weight: float = 0.0  # weight of the smooth L1 distance of the expected color
    # The loss uses one pixel in so many along both axes, with a random offset in each step.
    # Neighboring pixels are highly correlated. Stages whose losses need whole images use all.
    pixel_stride: int = 1


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Content loss of the generator."""

    # Distance between output and target, in the network's own color space and unit
    pixel: Literal["l1", "l2", "smooth-l1", "classes"] = "l1"
    weight: float = 1.0  # weight of the pixel loss
    # Target of a network with a smaller output: mean over each output pixel's area, or its first
    # input pixel
    sampling: Literal["mean", "point"] = "mean"
    # Weights of the layers in the feature loss, IPOL review eq. (7); empty for none
    feature_weights: tuple[float, ...] = ()
    feature_norm: Literal["l1", "l2"] = "l1"  # distance between features
    feature_network: str = "vgg16_bn"  # network that computes the features, by torchvision's name
    # lambda_noise of eq. (9); applies in stages with `noise_consistency`
    noise_weight: float = 0.0
    # p of eq. (8) is uniform between these, for each image.
    noise_probability: tuple[float, float] = (0.001, 0.4)
    noise_amplitude: float = 30 / 255  # a of eq. (8), for gray in [0, 1]
    colorfulness_weight: float = 0.0  # weight of the colorfulness loss
    # Weight of the distance to what the base predicts for the undegraded gray; needs a base.
    # Kullback-Leibler divergence of the color classes, else the L1 distance of the colors.
    distillation_weight: float = 0.0
    classes: ClassConfig = field(default_factory=ClassConfig)  # options of `pixel = "classes"`


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """Critic of adversarial stages, its loss and its optimizer."""

    name: str  # a key of `critics.CRITICS`
    options: dict[str, Any] = field(default_factory=dict)  # keyword arguments of its class
    feature_layers: int = 3  # number of maps of the feature network that the critic "features" uses
    loss: Literal["bce", "hinge"] = "bce"  # adversarial loss of critic and generator
    label_smoothing: float = 0.0  # labels of real images are 1 minus this (one-sided)
    saturating: bool = False  # Goodfellow's minimax cost log(1 - D(G)) instead of -log D(G)
    conditional: bool = True  # the critic gets the gray image beside the colors
    # Options of its optimizer; stages can set another learning rate
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a training: what is trained, image size, length and learning rate."""

    # The generator with its content loss; the critic alone, with a frozen generator; or both
    # against each other
    train: TrainedPart = "generator"
    side: int  # side of the square crops, px
    batch: int  # crops per step, of all processes together
    epochs: float = 1.0  # length in passes over all images
    steps: int | None = None  # length in steps, instead of `epochs`
    # Smallest number of steps, for `epochs` that are a small share of ImageNet
    min_steps: int = 0
    # Peak learning rate of the last and of the first group of layers; geometric between them. In a
    # stage that trains the critic only, `lr` is the critic's.
    lr: float | None = None
    encoder_lr: float | None = None
    critic_lr: float | None = None  # learning rate of the critic in a "gan" stage
    betas: tuple[float, float] | None = None  # betas of the generator's optimizer in this stage
    # A key of `schedule.SCHEDULES`; or "plateau", which divides the learning rate by ten when the
    # validation measure stops falling
    schedule: str = "linear-cosine"
    warmup: float = 0.1  # share of the steps in which the learning rate rises
    # Layers that are trained; see `adapt.freeze`
    trainable: Literal["all", "except_first", "decoder", "head", "gradual"] = "all"
    # Batch norms of layers that are not trained; see `adapt.BatchNormMode`
    batch_norm: Literal["frozen", "update", "train", "frozen_encoder"] = "frozen"
    # Weights of content loss and adversarial loss in a "gan" stage
    content_weight: float = 1.0
    gan_weight: float = 1.0
    # Only the critic is trained, batch by batch, until its loss is below this; then the generator
    # is trained for one batch. Without it both are trained with every batch.
    critic_loss_threshold: float | None = None
    # Use the noise consistency loss of eq. (9), if the recipe has one
    noise_consistency: bool = False
    feature_loss: bool = True  # use the feature loss, if the recipe has one
    # Steps between checkpoints, of which the best is kept; 0: the last weights are kept. In "gan"
    # stages the weights before the first step are one of them.
    checkpoint_every: int = 0
    # Criterion of the best checkpoint: CIEDE2000 with a small weight of colorfulness; or the
    # Frechet distance of local color statistics, see `ValidationFigures`
    select_by: Literal["color-error", "frechet"] = "color-error"
    # With "frechet", a checkpoint is not kept if its CIEDE2000 is above this multiple of that
    # before the stage
    max_error_ratio: float = 1.05
    # The stage ends after so many checkpoints in a row that are not the best; 0: never
    patience: int = 0
    in_cycle: bool = False  # the stage is one of those that are repeated `cycles` times

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
    """Everything that a training run depends on, except data and machine."""

    # Short name, and one line of description
    name: str
    title: str
    source: str  # publication or program that the recipe follows
    license: str = "BSD-3-Clause"  # license of the trained model
    notes: str = ""  # deviations from the source, and choices where its text and code disagree
    seed: int = 0  # seed of all random numbers
    cycles: int = 1  # number of times that the stages with `in_cycle` are run
    # Values written into the exported model: buffers of the network by name, and the recommended
    # `saturation` and `render_factor`
    export: dict[str, float] = field(default_factory=dict)
    # Epochs after which a model is exported beside the last one
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

    @property
    def image_side(self) -> int:
        """Short side, px, of images whose smallest crops fill the largest stage."""
        scale = 1.0 if self.data.squeeze else self.data.crop_scale[0]
        return round(max(stage.side for stage in self.stages) / scale)

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
