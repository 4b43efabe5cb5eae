"""`colorize`: colorize an image with one call; the last models are kept in memory."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import torch

from napari_colorize.colorizer import Colorizer
from napari_colorize.dask_arrays import LazyColorized, colorize_lazily
from napari_colorize.imaging.intensity_range import IntensityRange
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
    declared_range: IntensityRange | None = None,
    **settings: Any,
) -> Colorized | LazyColorized:
    """Colorize one image; the models stay in memory for the next call.

    For a dask array of an image or a stack the result is lazy: its chunks are computed by dask when
    they are needed, see `dask_arrays`.

    Parameters
    ----------
    image : array, shape (Y, X), (Y, X, 3) or (Y, X, 4)
        Any real dtype; see `Colorizer.__call__`. A dask array may have leading axes.
    model : str or path
        Name in the catalogue, or path of a checkpoint.
    device, precision
        See `Colorizer.from_pretrained`.
    rgb : bool, optional
        Whether the last axis holds colors. Default: if it has 3 or 4 entries.
    guides : Guides, optional
        Mask, hints and reference image.
    blend_with : str or path, optional
        A second model whose colors are blended with those of the first.
    declared_range : IntensityRange, optional
        Range that a file declares, `read_image(path).declared_range`; used unless
        `contrast_limits` are given.
    **settings
        Fields of `ColorizeSettings`.

    Returns
    -------
    Colorized, or LazyColorized for a dask array
        `.rgb` is the colorized image.
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
            declared_range=declared_range,
            **settings,
        )
    models = (model,) if blend_with is None else (model, blend_with)
    requested = {(*_identity(each), str(device), precision): each for each in models}
    with _last_lock:
        kept = {key: _last[key] for key in requested if key in _last}
        _last = {}  # release models not needed any more before new ones are loaded
        for key, each in requested.items():
            if key not in kept:
                kept[key] = Colorizer.from_pretrained(each, device=device, precision=precision)
        _last = kept
    first, *others = (kept[key] for key in requested)
    # A model blended with itself appears once and is used alone.
    return first(
        image,
        rgb=rgb,
        guides=guides,
        blend_with=next(iter(others), None),
        declared_range=declared_range,
        **settings,
    )


def _identity(model: str | os.PathLike[str]) -> tuple[object, ...]:
    """Cache key of a model: its name, or path, time stamp and size of its file."""
    path = Path(model)
    if not path.is_file():
        return (str(model),)
    status = path.stat()
    return path.resolve(), status.st_mtime_ns, status.st_size
