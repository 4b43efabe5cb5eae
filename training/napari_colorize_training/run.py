"""Training in one call: check and cache the data, then run a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_colorize_training.data import prepare
from napari_colorize_training.loop.accelerator import make_accelerator
from napari_colorize_training.loop.engine import Trainer
from napari_colorize_training.loop.options import RunOptions
from napari_colorize_training.loop.progress import NoProgress, ProgressReporter, RunControl, Stopped
from napari_colorize_training.recipe import Recipe


def run_recipe(
    recipe: Recipe,
    data: Any,
    options: RunOptions,
    progress: ProgressReporter | None = None,
    control: RunControl | None = None,
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

    Returns
    -------
    Path or None
        The model; None if the run was stopped.
    """
    progress, control = progress or NoProgress(), control or RunControl()
    accelerator = make_accelerator(options.precision)
    try:
        with accelerator.local_main_process_first():  # the other processes find the cache complete
            group = recipe.data.group or None
            report = prepare(
                data,
                options.cache,
                group=group,
                contrast_limits=recipe.data.contrast_limits,
                progress=control.check,
            )
    except Stopped:
        progress.report("stopped", step=0)
        return None
    if accelerator.is_main_process:
        progress.report("note", text=report.sentence())
    return Trainer(recipe, options, progress, control).train()
