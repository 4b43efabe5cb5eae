"""The user's own models: one folder, where fine-tuning puts them and every front end finds them.

Beside each `NAME.safetensors` lie its card, `NAME.md`, and a sheet of samples, `NAME.png`.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from napari_colorize.errors import CheckpointError
from napari_colorize.networks import ARCHITECTURES
from napari_colorize.zoo.catalogue import CATALOGUE, Checkpoint

MODELS_VARIABLE = "NAPARI_COLORIZE_MODELS"
SUFFIX = ".safetensors"

_UNWELCOME = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')  # in the names of Windows' files
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # there, too


def user_models_folder() -> Path:
    """The folder of the user's own models: `NAPARI_COLORIZE_MODELS`, or in the user's data."""
    chosen = os.environ.get(MODELS_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path  # not needed by the training package

    return user_data_path("napari-colorize", appauthor=False) / "models"


def user_models() -> list[Path]:
    """The files in that folder, newest first; no folder, no models."""
    with suppress(OSError, ImportError):  # a bare training machine has no platformdirs
        found = user_models_folder().glob(f"[!.]*{SUFFIX}")  # a dot: a file that still grows
        dated = sorted((-path.stat().st_mtime, path) for path in found)
        return [path for _, path in dated]
    return []


def new_model_path(name: str) -> Path:
    """Where a model of this name goes; with a number if the name is taken.

    Names of the catalogue are taken, too. What no file system likes in a name becomes a dash.
    """
    stem = _UNWELCOME.sub("-", name.strip().removesuffix(SUFFIX)).strip(" .-") or "model"
    if _RESERVED.fullmatch(stem):
        stem = f"{stem}-model"
    folder, number, chosen = user_models_folder(), 1, stem
    while chosen in CATALOGUE or (folder / f"{chosen}{SUFFIX}").exists():
        number += 1
        chosen = f"{stem}-{number}"
    return folder / f"{chosen}{SUFFIX}"


def user_checkpoint(path: Path) -> Checkpoint:
    """What a model says of itself; its weights are not read and nothing is verified.

    Raises
    ------
    CheckpointError
        If it is no safetensors file, or of no network that we know.
    """
    told = _metadata(path)
    architecture = ARCHITECTURES.get(told.get("architecture", ""))
    if architecture is None:
        raise CheckpointError(f"{path} does not say for which of our networks it is.")
    return Checkpoint(
        name=path.stem,
        title=_title(told) or f"{path.name}, a model of yours",
        architecture=architecture.name,
        file=str(path),
        size=path.stat().st_size,
        license=told.get("license", "unknown"),
        origin=f"yours; began as {told['base']}" if "base" in told else "yours",
        render_factor=round(_number(told, "render_factor", architecture.render_factor)),
        saturation=_number(told, "saturation", architecture.saturation),
        fit=architecture.fit,
    )


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error


def _title(told: dict[str, str]) -> str:
    """The title of the recipe that made it, if it brings one."""
    with suppress(ValueError, AttributeError):
        return str(json.loads(told.get("recipe", "")).get("title", ""))
    return ""


def _number(told: dict[str, str], name: str, otherwise: float) -> float:
    with suppress(ValueError):
        return float(told.get(name, ""))
    return otherwise
