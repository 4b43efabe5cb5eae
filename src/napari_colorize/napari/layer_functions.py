"""Functions that colorize a layer without a panel: for magicgui widgets, scripts and notebooks.

`colorize_layer` returns the result as a layer data tuple. It is a widget when passed to
`viewer.window.add_function_widget`, and a part of other widgets when passed to `magicgui`.
`add_colorized_plane` and `add_colorized_stack` add the result to a viewer themselves, take every
option of the library, and update the layer of an earlier call.

All of them return when the colors are computed; a window does not respond meanwhile. Only
`add_colorized_stack` of a lazy stack returns at once: its planes are computed when they are
displayed. Contrast limits, gamma and placement are taken from the layer, as in the panel.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints
from uuid import uuid4

import napari
import numpy as np
from napari.layers import Image
from napari.types import LayerDataTuple
from napari.utils import progress

from napari_colorize.display import ColorArrays, PyramidColors, colors_for
from napari_colorize.errors import ColorizeError, SettingsError
from napari_colorize.napari import layers
from napari_colorize.napari.controls import ColorizeSettings
from napari_colorize.napari.crop import plane_size
from napari_colorize.napari.guide.resize import resized
from napari_colorize.napari.transforms import placement
from napari_colorize.session.messages import model_choices, needs_download
from napari_colorize.settings import settings_from
from napari_colorize.zoo import CATALOGUE

if TYPE_CHECKING:
    import torch
    from napari import Viewer

    from napari_colorize.array_types import Limits, PlaneIndex
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.refine.guides import Guides

DEFAULT_SETTINGS = ColorizeSettings()


def local_models(widget: Any = None) -> list[tuple[str, str]]:
    """Label and name or path of each model on this computer, as choices of a magicgui widget."""
    return [
        (model if model in CATALOGUE else label, model)
        for label, model in model_choices()
        if not needs_download(model)
    ]


def colorize_layer(
    layer: Image,
    model: Annotated[str, {"choices": local_models}] = "embedded",
    settings: ColorizeSettings = DEFAULT_SETTINGS,
) -> LayerDataTuple:
    """Colorize every plane of an image layer.

    >>> viewer.window.add_function_widget(colorize_layer)  # doctest: +SKIP

    Parameters
    ----------
    layer : Image
        An image layer.
    model : str
        Name in the catalogue, or path of a model file. A widget lists the downloaded ones.
    settings : ColorizeSettings
        Settings of the colors. Contrast limits and gamma are taken from the layer.

    Returns
    -------
    LayerDataTuple
        Data, attributes and layer type of "<layer> (colorized)", placed like the source.

    Raises
    ------
    ColorizeError
        If the layer cannot be colorized or the model cannot be loaded.
    """
    chosen = {**vars(settings), "contrast_limits": None, "gamma": None}
    request = _request(layer, model, "auto", chosen)
    colors, record = _computed_colors(request)
    attributes = layers.result_attributes(layer, colors, metadata={layers.METADATA: record})
    return LayerDataTuple((attributes.pop("data"), attributes, "image"))


# magicgui evaluates annotations that are strings without the globals of this module.
colorize_layer.__annotations__ = get_type_hints(colorize_layer, include_extras=True)


def add_colorized_plane(
    layer: Image | str,
    viewer: Viewer | None = None,
    *,
    model: str | os.PathLike[str] | Colorizer = "embedded",
    device: str | torch.device = "auto",
    guides: Guides | None = None,
    blend_with: str | os.PathLike[str] | Colorizer | None = None,
    **settings: Any,
) -> Image:
    """Colorize the displayed plane of a layer and add it to the viewer.

    Parameters
    ----------
    layer : Image or str
        An image layer, or its name.
    viewer : Viewer, optional
        The viewer that has the layer. Default: the current viewer.
    model : str, path or Colorizer
        A name in the catalogue, a model file, or a loaded Colorizer (faster for many calls).
    device : str or torch.device
        See `Colorizer.from_pretrained`.
    guides : Guides, optional
        Mask, hints and reference, in pixels of the layer's planes.
    blend_with : str, path or Colorizer, optional
        A second model whose colors are blended with those of the first.
    **settings
        See `ColorizeSettings`. Contrast limits and gamma are taken from the layer by default.

    Returns
    -------
    Image
        "<layer> (colorized)" above the layer; for a stack "<layer> [index] (colorized)".

    Raises
    ------
    ColorizeError
        If the layer does not exist or cannot be colorized, or a setting is invalid.
    """
    viewer = _viewer(viewer)
    request = _request(_find_layer(layer, viewer), model, device, settings, guides, blend_with)
    plane = layers.plane_of(request.layer, viewer.dims)
    if not plane:
        colors, record = _computed_colors(request)
        return _add_or_update(viewer, request, colors, record, layers.result_name(request.layer))
    arrays = request.empty_colors()
    result = request.colorizer(arrays.source[plane], **request.call_arguments(arrays.source))
    arrays.put(plane, result)
    index = tuple(slice(at, at + 1) for at in plane)
    data = arrays.frozen(plane) if isinstance(arrays, PyramidColors) else arrays.data[index]
    colors = layers.LayerData(data, arrays.limits, arrays.multiscale)
    name = f"{request.layer.name} {list(plane)} (colorized)"
    return _add_or_update(viewer, request, colors, result.provenance, name, plane)


def add_colorized_stack(
    layer: Image | str,
    viewer: Viewer | None = None,
    *,
    model: str | os.PathLike[str] | Colorizer = "embedded",
    device: str | torch.device = "auto",
    guides: Guides | None = None,
    blend_with: str | os.PathLike[str] | Colorizer | None = None,
    time_axis: int | None = None,
    **settings: Any,
) -> Image:
    """Colorize every plane of a layer and add them to the viewer; lazily for a lazy stack.

    The result of a dask, zarr or memory-mapped stack is a dask array, whose planes are computed
    when they are displayed.

    Parameters
    ----------
    layer, viewer, model, device, guides, blend_with, **settings
        See `add_colorized_plane`; the guides apply to every plane.
    time_axis : int, optional
        Axis along which `temporal_smoothing` acts. Default: the first axis.

    Returns
    -------
    Image
        "<layer> (colorized)" above the layer.

    Raises
    ------
    ColorizeError
        See `add_colorized_plane`. Also for temporal smoothing of a lazy stack, whose planes are
        computed in any order.
    """
    viewer = _viewer(viewer)
    request = _request(
        _find_layer(layer, viewer), model, device, settings, guides, blend_with, time_axis
    )
    is_single = request.layer.multiscale or not layers.leading_shape(request.layer)
    if is_single or not _is_lazy(request.layer.data):
        colors, record = _computed_colors(request)
    else:
        colors, record = _lazy_colors(request), _expected_record(request)
    return _add_or_update(viewer, request, colors, record, layers.result_name(request.layer))


@dataclass(frozen=True)
class LayerRequest:
    """A layer, and everything that determines its colors."""

    layer: Image
    colorizer: Colorizer
    settings: ColorizeSettings
    guides: Guides | None = None
    second: Colorizer | None = None
    time_axis: int | None = None

    def call_arguments(self, source: Any) -> dict[str, Any]:
        """Keyword arguments of `Colorizer.__call__` for an image or stack of this size."""
        guides = self.guides
        if guides is not None:
            guides = resized(guides, plane_size(source, self.layer.rgb))
        return {
            "rgb": self.layer.rgb,
            "guides": guides,
            "blend_with": self.second,
            **vars(self.settings),
        }

    def empty_colors(self) -> ColorArrays:
        """Color arrays of the layer, with no plane computed yet."""
        display = {"limits": self.settings.contrast_limits, "gamma": self.settings.gamma}
        return colors_for(**layers.read(self.layer) | display)


def _viewer(viewer: Viewer | None) -> Viewer:
    found = napari.current_viewer() if viewer is None else viewer
    if found is None:
        raise ColorizeError("There is no viewer: open one, or pass it as viewer=...")
    return found


def _find_layer(layer: Image | str, viewer: Viewer) -> Image:
    """Look up a layer of a viewer by the object or by its name.

    Raises
    ------
    ColorizeError
        If the viewer does not have it.
    """
    names = [each.name for each in viewer.layers]
    if layer not in viewer.layers:
        raise ColorizeError(
            f"This viewer has no layer {str(layer)!r}. Choose one of: {', '.join(names)}."
            if names
            else "The viewer is empty: open an image first."
        )
    return viewer.layers[layer] if isinstance(layer, str) else layer


def _request(
    layer: Image,
    model: Any,
    device: Any,
    settings: dict[str, Any],
    guides: Guides | None = None,
    second: Any = None,
    time_axis: int | None = None,
) -> LayerRequest:
    """Check a layer, load the models and complete the settings; None stands for the default."""
    from napari_colorize.colorizer import Colorizer

    reason = layers.reason_not_colorizable(layer)
    if reason is not None:
        raise ColorizeError(reason)
    display = {
        "contrast_limits": layers.displayed_limits(layer),
        "gamma": layers.displayed_gamma(layer),
    }
    given = {name: value for name, value in settings.items() if value is not None}
    rule = given.get("contrast_limits")
    if isinstance(rule, str):
        given["contrast_limits"] = _limits_by_rule(layer, rule)
    if not isinstance(model, Colorizer):
        model = Colorizer.from_pretrained(model, device=device)
    if second is not None and not isinstance(second, Colorizer):
        second = Colorizer.from_pretrained(second, device=device)
    resolved = model.resolve_settings(display | given)
    return LayerRequest(layer, model, resolved, guides, second, time_axis)


def _limits_by_rule(layer: Image, rule: str) -> Limits:
    """Contrast limits of all planes of a layer by a rule; "auto" is what the layer displays."""
    from napari_colorize.imaging.planes import stack_range

    asked = settings_from({"contrast_limits": rule}).contrast_limits
    if asked is None:
        return layers.displayed_limits(layer)
    low, high = stack_range(layers.largest(layer), layer.rgb, asked).limits
    return (low, high) if low < high else layers.displayed_limits(layer)


def _computed_colors(request: LayerRequest) -> tuple[layers.Colors, dict[str, Any]]:
    """Colors of every plane, and the provenance of the last one."""
    arrays = request.empty_colors()
    arrays.allocate_all()
    source, record = arrays.source, {}
    planes = request.colorizer.iter_planes(
        source, time_axis=request.time_axis, **request.call_arguments(source)
    )
    total = math.prod(layers.leading_shape(request.layer))
    for index, result in progress(planes, total=total, desc=f"Colorize {request.layer.name}"):
        arrays.put(index, result)
        record = result.provenance
    whole = arrays.array()
    colors = arrays if whole is None else layers.LayerData(whole, arrays.limits)
    return colors, record


def _is_lazy(data: Any) -> bool:
    """Whether values are read on access: dask, zarr, a memory map."""
    return not isinstance(data, np.ndarray) or isinstance(data, np.memmap)


def _lazy_colors(request: LayerRequest) -> layers.LayerData:
    """A dask array with one chunk per plane."""
    import dask.array as da

    if request.settings.temporal_smoothing > 0:
        raise SettingsError(
            "Temporal smoothing needs the planes of a stack in order, but those of a lazy stack "
            "are computed in any order: load it first (np.asarray), or set temporal_smoothing=0."
        )
    stack, rgb, colorizer = request.layer.data, request.layer.rgb, request.colorizer
    leading = len(layers.leading_shape(request.layer))
    chunks = (1,) * leading + tuple(stack.shape)[leading:]
    is_dask = isinstance(stack, da.Array)
    planes = stack.rechunk(chunks) if is_dask else da.from_array(stack, chunks, name=False)

    arguments = request.call_arguments(stack)

    def colorize_block(block: Any) -> Any:
        result = colorizer(block[(0,) * leading], **arguments)
        return result.pixels[(None,) * leading]

    # Arrays without any computed plane have the shape, dtype and limits of the result.
    empty = request.empty_colors()
    expected = empty.data[0] if empty.multiscale else empty.data
    is_exact = request.settings.fidelity == "exact"
    dtype, limits = (expected.dtype, empty.limits) if is_exact else (np.dtype(np.uint8), (0, 255))
    pixels = da.map_blocks(
        colorize_block,
        planes,
        # By default dask hashes the function, and with it all weights of the network.
        name=f"colorized-{uuid4()}",
        meta=np.empty((0,) * (leading + 3), dtype),
        chunks=(*planes.chunks[: leading + 2], (expected.shape[-1],)),
        new_axis=None if rgb else leading + 2,
    )
    return layers.LayerData(pixels, limits)


def _expected_record(request: LayerRequest) -> dict[str, Any]:
    """Provenance of a lazy stack, written before any plane is computed."""
    from napari_colorize import provenance

    colorizer, settings = request.colorizer, request.settings
    if not settings.provenance:
        return {}
    record = provenance.describe(
        checkpoint_name=colorizer.checkpoint.name,
        architecture=colorizer.checkpoint.architecture,
        sha256=colorizer.checkpoint.sha256,
        settings=settings,
        device=str(colorizer.device),
        precision=colorizer.precision,
    )
    if request.guides:
        record["guides"] = request.guides.summary()
    if request.second is not None:
        record["blended_with"] = {"model": request.second.checkpoint.name}
    return record


def _add_or_update(
    viewer: Viewer,
    request: LayerRequest,
    colors: layers.Colors,
    record: dict[str, Any],
    name: str,
    plane: PlaneIndex | None = None,
) -> Image:
    """Add the colors above their source, or show them in the layer of an earlier call."""
    metadata = {layers.METADATA: record}
    layer = next((each for each in viewer.layers if each.name == name), None)
    if layer is not None and layers.METADATA in layer.metadata:
        layers.refresh_result(layer, colors, metadata=metadata)
    else:
        layer = layers.add_result(viewer, request.layer, colors, metadata=metadata, name=name)
    if plane is not None:
        layer.translate = placement(request.layer, plane)["translate"]
    return layer
