"""Models for workers: named where work is given out, loaded where it is done, once per process.

A network is too large to travel with every task, so tasks carry a `Loadable`: which model, with
the sum that tells its weights from others of the same name, and how it is to run.
"""

from __future__ import annotations

import os
import threading
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
from napari_colorize.runtime.devices import Precision, choose_dtype
from napari_colorize.settings import ColorizeSettings
from napari_colorize.zoo import Checkpoint
from napari_colorize.zoo.files import sha256_of

KEPT = 2  # models at a time in a process: one and the one that is blended with it

_loading = threading.Lock()
_turn = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model as a task carries it: a few hundred bytes, from which any process can load it.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its passport, with the sha256 of its weights.
    source : str
        Its name in the catalogue, or the absolute path of its file, which is the same for all
        processes.
    device : str
        As for `Colorizer.from_pretrained`; "auto" is decided where it is loaded.
    precision : {"auto", "float32", "bfloat16"}
        Likewise. Workers of different kinds give the same colours, to the last bit, only with
        float32.
    """

    checkpoint: Checkpoint
    source: str
    device: str = "auto"
    precision: Precision = "auto"

    @classmethod
    def of(
        cls,
        model: str | os.PathLike[str] | Colorizer,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
    ) -> ModelSpec:
        """A model by its name, its file or a Colorizer made from either; no network is built.

        Parameters
        ----------
        model : str, path or Colorizer
            A Colorizer keeps its own device and precision.
        device, precision
            See `Colorizer.from_pretrained`.

        Raises
        ------
        UnknownModelError, DownloadError, CheckpointError
            If there is no such model, or a Colorizer's weights are in no file.
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
        choose_dtype(precision, torch.device("cpu"))  # a wrong word is told at once
        checkpoint = _metadata(model)
        source = model if model in zoo.CATALOGUE else checkpoint.file
        return cls(
            checkpoint=checkpoint, source=str(source), device=str(device), precision=precision
        )

    def resolve_settings(self, settings: dict[str, Any]) -> ColorizeSettings:
        """Settings from keywords, as `Colorizer.choose` gives them; no weights are needed.

        Raises
        ------
        SettingsError
            If one is unknown, out of range, or not for this network.
        """
        on_paper = Colorizer(nn.Identity(), self.checkpoint, torch.device("cpu"), torch.float32)
        return on_paper.resolve_settings(settings)

    def load(self) -> Colorizer:
        """The Colorizer; a process loads it once, however many of its threads ask.

        Raises
        ------
        DownloadError, CheckpointError
            If it cannot be fetched, or this machine has other weights under that name.
        SettingsError
            If there is no such device here.
        """
        with _loading:  # else two threads that come at once would both load
            return _load(self)


def inference_lock(colorizer: Colorizer) -> AbstractContextManager[object]:
    """To be held while a network runs in one of many threads.

    Where torch works on all cores by itself, or on a GPU, predictions take turns: side by side they
    would need memory for all at once, and where it runs out colours come from smaller render
    factors. Where torch has one thread, as in dask's worker processes, nobody waits.
    """
    is_alone = colorizer.device.type == "cpu" and torch.get_num_threads() == 1
    return nullcontext() if is_alone else _turn


@lru_cache(maxsize=KEPT)
def _load(model: ModelSpec) -> Colorizer:
    colorizer = Colorizer.from_pretrained(
        model.source, device=model.device, precision=model.precision
    )
    if colorizer.checkpoint.sha256 != model.checkpoint.sha256:
        raise CheckpointError(
            f"{model.source} holds other weights here than where the work was given out: give all "
            "machines the same file."
        )
    return colorizer


def _metadata(model: str | os.PathLike[str]) -> Checkpoint:
    """With the sha256; a file has to be read for it, a name of the catalogue knows it."""
    found = zoo.resolve(model)
    if isinstance(found, Path):
        return zoo.load(found)[0]
    return found if found.sha256 else replace(found, sha256=sha256_of(zoo.local_path(found)))


def _source_of(checkpoint: Checkpoint) -> str:
    """Where a loaded checkpoint came from: a name of the catalogue, or a file."""
    name = checkpoint.name
    if name in zoo.CATALOGUE and _metadata(name).sha256 == checkpoint.sha256:
        return name
    if Path(checkpoint.file).is_absolute() and Path(checkpoint.file).is_file():
        return checkpoint.file
    raise UnknownModelError(
        f"{name} was made in this process, and workers can only load models from files: give a "
        "name of the catalogue or the path of a .safetensors or .pth file."
    )
