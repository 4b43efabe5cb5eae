"""Serializable description of a model, from which worker processes load it once.

A network is too large to be sent with every task. Tasks carry a `ModelSpec` instead: the source of
the model, the checksum of its weights, and device and precision.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_colorize import zoo
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import CheckpointError, UnknownModelError
from napari_colorize.predictor import Predictor
from napari_colorize.runtime.devices import Precision, choose_dtype
from napari_colorize.runtime.forking import global_lock
from napari_colorize.settings import ColorizeSettings
from napari_colorize.zoo import Checkpoint
from napari_colorize.zoo.download import sha256_of

CACHED_MODELS = 2  # per process: a model and the one that is blended with it

_load_lock = global_lock()
_inference_lock = global_lock()


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Description of a model in a few hundred bytes, from which any process can load it."""

    checkpoint: Checkpoint  # metadata of the model, with the sha256 of its weights
    source: str  # name in the catalogue, or absolute path of the file, valid in all processes
    # As for `Colorizer.from_pretrained`; "auto" is resolved by the process that loads the model
    device: str = "auto"
    # Machines of different kinds give bitwise equal colors only in float32.
    precision: Precision = "auto"

    @classmethod
    def from_model(
        cls,
        model: str | os.PathLike[str] | Colorizer,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
    ) -> ModelSpec:
        """Describe a model given by name, file or Colorizer; no network is built.

        A Colorizer keeps its device and precision; otherwise they are as in
        `Colorizer.from_pretrained`.

        Raises
        ------
        UnknownModelError, DownloadError, CheckpointError
            If there is no such model, or the weights of a Colorizer are not in a file.
        SettingsError
            If there is no such precision.
        """
        if isinstance(model, Colorizer):
            source = _source_of(model.checkpoint)
            return cls(
                checkpoint=model.checkpoint,
                source=source,
                device=str(model.device),
                precision="float32" if model.dtype == torch.float32 else "bfloat16",
            )
        choose_dtype(precision, torch.device("cpu"))  # raises here, not in the worker
        checkpoint = _metadata(model)
        source = model if model in zoo.CATALOGUE else checkpoint.file
        return cls(
            checkpoint=checkpoint, source=str(source), device=str(device), precision=precision
        )

    def resolve_settings(self, settings: Mapping[str, Any]) -> ColorizeSettings:
        """Make settings from keywords as `Predictor.resolve_settings`, without loading weights.

        Raises
        ------
        SettingsError
            If a setting is unknown, out of range, or not supported by this network.
        """
        unloaded = Predictor(nn.Identity(), self.checkpoint, torch.device("cpu"), torch.float32)
        return unloaded.resolve_settings(settings)

    def load(self) -> Colorizer:
        """Load the model, or return the one that this process has loaded already.

        Raises
        ------
        DownloadError, CheckpointError
            If it cannot be downloaded, or the weights on this machine are different ones.
        SettingsError
            If this machine has no such device.
        """
        with _load_lock:  # two threads that start together must not both load it
            return _load(self)


def inference_lock(colorizer: Colorizer) -> AbstractContextManager[object]:
    """Context manager to hold while a network runs in one of several threads.

    On a GPU, or if torch uses several CPU threads, predictions run one after another: in parallel
    they would be no faster and need memory for all of them, which can trigger a fallback to smaller
    render factors. If torch uses one thread, as in dask workers, there is no lock.
    """
    runs_alone = colorizer.device.type == "cpu" and torch.get_num_threads() == 1
    return nullcontext() if runs_alone else _inference_lock


@lru_cache(maxsize=CACHED_MODELS)
def _load(model: ModelSpec) -> Colorizer:
    if model.source not in zoo.CATALOGUE and not Path(model.source).is_file():
        raise CheckpointError(
            f"{model.source} does not exist on {platform.node() or 'this machine'}, which runs the "
            "task. Copy it there under the same path, or use a model of the catalogue, which is "
            "downloaded."
        )
    colorizer = Colorizer.from_pretrained(
        model.source, device=model.device, precision=model.precision
    )
    if colorizer.checkpoint.sha256 != model.checkpoint.sha256:
        raise CheckpointError(
            f"{model.source} has other weights on this machine than on the one that sent the task. "
            "Give all machines the same file."
        )
    return colorizer


def _metadata(model: str | os.PathLike[str]) -> Checkpoint:
    """Metadata of a model with its sha256, from the catalogue or computed from the file."""
    found = zoo.resolve(model)
    if isinstance(found, Path):
        return zoo.load(found)[0]
    return found if found.sha256 else replace(found, sha256=sha256_of(zoo.local_path(found)))


def _source_of(checkpoint: Checkpoint) -> str:
    """Source of a loaded checkpoint: a name in the catalogue, or a path."""
    name = checkpoint.name
    if name in zoo.CATALOGUE and _metadata(name).sha256 == checkpoint.sha256:
        return name
    if Path(checkpoint.file).is_absolute() and Path(checkpoint.file).is_file():
        return checkpoint.file
    raise UnknownModelError(
        f"{name} exists in this process only, and workers load models from files. Give a name in "
        "the catalogue or the path of a .safetensors or .pth file."
    )
