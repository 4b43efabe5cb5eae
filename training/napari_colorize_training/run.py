"""From pictures to a model in one call: what `napari-colorize-train train` does, for scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_colorize_training.data import prepare
from napari_colorize_training.loop.engine import RunOptions, Trainer, make_accelerator
from napari_colorize_training.loop.progress import NoProgress, ProgressReporter, RunControl, Stopped
from napari_colorize_training.recipe import Recipe


def run_recipe(
    recipe: Recipe,
    data: Any,
    options: RunOptions,
    progress: ProgressReporter | None = None,
    control: RunControl | None = None,
) -> Path | None:
    """Check and cache the data, then train; the path of the model, or None if stopped."""
    progress, control = progress or NoProgress(), control or RunControl()
    accelerator = make_accelerator(options.precision)
    try:
        with accelerator.local_main_process_first():  # the others find the cache ready
            group = recipe.data.group or None
            report = prepare(data, options.cache, group=group, progress=control.check)
    except Stopped:
        progress.report("stopped", step=0)
        return None
    if accelerator.is_main_process:
        progress.report("note", text=report.sentence())
    return Trainer(recipe, options, progress, control).train()
