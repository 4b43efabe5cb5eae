"""Lazy colorization of dask arrays, chunk by chunk, on threads, processes or several machines.

The task graph contains a description of the model (`model_spec`) and the settings; the process that
computes a chunk loads the weights. The contrast limits of a whole stack, which do not follow from a
single chunk, are tasks of the graph as well.
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
from napari_colorize.array_types import AnyArray, Limits, PlaneIndex
from napari_colorize.colorizer import Colorizer, check_fidelity_is_alone
from napari_colorize.errors import ImageError
from napari_colorize.imaging.planes import (
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
    """Result of a lazy colorization: a dask array that is computed on demand.

    Parameters
    ----------
    rgb : dask.array.Array
        Colors `(..., Y, X, 3)`, or 4 if the image has alpha, of the dtype of the image (uint8 for
        bool). The chunks along the leading axes are those of the image; Y and X are one chunk.
    settings : ColorizeSettings
        Settings with the recommendations of the checkpoint filled in.
    provenance : dict
        Record of model and settings; empty if switched off by the settings.
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
    """Colorize an image or a stack lazily with dask.

    This call computes nothing. Each chunk becomes what `Colorizer.iter_planes` returns for its
    planes as part of the whole stack: if contrast limits do not follow from the dtype, the graph
    reads the whole stack once before the first chunk. Any dask scheduler can compute the graph;
    each process loads the model once.

    Parameters
    ----------
    array : dask.array.Array, shape (..., Y, X), (..., Y, X, 3) or (..., Y, X, 4)
        Any real dtype. Colors are replaced, alpha is kept.
    model, blend_with : str, path or Colorizer
        Paths must be valid on all workers. Of a Colorizer only name or path, device and precision
        are sent to the workers.
    device, precision, rgb, guides, **settings
        As in `api.colorize`; "auto" is resolved by each worker, and guides are those of all planes.
    time_axis : int, optional
        Axis along which `temporal_smoothing` acts. Default: the first leading axis.

    Raises
    ------
    ImageError
        If it has no planes or no real numbers, or if the time axis has several chunks although
        temporal smoothing is requested.
    UnknownModelError, DownloadError, CheckpointError, SettingsError
        If there is no such model, or a setting is unknown, out of range, or not supported by it.
    """
    spec = ModelSpec.from_model(model, device=device, precision=precision)
    second = (
        None
        if blend_with is None
        else ModelSpec.from_model(blend_with, device=spec.device, precision=spec.precision)
    )
    resolved = spec.resolve_settings(settings)
    axes = spatial_axes(array, rgb)
    stack_limits(array, rgb, (0, 1))  # reads no data; raises for a stack without planes
    dtype = to_numpy(np.zeros((1, 1), array.dtype)).dtype  # raises for dtypes that are not real
    leading = array.ndim - axes
    _check_time_chunks(array, resolved, leading, time_axis)
    if guides is not None:
        from napari_colorize.refine.guides import check_guides

        if callable(guides):
            raise ImageError(
                "The planes of a dask array share their guides. Give one Guides object, or compute "
                "planes with Colorizer.iter_planes."
            )
        check_guides(guides).check((array.shape[leading], array.shape[leading + 1]))
    check_fidelity_is_alone(resolved, guides, second is not None)

    whole_planes = array.rechunk(dict.fromkeys(range(leading, array.ndim), -1))
    channels = 4 if axes == 3 and array.shape[-1] == 4 else 3
    colors = whole_planes.map_blocks(
        _colorize_block,
        model=spec,
        settings=resolved,
        limits=_limits(array, axes, dtype, resolved),
        rgb=axes == 3,
        guides=_as_task(guides),
        second=second,
        time_axis=time_axis,
        new_axis=array.ndim if axes == 2 else None,
        chunks=(*whole_planes.chunks[: leading + 2], (channels,)),
        meta=np.empty((0,) * (leading + 3), _result_dtype(dtype, resolved)),
    )
    return LazyColorized(colors, resolved, _record(spec, resolved, guides, second))


def _colorize_block(
    block: AnyArray,
    *,
    model: ModelSpec,
    settings: ColorizeSettings,
    limits: Limits | None,
    rgb: bool,
    guides: Guides | None,
    second: ModelSpec | None,
    time_axis: int | None,
) -> AnyArray:
    """Colorize one chunk of whole planes; runs on a worker."""
    colorizer = model.load()
    planes = _with_inference_lock(
        colorizer,
        colorizer.iter_planes(
            block,
            rgb=rgb,
            guides=guides,
            blend_with=None if second is None else second.load(),
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


def _with_inference_lock(
    colorizer: Colorizer, planes: Iterator[tuple[PlaneIndex, Colorized]]
) -> Iterator[tuple[PlaneIndex, Colorized]]:
    """Iterate over planes with the lock held while the network runs, not while images compose."""
    while True:
        with inference_lock(colorizer):
            found = next(planes, None)
        if found is None:
            return
        yield found


def _limits(
    array: dask.array.Array, axes: int, dtype: np.dtype[Any], resolved: ColorizeSettings
) -> Delayed | None:
    """Task that computes the limits of the stack; None if settings or dtype determine them."""
    from dask.array import reduction
    from dask.delayed import delayed

    # 2 is outside the range 0 to 1, so that floats are not treated as unit images; as bool it is 1.
    is_fixed = default_limits(np.full((1, 1), 2).astype(dtype))[1] is None
    if resolved.contrast_limits is not None or is_fixed:
        return None
    found = reduction(
        array,
        chunk=partial(_range_of_block, has_color=axes == 3),
        combine=_range_of_ranges,
        aggregate=_range_of_ranges,
        dtype=object,
        meta=np.empty((), object),
    )
    # `delayed` fuses reading a chunk with computing its range. If the tasks of the colors shared
    # the chunks, dask would keep the whole stack in memory for them; reading twice is cheaper.
    return delayed(_limits_of, pure=True)(found, dtype)


def _range_of_block(block: AnyArray, axis: Any, keepdims: bool, *, has_color: bool) -> AnyArray:
    """Smallest and largest finite value of a chunk without alpha; `keepdims` is always true."""
    values = to_numpy(block)
    return _as_object_array(data_range(values[..., :3] if has_color else values), block.ndim)


def _range_of_ranges(ranges: AnyArray, axis: Any, keepdims: bool) -> AnyArray:
    """Union of ranges; None if no value was finite."""
    pairs = [pair for pair in ranges.flat if pair is not None]
    union = (min(low for low, _ in pairs), max(high for _, high in pairs)) if pairs else None
    return _as_object_array(union, ranges.ndim if keepdims else 0)


def _as_object_array(item: Limits | None, axes: int) -> AnyArray:
    """Array with one object, for reductions of dask; Python integers of any size stay exact."""
    array = np.empty((1,) * axes, object)
    array[(0,) * axes] = item
    return array


def _limits_of(found: Any, dtype: np.dtype[Any]) -> Limits | None:
    """Limits from a range; None for a stack of one value, where each chunk finds the same."""
    low, high = limits_of_range(dtype, np.asarray(found, object).item())[0]
    return (low, high) if low < high else None


def _check_time_chunks(
    array: dask.array.Array, resolved: ColorizeSettings, leading: int, time_axis: int | None
) -> None:
    """Raise if temporal smoothing would have to cross chunks: a chunk has only its own planes."""
    axis = checked_axis(time_axis, leading)
    if resolved.temporal_smoothing == 0 or axis is None or array.numblocks[axis] == 1:
        return
    raise ImageError(
        f"Temporal smoothing acts within one chunk, and axis {axis} has {array.numblocks[axis]} "
        f"chunks. Use array.rechunk({{{axis}: -1}}), "
        "Colorizer.iter_planes, or temporal_smoothing=0."
    )


def _result_dtype(dtype: np.dtype[Any], resolved: ColorizeSettings) -> DTypeLike:
    return np.uint8 if dtype.kind == "b" or resolved.fidelity != "exact" else dtype


def _as_task(guides: Guides | None) -> Delayed | None:
    """Make guides a task of their own, so that they are not sent with every chunk."""
    from dask.delayed import delayed

    return None if guides is None else delayed(guides, pure=True, traverse=False)


def _record(
    model: ModelSpec, resolved: ColorizeSettings, guides: Guides | None, second: ModelSpec | None
) -> dict[str, object]:
    """Provenance record of all planes."""
    if not resolved.provenance:
        return {}
    record = provenance.describe(
        checkpoint_name=model.checkpoint.name,
        architecture=model.checkpoint.architecture,
        sha256=model.checkpoint.sha256,
        settings=resolved,
        device=model.device,
        precision=model.precision,
    )
    if guides:
        record["guides"] = guides.summary()
    if second is not None:
        record["blended_with"] = {
            "model": second.checkpoint.name,
            "architecture": second.checkpoint.architecture,
            "weights_sha256": second.checkpoint.sha256,
        }
    return record
