"""Lazy colorization of dask arrays, chunk by chunk, on threads, processes or several machines.

The task graph contains a description of the model (`model_spec`) and the settings; the process that
computes a chunk loads the weights. The intensity range of a whole stack, which does not follow from
a single chunk, is a task of the graph as well.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from numpy.typing import DTypeLike

from napari_colorize import provenance
from napari_colorize.array_types import AnyArray, PlaneIndex
from napari_colorize.colorizer import Colorizer, check_fidelity_is_alone
from napari_colorize.errors import ImageError
from napari_colorize.imaging.intensity_range import (
    IntensityRange,
    Summary,
    known_range,
    merge,
    range_of_data,
    summarize,
)
from napari_colorize.imaging.planes import check_has_planes, spatial_axes, to_numpy
from napari_colorize.model_spec import ModelSpec, inference_lock
from napari_colorize.result import Colorized
from napari_colorize.runtime.devices import Precision
from napari_colorize.sequence_smoothing import checked_axis
from napari_colorize.settings import ColorizeSettings, ContrastLimits, RangeRule, SettingsDict

if TYPE_CHECKING:
    import dask.array
    from dask.delayed import Delayed

    from napari_colorize.refine.guides import Guides


UNKNOWN_RANGE = {"limits": None, "source": "data of the whole stack"}


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        model, used = self.provenance.get("model", ""), self.settings
        return f"LazyColorized({self.rgb.shape} {self.rgb.dtype}, {model!r}, {used!r})"


def colorize_lazily(
    array: dask.array.Array,
    model: str | os.PathLike[str] | Colorizer = "embedded",
    *,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    rgb: bool | None = None,
    guides: Guides | None = None,
    blend_with: str | os.PathLike[str] | Colorizer | None = None,
    declared_range: IntensityRange | None = None,
    time_axis: int | None = None,
    **settings: Unpack[SettingsDict],
) -> LazyColorized:
    """Colorize an image or a stack lazily with dask.

    This call computes nothing. Each chunk becomes what `Colorizer.iter_planes` returns for its
    planes as part of the whole stack: if the intensity range depends on the data, the graph reads
    the whole stack once before the first chunk. Any dask scheduler can compute the graph;
    each process loads the model once.

    Parameters
    ----------
    array : dask.array.Array, shape (..., Y, X), (..., Y, X, 3) or (..., Y, X, 4)
        Any real dtype. Colors are replaced, alpha is kept.
    model, blend_with : str, path or Colorizer
        Paths must be valid on all workers. Of a Colorizer only name or path, device and precision
        are sent to the workers.
    device, precision, rgb, guides, declared_range, **settings
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
    check_has_planes(array, rgb)
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
    asked = resolved.contrast_limits
    if asked is None and declared_range is None:
        asked = spec.checkpoint.contrast_limits
    # Percentiles sample each plane evenly, as `stack_range` does, so they need whole planes.
    read = whole_planes if asked == "percentile" else array
    found = _range(read, axes, dtype, asked, declared_range)
    channels = 4 if axes == 3 and array.shape[-1] == 4 else 3
    colors = whole_planes.map_blocks(
        _colorize_block,
        model=spec,
        settings=replace(resolved, contrast_limits=None),
        declared_range=found,
        rgb=axes == 3,
        guides=_as_task(guides),
        second=second,
        time_axis=time_axis,
        new_axis=array.ndim if axes == 2 else None,
        chunks=(*whole_planes.chunks[: leading + 2], (channels,)),
        meta=np.empty((0,) * (leading + 3), _result_dtype(dtype, resolved)),
    )
    return LazyColorized(colors, resolved, _record(spec, resolved, found, guides, second))


def _colorize_block(
    block: AnyArray,
    *,
    model: ModelSpec,
    settings: ColorizeSettings,
    declared_range: IntensityRange,
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
            declared_range=declared_range,
            **vars(settings),
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


def _range(
    array: dask.array.Array,
    axes: int,
    dtype: np.dtype[Any],
    asked: ContrastLimits,
    declared: IntensityRange | None,
) -> IntensityRange | Delayed:
    """Range of the stack, or the task that finds it if it depends on the data."""
    from dask.array import reduction
    from dask.delayed import delayed

    known = known_range(dtype, asked, declared)
    if isinstance(known, IntensityRange):
        return known
    found = reduction(
        array,
        chunk=partial(_summary_of_block, axes=axes, rule=known, count=_count(array, axes)),
        combine=_merged_summaries,
        aggregate=_merged_summaries,
        dtype=object,
        meta=np.empty((), object),
    )
    # `delayed` fuses reading a chunk with its summary. If the tasks of the colors shared the
    # chunks, dask would keep the whole stack in memory for them; reading twice is cheaper.
    return delayed(_range_of_summary, pure=True)(dtype, known, found)


def _count(array: dask.array.Array, axes: int) -> int:
    """Number of values without alpha."""
    channels = min(array.shape[-1], 3) if axes == 3 else 1
    return math.prod(array.shape[:-1] if axes == 3 else array.shape) * channels


def _summary_of_block(
    block: AnyArray, axis: Any, keepdims: bool, *, axes: int, rule: RangeRule, count: int
) -> AnyArray:
    """Summary of a chunk without alpha, plane by plane; `keepdims` is always true."""
    values = to_numpy(block)
    values = values[..., :3] if axes == 3 else values
    planes = (values[index] for index in np.ndindex(values.shape[: values.ndim - axes]))
    found = merge(summarize(plane, rule, count) for plane in planes)
    return _as_object_array(found, block.ndim)


def _merged_summaries(summaries: AnyArray, axis: Any, keepdims: bool) -> AnyArray:
    return _as_object_array(merge(summaries.flat), summaries.ndim if keepdims else 0)


def _range_of_summary(dtype: np.dtype[Any], rule: RangeRule, found: Any) -> IntensityRange:
    return range_of_data(dtype, rule, np.asarray(found, object).item())


def _as_object_array(item: Summary | None, axes: int) -> AnyArray:
    """Array with one object, for reductions of dask."""
    array = np.empty((1,) * axes, object)
    array[(0,) * axes] = item
    return array


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
    model: ModelSpec,
    resolved: ColorizeSettings,
    found: IntensityRange | Delayed,
    guides: Guides | None,
    second: ModelSpec | None,
) -> dict[str, object]:
    """Provenance record of all planes."""
    if not resolved.provenance:
        return {}
    record = provenance.describe(
        checkpoint_name=model.checkpoint.name,
        architecture=model.checkpoint.architecture,
        sha256=model.checkpoint.sha256,
        settings=resolved,
        # The range is not known yet if it is a task.
        intensity_range=found.record if isinstance(found, IntensityRange) else UNKNOWN_RANGE,
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
