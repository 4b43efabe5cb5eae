"""Fine-tuning of a model of the zoo on own images.

`finetune` checks the images, selects a recipe by their number (`recipe_for`), trains from the base
model until validation stops improving, keeps the best checkpoint (the base is one of the
candidates), measures base and result on the validation split (`_BaseComparison`), and writes the
model with a model card (`model_card`).
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits, UInt8Array
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import ColorizeWarning, OutputError, SettingsError
from napari_colorize.imaging.color import to_uint8
from napari_colorize.runtime.atomic import refuse_existing
from napari_colorize.zoo import load
from napari_colorize_training.data import CachedImage, ImageCache, Report, prepare
from napari_colorize_training.data.sources import read_source
from napari_colorize_training.evaluation.evaluate import evaluate
from napari_colorize_training.evaluation.quick_score import quick_score
from napari_colorize_training.evaluation.records import EvaluationConfig
from napari_colorize_training.evaluation.sheets import example_sheet
from napari_colorize_training.evaluation.text_report import refuse_unwritable
from napari_colorize_training.loop.engine import Trainer
from napari_colorize_training.loop.initialize import open_base
from napari_colorize_training.loop.options import RunOptions
from napari_colorize_training.loop.progress import NoProgress, ProgressReporter, RunControl, Stopped
from napari_colorize_training.loop.run_folder import sole_trainer
from napari_colorize_training.model_card import FinetuneResult, write_card
from napari_colorize_training.models.export import (
    add_tensors,
    copy_model,
    measured_on,
    model_path,
    record_validation,
)
from napari_colorize_training.recipe import Recipe, parse_recipe
from napari_colorize_training.recipe_parsing import set_value
from napari_colorize_training.verdict import judge

if TYPE_CHECKING:
    from PIL import Image

    from napari_colorize.zoo import Checkpoint


PREDICT_CLASSES = ("compact", "region")  # architectures
VALIDATION_SHARE = 0.2  # the same for all numbers of images, so that the split is stable
MAX_MEASURED = 64  # validation images on which base and result are measured
CARD_IMAGES = 4  # on the sheet of the model card
SIDE = 128  # px, of the crops
DEGRADED_LR = 3e-4  # peak learning rate if the gray input is degraded
# The same with low-rank additions (LoRA), their rank, and the number of steps: more of them forget
LORA_LR, LORA_RANK, LORA_STEPS = 1e-3, 8, 150


@dataclass(frozen=True, kw_only=True)
class SizeDefaults:
    """Defaults for a number of images; the trials are in `docs/dev/fine-tuning-trials.md`."""

    images: int  # smallest number of training images
    steps: int  # largest number of steps; the training ends earlier if validation stops improving
    batch: int  # crops per step
    lr: float  # peak learning rate; a tenth of it for the encoder
    # Steps between checkpoints, and number of checkpoints without improvement
    checkpoint_every: int
    patience: int
    augment: str  # augmentation; see `DataConfig`


SIZES = (
    SizeDefaults(
        images=0,
        steps=300,
        batch=8,
        lr=1e-3,
        checkpoint_every=25,
        patience=5,
        augment="photographs",
    ),
    SizeDefaults(
        images=60, steps=400, batch=12, lr=1e-3, checkpoint_every=25, patience=5, augment="none"
    ),
    SizeDefaults(
        images=600, steps=2000, batch=16, lr=2e-4, checkpoint_every=50, patience=5, augment="none"
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
    overwrite: bool = False,
    progress: ProgressReporter | None = None,
    control: RunControl | None = None,
) -> FinetuneResult | None:
    """Fine-tune a model on color images, and measure whether it is better than its base.

    Parameters
    ----------
    images : path, arrays, layers or mapping
        Color images; see `data.prepare`.
    base : str or path
        Name or file of the base model.
    out : str or path
        Path of the model (`.safetensors`, which may be omitted); a model card and a sheet of
        samples are written beside it.
    group : str, optional
        Option for groups (slide, bag, video), which are not split; see `split.grouping`.
    augment, degrade : str, optional
        Values of the recipe's `data`. By default small data sets are augmented, and nothing is
        degraded. With a degradation the models are also measured on degraded images.
    steps : int, optional
        Largest number of steps.
    changes : mapping of str to value, optional
        Values that replace those of the recipe, by dotted name.
    features : Path, optional
        File of the network for the feature loss; without it there is no feature loss.
    run : str or path, optional
        Run folder; kept if given, else a temporary folder beside `out`.
    precision : {"auto", "float32", "bfloat16"}
        Precision of forward and backward passes.
    overwrite : bool
        Whether an existing model, card and sheet are replaced; an image of `images` never is.
    progress, control
        See `Trainer`.

    Returns
    -------
    FinetuneResult or None
        None if the run was stopped; the same call resumes it.

    Raises
    ------
    ColorizeError, FileNotFoundError
        If images or base are unusable, or `out`, its card (`.md`) or its sheet (`.png`) exists or
        cannot be written to.
    """
    progress, control = progress or NoProgress(), control or RunControl()
    out = model_path(out)
    outputs = (out, out.with_suffix(".md"), out.with_suffix(".png"))
    _refuse_to_replace(images, outputs, overwrite=overwrite)
    if steps is not None:
        changes = {**(changes or {}), "stages.0.steps": steps}  # so that the card states them
    folder = out.parent / f".{out.stem}-run" if run is None else Path(run)
    checkpoint, weights = load(base)
    if features is not None and checkpoint.architecture in PREDICT_CLASSES:
        raise SettingsError(
            f"{checkpoint.name} predicts color classes, which are trained without a feature loss: "
            "leave --features out, or choose another base."
        )
    refuse_unwritable(*outputs)
    temporary = _removed_without_state(folder) if run is None else nullcontext()
    with sole_trainer(folder), temporary:
        cache = folder / "cache"
        reading = _ReadProgress(progress, control)
        # Its stage and crops do not depend on the number of images.
        first = recipe_for(checkpoint, 0, group=group, changes=changes)
        try:
            report = prepare(
                images,
                cache,
                group=first.data.group or None,
                side=first.image_side,
                validation_share=first.data.validation_share,
                contrast_limits=first.data.contrast_limits,
                progress=reading,
            )
        except Stopped:
            progress.report("stopped", step=0)
            return None
        progress.report("note", text=report.sentence())
        recipe = recipe_for(
            checkpoint,
            report.training,
            group=group,
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
            precision=precision,
        )
        trainer = Trainer(recipe, options, _TrainingProgress(progress), control)
        model = trainer.train()
        if model is None:
            return None
        kept_base = bool(trainer.validator.best.state) and trainer.validator.best.step == 0
        if kept_base:  # what was measured on the base is true of its copy
            add_tensors(model, measured_on(weights.state))
        validation = ImageCache(cache, validation=True)
        record_validation(model, validation.digests)
        colorizers = Colorizer.from_pretrained(base), Colorizer.from_pretrained(model)
        comparison = _BaseComparison(validation, recipe.data.degrade)
        copy_model(model, out)
        result = comparison.compare(*colorizers, out, report, kept_base=kept_base)
        write_card(result, recipe, checkpoint, comparison.sheet(*colorizers))
        _report(progress, result)
    if run is None:
        shutil.rmtree(folder)
    return result


@contextmanager
def _removed_without_state(folder: Path) -> Iterator[None]:
    """Context manager: remove a temporary run folder from which nothing can be resumed."""
    try:
        yield
    finally:
        if not (folder / "state.pt").exists():
            shutil.rmtree(folder, ignore_errors=True)


def recipe_for(
    checkpoint: Checkpoint,
    images: int,
    *,
    group: str | None = None,
    augment: str | None = None,
    degrade: str | None = None,
    features: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Recipe:
    """Return the recipe for a base model and a number of training images."""
    size = next(size for size in reversed(SIZES) if images >= size.images)
    table: dict[str, Any] = {
        "name": f"finetune-{checkpoint.name}",
        "title": f"{checkpoint.name}, fine-tuned on {images} images",
        "source": f"napari-colorize; base model {checkpoint.name}",
        "license": checkpoint.license,
        "export": {"render_factor": checkpoint.render_factor, "saturation": checkpoint.saturation},
        "network": {"architecture": checkpoint.architecture},
        "data": {
            "augment": augment or size.augment,
            "degrade": degrade or "none",
            "validate_degraded": True,
            "contrast_limits": checkpoint.contrast_limits or "auto",
            "crop_scale": [0.6, 1.0],
            "validation_share": VALIDATION_SHARE,
            "group": group or "",
        },
        "optimizer": {
            "lr": size.lr,
            "weight_decay": 0.01,
            "clip_grad_norm": 5.0,
            "ema_decay": 0.98,
        },
        "loss": _loss_for(checkpoint.architecture, features=features),
        "stages": [
            {
                "side": SIDE,
                "batch": size.batch,
                "steps": size.steps,
                "encoder_lr": size.lr / 10,
                "warmup": 0.05,
                "batch_norm": "frozen_encoder",
                "checkpoint_every": size.checkpoint_every,
                "patience": size.patience,
            }
        ],
    }
    if table["data"]["degrade"] != "none":
        _keep_base(table)
    for name, value in (changes or {}).items():
        set_value(table, name, value)
    return parse_recipe(table)


def _keep_base(table: dict[str, Any]) -> None:
    """Stay near the base, which knows photographs; only the degradation is new to it.

    The trials are in `docs/dev/fine-tuning-trials.md`.
    """
    (stage,) = table["stages"]
    table["data"]["crop_scale"] = [0.8, 1.0]
    table["optimizer"]["lr"] = DEGRADED_LR
    table["loss"]["distillation_weight"] = 1.0
    stage |= {"batch": 16, "encoder_lr": DEGRADED_LR / 10}
    if "classes" in table["loss"]:
        table["loss"]["classes"]["regression_weight"] = 0.0
        table["optimizer"] |= {"lr": LORA_LR, "lora_rank": LORA_RANK}
        stage |= {"encoder_lr": LORA_LR, "steps": LORA_STEPS, "trainable": "except_first"}


def _loss_for(architecture: str, *, features: bool) -> dict[str, Any]:
    """Return the loss: color classes if the network has them, else L1."""
    if architecture in PREDICT_CLASSES:
        classes = {"rebalance": 0.25, "regression_weight": 10.0, "pixel_stride": 2}
        return {"pixel": "classes", "classes": classes}
    return {"pixel": "l1", **({"feature_weights": [20, 70, 10]} if features else {})}


def _refuse_to_replace(images: Any, outputs: Sequence[Path], *, overwrite: bool) -> None:
    """Raise OutputError if the model, its card or its sheet would replace a file."""
    for path in outputs:
        refuse_existing(path, overwrite=overwrite)
    existing = {path.resolve(): path for path in outputs if path.exists()}
    if existing:
        for item in read_source(images).items:
            for content in (item.color, item.gray):
                if isinstance(content, Path) and content.resolve() in existing:
                    raise OutputError(
                        f"{content} is an input and would be replaced. Choose another name for "
                        "the model: its card and its sheet of samples have the same name."
                    )


class _ReadProgress:
    """Callback that reports the number of images read, about a hundred times, and stops."""

    def __init__(self, progress: ProgressReporter, control: RunControl) -> None:
        self._progress, self._control = progress, control

    def __call__(self, done: int, total: int) -> None:
        self._control.check()
        if done % max(1, total // 100) == 0:
            self._progress.report("reading", done=done, total=total)


class _TrainingProgress:
    """Reporter that forwards all events except the end, because the model is measured after it."""

    def __init__(self, progress: ProgressReporter) -> None:
        self._progress = progress

    def report(self, event: str, **facts: Any) -> None:
        if event != "done":
            self._progress.report(event, **facts)


class _BaseComparison:
    """Comparison of base and result on whole validation images at their cached size.

    Gray is degraded if the recipe degrades it.
    """

    def __init__(self, validation: ImageCache, degrade: str) -> None:
        count = min(MAX_MEASURED, len(validation))
        chosen = np.linspace(0, len(validation) - 1, count).round()  # evenly spaced
        images = [validation[int(index)] for index in chosen]
        self._truths = [_color(image) for image in images]
        self._grays = [_gray(image) for image in images]
        self._names = [image.name for image in images]
        self._degrade = degrade

    def compare(
        self, base: Colorizer, model: Colorizer, path: Path, report: Report, *, kept_base: bool
    ) -> FinetuneResult:
        """Measure both models."""
        with warnings.catch_warnings():
            # Warnings of a model concern its figures, and would be repeated for each image.
            warnings.simplefilter("ignore", ColorizeWarning)
            before, after = (
                quick_score(colorizer, self._truths, grays=self._grays, degrade=self._degrade)
                for colorizer in (base, model)
            )
        return FinetuneResult(
            path=path,
            outcome=judge(before, after, kept_base=kept_base),
            before=before,
            after=after,
            report=report,
            kept_base=kept_base,
        )

    def sheet(self, base: Colorizer, model: Colorizer) -> Image.Image:
        """Return a sheet with gray, the results of both models, and truth."""
        images: dict[str, list[Any]] = {"color": self._truths[:CARD_IMAGES]}
        if all(gray is not None for gray in self._grays):
            images["gray"] = self._grays[:CARD_IMAGES]
        config = EvaluationConfig(degrade=self._degrade, calibration=False, saturations=())
        colorizers = {"base": base, "this model": model}
        names = {f"color[{number}]": name for number, name in enumerate(self._names)}
        samples = evaluate(colorizers, images, config).samples
        named = [replace(sample, name=names[sample.name]) for sample in samples]
        return example_sheet(named, list(colorizers))


def _report(progress: ProgressReporter, result: FinetuneResult) -> None:
    figures = {"before": asdict(result.before), "after": asdict(result.after)}
    text = result.describe(result.path.stem)
    progress.report(
        "finetuned", improved=result.improved, outcome=result.outcome, text=text, **figures
    )
    progress.report("done", model=str(result.path))


def _color(image: CachedImage) -> UInt8Array:
    """Return the colors of an image in 8 bits."""
    return image.rgb if image.rgb.dtype == np.uint8 else _to_8_bits(image.rgb, image.limits)


def _gray(image: CachedImage) -> UInt8Array | None:
    return None if image.gray is None else _to_8_bits(image.gray, image.gray_limits)


def _to_8_bits(values: AnyArray, limits: Limits) -> UInt8Array:
    low, high = limits
    unit = np.nan_to_num((values.astype(np.float64) - low) / ((high - low) or 1))
    return to_uint8(unit.clip(0, 1))
