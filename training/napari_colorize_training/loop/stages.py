"""A recipe's stages as they will run: cycles unrolled, epochs counted in steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_colorize_training.recipe import SMALLEST_SIDE, Recipe, Stage


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One stage of a run.

    Parameters
    ----------
    stage : Stage
        What the recipe says.
    number : int
        Place in the run, from 0.
    first, steps : int
        Step of the run with which it begins, and how many it takes.
    side : int
        Of the crops, px: the stage's, or the pictures' where they are smaller.
    """

    stage: Stage
    number: int
    first: int
    steps: int
    side: int

    @property
    def name(self) -> str:
        """For logs and bars."""
        return f"{self.number + 1}: {self.stage.train} at {self.side} px"


def expand_stages(
    recipe: Recipe, pictures: int, *, largest_side: int, steps: int | None = None
) -> list[StageRun]:
    """The legs of a run.

    Parameters
    ----------
    recipe : Recipe
        Whose stages are run.
    pictures : int
        In an epoch.
    largest_side : int
        Of crops, px: that of the pictures at hand.
    steps : int, optional
        Of the whole run; every stage keeps its share, and at least one step.
    """
    stages = list(recipe.schedule())
    counts = [
        stage.steps or max(1, round(stage.epochs * pictures / stage.batch)) for stage in stages
    ]
    if steps is not None:
        scale = steps / sum(counts)
        counts = [max(1, round(count * scale)) for count in counts]
    legs, first = [], 0
    for number, (stage, count) in enumerate(zip(stages, counts, strict=True)):
        side = stage.side if stage.side <= largest_side else largest_side // 16 * 16
        legs.append(
            StageRun(
                stage=stage, number=number, first=first, steps=count, side=max(side, SMALLEST_SIDE)
            )
        )
        first += count
    return legs


def epoch_ends(legs: list[StageRun], pictures: int) -> list[int]:
    """The steps at which all pictures have been seen once more, over all legs."""
    ends, seen, step = [], 0.0, 0
    for leg in legs:
        for _ in range(leg.steps):
            before, seen, step = seen, seen + leg.stage.batch / pictures, step + 1
            if math.floor(seen) > math.floor(before):
                ends.append(step)
    return ends
