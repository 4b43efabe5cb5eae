"""Training in one call: check and cache the data, then run a recipe."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from napari_colorize_training.data import Report, prepare
from napari_colorize_training.data.stream import INDEX, open_images, prepare_stream
from napari_colorize_training.loop.accelerator import make_accelerator
from napari_colorize_training.loop.engine import Trainer
from napari_colorize_training.loop.options import RunOptions
from napari_colorize_training.loop.progress import NoProgress, ProgressReporter, RunControl, Stopped
from napari_colorize_training.loop.run_folder import sole_trainer
from napari_colorize_training.models.export import record_validation
from napari_colorize_training.recipe import Recipe


def run_recipe(
    recipe: Recipe,
    data: Any,
    options: RunOptions,
    progress: ProgressReporter | None = None,
    control: RunControl | None = None,
    *,
    side: int | None = None,
    cached: bool = True,
) -> Path | None:
    """Run a recipe on images, as `napari-colorize-train train` does.

    Parameters
    ----------
    recipe : Recipe
        Network, data options, losses, optimizer and stages.
    data : path, sequence, mapping, array or layer
        Color images; see `data.prepare`.
    options : RunOptions
        Folders, files and machine settings.
    progress, control
        See `Trainer`.
    side : int, optional
        Short side of cached images, px. Default: as the largest stage and its crops need.
    cached : bool
        Decode all images once to a cache; otherwise files are decoded in every step.

    Returns
    -------
    Path or None
        The model; None if the run was stopped.
    """
    progress, control = progress or NoProgress(), control or RunControl()
    accelerator = make_accelerator(options.precision)
    with sole_trainer(options.folder) if accelerator.is_main_process else nullcontext():
        try:
            # The other processes find the cache complete.
            with accelerator.local_main_process_first():
                report = _prepare(recipe, data, options.cache, side, cached, progress, control)
        except Stopped:
            progress.report("stopped", step=0)
            return None
        if accelerator.is_main_process:
            progress.report("note", text=report.sentence())
        model = Trainer(recipe, options, progress, control).train()
        if model is not None and accelerator.is_main_process:
            record_validation(model, open_images(options.cache, validation=True).digests)
        return model


def _prepare(
    recipe: Recipe,
    data: Any,
    cache: Path,
    side: int | None,
    cached: bool,
    progress: ProgressReporter,
    control: RunControl,
) -> Report:
    side = side or recipe.image_side
    config = recipe.data
    group, share, rule = config.group or None, config.validation_share, config.contrast_limits
    if not cached:
        return prepare_stream(
            data, cache, group=group, side=side, validation_share=share, contrast_limits=rule
        )
    (cache / INDEX).unlink(missing_ok=True)
    return prepare(
        data,
        cache,
        group=group,
        side=side,
        validation_share=share,
        contrast_limits=rule,
        progress=control.check,
        note=lambda text: progress.report("note", text=text),
    )
