"""Where a layer's pixels are in the world, said so that a result's lie at the same places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Layer

Array = np.ndarray[Any, np.dtype[np.float64]]


def placement(layer: Layer, plane: tuple[int, ...] | None = None) -> dict[str, Any]:
    """What puts a result of the same axes where its source is.

    Parameters
    ----------
    layer : Layer
        The source.
    plane : tuple of int, optional
        If the result is only this plane, of shape (1, ..., Y, X, 3 or 4).

    Returns
    -------
    dict
        scale, translate, rotate, shear, affine, units and axis_labels, for a new layer.
    """
    translate = np.array(layer.translate, float)
    if plane:
        start = np.zeros(layer.ndim)
        start[: len(plane)] = plane
        translate = translate + _linear(layer) @ start
    return {
        "scale": np.array(layer.scale),
        "translate": translate,
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def to_pixels(other: Layer, layer: Layer) -> Callable[[Array], Array]:
    """A map from places in another layer's data, `(N, axes)`, to rows and columns of a layer.

    Layers take one point at a time, slowly. It is an affine map: a few points tell it.
    """
    shared = min(other.ndim, layer.ndim)
    units = at_units(other.units, layer.units[-shared:])

    def one(place: Array) -> Array:
        world = np.asarray(other.data_to_world(place), float)
        world[-shared:] *= units
        return np.asarray(layer.world_to_data(world))[-2:]

    start = one(np.zeros(other.ndim))
    linear = np.array([one(step) - start for step in np.eye(other.ndim)])
    return lambda places: places @ linear + start


def at_units(units: Sequence[Any] | None, wanted: Sequence[Any]) -> Array:
    """Factors from numbers in some units to numbers in others, for the last axes; 1 if unknown.

    A viewer counts in the units that its layers share (napari 0.7 and later).
    """
    factors = np.ones(len(wanted))
    if units is None or len(units) < len(wanted):
        return factors
    import pint

    registry = pint.get_application_registry()
    for axis, (one, other) in enumerate(zip(units[-len(wanted) :], wanted, strict=True)):
        factors[axis] = registry.get_base_units(one)[0] / registry.get_base_units(other)[0]
    return factors


def _linear(layer: Layer) -> Array:
    """What scale, rotate and shear do together, without `translate` and `affine`."""
    from napari.utils.transforms import Affine

    together = Affine(scale=layer.scale, rotate=layer.rotate, shear=layer.shear, ndim=layer.ndim)
    return np.asarray(together.linear_matrix)
