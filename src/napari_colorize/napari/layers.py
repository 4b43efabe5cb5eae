"""Layers in, layers out: what of a layer is colorized, and the layers that show its colours.

What a viewer shows of a layer is what the network sees: its plane, contrast limits and gamma
(`read`, `plane_of`). Results lie above their source, value for value and place for place
(`add_result`, `refresh_result`; see `placement`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_colorize.display import ColorArrays, DisplayRange, LayerData, PyramidColors
from napari_colorize.display.gray import dtype_in_memory
from napari_colorize.display.single import shown_limits
from napari_colorize.errors import ImageError
from napari_colorize.napari.regions import region_of
from napari_colorize.napari.transforms import at_units, placement
from napari_colorize.settings import ColorizeSettings, setting_of

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer, Shapes
    from napari.viewer import Viewer

    from napari_colorize.array_types import Limits

__all__ = [
    "KEPT",
    "METADATA",
    "add_channels",
    "add_plane",
    "add_result",
    "axes_of",
    "leading_shape",
    "nothing_to_colorize",
    "placement",
    "plane_of",
    "read",
    "reason_not_colorizable",
    "refresh_result",
    "region_of",
    "result_name",
    "seen_gamma",
    "seen_limits",
]

METADATA = "napari-colorize"  # where a result's metadata say how it was made
KEPT = "napari-colorize kept"  # and that it is no longer changed

NO_LAYER = "There is no image to colorize: open one, or choose its layer."
CHANNELS = ("red", "green", "blue")


def reason_not_colorizable(layer: Layer | None) -> str | None:
    """One sentence if this layer cannot be colorized, else None."""
    if layer is None:
        return NO_LAYER
    kind = type(layer).__name__
    if not isinstance(layer, Image):
        return f"{layer.name!r} is a {kind} layer, and only images can be colorized: choose one."
    if METADATA in layer.metadata:
        return f"{layer.name!r} shows predicted colours already: choose the layer it was made from."
    dtype = np.dtype(layer.dtype)
    if dtype.kind == "c":
        return f"{layer.name!r} holds complex numbers: show its magnitude, np.abs(data), first."
    if dtype.kind not in "biuf":
        return f"{layer.name!r} holds values of type {dtype}, which are no brightness."
    if 0 in largest(layer).shape:
        return f"{layer.name!r} has no pixels."
    return None


def nothing_to_colorize(active: Layer | None) -> str:
    """Why the selected layer is not colorized by itself."""
    reason = reason_not_colorizable(active)
    if reason is None and active is not None:
        return f"{active.name} has colours. Choose it above to replace them by predicted ones."
    return reason or NO_LAYER


def largest(layer: Image) -> Any:
    """A layer's data, of a multiscale one its largest level."""
    return layer.data[0] if layer.multiscale else layer.data


def leading_shape(layer: Image) -> tuple[int, ...]:
    """Lengths of the axes before those of one plane."""
    return _look(layer).leading(largest(layer).shape)


def axes_of(layer: Image, dims: Dims) -> list[str]:
    """Names of the axes before those of one plane, as the viewer calls them."""
    names = dims.axis_labels[-layer.ndim :][: len(leading_shape(layer))]
    # What nobody named, napari counts: from the last in some versions, from the first in others.
    are_numbers = [name.lstrip("-").isdigit() for name in names]
    return [f"axis {at}" if are_numbers[at] else name for at, name in enumerate(names)]


def plane_of(layer: Image, dims: Dims) -> tuple[int, ...]:
    """Index of the plane that a viewer looks at, `data[index]`; the nearest if it is beyond.

    Rounded as napari does it: to whole numbers, halves to even ones.
    """
    lengths = leading_shape(layer)
    point = np.zeros(layer.ndim)
    known = np.asarray(dims.point, float)[-layer.ndim :]
    point[layer.ndim - len(known) :] = known
    point *= at_units(getattr(dims, "units", None), layer.units)
    # Only the leading axes say where along them: so does napari (`_SliceInput.data_slice`).
    point[len(lengths) :] = 0
    place = np.nan_to_num(np.asarray(layer.world_to_data(point)))[: len(lengths)]
    return tuple(
        int(min(max(np.round(at), 0), length - 1))
        for at, length in zip(place, lengths, strict=True)
    )


def seen_limits(layer: Image) -> Limits:
    """Values of black and white as the layer is shown; 0 and 1 where it has infinite ones."""
    low, high = (float(limit) for limit in layer.contrast_limits)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (0.0, 1.0)


def seen_gamma(layer: Image) -> float:
    """The layer's gamma, within what the settings allow."""
    knob = setting_of(ColorizeSettings.__dataclass_fields__["gamma"])
    assert knob.low is not None
    assert knob.high is not None
    return float(min(max(layer.gamma, knob.low), knob.high))


def read(layer: Image, shapes: Shapes | None = None) -> dict[str, Any]:
    """What `colors_for` wants to know of a layer, and of the shapes that are meant.

    Raises
    ------
    ColorizeError
        If the shapes have no inside, or it lies beside the layer.
    """
    look, stack = _look(layer), largest(layer)
    region = None if shapes is None else region_of(shapes, layer, look.size(stack.shape))
    return {
        "stack": stack,
        "rgb": look.rgb,
        "levels": list(layer.data) if layer.multiscale else None,
        "limits": look.limits,
        "gamma": look.gamma,
        "region": region,
    }


def result_name(layer: Layer) -> str:
    """Of the layer that shows a layer's colours."""
    return f"{layer.name} (colorized)"


def add_result(
    viewer: Viewer,
    layer: Image,
    colors: LayerData | np.ndarray[Any, Any],
    *,
    metadata: dict[str, Any],
    name: str | None = None,
) -> Image:
    """Show colours of a layer above it; pictures of all its planes may come as one array."""
    if isinstance(colors, np.ndarray):
        data, multiscale, limits = colors, False, _limits_for(layer, colors)
    else:
        data, multiscale, limits = colors.data, colors.multiscale, colors.limits
    return _insert(
        viewer,
        layer,
        data,
        multiscale=multiscale,
        contrast_limits=limits,
        metadata=metadata,
        name=name or result_name(layer),
        **placement(layer),
    )


def add_plane(
    viewer: Viewer,
    layer: Image,
    plane: tuple[int, ...],
    colors: ColorArrays,
    *,
    metadata: dict[str, Any],
    name: str | None = None,
) -> Image:
    """Show the colours of one plane, where it is in its stack if there is one, as they are now."""
    there = tuple(slice(place, place + 1) for place in plane)
    large = colors if isinstance(colors, PyramidColors) else None
    data = np.array(colors.data[there]) if large is None else large.frozen(plane)
    return _insert(
        viewer,
        layer,
        data,
        multiscale=large is not None,
        contrast_limits=colors.limits,
        metadata=metadata,
        name=name or result_name(layer),
        **placement(layer, plane),
    )


def refresh_result(layer: Image, colors: LayerData, *, metadata: dict[str, Any]) -> None:
    """Show new colours in the layer that showed the old ones."""
    limits = tuple(map(float, colors.limits))
    if _is_other(layer, colors):
        layer.data = colors.data
    else:
        layer.refresh()
    if tuple(layer.contrast_limits) != limits:
        # Limits of another dtype lie beyond the range of the slider.
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits
    layer.metadata = {**layer.metadata, **metadata}


def add_channels(
    viewer: Viewer,
    layer: Image,
    pictures: np.ndarray[Any, Any],
    *,
    metadata: dict[str, Any] | None = None,
) -> list[Image]:
    """Red, green and blue of all planes as three layers that add up: a 3-D view takes these."""
    limits = _limits_for(layer, pictures)
    return [
        _insert(
            viewer,
            layer,
            pictures[..., channel],
            rgb=False,
            contrast_limits=limits,
            colormap=color,
            blending="additive",
            metadata={METADATA: {}, **(metadata or {})},
            name=f"{layer.name} ({color})",
            **placement(layer),
        )
        for channel, color in enumerate(CHANNELS)
    ]


def _insert(viewer: Viewer, source: Image, data: Any, **options: Any) -> Image:
    """A new layer above its source; above all if the source is gone."""
    if data is None:
        raise ImageError("There are no colours yet: wait for the first picture.")
    rate = source.metadata.get("frame_rate")
    if rate is not None:  # a film's colours are saved as a film of its rate
        options["metadata"] = {"frame_rate": rate, **options.get("metadata", {})}
    made = Image(
        data,
        **{
            "rgb": True,
            "gamma": 1.0,
            "interpolation2d": source.interpolation2d,
            "projection_mode": source.projection_mode,
            **options,
        },
    )
    layers: Sequence[Layer] = viewer.layers
    place = layers.index(source) + 1 if source in layers else len(layers)
    viewer.layers.insert(place, made)
    return made


def _look(layer: Image) -> DisplayRange:
    return DisplayRange(bool(layer.rgb), seen_limits(layer), seen_gamma(layer))


def _limits_for(layer: Image, pictures: np.ndarray[Any, Any]) -> Limits:
    return shown_limits(_look(layer), dtype_in_memory(layer.dtype), pictures)


def _is_other(layer: Image, colors: LayerData) -> bool:
    """Whether a layer has other data than these colours, not only other values."""
    if not colors.multiscale:
        return layer.data is not colors.data
    shown = list(layer.data)
    return len(shown) != len(colors.data) or any(
        one is not other for one, other in zip(shown, colors.data, strict=True)
    )
