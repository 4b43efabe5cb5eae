"""Export of trained networks as checkpoints of the core package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_colorize.errors import CheckpointError, SettingsError
from napari_colorize.provenance import STATEMENT
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.zoo.user_models import metadata_of
from napari_colorize.zoo.weights import read_weights, write_weights
from napari_colorize_training.errors import TrainingError
from napari_colorize_training.recipe import Recipe

if TYPE_CHECKING:
    from napari_colorize.networks import Architecture

SUFFIX = ".safetensors"
RECOMMENDED_SETTINGS = ("render_factor", "saturation")
# Key of the metadata: hashes of the images that a training held back for validation, their number
# of digits, and the largest number of images that are recorded
VALIDATION_IMAGES, DIGITS, MAX_RECORDED = "validation_images", 12, 100_000
# Buffers that were measured on a network: outdated as soon as it is trained further
MEASURED = ("calibration", "photograph_classifier")


def export_model(
    path: Path,
    state: dict[str, Tensor],
    recipe: Recipe,
    architecture: Architecture,
    *,
    step: int,
    base: str = "",
) -> Path:
    """Write weights in half precision with metadata; returns the path.

    Values of the recipe's `export` replace buffers of these names; `render_factor` and
    `saturation` among them become the recommended settings.

    Raises
    ------
    TrainingError
        If a weight is not finite: the training has diverged.
    OutputError
        If the file cannot be written.
    """
    tensors = {key: _to_half(value) for key, value in state.items() if key not in MEASURED}
    invalid = next((key for key, value in tensors.items() if not value.isfinite().all()), None)
    if invalid is not None:
        raise TrainingError(
            f"No model was written: {invalid} is not finite, the training diverges. Lower the "
            "learning rate (--set optimizer.lr=...) and start again in another --run folder."
        )
    for name, value in recipe.export.items():
        if name not in RECOMMENDED_SETTINGS:
            tensors[name] = torch.full_like(tensors[name], value)
    metadata = {
        "architecture": architecture.name,
        "recipe": json.dumps(recipe.to_dict()),
        "steps": str(step),
        "license": recipe.license,
        "contrast_limits": recipe.data.contrast_limits,
        "statement": STATEMENT,
        **{
            name: f"{recipe.export[name]:g}"
            for name in RECOMMENDED_SETTINGS
            if name in recipe.export
        },
    }
    if base:
        metadata["base"] = base
    write_weights(path, tensors, metadata)
    return path


def _to_half(value: Tensor) -> Tensor:
    """Return the tensor in half precision, or unchanged if a value is too large for that."""
    value = value.detach().contiguous().cpu()
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if half.isfinite().all() else value


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights under their usual names, with LoRA's additions merged."""
    state = dict(network.state_dict())
    for path, module in network.named_modules():
        prefix = f"{path}." if path else ""
        for name in getattr(module, "parametrizations", {}):
            inner = f"{prefix}parametrizations.{name}."
            state = {key: value for key, value in state.items() if not key.startswith(inner)}
            state[f"{prefix}{name}"] = getattr(module, name).detach()
    return state


def measured_on(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the buffers of a state dict that are valid for its weights only."""
    return {key: state[key] for key in MEASURED if key in state}


def add_tensors(model: Path, tensors: dict[str, Tensor]) -> None:
    """Add tensors to the file of a model, atomically; the others and the metadata are kept."""
    weights = read_weights(model)
    write_weights(model, weights.state | tensors, weights.metadata)


def record_validation(model: Path, digests: Sequence[str]) -> None:
    """Add to the metadata of a model which images its training held back for validation.

    `digests` are those of `Images`. An evaluation can then leave out the training images, whatever
    determined the split: groups, near-duplicates, and images that were left out.
    """
    weights = read_weights(model)
    recorded = " ".join(digest[:DIGITS] for digest in digests[:MAX_RECORDED])
    write_weights(model, weights.state, weights.metadata | {VALIDATION_IMAGES: recorded})


def recorded_validation(model: str | Path) -> frozenset[str]:
    """Return the hashes that `record_validation` wrote into a file; empty if there are none."""
    try:
        return frozenset(metadata_of(Path(model)).get(VALIDATION_IMAGES, "").split())
    except CheckpointError:  # no safetensors file
        return frozenset()


def model_path(out: str | Path) -> Path:
    """Return the path of a model with the suffix that front ends expect.

    Raises
    ------
    SettingsError
        If it has another suffix, or is no file name.
    """
    out = Path(out).expanduser()
    if not out.name:
        raise SettingsError(f"{str(out)!r} is not a file name; give one such as mymodel{SUFFIX}.")
    if out.suffix not in ("", SUFFIX):
        raise SettingsError(
            f"{out} ends in {out.suffix}, but models are written as {SUFFIX}: give a name with "
            "this suffix, or without any."
        )
    return out.with_suffix(SUFFIX)


def copy_model(model: Path, out: Path) -> Path:
    """Copy a model to another path, atomically; returns the new path."""
    with new_file(out, overwrite=True) as part, write_errors(out):
        shutil.copyfile(model, part)
    return out
