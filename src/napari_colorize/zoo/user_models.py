"""Folder of the user's own models, written by fine-tuning and listed by every front end.

Each model has three files: weights `NAME.safetensors`, model card `NAME.md`, and sample images
`NAME.png`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast, get_args

from napari_colorize.errors import CheckpointError
from napari_colorize.networks import ARCHITECTURES, Architecture
from napari_colorize.settings import RangeRule, setting_of
from napari_colorize.zoo.catalogue import CATALOGUE, Checkpoint
from napari_colorize.zoo.safetensors_header import refuse_large_header

MODELS_VARIABLE = "NAPARI_COLORIZE_MODELS"
SUFFIX = ".safetensors"

_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')  # in file names of Windows
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE
)  # reserved file names of Windows


def user_models_folder() -> Path:
    """Folder of the user's models: `NAPARI_COLORIZE_MODELS`, or in the user's data folder."""
    chosen = os.environ.get(MODELS_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path  # optional for the training package

    return user_data_path("napari-colorize", appauthor=False) / "models"


def user_models() -> list[Path]:
    """Paths of the user's models, newest first; empty if there is no folder."""
    with suppress(OSError, ImportError):  # platformdirs is optional for training
        found = user_models_folder().glob(f"[!.]*{SUFFIX}")  # a dot: an incomplete file
        dated = sorted((-path.stat().st_mtime, path) for path in found)
        return [path for _, path in dated]
    return []


def new_model_path(name: str) -> Path:
    """Unused path for a new model; a number is appended if the name is in use.

    Names of the catalogue count as in use. Characters that a file system does not support are
    replaced by a dash.
    """
    stem = _FORBIDDEN.sub("-", name.strip().removesuffix(SUFFIX)).strip(" .-") or "model"
    if _RESERVED.fullmatch(stem):
        stem = f"{stem}-model"
    folder, number, unused = user_models_folder(), 1, stem
    while unused in CATALOGUE or (folder / f"{unused}{SUFFIX}").exists():
        number += 1
        unused = f"{stem}-{number}"
    return folder / f"{unused}{SUFFIX}"


def user_checkpoint(path: Path) -> Checkpoint:
    """Read the metadata of a user's model; weights are neither read nor verified.

    Raises `CheckpointError` if it is no safetensors file, or its architecture is unknown.
    """
    metadata = metadata_of(path)
    architecture = ARCHITECTURES.get(metadata.get("architecture", ""))
    if architecture is None:
        raise CheckpointError(
            f"{path} has no known architecture in its metadata. Fine-tune the model again."
        )
    return checkpoint_of(
        path,
        architecture,
        metadata,
        title=_title(metadata) or f"{path.name}, a model of yours",
        origin=f"yours; fine-tuned from {metadata['base']}" if "base" in metadata else "yours",
    )


def checkpoint_of(
    path: Path, architecture: Architecture, metadata: Mapping[str, str], *, title: str, origin: str
) -> Checkpoint:
    """Describe a file that is not in the catalogue; its metadata can recommend settings."""
    factor = _recommended("render_factor", metadata)
    saturation = _recommended("saturation", metadata)
    return Checkpoint(
        name=path.stem,
        title=title,
        architecture=architecture.name,
        file=str(path),
        size=path.stat().st_size,
        license=metadata.get("license", "unknown"),
        origin=origin,
        render_factor=architecture.render_factor if factor is None else round(factor),
        saturation=architecture.saturation if saturation is None else saturation,
        fit=architecture.fit,
        contrast_limits=recommended_rule(metadata),
    )


def recommended_rule(metadata: Mapping[str, str]) -> RangeRule | None:
    """Rule for the intensity range in the metadata of a checkpoint; None for "auto" or no rule."""
    rule = metadata.get("contrast_limits", "")
    known = get_args(RangeRule)
    return cast(RangeRule, rule) if rule in known and rule != "auto" else None


def metadata_of(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file; raises `CheckpointError` if it is none."""
    from safetensors import SafetensorError, safe_open

    refuse_large_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error


def _title(metadata: dict[str, str]) -> str:
    """Title of the recipe in the metadata; empty if there is none."""
    with suppress(ValueError, AttributeError):
        return str(json.loads(metadata.get("recipe", "")).get("title", ""))
    return ""


def _recommended(name: str, metadata: Mapping[str, str]) -> float | None:
    """Number that a file recommends for a setting; None if it is absent or out of range."""
    setting = setting_of(name)
    low, high = setting.low or 0.0, setting.high or 0.0
    with suppress(ValueError):
        number = float(metadata.get(name, ""))
        return number if low <= number <= high else None
    return None
