"""Stages of a run: the recipe's stages with cycles unrolled and epochs converted to steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_colorize.errors import SettingsError
from napari_colorize_training.recipe import MIN_SIDE, Recipe, Stage


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One stage of a run."""

    stage: Stage  # stage of the recipe
    index: int  # position among the stages of the recipe, from 0
    # First step of the run that belongs to the stage, and number of steps
    first_step: int
    steps: int
    side: int  # side of the crops, px: that of the stage, or less if the images are smaller

    @property
    def end_step(self) -> int:
        """Number of steps of the run that are done when the stage ends."""
        return self.first_step + self.steps

    @property
    def name(self) -> str:
        """Name in logs and progress bars."""
        return f"{self.index + 1}: {self.stage.train} at {self.side} px"


def expand_stages(
    recipe: Recipe, images: int, *, largest_side: int, steps: int | None = None, first: int = 0
) -> list[StageRun]:
    """Return the stages of a run.

    `images` is their number in an epoch, and `largest_side` the largest possible side of a crop,
    px. `steps` is the length of the whole run; every stage keeps its share, and has at least one
    step. Stages before position `first` are left out.
    """
    stages = list(recipe.unrolled_stages())
    if not 0 <= first < len(stages):
        raise SettingsError(
            f"The recipe {recipe.name!r} has {len(stages)} stages, no stage {first + 1}."
        )
    counts = [steps_of(stage, images) for stage in stages]
    if steps is not None:
        scale = steps / sum(counts[first:])
        counts = [max(1, round(count * scale)) for count in counts]
    runs, first_step = [], 0
    for index, (stage, count) in list(enumerate(zip(stages, counts, strict=True)))[first:]:
        side = stage.side if stage.side <= largest_side else largest_side // 16 * 16
        side = max(side, MIN_SIDE)
        runs.append(
            StageRun(stage=stage, index=index, first_step=first_step, steps=count, side=side)
        )
        first_step += count
    return runs


def steps_of(stage: Stage, images: int) -> int:
    """Return the length of a stage in steps, for a number of images in an epoch."""
    return stage.steps or max(1, stage.min_steps, round(stage.epochs * images / stage.batch))


def epoch_ends(stages: list[StageRun], images: int) -> list[int]:
    """Return the steps after which another pass over all images is complete, over all stages."""
    ends, passes, step = [], 0.0, 0
    for run in stages:
        for _ in range(run.steps):
            before, passes, step = passes, passes + run.stage.batch / images, step + 1
            if math.floor(passes) > math.floor(before):
                ends.append(step)
    return ends
