"""Layers of ours that lie over a part of a picture: where attention looks, a curtain, an error map.

They are extras: they come above the source, leave the selection as it is, follow the source when it
is moved, and are gone without a trace when nobody wants them any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine
from numpy.typing import NDArray
from psygnal import Signal

from napari_colorize.napari import layers
from napari_colorize.napari.crop import Floats, PlaneCrop
from napari_colorize.napari.transforms import at_units, placement

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

Array = NDArray[Any]
PLACED_BY = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def placed_over(
    layer: Image, part: PlaneCrop, shape: tuple[int, int], plane: tuple[int, ...]
) -> dict[str, Any]:
    """What puts an array of shape (1, ..., *shape) over a part of a plane of a layer.

    Parameters
    ----------
    layer : Image
        The source.
    part : Part
        Of the plane.
    shape : tuple of int
        Height and width of the array.
    plane : tuple of int
        Index of the plane.

    Returns
    -------
    dict
        scale, translate, rotate, shear, affine, units and axis_labels, for a new layer.
    """
    placed = placement(layer, plane)
    linear = Affine(
        scale=placed["scale"], rotate=placed["rotate"], shear=placed["shear"], ndim=layer.ndim
    ).linear_matrix
    placed["translate"] = placed["translate"] + linear[:, -2:] @ part.first_pixel(shape)
    placed["scale"] = np.append(placed["scale"][:-2], placed["scale"][-2:] * part.pixel_size(shape))
    return placed


def point_at(layer: Layer, viewer: Viewer, position: Any) -> Floats:
    """Row and column of a layer's planes at a place of the viewer, such as a click's."""
    world = np.asarray(position, float)[-layer.ndim :]
    world = world * at_units(getattr(viewer.dims, "units", None), layer.units)[-len(world) :]
    return np.asarray(layer.world_to_data(world), float)[-2:]


def canvas_pixels_per_column(layer: Layer, viewer: Viewer) -> float:
    """How wide a column of a layer is on the screen."""
    step = np.zeros((2, layer.ndim))
    step[1, -1] = 1
    start, end = (np.asarray(layer.data_to_world(place)) for place in step)
    units = at_units(getattr(viewer.dims, "units", None), layer.units)
    return float(np.linalg.norm((end - start) / units) * camera_of(viewer).zoom)


def camera_of(viewer: Viewer) -> Any:
    """The camera; it lives in the scene since napari 0.9."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


class OverlayLayer:
    """At most one layer over a part of a source's plane.

    Parameters
    ----------
    viewer : Viewer
        Where it is shown.
    looks : Any
        Name (`{}` stands for the source's), colormap and the like, for the new layer.

    Attributes
    ----------
    gone : Signal()
        The user took the layer out.
    """

    gone = Signal()

    def __init__(self, viewer: Viewer, **looks: Any) -> None:
        self._viewer, self._looks = viewer, looks
        self.layer: Image | None = None
        self._source: Image | None = None
        self._part, self._plane = PlaneCrop(0, 1, 0, 1), ()  # type: PlaneCrop, tuple[int, ...]

    def show(self, source: Image, data: Array, part: PlaneCrop, plane: tuple[int, ...]) -> Image:
        """Lay a plane of values over a part of a plane of the source."""
        if self._source is not source:
            self.remove()
        self._part, self._plane = part, plane
        values = data[(None,) * (source.ndim - 2)]
        if self.layer is None:
            self._add(source, values)
        else:
            self.layer.data = values
            self._place()
        assert self.layer is not None
        return self.layer

    def move(self, part: PlaneCrop) -> None:
        """The same values over another part."""
        self._part = part
        self._place()

    def raise_(self) -> None:
        """Bring the layer above all others."""
        layers_ = self._viewer.layers
        if self.layer is not None and layers_[-1] is not self.layer:
            layers_.move(layers_.index(self.layer), len(layers_))

    def remove(self) -> None:
        """Take the layer out, if there is one."""
        layer, self.layer = self.layer, None
        if layer is None or self._source is None:
            return
        for emitter in _emitters(self._source):
            emitter.disconnect(self._place)
        self._viewer.layers.events.removed.disconnect(self._forget)
        self._source = None
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _add(self, source: Image, values: Array) -> None:
        looks = {**self._looks, "name": self._looks["name"].format(source.name)}
        looks |= placed_over(source, self._part, values.shape[-2:], self._plane)
        self.layer = Image(values, rgb=False, metadata={layers.METADATA: {}}, **looks)
        self._source = source
        selected = set(self._viewer.layers.selection)
        self._viewer.layers.append(self.layer)
        self._viewer.layers.selection = selected  # the source stays the one that is worked on
        for emitter in _emitters(source):
            emitter.connect(self._place)
        self._viewer.layers.events.removed.connect(self._forget)

    def _place(self, event: Any = None) -> None:
        if self.layer is None or self._source is None:
            return
        shape = self.layer.data.shape[-2:]
        now = placement(self.layer)
        for name, value in placed_over(self._source, self._part, shape, self._plane).items():
            if not np.array_equal(now[name], value):  # each is drawn anew by napari
                setattr(self.layer, name, value)

    def _forget(self, event: Any) -> None:
        if event.value is self.layer:
            self.remove()
            self.gone.emit()


def _emitters(layer: Layer) -> list[Any]:
    return [getattr(layer.events, name) for name in PLACED_BY if hasattr(layer.events, name)]
