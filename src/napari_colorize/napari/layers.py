"""Reading of image layers and adding of result layers.

The network input is what the viewer displays: the plane, contrast limits and gamma of a layer
(`read`, `plane_of`). A result layer is added above its source, with the same placement
(`add_result`, `refresh_result`; see `placement`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_colorize.display import ColorArrays, DisplayRange, PyramidColors
from napari_colorize.display.color_arrays import data_limits
from napari_colorize.display.gray import dtype_in_memory
from napari_colorize.errors import ImageError
from napari_colorize.napari.regions import region_of
from napari_colorize.napari.transforms import placement, unit_factors
from napari_colorize.settings import ColorizeSettings, setting_of

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer, Shapes
    from napari.viewer import Viewer

    from napari_colorize.array_types import AnyArray, Limits, PlaneIndex

METADATA = "napari-colorize"  # metadata key of a result layer: its provenance
SOURCE = "napari-colorize source"  # metadata key: name and path of the source, and the plane
KEPT = "napari-colorize kept"  # metadata key of a copy that no longer changes

NO_LAYER = "There is no image to colorize: open an image, or choose its layer."
NONE_SELECTED = "No image layer is selected: select one, or choose it above."
VOLUME = (
    "A 3-D view displays no single plane: colorize the whole stack, then press As three channels "
    "under More."
)
NO_RESULT = "There are no colors yet: wait until the first image is colorized."
CHANNELS = ("red", "green", "blue")
TIME_NAMES = ("t", "time", "frame", "frames")  # of axes
CHANNEL_NAMES = ("c", "ch", "channel", "channels")


@dataclass(eq=False)
class LayerData:
    """Data of a result layer, computed or lazy, that are not `ColorArrays`."""

    data: Any
    limits: Limits
    multiscale: bool = False


Colors = ColorArrays | LayerData


def reason_not_colorizable(layer: Layer | None) -> str | None:
    """One sentence if this layer cannot be colorized, else None."""
    if layer is None:
        return NO_LAYER
    kind = type(layer).__name__
    if not isinstance(layer, Image):
        return f"{layer.name!r} is a {kind} layer; only image layers can be colorized: choose one."
    if METADATA in layer.metadata:
        return f"{layer.name!r} already shows predicted colors: choose its source layer."
    dtype = np.dtype(layer.dtype)
    if dtype.kind == "c":
        return f"{layer.name!r} has complex values: convert it with np.abs(data) first."
    if dtype.kind not in "biuf":
        return f"{layer.name!r} has dtype {dtype}; only real numbers can be colorized."
    if 0 in largest(layer).shape:
        return f"{layer.name!r} has no pixels."
    return None


def is_colorizable(layer: Layer | None) -> bool:
    """Whether a layer can be colorized."""
    return reason_not_colorizable(layer) is None


def largest(layer: Image) -> Any:
    """Data of a layer; of a multiscale layer its largest level."""
    return layer.data[0] if layer.multiscale else layer.data


def smallest(layer: Image) -> Any:
    """Data of a layer; of a multiscale layer its smallest level."""
    return layer.data[-1] if layer.multiscale else layer.data


def leading_shape(layer: Image) -> tuple[int, ...]:
    """Lengths of the axes before those of a plane."""
    return _display_range(layer).leading(largest(layer).shape)


def axes_of(layer: Image, dims: Dims) -> list[str]:
    """Names of the axes before those of a plane, as the viewer labels them."""
    labels = dims.axis_labels[-layer.ndim :][: len(leading_shape(layer))]
    # napari numbers axes without a label: some versions from the last axis, others from the first.
    is_number = [label.lstrip("-").isdigit() for label in labels]
    return [f"axis {at}" if is_number[at] else label for at, label in enumerate(labels)]


def time_axis_of(axes: Sequence[str]) -> int:
    """The axis that is taken as time unless the user chooses another: the one of this name.

    Else the first one that is not named after channels.
    """
    names = [name.lower() for name in axes]
    times = [at for at, name in enumerate(names) if name in TIME_NAMES]
    others = [at for at, name in enumerate(names) if name not in CHANNEL_NAMES]
    return (*times, *others, 0)[0]


def middle_planes(layer: Image, stack: Any) -> list[PlaneIndex]:
    """The middle plane of a stack in memory; none of a single image, or of a lazy stack.

    `stack` is a level of the layer. A film may begin with a title or in the dark.
    """
    lengths = leading_shape(layer)
    is_in_memory = isinstance(stack, np.ndarray)
    return [tuple(length // 2 for length in lengths)] if lengths and is_in_memory else []


def plane_of(layer: Image, dims: Dims) -> PlaneIndex:
    """Index of the plane that a viewer displays, `data[index]`; clipped to the layer.

    Rounded as napari does it: halves to even numbers.
    """
    lengths = leading_shape(layer)
    point = np.zeros(layer.ndim)
    known = np.asarray(dims.point, float)[-layer.ndim :]
    point[layer.ndim - len(known) :] = known
    point *= unit_factors(getattr(dims, "units", None), layer.units)
    # napari uses only the leading axes of the point (`_SliceInput.data_slice`).
    point[len(lengths) :] = 0
    position = np.nan_to_num(np.asarray(layer.world_to_data(point)))[: len(lengths)]
    return tuple(
        int(min(max(np.round(at), 0), length - 1))
        for at, length in zip(position, lengths, strict=True)
    )


def displayed_limits(layer: Image) -> Limits:
    """Contrast limits of a layer; 0 and 1 if they are infinite."""
    low, high = (float(limit) for limit in layer.contrast_limits)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (0.0, 1.0)


def displayed_gamma(layer: Image) -> float:
    """Gamma of a layer, clipped to the range of the setting."""
    gamma = setting_of(ColorizeSettings.__dataclass_fields__["gamma"])
    assert gamma.low is not None
    assert gamma.high is not None
    return float(min(max(layer.gamma, gamma.low), gamma.high))


def read(layer: Image, shapes: Shapes | None = None) -> dict[str, Any]:
    """Keyword arguments of `display.colors_for` for a layer, or for the part inside shapes.

    Raises `ColorizeError` if there is no closed shape, or none of them overlaps the layer.
    """
    display_range, stack = _display_range(layer), largest(layer)
    region = None if shapes is None else region_of(shapes, layer, display_range.size(stack.shape))
    return {
        "stack": stack,
        "rgb": display_range.rgb,
        "levels": list(layer.data) if layer.multiscale else None,
        "limits": display_range.limits,
        "gamma": display_range.gamma,
        "region": region,
    }


def color_at(viewer: Viewer, position: Any) -> str | None:
    """Color "#rrggbb" of the topmost visible RGB layer at a position of the viewer, or None."""
    for layer in reversed(viewer.layers):
        if not (isinstance(layer, Image) and layer.rgb and layer.visible):
            continue
        value = layer.get_value(position, world=True)
        value = value[1] if isinstance(value, tuple) else value  # multiscale: level and value
        if value is None:
            continue
        low, high = (0.0, 1.0) if np.dtype(layer.dtype).kind == "f" else layer.contrast_limits
        unit = ((np.asarray(value, float)[:3] - low) / ((high - low) or 1)).clip(0, 1)
        return "#" + "".join(f"{round(255 * channel):02x}" for channel in unit)
    return None


def result_name(layer: Layer) -> str:
    """Name of the result layer of a source layer."""
    return f"{layer.name} (colorized)"


def add_result(viewer: Viewer, layer: Image, colors: Colors | AnyArray, **options: Any) -> Image:
    """Add a result layer above its source; parameters as for `result_attributes`."""
    return _insert(viewer, layer, **result_attributes(layer, colors, **options))


def result_attributes(
    layer: Image,
    colors: Colors | AnyArray,
    *,
    metadata: dict[str, Any],
    name: str | None = None,
) -> dict[str, Any]:
    """Arguments of `napari.layers.Image` for a result layer: data and attributes.

    `colors` are color arrays, or RGB pixels of all planes; by default the layer is called
    `result_name(layer)`.
    """
    if isinstance(colors, np.ndarray):
        data, multiscale, limits = colors, False, _limits_for(layer, colors)
    else:
        data, multiscale, limits = colors.data, colors.multiscale, colors.limits
    return _attributes(
        layer,
        data=data,
        multiscale=multiscale,
        contrast_limits=limits,
        metadata=metadata,
        name=name or result_name(layer),
        **placement(layer),
    )


def add_plane(
    viewer: Viewer,
    layer: Image,
    plane: PlaneIndex,
    colors: ColorArrays,
    *,
    metadata: dict[str, Any],
    name: str | None = None,
) -> Image:
    """Add a copy of the colors of one plane above the source, at its position in the stack."""
    index = tuple(slice(at, at + 1) for at in plane)
    pyramid = colors if isinstance(colors, PyramidColors) else None
    data = np.array(colors.data[index]) if pyramid is None else pyramid.frozen(plane)
    attributes = _attributes(
        layer,
        data=data,
        multiscale=pyramid is not None,
        contrast_limits=colors.limits,
        metadata=metadata,
        name=name or result_name(layer),
        **placement(layer, plane),
    )
    return _insert(viewer, layer, **attributes)


def refresh_result(layer: Image, colors: Colors, *, metadata: dict[str, Any]) -> None:
    """Show new colors in an existing result layer."""
    limits = tuple(map(float, colors.limits))
    if _has_other_arrays(layer, colors):
        layer.data = colors.data
    else:
        layer.refresh()
    if tuple(layer.contrast_limits) != limits:
        # Limits of another dtype can be outside the present range of the slider.
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits
    layer.metadata = {**layer.metadata, **metadata}


def add_channels(
    viewer: Viewer,
    layer: Image,
    pixels: AnyArray,
    *,
    metadata: dict[str, Any] | None = None,
) -> list[Image]:
    """Add red, green and blue of all planes as three additive layers, for 3-D rendering."""
    limits = _limits_for(layer, pixels)
    return [
        _insert(
            viewer,
            layer,
            **_attributes(
                layer,
                data=pixels[..., channel],
                rgb=False,
                contrast_limits=limits,
                colormap=color,
                blending="additive",
                metadata={METADATA: {}, **(metadata or {})},
                name=f"{layer.name} ({color})",
                **placement(layer),
            ),
        )
        for channel, color in enumerate(CHANNELS)
    ]


def _attributes(source: Image, **attributes: Any) -> dict[str, Any]:
    """Attributes of a new layer, with those it takes from its source by default."""
    rate = source.metadata.get("frame_rate")
    if rate is not None:  # so that the colors of a video are saved with its frame rate
        attributes["metadata"] = {"frame_rate": rate, **attributes.get("metadata", {})}
    return {
        "rgb": True,
        "gamma": 1.0,
        "interpolation2d": source.interpolation2d,
        "projection_mode": source.projection_mode,
        **attributes,
    }


def _insert(viewer: Viewer, source: Image, *, data: Any, **attributes: Any) -> Image:
    """Add a layer above its source, or on top if the source was removed."""
    if data is None:
        raise ImageError(NO_RESULT)
    added = Image(data, **attributes)
    layers: Sequence[Layer] = viewer.layers
    position = layers.index(source) + 1 if source in layers else len(layers)
    viewer.layers.insert(position, added)
    return added


def _display_range(layer: Image) -> DisplayRange:
    return DisplayRange(bool(layer.rgb), displayed_limits(layer), displayed_gamma(layer))


def _limits_for(layer: Image, pixels: AnyArray) -> Limits:
    return data_limits(_display_range(layer), dtype_in_memory(layer.dtype), pixels)


def _has_other_arrays(layer: Image, colors: Colors) -> bool:
    """Whether a layer's arrays are other objects than those of the colors."""
    if not colors.multiscale:
        return layer.data is not colors.data
    levels = list(layer.data)
    return len(levels) != len(colors.data) or any(
        level is not other for level, other in zip(levels, colors.data, strict=True)
    )
