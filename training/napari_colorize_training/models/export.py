"""A trained network as a file that every front end opens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_colorize.provenance import STATEMENT
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.zoo.weights import write_weights
from napari_colorize_training.errors import TrainingError
from napari_colorize_training.recipe import Recipe

if TYPE_CHECKING:
    from napari_colorize.networks import Architecture

RECOMMENDED = ("render_factor", "saturation")
OUTDATED = ("calibration",)  # measured on what the network was before it learned on


def export_model(
    path: Path,
    state: dict[str, Tensor],
    recipe: Recipe,
    architecture: Architecture,
    *,
    step: int,
    base: str = "",
) -> Path:
    """Write weights as half precision, with their recipe; returns the path.

    Numbers of the recipe's `shown` replace buffers of that name; `render_factor` and `saturation`
    among them are what the file recommends.

    Raises
    ------
    TrainingError
        If a weight is no number: the training has diverged.
    OutputError
        If the file cannot be written.
    """
    kept = {key: _kept(value) for key, value in state.items() if key not in OUTDATED}
    broken = next((key for key, value in kept.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise TrainingError(
            f"No model was written: {broken} is no longer finite, the training diverges. Lower the "
            "rate (--set optimizer.lr=...) and begin anew in another --run folder."
        )
    for name, value in recipe.shown.items():
        if name not in RECOMMENDED:
            kept[name] = torch.full_like(kept[name], value)
    metadata = {
        "architecture": architecture.name,
        "recipe": json.dumps(recipe.as_table()),
        "steps": str(step),
        "license": recipe.license,
        "statement": STATEMENT,
        **{name: f"{recipe.shown[name]:g}" for name in RECOMMENDED if name in recipe.shown},
    }
    if base:
        metadata["base"] = base
    write_weights(path, kept, metadata)
    return path


def _kept(value: Tensor) -> Tensor:
    """Half precision, but where a value is too large for it."""
    value = value.detach().contiguous().cpu()
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if half.isfinite().all() else value


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """A network's weights under their usual names, LoRA's additions made part of them."""
    state = dict(network.state_dict())
    for path, module in network.named_modules():
        prefix = f"{path}." if path else ""
        for name in getattr(module, "parametrizations", {}):
            inner = f"{prefix}parametrizations.{name}."
            state = {key: value for key, value in state.items() if not key.startswith(inner)}
            state[f"{prefix}{name}"] = getattr(module, name).detach()
    return state


def copy_model(model: Path, out: Path) -> Path:
    """Put a finished model where it was asked for, atomically; returns its path."""
    with new_file(out, overwrite=True) as part, write_errors(out):
        shutil.copyfile(model, part)
    return out
