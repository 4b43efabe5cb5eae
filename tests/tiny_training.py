"""Shared helpers of training tests: easily learned images, small recipes, and runs."""

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
from napari_colorize_training.loop import checkpoint_selection, run_log
from napari_colorize_training.loop.content_loss import GeneratorWrapper
from napari_colorize_training.loop.engine import Trainer
from napari_colorize_training.loop.options import RunOptions
from napari_colorize_training.loop.validation import ValidationFigures, measure
from napari_colorize_training.models.backbones import FeatureNetwork
from napari_colorize_training.recipe import DataConfig, Recipe, parse_recipe
from PIL import Image
from torch import nn

from napari_colorize.imaging.color import yuv_to_rgb
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo.weights import build, read_weights

IMAGE_SIDE = 64  # px
TIMES = ("time", "seconds", "images_per_second", "waiting")  # columns that depend on time


def draw_images(folder: Path, count: int = 9, side: int = IMAGE_SIDE, seed: int = 0) -> Path:
    """Write PNG files with smooth shapes whose color is a function of gray."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        coarse = random.integers(60, 196, (3, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        rgb = in_color(np.asarray(smooth, np.float32) / 255)
        Image.fromarray(np.rint(rgb * 255).clip(0, 255).astype(np.uint8)).save(
            folder / f"{number}.png"
        )
    return folder


def in_color(gray: np.ndarray) -> np.ndarray:
    """Return gray (Y, X) with hues over half the circle, for gray from 0.2 to 0.8."""
    angle = np.pi * (gray - 0.2) / 0.6
    yuv = np.stack([gray, 0.14 * np.cos(angle), 0.14 * np.sin(angle)], axis=-1)
    return yuv_to_rgb(torch.from_numpy(yuv.astype(np.float32))).numpy()


def cached(folder: Path, count: int = 9, side: int = IMAGE_SIDE) -> Path:
    """Return a cache of such images."""
    prepare(draw_images(folder / "images", count, side), folder / "cache")
    return folder / "cache"


def tiny_table(**stage: Any) -> dict[str, Any]:
    """Return a recipe's table that trains in a second: a small autoencoder, one stage."""
    return {
        "name": "tiny",
        "title": "A small autoencoder",
        "source": "A test",
        "network": {"architecture": "lab-autoencoder", "options": {"widths": [8, 8, 8, 8]}},
        "data": {"crop_scale": [0.8, 1.0]},
        "optimizer": {"lr": 3e-3},
        "loss": {"pixel": "l2"},
        "stages": [{"side": 32, "batch": 4, "steps": 12, **stage}],
    }


def tiny(**stage: Any) -> Recipe:
    """Return the recipe of `tiny_table`."""
    return parse_recipe(tiny_table(**stage))


def eventful_table(first: int = 40, second: int = 20) -> dict[str, Any]:
    """Return a table in which all parts of the state change: EMA, critic, turn, best."""
    table = tiny_table(steps=first, checkpoint_every=25)
    adversarial = {"train": "gan", "side": 32, "batch": 4, "steps": second, "checkpoint_every": 25}
    return table | {
        "data": {"augment": "photographs", "degrade": "old-photograph"},
        "optimizer": {"lr": 3e-3, "ema_decay": 0.9},
        "loss": {"pixel": "l2", "noise_weight": 0.1},
        "critic": {"name": "sagan", "options": {"width": 8}},
        "stages": [
            *table["stages"],
            {
                **adversarial,
                "side": 64,
                "critic_loss_threshold": 0.69,
                "noise_consistency": True,
                "schedule": "plateau",
            },
        ],
    }


def to_toml(table: dict[str, Any], file: Path) -> Path:
    """Write a recipe's table as a TOML file."""
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
    """Return the command line that trains on `folder/images` and writes to `folder`."""
    paths = [
        str(folder / "images"),
        "--run-folder",
        str(folder / "run"),
        "--cache",
        str(folder / "cache"),
    ]
    usual = ["--precision", "float32", "--encoder", "none", "--save-every", "0"]
    return ["-m", "napari_colorize_training", "train", str(recipe), *paths, *usual, *more]


def environment() -> dict[str, str]:
    """Return the environment of a child process with the threads of this one."""
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def log_quickly(monkeypatch: Any, *, every: int = 2, validate_every: int = 4) -> None:
    """Log and validate more often than every 25 steps."""
    monkeypatch.setattr(run_log, "LOG_EVERY", every)
    monkeypatch.setattr(checkpoint_selection, "VALIDATE_EVERY", validate_every)


def run(recipe: Recipe, folder: Path, cache: Path, **options: Any) -> Path | None:
    """Train to the end; returns the model's path."""
    return Trainer(recipe, options_of(folder, cache, **options)).train()


def options_of(folder: Path, cache: Path, **options: Any) -> RunOptions:
    """Return options with float32 and random weights."""
    common = {"precision": "float32", "untrained": True}
    return RunOptions(folder=folder, cache=cache, **{**common, **options})


def log_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a run's log without columns that depend on time."""
    with (folder / "log.csv").open() as file:
        lines = list(csv.DictReader(file))
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def figures_on_training(model: Path, cache: Path, side: int) -> ValidationFigures:
    """Return the figures of a trained model on its training images."""
    weights = read_weights(model)
    architecture = ARCHITECTURES[weights.metadata["architecture"]]
    network = build(architecture, weights.state).float().eval()
    images = ImageCache(cache, validation=False)
    crops = Crops(
        images, side=side, batch=len(images), crop_scale=(1, 1), seed=0, horizontal_flip=False
    )
    data = prepare_batch(crops.at(0), DataConfig(), torch.device("cpu"), training=False)
    return measure(GeneratorWrapper(network, architecture, classes=False), [data])


def small_features(*_: Any, layers: int = 3, **__: Any) -> FeatureNetwork:
    """Return a replacement of VGG: three random convolutions, each of which halves the size."""
    torch.manual_seed(0)
    widths = [3, 8, 16, 16][: layers + 1]
    parts = [
        nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())
        for a, b in pairwise(widths)
    ]
    return FeatureNetwork(parts, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="small")
