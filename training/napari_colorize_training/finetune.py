"""A model of the zoo, made better on pictures of one's own; or an honest word that it was not.

`finetune` checks the pictures, chooses a recipe by their number (`recipe_for`), trains from the
base model until validation stops improving, keeps the best checkpoint (the base itself is one of
them), measures base and result on the pictures that were held back (`_Exam`), and writes the model
with its card beside it (`card`).
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ColorizeWarning, SettingsError
from napari_colorize.zoo import load
from napari_colorize_training.data import CachedImage, ImageCache, Report, prepare
from napari_colorize_training.evaluation.evaluate import Score, evaluate, quick_score
from napari_colorize_training.evaluation.records import EvaluationConfig
from napari_colorize_training.evaluation.report import example_sheet, refuse_unwritable
from napari_colorize_training.loop.engine import RunOptions, Trainer
from napari_colorize_training.loop.initialize import open_base
from napari_colorize_training.loop.progress import NoProgress, ProgressReporter, RunControl, Stopped
from napari_colorize_training.model_card import FinetuneResult, write_card
from napari_colorize_training.models.export import copy_model
from napari_colorize_training.recipe import Recipe, put, recipe_from

if TYPE_CHECKING:
    from PIL import Image

    from napari_colorize.zoo import Checkpoint

Pixels = NDArray[np.uint8]

SUFFIX = ".safetensors"
VALIDATION_SHARE = 0.2  # of the pictures; the same for all sizes, so that a set can grow
MEASURED = 64  # of them at most that base and result are measured on
SHOWN = 4  # of these on the card's sheet
SIDE = 128  # px, of the crops
ADVICE = "Use the base, or give more pictures of the kind that you want to colorize."


@dataclass(frozen=True, kw_only=True)
class SizeDefaults:
    """Defaults for a number of images; the trials are in `docs/dev/fine-tuning-trials.md`.

    Parameters
    ----------
    pictures : int
        From this number of training pictures on.
    steps : int
        At most; validation may end it sooner.
    batch : int
        Crops in a step.
    lr : float
        Of everything that learns, but a tenth of it for the encoder.
    keep_every, patience : int
        Steps between checkpoints, and how many in a row may fail to be the best one.
    augment : str
        What is done to pictures.
    """

    pictures: int
    steps: int
    batch: int
    lr: float
    keep_every: int
    patience: int
    augment: str


SIZES = (
    SizeDefaults(
        pictures=0, steps=300, batch=8, lr=1e-3, keep_every=25, patience=5, augment="photographs"
    ),
    SizeDefaults(
        pictures=60, steps=400, batch=12, lr=1e-3, keep_every=25, patience=5, augment="none"
    ),
    SizeDefaults(
        pictures=600, steps=2000, batch=16, lr=2e-4, keep_every=50, patience=5, augment="none"
    ),
)


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
    run: str | Path | None = None,
    precision: str = "auto",
    progress: ProgressReporter | None = None,
    control: RunControl | None = None,
) -> FinetuneResult | None:
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
        What must stay on one side of the split (slide, bag, film); see `split.grouping`.
    augment, degrade : str, optional
        Of the recipe's `data`. By default pictures are augmented where they are few, and not
        degraded. With a degradation the figures are of degraded pictures, too.
    steps : int, optional
        At most.
    changes : mapping of str to value, optional
        Values of the recipe to replace, by dotted name.
    features : Path, optional
        A feature network's file, for the feature loss; without one there is none.
    run : str or path, optional
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
    ColorizeError, FileNotFoundError
        If the images, the base or the place to write to will not do.
    """
    progress, control = progress or NoProgress(), control or RunControl()
    out = _model_path(out)
    folder = out.parent / f".{out.stem}-run" if run is None else Path(run)
    checkpoint, _ = load(base)
    refuse_unwritable(out, out.with_suffix(".md"), out.with_suffix(".png"))
    cache = folder / "cache"
    reading = _Reading(progress, control)
    try:
        report = prepare(
            images, cache, group=group, validation_share=VALIDATION_SHARE, progress=reading
        )
    except Stopped:
        progress.report("stopped", step=0)
        return None
    progress.report("note", text=report.sentence())
    recipe = recipe_for(
        checkpoint,
        report.training,
        augment=augment,
        degrade=degrade,
        features=features is not None,
        changes=changes,
    )
    options = RunOptions(
        folder=folder,
        cache=cache,
        features=features,
        base=open_base(base),
        base_name=checkpoint.name,
        steps=steps,
        precision=precision,
    )
    trainer = Trainer(recipe, options, _Training(progress), control)
    model = trainer.train()
    if model is None:
        return None
    colorizers = Colorizer.from_pretrained(base), Colorizer.from_pretrained(model)
    exam = _BaseComparison(ImageCache(cache, validation=True), recipe.data.degrade)
    copy_model(model, out)
    kept_base = bool(trainer.best.state) and trainer.best.step == 0
    result = exam.judge(*colorizers, out, report, kept_base=kept_base)
    write_card(result, recipe, checkpoint, exam.sheet(*colorizers))
    _report(progress, result)
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
            "validate_degraded": True,
            "shrink": [0.6, 1.0],
        },
        "optimizer": {"lr": size.lr, "weight_decay": 0.01, "clip": 5.0, "average": 0.98},
        "loss": _loss_for(checkpoint.architecture, features=features),
        "stages": [
            {
                "side": SIDE,
                "batch": size.batch,
                "steps": size.steps,
                "encoder_lr": size.lr / 10,
                "warmup": 0.05,
                "norm_statistics": "kept",
                "keep_every": size.keep_every,
                "patience": size.patience,
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


def _model_path(out: str | Path) -> Path:
    """Where the model goes: front ends know it by the suffix."""
    out = Path(out).expanduser()
    if not out.name:
        raise SettingsError(f"{str(out)!r} is no file name; give one such as mymodel{SUFFIX}.")
    return out if out.suffix == SUFFIX else out.with_name(out.name + SUFFIX)


class _Reading:
    """Tells how many pictures are read, now and then, and may stop it."""

    def __init__(self, progress: ProgressReporter, control: RunControl) -> None:
        self._progress, self._control = progress, control

    def __call__(self, done: int, total: int) -> None:
        self._control.check()
        if done % max(1, total // 100) == 0:
            self._progress.report("reading", done=done, total=total)


class _Training:
    """Tells on what training tells, but for its end: the model is still to be judged."""

    def __init__(self, progress: ProgressReporter) -> None:
        self._progress = progress

    def report(self, event: str, **facts: Any) -> None:
        if event != "done":
            self._progress.report(event, **facts)


class _BaseComparison:
    """Base and result colorize pictures that were held back, whole and at their cached size.

    Where the recipe damages gray, damaged gray is what they are shown.
    """

    def __init__(self, held_back: ImageCache, degrade: str) -> None:
        count = min(MEASURED, len(held_back))
        chosen = np.linspace(0, len(held_back) - 1, count).round()  # some from everywhere
        pictures = [held_back[int(index)] for index in chosen]
        self._truths = [_color(picture) for picture in pictures]
        self._grays = [_gray(picture) for picture in pictures]
        self._degrade = degrade

    def judge(
        self, base: Colorizer, model: Colorizer, path: Path, report: Report, *, kept_base: bool
    ) -> FinetuneResult:
        """Both by their means over the pictures."""
        with warnings.catch_warnings():
            # What a model warns of is in its figures; here a warning would come once a picture.
            warnings.simplefilter("ignore", ColorizeWarning)
            before, after = (
                quick_score(colorizer, self._truths, grays=self._grays, degrade=self._degrade)
                for colorizer in (base, model)
            )
        return FinetuneResult(
            path=path,
            improved=bool(after.ciede2000 < before.ciede2000) and not kept_base,
            before=before,
            after=after,
            report=report,
            sentence=_verdict(path, before, after, kept_base=kept_base),
        )

    def sheet(self, base: Colorizer, model: Colorizer) -> Image.Image:
        """Gray, what both make of it, and truth, of a few."""
        pictures: dict[str, list[Any]] = {"color": self._truths[:SHOWN]}
        if all(gray is not None for gray in self._grays):
            pictures["gray"] = self._grays[:SHOWN]
        exam = EvaluationConfig(degrade=self._degrade, calibration=False, saturations=())
        colorizers = {"base": base, "this model": model}
        return example_sheet(evaluate(colorizers, pictures, exam).samples, list(colorizers))


def _report(progress: ProgressReporter, result: FinetuneResult) -> None:
    figures = {"before": asdict(result.before), "after": asdict(result.after)}
    progress.report("finetuned", improved=result.improved, text=result.sentence, **figures)
    progress.report("done", model=str(result.path))


def _color(picture: CachedImage) -> Pixels:
    """Cached colours as 8 bits; deeper ones lose what a screen does not show."""
    return picture.rgb if picture.rgb.dtype == np.uint8 else _bytes(picture.rgb, picture.limits)


def _gray(picture: CachedImage) -> Pixels | None:
    return None if picture.gray is None else _bytes(picture.gray, picture.gray_limits)


def _bytes(values: NDArray[Any], limits: tuple[float, float]) -> Pixels:
    low, high = limits
    unit = np.nan_to_num((values.astype(np.float64) - low) / ((high - low) or 1))
    return np.rint(unit.clip(0, 1) * 255).astype(np.uint8)


def _verdict(path: Path, before: Score, after: Score, *, kept_base: bool) -> str:
    """Whether it was worth it, in words."""
    if kept_base:
        return (
            f"{path} is NOT better than its base: it is the base, since no checkpoint came nearer "
            f"to the {after.pictures} pictures held back (CIEDE2000 {before.ciede2000:.2f}, gray "
            f"{after.ciede2000_gray:.2f}). {ADVICE}"
        )
    figures = (
        f"on {after.pictures} pictures held back, CIEDE2000 {before.ciede2000:.2f} -> "
        f"{after.ciede2000:.2f} (gray {after.ciede2000_gray:.2f}), PSNR {before.psnr:.2f} -> "
        f"{after.psnr:.2f} dB, colourfulness {before.colorfulness:.2f} -> {after.colorfulness:.2f}"
    )
    if after.ciede2000 < before.ciede2000:
        return f"{path} is better than its base: {figures}."
    return f"{path} is NOT better than its base: {figures}. {ADVICE}"
