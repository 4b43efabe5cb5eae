"""What tests of training share: pictures whose colours can be learned, small recipes, runs."""

from __future__ import annotations

import csv
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from napari_colorize_training.data import Crops, ImageCache, prepare
from napari_colorize_training.data.batch import prepare_batch
from napari_colorize_training.loop import engine
from napari_colorize_training.loop.engine import RunOptions, Trainer
from napari_colorize_training.loop.objective import GeneratorWrapper
from napari_colorize_training.loop.validation import ValidationFigures, measure
from napari_colorize_training.models.backbones import FeatureNetwork
from napari_colorize_training.recipe import DataPlan, Recipe, recipe_from
from PIL import Image
from torch import nn

from napari_colorize.imaging.color import yuv_to_rgb
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo.build import build
from napari_colorize.zoo.weights import read_weights

PICTURE_SIDE = 64  # px
TIMES = ("time", "seconds", "pictures_per_second", "waiting")  # columns of a clock


def draw_pictures(folder: Path, count: int = 9, side: int = PICTURE_SIDE) -> Path:
    """PNG files with soft shapes, whose colour follows from how bright they are."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(60, 196, (3, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        rgb = in_color(np.asarray(smooth, np.float32) / 255)
        Image.fromarray(np.rint(rgb * 255).clip(0, 255).astype(np.uint8)).save(
            folder / f"{number}.png"
        )
    return folder


def in_color(gray: np.ndarray) -> np.ndarray:
    """Gray (Y, X) in colours that go half round the circle while it grows from 0.2 to 0.8."""
    angle = np.pi * (gray - 0.2) / 0.6
    yuv = np.stack([gray, 0.14 * np.cos(angle), 0.14 * np.sin(angle)], axis=-1)
    return yuv_to_rgb(torch.from_numpy(yuv.astype(np.float32))).numpy()


def cached(folder: Path, count: int = 9, side: int = PICTURE_SIDE) -> Path:
    """Such pictures, prepared for training."""
    prepare(draw_pictures(folder / "pictures", count, side), folder / "cache")
    return folder / "cache"


def tiny_table(**stage: Any) -> dict[str, Any]:
    """A recipe's table that trains in a second: a small autoencoder, one stage."""
    return {
        "name": "tiny",
        "title": "A small autoencoder",
        "source": "A test",
        "network": {"architecture": "lab-autoencoder", "options": {"widths": [8, 8, 8, 8]}},
        "data": {"shrink": [0.8, 1.0]},
        "optimizer": {"lr": 3e-3},
        "loss": {"pixel": "l2"},
        "stages": [{"side": 32, "batch": 4, "steps": 12, **stage}],
    }


def tiny(**stage: Any) -> Recipe:
    """The recipe of `tiny_table`."""
    return recipe_from(tiny_table(**stage))


def eventful_table(first: int = 40, second: int = 20) -> dict[str, Any]:
    """One in which everything moves that a state must keep: average, critic, turns, the best."""
    table = tiny_table(steps=first, keep_every=25)
    game = {"train": "gan", "side": 32, "batch": 4, "steps": second, "keep_every": 25}
    return table | {
        "data": {"augment": "photographs", "degrade": "old-photograph"},
        "optimizer": {"lr": 3e-3, "average": 0.9},
        "loss": {"pixel": "l2", "noise": 0.1},
        "critic": {"name": "sagan", "options": {"width": 8}},
        "stages": [
            *table["stages"],
            {**game, "side": 64, "critic_until": 0.69, "noise": True, "schedule": "plateau"},
        ],
    }


def to_toml(table: dict[str, Any], file: Path) -> Path:
    """A recipe's table as the file that a user would write."""
    names = [name for name, value in table.items() if name != "stages"]
    lines = [f"{name} = {_inline(table[name])}" for name in names]
    for stage in table["stages"]:
        lines += ["[[stages]]", *(f"{name} = {_inline(stage[name])}" for name in stage)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def command(recipe: Path, folder: Path, *more: str) -> list[str]:
    """The command line that trains on `folder/pictures` and keeps what it makes in `folder`."""
    paths = [
        str(folder / "pictures"),
        "--run-folder",
        str(folder / "run"),
        "--cache",
        str(folder / "cache"),
    ]
    usual = ["--precision", "float32", "--encoder", "none", "--save-every", "0"]
    return ["-m", "napari_colorize_training", "train", str(recipe), *paths, *usual, *more]


def environment() -> dict[str, str]:
    """Of a child process that computes as this one does."""
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def log_quickly(monkeypatch: Any, *, every: int = 2, validate_every: int = 4) -> None:
    """Let an engine of this process look at what it does more often than at 25 steps."""
    monkeypatch.setattr(engine, "LOG_EVERY", every)
    monkeypatch.setattr(engine, "VALIDATE_EVERY", validate_every)


def run(recipe: Recipe, folder: Path, cache: Path, **options: Any) -> Path | None:
    """Train to the end; the model's path."""
    return Trainer(recipe, options_of(folder, cache, **options)).train()


def options_of(folder: Path, cache: Path, **options: Any) -> RunOptions:
    """In float32 and without published weights, whatever the machine."""
    common = {"precision": "float32", "untrained": True}
    return RunOptions(folder=folder, cache=cache, **{**common, **options})


def log_of(folder: Path) -> list[dict[str, str]]:
    """The lines of a run's log, but for what a clock says."""
    with (folder / "log.csv").open() as file:
        lines = list(csv.DictReader(file))
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def figures_on_training(model: Path, cache: Path, side: int) -> ValidationFigures:
    """How a finished model does on the very pictures it was trained on."""
    weights = read_weights(model)
    architecture = ARCHITECTURES[weights.metadata["architecture"]]
    network = build(architecture, weights.state).float().eval()
    pictures = ImageCache(cache, validation=False)
    crops = Crops(pictures, side=side, batch=len(pictures), shrink=(1, 1), seed=0, mirror=False)
    whole = prepare_batch(crops.at(0), DataPlan(), torch.device("cpu"), training=False)
    return measure(GeneratorWrapper(network, architecture, classes=False), [whole])


def small_features(*_: Any, layers: int = 3, **__: Any) -> FeatureNetwork:
    """In place of VGG: three random convolutions, each half the size of the one before."""
    torch.manual_seed(0)
    widths = [3, 8, 16, 16][: layers + 1]
    parts = [
        nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())
        for a, b in pairwise(widths)
    ]
    return FeatureNetwork(parts, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="small")
