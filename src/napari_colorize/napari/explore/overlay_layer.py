"""Image layers that cover a crop of a source layer: attention maps, error maps, the curtain.

Such a layer is added on top without changing the selection, follows the placement of its source,
and is removed when its tool is switched off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine
from psygnal import Signal

from napari_colorize.napari import layers
from napari_colorize.napari.crop import PlaneCrop
from napari_colorize.napari.result_layers import PLACEMENT_EVENTS
from napari_colorize.napari.transforms import placement, unit_factors

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

    from napari_colorize.array_types import AnyArray, Float64Array, PlaneIndex

TOLERANCE = 1e-9  # of a pixel; rounding errors are below, differences that can be seen above


def placement_over(
    layer: Image, crop: PlaneCrop, shape: tuple[int, int], plane: PlaneIndex
) -> dict[str, Any]:
    """Attributes that place an array of shape (1, ..., *shape) over a crop of a layer's plane.

    They are scale, translate, rotate, shear, affine, units and axis_labels.
    """
    attributes = placement(layer, plane)
    scale = attributes["scale"]
    linear = Affine(
        scale=scale, rotate=attributes["rotate"], shear=attributes["shear"], ndim=layer.ndim
    ).linear_matrix
    offset = linear[:, -2:] @ crop.first_pixel(shape)
    attributes["translate"] = attributes["translate"] + offset
    attributes["scale"] = np.append(scale[:-2], scale[-2:] * crop.pixel_size(shape))
    return attributes


def point_at(layer: Layer, viewer: Viewer, position: Any) -> Float64Array:
    """Row and column of a layer at a position of the viewer, such as that of a mouse event."""
    world = np.asarray(position, float)[-layer.ndim :]
    world = world * unit_factors(getattr(viewer.dims, "units", None), layer.units)[-len(world) :]
    return np.asarray(layer.world_to_data(world), float)[-2:]


def canvas_pixels_per_column(layer: Layer, viewer: Viewer) -> float:
    """Width of one column of a layer in pixels of the canvas."""
    step = np.zeros((2, layer.ndim))
    step[1, -1] = 1
    start, end = (np.asarray(layer.data_to_world(point)) for point in step)
    units = unit_factors(getattr(viewer.dims, "units", None), layer.units)
    return float(np.linalg.norm((end - start) / units) * camera_of(viewer).zoom)


def camera_of(viewer: Viewer) -> Any:
    """The camera of a viewer; an attribute of its scene since napari 0.9."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


class OverlayLayer:
    """At most one layer that covers a crop of a source's plane.

    `{}` in the attribute `name` stands for the name of the source.
    """

    removed = Signal()  # the user removed the layer

    def __init__(self, viewer: Viewer, **attributes: Any) -> None:
        self._viewer, self._attributes = viewer, attributes
        self.layer: Image | None = None
        self._source: Image | None = None
        self._data: AnyArray | None = None  # that `layer` shows
        self._crop, self._plane = PlaneCrop(0, 1, 0, 1), ()  # type: PlaneCrop, PlaneIndex

    def show(self, source: Image, data: AnyArray, crop: PlaneCrop, plane: PlaneIndex) -> Image:
        """Show values `(Y, X)` over a crop of the source's plane.

        An array that is shown already is not read again.
        """
        if self._source is not source:
            self.remove()
        self._crop, self._plane = crop, plane
        values = data[(None,) * (source.ndim - 2)]
        if self.layer is None:
            self._add(source, values)
        else:
            if data is not self._data:
                self.layer.data = values
            self._update_placement()
        self._data = data
        assert self.layer is not None
        return self.layer

    def raise_(self) -> None:
        """Move the layer to the top."""
        viewer_layers = self._viewer.layers
        if self.layer is not None and viewer_layers[-1] is not self.layer:
            viewer_layers.move(viewer_layers.index(self.layer), len(viewer_layers))

    def remove(self) -> None:
        """Remove the layer, if there is one."""
        layer, self.layer = self.layer, None
        if layer is None or self._source is None:
            return
        for emitter in _placement_emitters(self._source):
            emitter.disconnect(self._update_placement)
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._source = None
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _add(self, source: Image, values: AnyArray) -> None:
        attributes = {**self._attributes, "name": self._attributes["name"].format(source.name)}
        attributes |= placement_over(source, self._crop, values.shape[-2:], self._plane)
        self.layer = Image(values, rgb=False, metadata={layers.METADATA: {}}, **attributes)
        self._source = source
        # The selection stays: the selected layer is the one that is colorized.
        selected = set(self._viewer.layers.selection)
        self._viewer.layers.append(self.layer)
        self._viewer.layers.selection = selected
        for emitter in _placement_emitters(source):
            emitter.connect(self._update_placement)
        self._viewer.layers.events.removed.connect(self._on_layer_removed)

    def _update_placement(self, event: Any = None) -> None:
        if self.layer is None or self._source is None:
            return
        shape = self.layer.data.shape[-2:]
        present = placement(self.layer)
        wanted = placement_over(self._source, self._crop, shape, self._plane)
        pixel = TOLERANCE * np.abs(wanted["scale"])
        for name, value in wanted.items():
            # napari redraws the layer for each assignment, even of an equal value.
            is_same = np.array_equal(present[name], value) or (
                name in ("scale", "translate") and bool(np.all(abs(present[name] - value) <= pixel))
            )
            if not is_same:
                setattr(self.layer, name, value)

    def _on_layer_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.remove()
            self.removed.emit()


def _placement_emitters(layer: Layer) -> list[Any]:
    names = [name for name in PLACEMENT_EVENTS if hasattr(layer.events, name)]
    return [getattr(layer.events, name) for name in names]
