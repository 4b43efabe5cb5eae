"""For scripts and notebooks that drive a viewer: colours as layers, without a panel.

These functions return when the colours are there, which is what a script wants, and a window does
not answer meanwhile. Only lazy stacks come back at once, to be computed plane by plane as they are
looked at. Limits, gamma and placement are the layer's, as in the panel; running one again updates
its layer.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import napari
import numpy as np
from napari.layers import Image
from napari.utils import progress

from napari_colorize.display import ColorArrays, LayerData, PyramidColors, colors_for
from napari_colorize.errors import ColorizeError, SettingsError
from napari_colorize.napari import layers
from napari_colorize.napari.crop import plane_size
from napari_colorize.napari.guide.shape_scaling import resized

if TYPE_CHECKING:
    import torch
    from napari import Viewer

    from napari_colorize.array_types import Limits
    from napari_colorize.colorizer import Colorizer
    from napari_colorize.refine.guides import Guides
    from napari_colorize.settings import ColorizeSettings


@dataclass(eq=False)
class LayerResult:
    """Colours that are all there, or come by themselves when they are looked at."""

    data: Any
    limits: Limits
    multiscale: bool = False


@dataclass(frozen=True)
class LayerRequest:
    """A layer of a viewer, and how it is to be colorized."""

    viewer: Viewer
    layer: Image
    colorizer: Colorizer
    settings: ColorizeSettings
    guides: Guides | None = None
    second: Colorizer | None = None
    time_axis: int | None = None

    def call_arguments(self, source: Any) -> dict[str, Any]:
        """What a Colorizer wants to know besides an image or stack, of these pixels."""
        guides = self.guides
        if guides is not None:
            guides = resized(guides, plane_size(source, self.layer.rgb))
        return {
            "rgb": self.layer.rgb,
            "guides": guides,
            "blend_with": self.second,
            **vars(self.settings),
        }

    def colors(self) -> ColorArrays:
        """The way to show the layer's colours, none of which is known yet."""
        seen = {"limits": self.settings.contrast_limits, "gamma": self.settings.gamma}
        return colors_for(**layers.read(self.layer) | seen)


def colorize_layer(
    layer: Image | str,
    viewer: Viewer | None = None,
    *,
    model: str | os.PathLike[str] | Colorizer = "embedded",
    device: str | torch.device = "auto",
    guides: Guides | None = None,
    blend_with: str | os.PathLike[str] | Colorizer | None = None,
    **settings: Any,
) -> Image:
    """Colorize what a viewer shows of a layer: the image, or of a stack the plane looked at.

    Parameters
    ----------
    layer : Image or str
        A layer, or its name. Labels, shapes and the like cannot be colorized.
    viewer : Viewer, optional
        Where the layer is and the result goes. Default: the viewer in front.
    model : str, path or Colorizer
        A name in the catalogue, a file, or a Colorizer that is there already: for many calls.
    device : str or torch.device
        As in `Colorizer.from_pretrained`.
    guides : Guides, optional
        Mask, hints, reference picture, in pixels of the layer's planes.
    blend_with : str, path or Colorizer, optional
        A second model, whose colours are blended with the first one's.
    **settings
        See `ColorizeSettings`. Contrast limits and gamma are the layer's if they are not given.

    Returns
    -------
    Image
        "<layer> (colorized)" above the layer; of a plane "<layer> [its place] (colorized)".

    Raises
    ------
    ColorizeError
        If there is no such layer, it cannot be colorized, or the Colorizer refuses.
    """
    asked = _asked(layer, viewer, model, device, settings, guides, blend_with)
    plane = layers.plane_of(asked.layer, asked.viewer.dims)
    if not plane:
        return _colorized_whole(asked)
    colors = asked.colors()
    result = asked.colorizer(colors.source[plane], **asked.call_arguments(colors.source))
    colors.put(plane, result)
    there = tuple(slice(place, place + 1) for place in plane)
    data = colors.frozen(plane) if isinstance(colors, PyramidColors) else colors.data[there]
    shown = LayerResult(data, colors.limits, colors.multiscale)
    name = f"{asked.layer.name} {list(plane)} (colorized)"
    return _placed(asked, shown, result.provenance, name, plane)


def colorize_stack(
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
    """Colorize every plane of a layer; of a lazy one each when it is looked at.

    The result of a dask, zarr or memory-mapped stack is a dask array: nothing is computed before
    it is shown or asked for.

    Parameters
    ----------
    layer, viewer, model, device, guides, blend_with, **settings
        As for `colorize_layer`; guides are for every plane.
    time_axis : int, optional
        Along which colours are held steady, if `temporal_smoothing` is above 0. Default: the first.

    Returns
    -------
    Image
        "<layer> (colorized)" above the layer.

    Raises
    ------
    ColorizeError
        As for `colorize_layer`. Also if planes of a lazy stack, which come in any order, are to
        be held steady.
    """
    asked = _asked(layer, viewer, model, device, settings, guides, blend_with, time_axis)
    is_one = asked.layer.multiscale or not layers.leading_shape(asked.layer)
    if is_one or not _is_lazy(asked.layer.data):
        return _colorized_whole(asked)
    colors = _lazily(asked)
    return _placed(asked, colors, _record(asked), layers.result_name(asked.layer))


def _asked(
    layer: Image | str,
    viewer: Viewer | None,
    model: Any,
    device: Any,
    settings: dict[str, Any],
    guides: Guides | None = None,
    second: Any = None,
    time_axis: int | None = None,
) -> LayerRequest:
    from napari_colorize.colorizer import Colorizer

    viewer = napari.current_viewer() if viewer is None else viewer
    if viewer is None:
        raise ColorizeError("There is no viewer: open one, or say which with viewer=...")
    found = _found(layer, viewer)
    seen = {"contrast_limits": layers.seen_limits(found), "gamma": layers.seen_gamma(found)}
    if not isinstance(model, Colorizer):
        model = Colorizer.from_pretrained(model, device=device)
    if second is not None and not isinstance(second, Colorizer):
        second = Colorizer.from_pretrained(second, device=device)
    given = {name: value for name, value in settings.items() if value is not None}
    return LayerRequest(
        viewer, found, model, model.resolve_settings(seen | given), guides, second, time_axis
    )


def _found(layer: Image | str, viewer: Viewer) -> Image:
    """The layer of this name, or this layer, if it can be colorized."""
    names = [each.name for each in viewer.layers]
    if layer not in viewer.layers:
        raise ColorizeError(
            f"{str(layer)!r} is no layer of this viewer. Choose one of: {', '.join(names)}."
            if names
            else "The viewer is empty: open an image first."
        )
    found = viewer.layers[layer] if isinstance(layer, str) else layer
    reason = layers.reason_not_colorizable(found)
    if reason is not None:
        raise ColorizeError(reason)
    return found


def _colorized_whole(asked: LayerRequest) -> Image:
    """Every plane, one after another, then the layer."""
    colors = asked.colors()
    colors.allocate_all()
    source, record = colors.source, {}
    planes = asked.colorizer.iter_planes(
        source, time_axis=asked.time_axis, **asked.call_arguments(source)
    )
    total = math.prod(layers.leading_shape(asked.layer))
    for index, result in progress(planes, total=total, desc=f"Colorize {asked.layer.name}"):
        colors.put(index, result)
        record = result.provenance
    whole = colors.array()
    shown: LayerData = colors if whole is None else LayerResult(whole, colors.limits)
    return _placed(asked, shown, record, layers.result_name(asked.layer))


def _is_lazy(data: Any) -> bool:
    """Whether its values are elsewhere: dask, zarr, a memory map."""
    return not isinstance(data, np.ndarray) or isinstance(data, np.memmap)


def _lazily(asked: LayerRequest) -> LayerResult:
    """A dask array of the colours: a chunk for each plane, computed when it is asked for."""
    import dask.array as da

    if asked.settings.temporal_smoothing > 0:
        raise SettingsError(
            "Colours are held steady from each plane to the next, but planes of a lazy stack come "
            "in any order: load it first (np.asarray), or leave temporal_smoothing at 0."
        )
    stack, rgb, colorizer = asked.layer.data, asked.layer.rgb, asked.colorizer
    leading = len(layers.leading_shape(asked.layer))
    chunks = (1,) * leading + tuple(stack.shape)[leading:]
    is_dask = isinstance(stack, da.Array)
    planes = stack.rechunk(chunks) if is_dask else da.from_array(stack, chunks, name=False)

    told = asked.call_arguments(stack)

    def colored(block: Any) -> Any:
        result = colorizer(block[(0,) * leading], **told)
        return result.pixels[(None,) * leading]

    known = asked.colors()  # of no plane yet, but what they will be like
    like = known.data[0] if known.multiscale else known.data
    is_exact = asked.settings.fidelity == "exact"
    dtype, limits = (like.dtype, known.limits) if is_exact else (np.dtype(np.uint8), (0, 255))
    pictures = da.map_blocks(
        colored,
        planes,
        name=f"colorized-{uuid4()}",  # else dask makes one of all the network's weights
        meta=np.empty((0,) * (leading + 3), dtype),
        chunks=(*planes.chunks[: leading + 2], (like.shape[-1],)),
        new_axis=None if rgb else leading + 2,
    )
    return LayerResult(pictures, limits)


def _record(asked: LayerRequest) -> dict[str, Any]:
    """What will be done to each plane of a lazy stack, in the words of a record."""
    from napari_colorize import provenance

    colorizer, settings = asked.colorizer, asked.settings
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
    if asked.guides:
        record["guides"] = asked.guides.summary()
    if asked.second is not None:
        record["blended_with"] = {"model": asked.second.checkpoint.name}
    return record


def _placed(
    asked: LayerRequest,
    colors: LayerData,
    record: dict[str, Any],
    name: str,
    plane: tuple[int, ...] | None = None,
) -> Image:
    """The colours as a layer above theirs, or in the layer that an earlier call made."""
    metadata = {layers.METADATA: record}
    known = next((each for each in asked.viewer.layers if each.name == name), None)
    if known is not None and layers.METADATA in known.metadata:
        layers.refresh_result(known, colors, metadata=metadata)
    else:
        known = layers.add_result(asked.viewer, asked.layer, colors, metadata=metadata, name=name)
    if plane is not None:
        known.translate = layers.placement(asked.layer, plane)["translate"]
    return known
