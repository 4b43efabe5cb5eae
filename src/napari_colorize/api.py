"""`colorize`, the one-liner: it keeps the last models for the next call."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import torch

from napari_colorize.colorizer import Colorizer
from napari_colorize.dask_arrays import LazyColorized, colorize_lazily
from napari_colorize.imaging.planes import array_kind
from napari_colorize.refine.guides import Guides
from napari_colorize.result import Colorized
from napari_colorize.runtime.devices import Precision

_last: dict[tuple[Any, ...], Colorizer] = {}
_last_lock = threading.Lock()


def colorize(
    image: Any,
    model: str | os.PathLike[str] = "embedded",
    *,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    rgb: bool | None = None,
    guides: Guides | None = None,
    blend_with: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Colorized | LazyColorized:
    """Colorize one image; the models are kept for the next call.

    A dask array, of an image or a stack, comes back at once: its colours are computed chunk by
    chunk when they are asked for, where dask computes; see `chunks`.

    Parameters
    ----------
    image : array, shape (Y, X), (Y, X, 3) or (Y, X, 4)
        Any real dtype; see `Colorizer.__call__`. A dask array may have axes before these.
    model : str or path
        A name in the catalogue, or a file.
    device, precision
        See `Colorizer.from_pretrained`.
    rgb : bool, optional
        Whether the last axis holds colours.
    guides : Guides, optional
        Mask, hints, reference picture.
    blend_with : str or path, optional
        A second model, to be blended with the first.
    **settings
        See `ColorizeSettings`.

    Returns
    -------
    Colorized, or LazyColorized for a dask array
        `.rgb` is the picture.
    """
    global _last
    if array_kind(image) == "dask":
        return colorize_lazily(
            image,
            model,
            device=device,
            precision=precision,
            rgb=rgb,
            guides=guides,
            blend_with=blend_with,
            **settings,
        )
    models = (model,) if blend_with is None else (model, blend_with)
    wanted = {(*_identity(each), str(device), precision): each for each in models}
    with _last_lock:
        kept = {key: _last[key] for key in wanted if key in _last}
        _last = {}  # models that are no longer wanted may leave no room for new ones
        for key, each in wanted.items():
            if key not in kept:
                kept[key] = Colorizer.from_pretrained(each, device=device, precision=precision)
        _last = kept
    first, *others = (kept[key] for key in wanted)
    # Of a model blended with itself there is one; it comes out as it is.
    return first(image, rgb=rgb, guides=guides, blend_with=next(iter(others), None), **settings)


def _identity(model: str | os.PathLike[str]) -> tuple[object, ...]:
    """What tells a model from another: its name, or its file as it is now."""
    path = Path(model)
    if not path.is_file():
        return (str(model),)
    status = path.stat()
    return path.resolve(), status.st_mtime_ns, status.st_size
