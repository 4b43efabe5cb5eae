"""A model of the zoo, made better on pictures of one's own; or an honest word that it was not.

`finetune` checks the pictures, chooses a recipe by their number, trains from the base model until
validation stops improving, keeps the best checkpoint (the base itself is one of them), measures
base and result on pictures that were held back, and writes the model with its card beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.colorizer import Colorizer
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo import load
from napari_colorize.zoo.build import build
from napari_colorize_training.card import Card, write_card
from napari_colorize_training.data import Photographs, Report, prepare
from napari_colorize_training.engine import RunOptions, Trainer
from napari_colorize_training.evaluate import Score, quick_score
from napari_colorize_training.export import copy_model
from napari_colorize_training.progress import Control, Progress, Silent
from napari_colorize_training.recipe import Recipe, put, recipe_from
from napari_colorize_training.report import sample_sheet

if TYPE_CHECKING:
    from torch import nn

    from napari_colorize.networks import Architecture
    from napari_colorize.zoo import Checkpoint

HELD_BACK = 0.2  # of the pictures; the same for all sizes, so that a set can grow
MEASURED = 64  # validation pictures that base and result are measured on
SHOWN = 4  # of them on the card's sheet


@dataclass(frozen=True)
class Size:
    """Good defaults for a set of so many pictures.

    Parameters
    ----------
    pictures : int
        From this number on.
    steps : int
        At most; validation may end it sooner.
    lr : float
        Of everything that learns; the encoder's is a tenth.
    lora : int
        Rank of low-rank additions, where all weights would be too many for so few pictures.
    augment : str
        What is done to pictures.
    """

    pictures: int
    steps: int
    lr: float
    lora: int
    augment: str


SIZES = (
    Size(0, 600, 1e-3, 8, "photographs"),
    Size(60, 1200, 3e-4, 0, "photographs"),
    Size(600, 3000, 3e-4, 0, "none"),
)


@dataclass(frozen=True)
class FineTuned:
    """What came of it.

    Parameters
    ----------
    path : Path
        The model; every front end opens it.
    improved : bool
        Whether it is better than the base on the pictures held back.
    before, after : Score
        Of base and result, on those pictures.
    report : Report
        What was found in the data.
    sentence : str
        All of this in words.
    """

    path: Path
    improved: bool
    before: Score
    after: Score
    report: Report
    sentence: str


def finetune(
    images: Any,
    base: str | Path = "embedded",
    out: str | Path = "finetuned.safetensors",
    *,
    group: str | None = None,
    augment: str | None = None,
    degrade: str | None = None,
    steps: int | None = None,
    changes: Mapping[str, Any] | None = None,
    features: Path | None = None,
    run: Path | None = None,
    precision: str = "auto",
    progress: Progress | None = None,
    control: Control | None = None,
) -> FineTuned | None:
    """Fine-tune a model on colour pictures.

    Parameters
    ----------
    images : path, arrays, layers or mapping
        As `data.prepare` takes them.
    base : str or path
        A model's name or file.
    out : str or path
        Where the model goes (`.safetensors`); its card and a sheet of samples go beside it.
    group : str, optional
        What must stay on one side of the split: "folder", or a regular expression on names whose
        first group names the slide, bag or film.
    augment, degrade : str, optional
        Of the recipe's `data`; by default what suits the number of pictures.
    steps : int, optional
        At most.
    changes : mapping of str to value, optional
        Values of the recipe to replace, by dotted name.
    features : Path, optional
        A feature network's file, for the feature loss; without one there is none.
    run : Path, optional
        Folder for state and log; kept if given, else beside `out` while it is needed.
    precision : {"auto", "float32", "bfloat16"}
        What is computed in.
    progress, control : optional
        Who is told, and who may stop it.

    Returns
    -------
    FineTuned or None
        None if it was stopped; calling again goes on.

    Raises
    ------
    ColorizeError
        If the images, the base or the place to write to will not do.
    """
    out, progress = Path(out).with_suffix(".safetensors"), progress or Silent()
    folder = run or out.parent / f".{out.stem}-run"
    report = prepare(images, folder / "cache", group=group, validation_share=HELD_BACK)
    progress.tell("note", text=report.sentence())
    network, checkpoint = _open(base)
    recipe = recipe_for(
        checkpoint,
        len(Photographs(folder / "cache", validation=False)),
        augment=augment,
        degrade=degrade,
        features=features is not None,
        changes=changes,
    )
    options = RunOptions(
        folder=folder,
        cache=folder / "cache",
        features=features,
        base=network,
        base_name=checkpoint.name,
        steps=steps,
        precision=precision,
    )
    model = Trainer(recipe, options, progress, control).train()
    if model is None:
        return None
    result = _judge(model, base, folder / "cache", report, recipe, out)
    progress.tell("note", text=result.sentence)
    if run is None:
        shutil.rmtree(folder)
    return result


def recipe_for(
    checkpoint: Checkpoint,
    pictures: int,
    *,
    augment: str | None = None,
    degrade: str | None = None,
    features: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe for a base model and so many pictures to train on."""
    size = next(size for size in reversed(SIZES) if pictures >= size.pictures)
    batch = min(24, max(4, pictures // 4))
    table: dict[str, Any] = {
        "name": f"finetune-{checkpoint.name}",
        "title": f"{checkpoint.name}, fine-tuned on {pictures} pictures",
        "source": f"napari-colorize; base model {checkpoint.name}",
        "license": checkpoint.license,
        "shown": {"render_factor": checkpoint.render_factor, "saturation": checkpoint.saturation},
        "network": {"architecture": checkpoint.architecture},
        "data": {
            "augment": augment or size.augment,
            "degrade": degrade or "none",
            "shrink": [0.6, 1.0],
        },
        "optimiser": {
            "lr": size.lr,
            "weight_decay": 0.01,
            "clip": 5.0,
            "average": 0.99,
            "lora": size.lora,
        },
        "loss": _loss_for(checkpoint.architecture, features=features),
        "stages": [
            {
                "side": 128,
                "batch": batch,
                "steps": size.steps,
                "encoder_lr": size.lr / 10,
                "schedule": "linear-cosine",
                "warmup": 0.05,
                "norm_statistics": "kept",
                "keep_every": 50,
                "patience": 8,
            }
        ],
    }
    for name, value in (changes or {}).items():
        put(table, name, value)
    return recipe_from(table)


def _loss_for(architecture: str, *, features: bool) -> dict[str, Any]:
    """Colour classes where the network tells them; the plain distance for all others."""
    if architecture == "compact":
        return {"pixel": "classes", "classes": {"rebalance": 0.25, "regression": 10.0}}
    return {"pixel": "l1", **({"features": [20, 70, 10]} if features else {})}


def _open(base: str | Path) -> tuple[tuple[nn.Module, Architecture], Checkpoint]:
    """A model of the zoo as it was trained: nothing fused, everything learns."""
    checkpoint, weights = load(base)
    architecture = ARCHITECTURES[checkpoint.architecture]
    return (build(architecture, weights.state).requires_grad_(True), architecture), checkpoint


def _judge(
    model: Path, base: str | Path, cache: Path, report: Report, recipe: Recipe, out: Path
) -> FineTuned:
    """Measure base and result on what was held back; write the model, its card and its sheet."""
    held_back = Photographs(cache, validation=True)
    truths = [_pixels(held_back[index].rgb) for index in range(min(MEASURED, len(held_back)))]
    colorizers = Colorizer.from_pretrained(base), Colorizer.from_pretrained(model)
    before, after = (quick_score(colorizer, truths) for colorizer in colorizers)
    improved = after.ciede2000 < before.ciede2000
    path = copy_model(model, out)
    write_card(
        path,
        Card(
            recipe=recipe,
            base=str(base),
            report=report,
            trained_on=len(Photographs(cache, validation=False)),
            held_back=len(held_back),
            before=before,
            after=after,
        ),
        sample_sheet(colorizers[1], truths[:SHOWN]),
    )
    return FineTuned(path, improved, before, after, report, _sentence(path, before, after))


def _sentence(path: Path, before: Score, after: Score) -> str:
    figures = (
        f"on {after.pictures} pictures held back, CIEDE2000 {before.ciede2000:.2f} -> "
        f"{after.ciede2000:.2f} (gray {after.ciede2000_gray:.2f}), PSNR {before.psnr:.2f} -> "
        f"{after.psnr:.2f} dB, colourfulness {before.colorfulness:.2f} -> {after.colorfulness:.2f}"
    )
    if after.ciede2000 < before.ciede2000:
        return f"{path} is better than its base: {figures}."
    return (
        f"{path} is NOT better than its base: {figures}. Use the base, or give more pictures of "
        "the kind that you want to colorize."
    )


def _pixels(rgb: NDArray[Any]) -> NDArray[np.uint8]:
    """Cached colours as 8 bits; deeper ones lose what a screen does not show."""
    if rgb.dtype == np.uint8:
        return rgb
    top = np.iinfo(rgb.dtype).max if np.issubdtype(rgb.dtype, np.integer) else 1.0
    return np.rint(rgb.astype(np.float64) / top * 255).clip(0, 255).astype(np.uint8)
