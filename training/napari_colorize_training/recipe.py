"""What a recipe is: a TOML file that says what is trained, on what, how and for how long."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from napari_colorize.errors import SettingsError
from napari_colorize_training.schedule import COURSES

Trained = Literal["generator", "critic", "gan"]
SUFFIX = ".toml"
SCHEDULES = (*COURSES, "plateau")
SMALLEST_SIDE = 16  # px


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    """Which network, and what it begins with.

    Parameters
    ----------
    architecture : str
        A name of `ARCHITECTURES`.
    encoder : str
        The published encoder it begins with, by torchvision's name; "none" for random weights.
    input : {"gray", "edges"}
        What the network sees.
    target : {"", "ab", "rgb"}
        "rgb" takes the variant of an architecture that gives RGB; only `lab-autoencoder` has one.
    options : dict
        For the architecture's `create`.
    """

    architecture: str
    encoder: str = "none"
    input: Literal["gray", "edges"] = "gray"
    target: Literal["", "ab", "rgb"] = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """What is done to pictures before the network sees them.

    Parameters
    ----------
    shrink : tuple of float
        Sides of the square crops as a share of the picture's short side, drawn between these.
    mirror : bool
        Whether half of the crops are mirrored.
    augment : {"none", "photographs", "stains"}
        Changes to gray and colour alike, for small sets.
    degrade : {"none", "tone-and-grain", "old-photograph"}
        Damage to the gray alone.
    validate_degraded : bool
        Whether validation shows the network such gray as well; always the same damage.
    group : str
        What must stay on one side of the split: "" each picture by itself, "folder", or a regular
        expression on the file's name.
    """

    shrink: tuple[float, float] = (0.65, 1.0)
    mirror: bool = True
    augment: Literal["none", "photographs", "stains"] = "none"
    degrade: Literal["none", "tone-and-grain", "old-photograph"] = "none"
    validate_degraded: bool = False
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class OptimizerPlan:
    """How weights move.

    Parameters
    ----------
    name : {"adamw", "adam"}
        AdamW takes weight decay out of the gradient.
    lr : float
        Peak rate of a stage that names none.
    betas : tuple of float
        Of Adam.
    cyclic_momentum : bool
        Let beta1 fall from 0.95 to 0.85 while the rate rises, and rise again.
    weight_decay : float
        As the optimizer understands it.
    clip : float
        Largest norm of the gradient; 0 for no limit.
    average : float
        Decay per step of a moving average of the weights, which is what is kept; 0 for none.
    lora : int
        Rank of additions to the weights that learn in their place (Hu et al. 2021); 0 for none.
    """

    name: Literal["adamw", "adam"] = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    cyclic_momentum: bool = False
    weight_decay: float = 0.0
    clip: float = 0.0
    average: float = 0.0
    lora: int = 0


@dataclass(frozen=True, kw_only=True)
class ClassPlan:
    """How colour classes are told, weighed against each other and against plain regression.

    Parameters
    ----------
    coding : {"bilinear", "gaussian"}
        Shares of the four grid points around a colour, or Zhang's Gaussian over the nearest.
    weighing : {"power", "mixture"}
        Inverse frequency to the power `rebalance`, or Zhang's mixture with a uniform prior whose
        share is `rebalance`.
    rebalance : float
        0 common colours decide, 1 rare ones do.
    heaviest : float
        No class weighs more than about this many average ones ("power" only).
    regression : float
        Weight of the smooth L1 distance of the expected colour.
    every : int
        Only one pixel in so many, along both axes, is compared, drawn anew in each step;
        neighbours say nearly the same. Stages that look at whole pictures compare all.
    """

    coding: Literal["bilinear", "gaussian"] = "bilinear"
    weighing: Literal["power", "mixture"] = "power"
    rebalance: float = 0.4
    heaviest: float = 8.0
    regression: float = 0.0
    every: int = 1


@dataclass(frozen=True, kw_only=True)
class LossPlan:
    """What the generator's output is compared with, critics aside.

    Parameters
    ----------
    pixel : {"l1", "l2", "smooth-l1", "classes"}
        Distance of the output from the truth, in the network's own space and unit.
    weight : float
        Factor on it.
    sampling : {"mean", "point"}
        The truth for a network whose output is smaller: mean over each pixel's area, or its first.
    features : tuple of float
        Weights of the feature loss's layers, IPOL review eq. (7); empty for none.
    feature_norm : {"l1", "l2"}
        Its distance.
    feature_network : str
        The network whose features are compared, by torchvision's name.
    noise : float
        lambda_noise of eq. (9); counts in the stages that ask for it.
    noise_probability : tuple of float
        p of eq. (8) is drawn between these for each picture.
    noise_amplitude : float
        a of eq. (8); gray spans 0 to 1.
    colorfulness : float
        Weight of a term that rewards colour.
    classes : ClassPlan
        For `pixel = "classes"`.
    """

    pixel: Literal["l1", "l2", "smooth-l1", "classes"] = "l1"
    weight: float = 1.0
    sampling: Literal["mean", "point"] = "mean"
    features: tuple[float, ...] = ()
    feature_norm: Literal["l1", "l2"] = "l1"
    feature_network: str = "vgg16_bn"
    noise: float = 0.0
    noise_probability: tuple[float, float] = (0.001, 0.4)
    noise_amplitude: float = 30 / 255
    colorfulness: float = 0.0
    classes: ClassPlan = field(default_factory=ClassPlan)


@dataclass(frozen=True, kw_only=True)
class CriticPlan:
    """The network that tells photographs from colorized ones.

    Parameters
    ----------
    name : str
        Of `critics.build_critic`.
    options : dict
        For it.
    maps : int
        How many of the feature network's maps the critic "features" judges.
    loss : {"bce", "hinge"}
        Of critic and generator.
    smoothing : float
        What is missing to 1 in the label of photographs (one-sided).
    saturating : bool
        Goodfellow's first cost log(1 - D(G)) instead of -log D(G).
    conditional : bool
        Whether it sees the gray beside the colours.
    lr, betas, weight_decay : float, tuple of float, float
        Of its optimizer, unless a stage names a rate.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    maps: int = 3
    loss: Literal["bce", "hinge"] = "bce"
    smoothing: float = 0.0
    saturating: bool = False
    conditional: bool = True
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One size of picture for so long, with one course of the rate.

    Parameters
    ----------
    train : {"generator", "critic", "gan"}
        What learns: the generator from its content loss; the critic alone, from a generator that
        stands still; or both against each other.
    side, batch : int
        Of the square crops, px, and how many at a time (over all processes).
    epochs : float
        How often all pictures are seen; `steps`, if given, counts instead.
    lr, encoder_lr : float, optional
        Peak rates of the last and the first group of layers, spread geometrically between;
        `lr` is the critic's in a stage that trains only it.
    critic_lr : float, optional
        Of the critic in a "gan" stage.
    betas : tuple of float, optional
        Of the generator's optimizer, in this stage.
    schedule : str
        A course of `schedule.rate_at`; or "plateau", which cuts the rate to a tenth when the
        validation measure no longer falls.
    warmup : float
        Share of the steps in which the rate rises.
    unfrozen : {"all", "later", "decoder", "head", "gradual"}
        Which layers learn; "later" are all but the first group.
    norm_statistics : {"frozen", "move", "learn", "kept"}
        What batch norms do whose layers do not learn; see `adapt.Statistics`.
    content_weight, gan_weight : float
        Of the content loss and the critic's opinion, in a "gan" stage.
    critic_until : float, optional
        The critic alone learns, batch by batch, until its loss is below this; then the generator
        has its turn for one batch. Without it both learn from every batch.
    noise : bool
        Whether the noise consistency of eq. (9) counts.
    features : bool
        Whether the feature loss counts, if the recipe has one.
    keep_every : int
        Steps between checkpoints among which the best is kept; 0 keeps what comes last.
    patience : int
        Checkpoints in a row that may fail to be the best one before the stage ends; 0 for no end.
    cycled : bool
        Whether the stage belongs to what is repeated `cycles` times.
    """

    train: Trained = "generator"
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
    unfrozen: Literal["all", "later", "decoder", "head", "gradual"] = "all"
    norm_statistics: Literal["frozen", "move", "learn", "kept"] = "frozen"
    content_weight: float = 1.0
    gan_weight: float = 1.0
    critic_until: float | None = None
    noise: bool = False
    features: bool = True
    keep_every: int = 0
    patience: int = 0
    cycled: bool = False

    def __post_init__(self) -> None:
        if self.side < SMALLEST_SIDE or self.batch < 1:
            raise SettingsError(
                f"A stage has a side of {SMALLEST_SIDE} px and a batch of 1 at least; got "
                f"{self.side} px and {self.batch}."
            )
        if not self.epochs > 0 or (self.steps is not None and self.steps < 1):
            raise SettingsError(
                f"A stage must last: give epochs above 0 or 1 step at least, not {self.epochs:g} "
                f"epochs and {self.steps} steps."
            )
        if self.schedule not in SCHEDULES:
            raise SettingsError(
                f"No schedule is called {self.schedule!r}. Choose one of: {', '.join(SCHEDULES)}."
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a training run depends on, data and machine aside.

    Parameters
    ----------
    name, title, source, license : str
        What it is called, says, stands on, and what its model may be used for.
    settles : str
        Where text and code of the source contradict each other: what this recipe does.
    cycles : int
        How often the stages that are `cycled` run.
    shown : dict
        Numbers that are put into the finished model: buffers of the network by name, and
        `saturation` and `render_factor` that it recommends.
    snapshots : tuple of float
        Epochs after which a model is written beside the last one.
    """

    name: str
    title: str
    source: str
    license: str = "BSD-3-Clause"
    settles: str = ""
    seed: int = 0
    cycles: int = 1
    shown: dict[str, float] = field(default_factory=dict)
    snapshots: tuple[float, ...] = ()
    network: NetworkPlan
    data: DataPlan = field(default_factory=DataPlan)
    optimizer: OptimizerPlan = field(default_factory=OptimizerPlan)
    loss: LossPlan = field(default_factory=LossPlan)
    critic: CriticPlan | None = None
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise SettingsError(f"The recipe {self.name!r} has no stages; it needs at least one.")
        needs_critic = any(stage.train != "generator" for stage in self.stages)
        if needs_critic and self.critic is None:
            raise SettingsError(
                f"The recipe {self.name!r} has stages with a critic, but no table [critic]."
            )

    def schedule(self) -> Iterator[Stage]:
        """The stages in the order they run, cycles unrolled."""
        once = [stage for stage in self.stages if not stage.cycled]
        yield from once
        for _ in range(self.cycles):
            yield from (stage for stage in self.stages if stage.cycled)

    def as_table(self) -> dict[str, Any]:
        """All of it as plain dicts, lists and numbers."""
        return asdict(self)


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("napari_colorize_training") / "recipes"
    names = (item.name for item in folder.iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def read_recipe(name_or_path: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by its name, or from a file.

    Parameters
    ----------
    name_or_path : str
        A name of `recipe_names`, or a TOML file.
    changes : mapping of str to value, optional
        Values to put in place of the recipe's, by dotted name: `{"optimizer.lr": 1e-4}`,
        `{"stages.0.side": 96}`.

    Raises
    ------
    FileNotFoundError
        If it is neither; the message lists the names.
    SettingsError
        If the file or a change says something that recipes do not have.
    """
    known = resources.files("napari_colorize_training") / "recipes" / f"{name_or_path}{SUFFIX}"
    source = known if known.is_file() else Path(name_or_path)
    if not source.is_file():
        raise FileNotFoundError(
            f"No recipe is called {name_or_path!r}. Choose one of: {', '.join(recipe_names())}; "
            "or give a TOML file."
        )
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source} is no TOML file: {error}.") from error
    for name, value in (changes or {}).items():
        put(table, name, value)
    return recipe_from(table)


def recipe_from(table: Mapping[str, Any]) -> Recipe:
    """A recipe from its table, as TOML or `Recipe.as_table` has it; SettingsError if it is none."""
    recipe: Recipe = _build(Recipe, table, "")
    return recipe


def parse_change(text: str) -> tuple[str, Any]:
    """`"optimizer.lr=1e-4"` as a name and a value; values are written as in TOML, or are words.

    Raises
    ------
    SettingsError
        If there is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(f"{text!r} is no change; write NAME=VALUE, as optimizer.lr=1e-4.")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def put(table: Any, name: str, value: Any) -> None:
    """Replace a value of a recipe's table by its dotted name; SettingsError if that cannot be."""
    *path, last = name.split(".")
    for part in path:
        table = _item(table, part, name) if isinstance(table, list) else table.setdefault(part, {})
        if not isinstance(table, dict | list):
            raise SettingsError(f"{name!r} cannot be set: {part!r} is a value, not a table.")
    if isinstance(table, list):
        _item(table, last, name)
        table[int(last)] = value
    else:
        table[last] = value


def _item(items: list[Any], number: str, name: str) -> Any:
    if not number.isdigit() or int(number) >= len(items):
        raise SettingsError(f"{name!r} cannot be set: {number!r} is none of 0 to {len(items) - 1}.")
    return items[int(number)]


def _build(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    """An instance of a dataclass, its tables in turn; unknown and missing names are refused."""
    if not isinstance(table, Mapping):
        raise SettingsError(f"The recipe's {where.rstrip('.') or 'text'} must be a table.")
    known = {item.name: item for item in fields(kind)}
    for name in table:
        if name not in known:
            raise SettingsError(
                f"Recipes have no {where}{name}. What stands there is: {', '.join(known)}."
            )
    required = [
        name
        for name, item in known.items()
        if item.default is MISSING and item.default_factory is MISSING and name not in table
    ]
    if required:
        raise SettingsError(f"The recipe lacks {where}{required[0]}.")
    types = get_type_hints(kind)
    return kind(**{k: _value(types[k], v, f"{where}{k}") for k, v in table.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    """A value of TOML as the field's type; SettingsError if it is of another."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        choices = [choice for choice in get_args(kind) if choice is not type(None)]
        return None if value is None else _value(choices[0], value, where)
    if is_dataclass(kind):
        return _build(kind, value, f"{where}.")
    if origin is tuple:
        inner, *rest = get_args(kind)
        length = None if rest == [Ellipsis] else 1 + len(rest)
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            many = f"{length} values" if length else "values"
            raise SettingsError(f"{where} must be a list of {many}, not {value!r}.")
        return tuple(_value(inner, item, f"{where}.{n}") for n, item in enumerate(value))
    if origin is Literal:
        if value not in get_args(kind):
            choices_text = ", ".join(map(str, get_args(kind)))
            raise SettingsError(f"{where} is {value!r}; choose one of: {choices_text}.")
        return value
    if origin is dict:
        if not isinstance(value, dict):
            raise SettingsError(f"{where} must be a table, not {value!r}.")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SettingsError(f"{where} must be of type {kind.__name__}, not {value!r}.")
    return value
