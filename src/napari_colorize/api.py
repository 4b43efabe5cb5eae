"""`colorize`: colorize an image with one call; the last models are kept in memory."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Unpack, overload

import torch

from napari_colorize import zoo
from napari_colorize.colorizer import Colorizer
from napari_colorize.dask_arrays import LazyColorized, colorize_lazily
from napari_colorize.errors import ColorizeNote, warn
from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.imaging.planes import array_kind
from napari_colorize.io.image_record import ImageRecord
from napari_colorize.refine.guides import Guides
from napari_colorize.result import Colorized
from napari_colorize.runtime.devices import Precision
from napari_colorize.runtime.forking import global_lock
from napari_colorize.settings import SettingsDict, with_setting_parameters

_last: dict[tuple[Any, ...], Colorizer] = {}
_last_lock = global_lock()


class DaskArray(Protocol):
    """What a type checker knows a dask array by, without dask being installed."""

    def __dask_graph__(self) -> Any: ...


@overload
def colorize(
    image: DaskArray,
    model: str | os.PathLike[str] = ...,
    *,
    device: str | torch.device = ...,
    precision: Precision = ...,
    rgb: bool | None = ...,
    guides: Guides | None = ...,
    blend_with: str | os.PathLike[str] | None = ...,
    declared_range: IntensityRange | None = ...,
    **settings: Unpack[SettingsDict],
) -> LazyColorized: ...
@overload
def colorize(
    image: Any,
    model: str | os.PathLike[str] = ...,
    *,
    device: str | torch.device = ...,
    precision: Precision = ...,
    rgb: bool | None = ...,
    guides: Guides | None = ...,
    blend_with: str | os.PathLike[str] | None = ...,
    declared_range: IntensityRange | None = ...,
    **settings: Unpack[SettingsDict],
) -> Colorized: ...
@with_setting_parameters()
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
    **settings: Unpack[SettingsDict],
) -> Colorized | LazyColorized:
    """Colorize one image, given as an array or as a file; the models stay in memory.

    For a dask array of an image or a stack the result is lazy: its chunks are computed by dask when
    they are needed, see `dask_arrays`.

    Parameters
    ----------
    image : array, shape (Y, X), (Y, X, 3) or (Y, X, 4); or path, or ImageRecord
        Any real dtype; see `Colorizer.__call__`. NumPy, torch, dask, xarray and Pillow. A dask
        array may have leading axes. A path is read with `read_image`.
    model : str or path
        Name in the catalogue (see `list_models`), or path of a checkpoint.
    device, precision
        See `Colorizer.from_pretrained`.
    rgb : bool, optional
        Whether the last axis holds colors. Default: if it has 3 or 4 entries; for a file, what it
        declares.
    guides : Guides, optional
        Mask, hints and reference image.
    blend_with : str or path, optional
        A second model whose colors are blended with those of the first.
    declared_range : IntensityRange, optional
        Range that a file declares, `read_image(path).declared_range`; used unless
        `contrast_limits` are given. Default: of a file its own.
    **settings
        Fields of `ColorizeSettings`.

    Returns
    -------
    Colorized, or LazyColorized for a dask array
        `.rgb` is the colorized image.

    Raises
    ------
    ImageError
        If it is not one image of real numbers, or the file cannot be read.
    SettingsError
        If a setting is unknown, out of range, or not supported by the model.
    UnknownModelError, DownloadError, CheckpointError
        If there is no such model, it cannot be downloaded, or the file is no checkpoint.
    OutOfMemoryError
        If no permitted fallback fits into memory.

    Examples
    --------
    >>> import napari_colorize as nc
    >>> import skimage.data
    >>> result = nc.colorize(skimage.data.camera(), saturation=1.4)
    >>> result
    Colorized((512, 512, 3) uint8, 'embedded', render_factor=12, saturation=1.4)
    >>> result.rgb.shape
    (512, 512, 3)
    """
    if isinstance(image, str | os.PathLike):
        from napari_colorize.io.images import read_image

        image = read_image(image)
    if isinstance(image, ImageRecord):
        for note in image.notes:
            warn(note, ColorizeNote)
        result = colorize(
            image.array,
            model,
            device=device,
            precision=precision,
            rgb=image.rgb if rgb is None else rgb,
            guides=guides,
            blend_with=blend_with,
            declared_range=declared_range or image.declared_range,
            **settings,
        )
        return replace(result, metadata=image.metadata, notes=(*image.notes, *result.notes))
    if "xarray" in sys.modules and isinstance(image, sys.modules["xarray"].DataArray):
        image = image.data  # NumPy or dask
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
    first, *others = _loaded(
        (model,) if blend_with is None else (model, blend_with), device, precision
    )
    # A model blended with itself appears once and is used alone.
    return first(
        image,
        rgb=rgb,
        guides=guides,
        blend_with=next(iter(others), None),
        declared_range=declared_range,
        **settings,
    )


def _loaded(
    models: tuple[str | os.PathLike[str], ...], device: str | torch.device, precision: Precision
) -> list[Colorizer]:
    """The models, each once, of the last call or newly loaded."""
    global _last
    requested = {(*_identity(each), str(device), precision): each for each in models}
    with _last_lock:
        kept = {key: _last[key] for key in requested if key in _last}
        _last = {}  # release models not needed any more before new ones are loaded
        for key, each in requested.items():
            if key not in kept:
                kept[key] = Colorizer.from_pretrained(each, device=device, precision=precision)
        _last = kept
    return [kept[key] for key in requested]


def _identity(model: str | os.PathLike[str]) -> tuple[object, ...]:
    """Cache key of a model: its name, or path, time stamp and size of its file."""
    path = zoo.resolve(model)
    if not isinstance(path, Path) or not path.is_file():
        return (str(model),)
    status = path.stat()
    return path.resolve(), status.st_mtime_ns, status.st_size
