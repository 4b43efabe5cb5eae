"""What a recipe is: a TOML file that says what is trained, on what, and how long."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One size of picture for so many steps, with a rate that rises and falls once."""

    side: int  # px, of the square crops that the network sees
    steps: int
    batch: int
    rate: float  # peak, for what starts untrained
    encoder_rate: float  # peak, for what starts pretrained
    warmup: float = 0.1  # share of the steps in which the rate rises


@dataclass(frozen=True, kw_only=True)
class ClassLoss:
    """How colour classes are weighed against each other, and against plain regression."""

    rebalance: float  # exponent of the inverse class frequency: 0 common colours, 1 rare ones
    heaviest: float  # no class weighs more than about this many average ones
    regression: float  # weight of the smooth L1 distance of the expected U and V


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a training run depends on, data and machine aside."""

    name: str
    architecture: str
    source: str
    license: str
    seed: int
    weight_decay: float
    average: float  # decay per step of the moving average of weights that is kept
    shrink: tuple[float, float]  # crop sides as a share of the picture's short side
    temperature: float  # of the softmax whose mean is the predicted colour, while training
    shown_temperature: float  # the same in the finished model; chosen on validation pictures
    loss: ClassLoss
    stages: tuple[Stage, ...] = field(default_factory=tuple)


def read_recipe(name_or_path: str) -> Recipe:
    """A recipe by its name, or from a file.

    Raises
    ------
    FileNotFoundError
        If it is neither; the message lists the names.
    """
    folder = resources.files("napari_colorize_training") / "recipes"
    known = folder / f"{name_or_path}.toml"
    source = known if known.is_file() else Path(name_or_path)
    if not source.is_file():
        names = sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml"))
        raise FileNotFoundError(
            f"No recipe is called {name_or_path!r}. Choose one of: "
            f"{', '.join(names)}; or give a file."
        )
    return _recipe(tomllib.loads(source.read_text(encoding="utf-8")))


def _recipe(table: dict[str, Any]) -> Recipe:
    loss = ClassLoss(**table.pop("loss"))
    stages = tuple(Stage(**stage) for stage in table.pop("stages"))
    shrink = tuple(table.pop("shrink"))
    return Recipe(loss=loss, stages=stages, shrink=shrink, **table)
