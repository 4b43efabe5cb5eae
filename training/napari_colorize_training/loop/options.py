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
    """Folders, files and machine settings of a run.

    Parameters
    ----------
    folder : Path
        Run folder: log, state, previews, model.
    cache : Path
        Folder of the image cache, written by `data.prepare`.
    encoder, features : Path, optional
        Local files that replace the published encoder and feature network.
    untrained : bool
        Start with random weights even if the recipe names a published encoder.
    base : tuple of (nn.Module, Architecture), optional
        Network to continue from.
    base_name : str
        Name of `base` in the model's metadata.
    steps : int, optional
        Length of the whole run, instead of the recipe's epochs.
    precision : {"auto", "float32", "bfloat16"}
        Precision of forward and backward passes.
    save_every : float
        Smallest time between saved states, seconds.
    """

    folder: Path
    cache: Path
    encoder: Path | None = None
    untrained: bool = False
    features: Path | None = None
    base: tuple[nn.Module, Architecture] | None = None
    base_name: str = ""
    steps: int | None = None
    precision: str = "auto"
    save_every: float = SAVE_EVERY
