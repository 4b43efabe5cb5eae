"""Every recipe of the package overfits 8 images with its own losses, critic and stages.

Networks and critics are narrow, sides small, learning rates high and steps few, so that each takes
seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from napari_colorize_training.data import ImageCache
from napari_colorize_training.models import backbones
from napari_colorize_training.recipe import parse_recipe, read_recipe, recipe_names
from napari_colorize_training.recipe_parsing import set_value
from tiny_training import cached, figures_on_training, run, small_features

IMAGES = 8


@dataclass(frozen=True)
class Small:
    """Values of a recipe in its test.

    Parameters
    ----------
    steps : tuple of int
        Steps of each stage.
    lr : float
        Learning rate of stages with content loss only.
    side : int
        Side of stages without a critic, px.
    critic_side : int
        Side of stages with a critic, px; most critics need 64.
    batch_norm : str, optional
        Mode of all stages; the recipe's mode would freeze statistics of a random encoder.
    changes : dict
        Other values, by dotted name.
    """

    steps: tuple[int, ...]
    lr: float = 3e-3
    side: int = 32
    critic_side: int = 64
    batch_norm: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)


ENCODER = {"encoder": "resnet18-layer3", "width": 0.125}
DEEP = {
    "network.architecture": "deoldify-other",
    "network.options": {**ENCODER, "kind": "deep"},
}
WIDE = {**DEEP, "network.options": {**ENCODER, "kind": "wide"}}
IPOL = {**WIDE, "network.architecture": "ipol-other"}
CRITIC = {"critic.options": {"width": 8}}
PATCH = {"critic.options": {"field": 16, "width": 8}}
SAGAN = {f"stages.{number}.lr": lr for number, lr in enumerate((1e-3, 2e-3, 2e-3, 1e-3))}
CONVNET = {"network.options": {"widths": [16, 16, 32, 32, 32, 32]}}
SMALL = {
    "compact": Small(
        (5, 80, 15, 5),
        batch_norm="frozen",
        changes={"export.vividness": 1.0},  # overfitted colors need no increase
    ),
    "embedded": Small(
        (65, 90, 60),
        batch_norm="frozen",
        # Overfitted colors need neither an increase nor smoothing.
        changes={"export.vividness": 1.0, "export.chroma_power": 1.0, "export.smoothing": 0.0},
    ),
    "deoldify-artistic": Small((120, 80, 30, 15, 2, 2, 2), changes={**DEEP, **CRITIC}),
    "deoldify-stable": Small((60, 30, 15, 5, 2, 2, 2), changes={**WIDE, **CRITIC}),
    "deoldify-video": Small((60, 30, 10, 5, 5, 2, 2, 2), changes={**WIDE, **CRITIC}),
    "ipol": Small((30, 20, 20, 10), changes=IPOL),
    "sagan-progressive": Small((20, 20, 20, 10), changes={**DEEP, **SAGAN, **CRITIC}),
    "pix2pix": Small(
        (200,),
        changes={
            "network.options": {"dropout": 0.5, "width": 8, "downs": 6},
            "stages.0.lr": 2e-3,
            **PATCH,
        },
    ),
    "resnet18-unet": Small(
        (45, 10),
        changes={"network.options": {"depth": "layer3", "widths": [32, 16, 8]}, **PATCH},
    ),
    "zhang2016": Small((200,), changes={"network.options": {"width": 8}}),
    "convnet-baseline": Small((200,), changes=CONVNET),
    "convnet-gan": Small(
        (200, 20), critic_side=32, changes={**CONVNET, "critic.options": {"widths": [8, 8, 16]}}
    ),
    "dcgan-unet": Small(
        (100, 10), changes={"network.options": {"widths": [8, 16, 16, 32]}, **CRITIC}
    ),
    "explo-baseline": Small(
        (900, 2), 2e-3, changes={"network.options": {"width": 16}, "critic.options": {"side": 92}}
    ),
    "lab-autoencoder": Small((150,), changes={"network.options": {"widths": [8, 16, 16, 32]}}),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    cache = cached(tmp_path_factory.mktemp("eight"), IMAGES + 1)
    assert len(ImageCache(cache, validation=False)) == IMAGES
    return cache


def small_recipe(name: str):
    table, small = read_recipe(name).to_dict(), SMALL[name]
    table["stages"] = list(table["stages"])
    for stage, steps in zip(table["stages"], small.steps, strict=True):
        side = small.side if stage["train"] == "generator" else small.critic_side
        stage |= {"side": side, "batch": min(stage["batch"], IMAGES), "steps": steps}
        if stage["train"] == "generator":
            stage |= {"lr": small.lr, "encoder_lr": None}
        if small.batch_norm:
            stage["batch_norm"] = small.batch_norm
    data = {
        "crop_scale": [1.0, 1.0],
        "horizontal_flip": False,
        "augment": "none",
        "degrade": "none",
    }
    changes = {f"data.{key}": value for key, value in data.items()} | small.changes
    for place, value in changes.items():
        set_value(table, place, value)
    return parse_recipe(table)


SLOW = {  # more than some seconds
    *("deoldify-artistic", "deoldify-stable", "deoldify-video", "sagan-progressive"),
    *("explo-baseline", "pix2pix", "convnet-gan", "zhang2016", "compact", "ipol"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in recipe_names()
    ],
)
def test_a_recipe_overfits_eight_images(name, images, tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "feature_network", small_features)

    model = run(small_recipe(name), tmp_path, images)

    figures = figures_on_training(model, images, SMALL[name].side)
    assert figures.uv < figures.uv_gray / 4
