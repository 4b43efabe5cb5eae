"""Options of a run that are not part of its recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from napari_colorize.networks import Architecture

SAVE_EVERY = 60.0  # seconds


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Folders, files and machine settings of a run."""

    folder: Path  # run folder: log, state, previews, model
    cache: Path  # folder of the image cache, written by `data.prepare`
    # Local files that replace the published encoder and feature network
    encoder: Path | None = None
    features: Path | None = None
    # Start with random weights even if the recipe names a published encoder
    untrained: bool = False
    base: tuple[nn.Module, Architecture] | None = None  # network to continue from
    base_name: str = ""  # name of `base` in the model's metadata
    steps: int | None = None  # length of the whole run, instead of the recipe's epochs
    first_stage: int = 0  # position of the first stage that is run; those before are left out
    precision: str = "auto"  # precision of forward and backward passes
    save_every: float = SAVE_EVERY  # smallest time between saved states, seconds
