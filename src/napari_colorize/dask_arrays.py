"""Colours of dask arrays: lazy, chunk by chunk, on threads, processes or many machines.

The graph holds the names of the model and the settings; the weights are loaded where a chunk is
computed (see `workers`). What no chunk can know alone, the contrast limits of a whole stack, is a
part of the graph, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import DTypeLike

from napari_colorize import provenance
from napari_colorize.colorizer import Colorizer, refuse_beside_fidelity
from napari_colorize.errors import ImageError
from napari_colorize.imaging.planes import (
    Array,
    Limits,
    data_range,
    default_limits,
    limits_of_range,
    spatial_axes,
    stack_limits,
    to_numpy,
)
from napari_colorize.model_spec import ModelSpec, inference_lock
from napari_colorize.result import Colorized
from napari_colorize.runtime.devices import Precision
from napari_colorize.sequence_smoothing import checked_axis
from napari_colorize.settings import ColorizeSettings

if TYPE_CHECKING:
    import dask.array
    from dask.delayed import Delayed

    from napari_colorize.refine.guides import Guides


@dataclass(frozen=True, eq=False)
class LazyColorized:
    """A dask array of colours that are not computed yet, and how they will be made.

    Parameters
    ----------
    rgb : dask.array.Array
        `(..., Y, X, 3)`, or 4 if the image has alpha, of the image's dtype (bool gives uint8).
        Along the leading axes its chunks are the image's; Y and X are one chunk.
    settings : ColorizeSettings
        As chosen, with the checkpoint's recommendations filled in.
    provenance : dict
        Which model makes the colours, with which settings; empty if the settings say so.
    """

    rgb: dask.array.Array
    settings: ColorizeSettings
    provenance: dict[str, object]


def colorize_lazily(
    array: dask.array.Array,
    model: str | os.PathLike[str] | Colorizer = "embedded",
    *,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    rgb: bool | None = None,
    guides: Guides | None = None,
    blend_with: str | os.PathLike[str] | Colorizer | None = None,
    time_axis: int | None = None,
    **settings: Any,
) -> LazyColorized:
    """Colorize an image or a stack when, where and as far as its colours are asked for.

    Nothing is computed by this call. Every chunk becomes what `Colorizer.iter_planes` makes of its
    planes in the whole stack: where the dtype does not tell black and white, the graph reads the
    whole stack for them once before the first chunk. Any scheduler of dask may compute it; every
    process loads the model once.

    Parameters
    ----------
    array : dask.array.Array, shape (..., Y, X), (..., Y, X, 3) or (..., Y, X, 4)
        Any real dtype. Colours are replaced, alpha is kept.
    model : str, path or Colorizer
        A name in the catalogue, or a file that all workers find under this path. Of a Colorizer
        only its name or file travels, with its device and precision.
    device, precision
        See `Colorizer.from_pretrained`; "auto" is decided by each worker for itself.
    rgb : bool, optional
        Whether the last axis holds colours. Default: if it has 3 or 4 entries.
    guides : Guides, optional
        Mask, hints and reference for every plane.
    blend_with : str, path or Colorizer, optional
        A second model.
    time_axis : int, optional
        Along which colours are kept steady; default: the first leading axis.
    **settings
        See `ColorizeSettings`.

    Returns
    -------
    LazyColorized
        `.rgb` is the dask array.

    Raises
    ------
    ImageError
        If it has no planes, no real numbers, or more than one chunk along time although colours
        shall be steady along it.
    UnknownModelError, DownloadError, CheckpointError, SettingsError
        If there is no such model, or a setting is unknown, out of range, or not for it.
    """
    loadable = ModelSpec.of(model, device=device, precision=precision)
    other = (
        None
        if blend_with is None
        else ModelSpec.of(blend_with, device=loadable.device, precision=loadable.precision)
    )
    chosen = loadable.resolve_settings(settings)
    axes = spatial_axes(array, rgb)
    stack_limits(array, rgb, (0, 1))  # reads nothing, and refuses a stack without planes
    dtype = to_numpy(np.zeros((1, 1), array.dtype)).dtype  # refuses what is no real number
    leading = array.ndim - axes
    _refuse_split_time(array, chosen, leading, time_axis)
    if guides is not None:
        from napari_colorize.refine.guides import check_guides

        if callable(guides):
            raise ImageError(
                "The planes of a dask array share their guides: give one Guides object, or compute "
                "planes with Colorizer.iter_planes."
            )
        check_guides(guides).check((array.shape[leading], array.shape[leading + 1]))
    refuse_beside_fidelity(chosen, guides, other is not None)

    whole = array.rechunk(dict.fromkeys(range(leading, array.ndim), -1))
    channels = 4 if axes == 3 and array.shape[-1] == 4 else 3
    pictures = whole.map_blocks(
        _colorize_block,
        model=loadable,
        settings=chosen,
        limits=_limits(array, axes, dtype, chosen),
        rgb=axes == 3,
        guides=_once(guides),
        other=other,
        time_axis=time_axis,
        new_axis=array.ndim if axes == 2 else None,
        chunks=(*whole.chunks[: leading + 2], (channels,)),
        meta=np.empty((0,) * (leading + 3), _dtype_of_colors(dtype, chosen)),
    )
    return LazyColorized(pictures, chosen, _record(loadable, chosen, guides, other))


def _colorize_block(
    block: Array,
    *,
    model: ModelSpec,
    settings: ColorizeSettings,
    limits: Limits | None,
    rgb: bool,
    guides: Guides | None,
    other: ModelSpec | None,
    time_axis: int | None,
) -> Array:
    """One chunk, whose planes are whole, on a worker."""
    colorizer = model.load()
    planes = _in_turn(
        colorizer,
        colorizer.iter_planes(
            block,
            rgb=rgb,
            guides=guides,
            blend_with=None if other is None else other.load(),
            time_axis=time_axis,
            **(vars(settings) if limits is None else {**vars(settings), "contrast_limits": limits}),
        ),
    )
    index, first = next(planes)
    leading = block.shape[: block.ndim - (3 if rgb else 2)]
    pixels = np.empty((*leading, *first.pixels.shape), first.pixels.dtype)
    pixels[index] = first.pixels
    for index, colorized in planes:
        pixels[index] = colorized.pixels
    return pixels


def _in_turn(
    colorizer: Colorizer, planes: Iterator[tuple[tuple[int, ...], Colorized]]
) -> Iterator[tuple[tuple[int, ...], Colorized]]:
    """The same, but the network runs only when it is this thread's turn; composing needs none."""
    while True:
        with inference_lock(colorizer):
            found = next(planes, None)
        if found is None:
            return
        yield found


def _limits(
    array: dask.array.Array, axes: int, dtype: np.dtype[Any], chosen: ColorizeSettings
) -> Delayed | None:
    """Black and white of the whole stack, to be computed; None if settings or dtype tell them."""
    from dask.array import reduction
    from dask.delayed import delayed

    # A two is beyond 0 to 1, so floats must look at their data; bool makes a one of it.
    is_told = default_limits(np.full((1, 1), 2).astype(dtype))[1] is None
    if chosen.contrast_limits is not None or is_told:
        return None
    found = reduction(
        array,
        chunk=partial(_range_of_block, has_color=axes == 3),
        combine=_range_of_ranges,
        aggregate=_range_of_ranges,
        dtype=object,
        meta=np.empty((), object),
    )
    # `delayed` makes one task of reading a chunk and looking at it. Shared with the colours' tasks,
    # what was read would be kept for them: the whole stack in memory, where reading twice is cheap.
    return delayed(_limits_of, pure=True)(found, dtype)


def _range_of_block(block: Array, axis: Any, keepdims: bool, *, has_color: bool) -> Array:
    """Smallest and largest finite value of a chunk, alpha left out; `keepdims` is always true."""
    values = to_numpy(block)
    return _as_item(data_range(values[..., :3] if has_color else values), block.ndim)


def _range_of_ranges(ranges: Array, axis: Any, keepdims: bool) -> Array:
    """The range that holds all of them; None where no value was finite."""
    pairs = [pair for pair in ranges.flat if pair is not None]
    whole = (min(low for low, _ in pairs), max(high for _, high in pairs)) if pairs else None
    return _as_item(whole, ranges.ndim if keepdims else 0)


def _as_item(item: Limits | None, axes: int) -> Array:
    """An array of one object, as a reduction of dask wants it; of any integers, exact."""
    array = np.empty((1,) * axes, object)
    array[(0,) * axes] = item
    return array


def _limits_of(found: Any, dtype: np.dtype[Any]) -> Limits | None:
    """Limits from a range; None in a stack of one value, for which every chunk finds the same."""
    low, high = limits_of_range(dtype, np.asarray(found, object).item())[0]
    return (low, high) if low < high else None


def _refuse_split_time(
    array: dask.array.Array, chosen: ColorizeSettings, leading: int, time_axis: int | None
) -> None:
    """Steady colours follow from those of the plane before; a chunk knows its own planes only."""
    axis = checked_axis(time_axis, leading)
    if chosen.temporal_smoothing == 0 or axis is None or array.numblocks[axis] == 1:
        return
    raise ImageError(
        f"Colours are held steady along axis {axis} within a chunk only, and there are "
        f"{array.numblocks[axis]} along it: use array.rechunk({{{axis}: -1}}), "
        "Colorizer.iter_planes, or temporal_smoothing=0."
    )


def _dtype_of_colors(dtype: np.dtype[Any], chosen: ColorizeSettings) -> DTypeLike:
    return np.uint8 if dtype.kind == "b" or chosen.fidelity != "exact" else dtype


def _once(guides: Guides | None) -> Delayed | None:
    """An own entry of the graph, so that it does not travel with every chunk."""
    from dask.delayed import delayed

    return None if guides is None else delayed(guides, pure=True, traverse=False)


def _record(
    model: ModelSpec, chosen: ColorizeSettings, guides: Guides | None, other: ModelSpec | None
) -> dict[str, object]:
    """What will be done to each plane, in the words of a record."""
    if not chosen.provenance:
        return {}
    record = provenance.describe(
        checkpoint_name=model.checkpoint.name,
        architecture=model.checkpoint.architecture,
        sha256=model.checkpoint.sha256,
        settings=chosen,
        device=model.device,
        precision=model.precision,
    )
    if guides:
        record["guides"] = guides.summary()
    if other is not None:
        record["blended_with"] = {
            "model": other.checkpoint.name,
            "architecture": other.checkpoint.architecture,
            "weights_sha256": other.checkpoint.sha256,
        }
    return record
