"""The zoo: checkpoints by name or by path.

`load` is the way in: a name of the catalogue is fetched (once), one of the user's own models lies
in a folder of its own (`own`), a path is read where it lies, and the keys in the file, never its
name, say which architecture it is for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from napari_colorize.errors import CheckpointError, UnknownModelError
from napari_colorize.settings import setting_of
from napari_colorize.zoo.catalogue import CATALOGUE, Checkpoint
from napari_colorize.zoo.download import DownloadProgress, cache_folder, fetch, is_local, local_path
from napari_colorize.zoo.user_models import user_checkpoint, user_models, user_models_folder

if TYPE_CHECKING:
    from napari_colorize.networks import Architecture
    from napari_colorize.zoo.weights import Weights

__all__ = [
    "CATALOGUE",
    "Checkpoint",
    "DownloadProgress",
    "cache_folder",
    "fetch",
    "is_local",
    "load",
    "local_path",
    "resolve",
    "user_checkpoint",
    "user_models",
    "user_models_folder",
]

_SUFFIXES = {".pth", ".pt", ".safetensors"}


def resolve(name_or_path: str | PathLike[str]) -> Checkpoint | Path:
    """The checkpoint of the catalogue that has this name, or the path that this is.

    A name may also be that of one of the user's own models.

    Raises
    ------
    UnknownModelError
        If it is neither. A path need not exist: `load` says so in its own words.
    """
    if isinstance(name_or_path, str) and name_or_path in CATALOGUE:
        return CATALOGUE[name_or_path]
    own = {path.stem: path for path in user_models()}
    if isinstance(name_or_path, str) and name_or_path in own:
        return own[name_or_path]
    if _is_path(name_or_path):
        return Path(name_or_path).expanduser()
    raise UnknownModelError(
        f"No model is named {name_or_path!r}. Choose one of: {', '.join([*CATALOGUE, *own])}; or "
        "give the path of a .pth or .safetensors file."
    )


def load(
    name_or_path: str | PathLike[str], *, progress: bool | DownloadProgress = False
) -> tuple[Checkpoint, Weights]:
    """A checkpoint and its weights, by name or by path.

    Parameters
    ----------
    name_or_path : str or path
        A name of the catalogue, fetched if it is not here, or the path of a file.
    progress : bool or Progress
        As for `fetch`.

    Returns
    -------
    checkpoint : Checkpoint
        With architecture, sha256 and size as the file has them; a file that is not in the catalogue
        is named by its stem and recommends what its metadata, or else its architecture, recommends.
    weights : Weights
        State dict, metadata and sha256.

    Raises
    ------
    UnknownModelError, DownloadError, CheckpointError
        If there is no such model, it could not be fetched, or it is for no network that we know.
    """
    from napari_colorize.zoo.weights import read_weights  # torch

    found = resolve(name_or_path)
    if isinstance(found, Path):
        weights = read_weights(found)
        return _metadata(found, weights, _architecture_of(found, weights)), weights
    path = fetch(found, progress=progress)
    weights = read_weights(path, sha256=found.sha256)  # verified by fetch
    architecture = _architecture_of(path, weights)
    loaded = replace(
        found, architecture=architecture.name, sha256=weights.sha256, size=path.stat().st_size
    )
    return loaded, weights


def _is_path(name_or_path: str | PathLike[str]) -> bool:
    if not isinstance(name_or_path, str):
        return isinstance(name_or_path, PathLike)
    separators = {os.sep, os.altsep or os.sep}
    return (
        Path(name_or_path).suffix.lower() in _SUFFIXES
        or any(separator in name_or_path for separator in separators)
        or os.path.lexists(name_or_path)  # not Path: Path("") would be this folder
    )


def _architecture_of(path: Path, weights: Weights) -> Architecture:
    from napari_colorize.networks import ARCHITECTURES, identify  # torch

    architecture = identify(weights.state)
    if architecture is None:
        raise CheckpointError(
            f"{path} is for no network that we know: it must hold the weights of one of "
            f"{', '.join(ARCHITECTURES)} (of DeOldify a generator, *_gen.pth, not a critic)."
        )
    return architecture


def _metadata(path: Path, weights: Weights, architecture: Architecture) -> Checkpoint:
    factor = _recommended("render_factor", weights.metadata)
    saturation = _recommended("saturation", weights.metadata)
    return Checkpoint(
        name=path.stem,
        title=f"{path.name}, a file of yours",
        architecture=architecture.name,
        file=str(path.absolute()),
        sha256=weights.sha256,
        size=path.stat().st_size,
        license=weights.metadata.get("license", "unknown"),
        origin=path.name,
        render_factor=architecture.render_factor if factor is None else round(factor),
        saturation=architecture.saturation if saturation is None else saturation,
        fit=architecture.fit,
    )


def _recommended(name: str, metadata: Mapping[str, str]) -> float | None:
    """A number that a file recommends for a knob; None if it has none that the knob allows."""
    knob = setting_of(name)
    try:
        number = float(metadata.get(name, ""))
    except ValueError:
        return None
    low, high = knob.low or 0.0, knob.high or 0.0
    return number if low <= number <= high else None
