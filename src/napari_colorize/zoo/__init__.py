"""Model zoo: checkpoints by name or by path.

`load` returns a checkpoint and its weights. A name in the catalogue is downloaded once; the user's
own models are in a folder of their own (`user_models`); a path is read in place. The architecture
is detected from the keys of the state dict, never from the file name.
"""

from __future__ import annotations

import os
from dataclasses import replace
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from napari_colorize.errors import (
    CheckpointError,
    ColorizeNote,
    UnknownModelError,
    suggestion,
    warn,
)
from napari_colorize.zoo.catalogue import CATALOGUE, Checkpoint
from napari_colorize.zoo.download import DownloadProgress, cache_folder, fetch, is_local, local_path
from napari_colorize.zoo.user_models import (
    checkpoint_of,
    user_checkpoint,
    user_models,
    user_models_folder,
)

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
    "list_models",
    "load",
    "local_path",
    "resolve",
    "user_checkpoint",
    "user_models",
    "user_models_folder",
]

_SUFFIXES = {".pth", ".pt", ".safetensors"}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models that `from_pretrained` loads: of the catalogue, then the user's own.

    Parameters
    ----------
    pattern : str
        Only names that match, with the wildcards ``*`` and ``?``, for example ``deoldify-*``.
    """
    names = dict.fromkeys([*CATALOGUE, *(path.stem for path in user_models())])
    return [name for name in names if fnmatchcase(name, pattern)]


def resolve(name_or_path: str | PathLike[str]) -> Checkpoint | Path:
    """Find a model by its name in the catalogue, its name in the user's folder, or its path.

    Raises
    ------
    UnknownModelError
        If it is none of these. A path need not exist: `load` raises the error for it.
    """
    if not isinstance(name_or_path, str | PathLike):
        raise UnknownModelError(
            "A model is given by its name or by the path of a file, got "
            f"{type(name_or_path).__name__}. Settings are keyword arguments: render_factor=12."
        )
    if isinstance(name_or_path, str) and name_or_path in CATALOGUE:
        return CATALOGUE[name_or_path]
    own = {path.stem: path for path in user_models()}
    if isinstance(name_or_path, str) and name_or_path in own:
        return own[name_or_path]
    if _is_path(name_or_path):
        return Path(name_or_path).expanduser()
    similar = suggestion(str(name_or_path), list_models())
    raise UnknownModelError(
        f"No model is named {name_or_path!r}. {similar} The path of a .pth or .safetensors file is "
        "possible as well."
    )


def load(
    name_or_path: str | PathLike[str], *, progress: bool | DownloadProgress = False
) -> tuple[Checkpoint, Weights]:
    """Load a checkpoint and its weights, by name (downloaded if it is not local) or by path.

    The checkpoint has the architecture, sha256 and size of the file. A file that is not in the
    catalogue is named by its stem; its metadata, or else its architecture, recommends settings.
    `progress` is as for `fetch`.

    Raises
    ------
    UnknownModelError, DownloadError, CheckpointError
        If there is no such model, it could not be downloaded, or its architecture is unknown.
    """
    from napari_colorize.zoo.weights import check_values, read_weights  # torch

    found = resolve(name_or_path)
    if isinstance(found, Path):
        weights = _without_prefix(found, read_weights(found))
        architecture = _architecture_of(found, weights)
        check_values(found, weights.state)
        checkpoint = checkpoint_of(
            found,
            architecture,
            weights.metadata,
            title=f"{found.name}, a file of yours",
            origin=found.name,
        )
        return replace(checkpoint, file=str(found.absolute()), sha256=weights.sha256), weights
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
        or os.path.lexists(name_or_path)  # not Path.exists: Path("") is the current folder
    )


def _without_prefix(path: Path, weights: Weights) -> Weights:
    """The weights without the prefix that a wrapper, such as DataParallel, sets before each key."""
    from napari_colorize.networks import identify  # torch

    state = {key: value for key, value in weights.state.items() if key != "n_averaged"}
    removed = ""
    while identify(state) is None:
        prefix, dot, _ = next(iter(state), "").partition(".")
        if not dot or not all(key.startswith(prefix + dot) for key in state):
            return weights
        removed += prefix + dot
        state = {key.removeprefix(prefix + dot): value for key, value in state.items()}
    if not removed:
        return weights
    warn(
        f"The prefix {removed!r} of a wrapper was removed from the names of the weights in {path}.",
        ColorizeNote,
    )
    return replace(weights, state=state)


def _architecture_of(path: Path, weights: Weights) -> Architecture:
    from napari_colorize.networks import ARCHITECTURES, identify  # torch

    architecture = identify(weights.state)
    if architecture is None:
        raise CheckpointError(
            f"{path} is of no known architecture. It must contain weights of one of "
            f"{', '.join(ARCHITECTURES)} (of DeOldify a generator, *_gen.pth, not a critic)."
        )
    return architecture
