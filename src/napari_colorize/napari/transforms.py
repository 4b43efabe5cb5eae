"""Placement of layers in world coordinates, and conversions between pixels of two layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_colorize.array_types import Float64Array, PlaneIndex


def placement(layer: Layer, plane: PlaneIndex | None = None) -> dict[str, Any]:
    """Attributes that place a result of the same axes at the position of its source.

    Parameters
    ----------
    layer : Layer
        The source.
    plane : tuple of int, optional
        Index of a single plane, if the result has only this one: shape (1, ..., Y, X, 3 or 4).

    Returns
    -------
    dict
        scale, translate, rotate, shear, affine, units and axis_labels, for a new layer.
    """
    translate = np.array(layer.translate, float)
    if plane:
        start = np.zeros(layer.ndim)
        start[: len(plane)] = plane
        translate = translate + _linear_matrix(layer) @ start
    return {
        "scale": np.array(layer.scale),
        "translate": translate,
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def to_pixels(other: Layer, layer: Layer) -> Callable[[Float64Array], Float64Array]:
    """A function from data coordinates `(N, axes)` of one layer to rows and columns of another.

    napari's layers convert one point per call, slowly. The conversion is affine, so that a few
    points determine it.
    """
    shared = min(other.ndim, layer.ndim)
    factors = unit_factors(other.units, layer.units[-shared:])

    def convert(point: Float64Array) -> Float64Array:
        world = np.asarray(other.data_to_world(point), float)
        world[-shared:] *= factors
        return np.asarray(layer.world_to_data(world))[-2:]

    origin = convert(np.zeros(other.ndim))
    linear = np.array([convert(step) - origin for step in np.eye(other.ndim)])
    return lambda points: points @ linear + origin


def unit_factors(units: Sequence[Any] | None, target: Sequence[Any]) -> Float64Array:
    """Factors that convert coordinates from some units to others, for the last axes.

    1 where the units are unknown. The coordinates of a viewer are in the units that its layers
    share (napari 0.7 and later).
    """
    factors = np.ones(len(target))
    if units is None or len(units) < len(target):
        return factors
    import pint

    registry = pint.get_application_registry()
    for axis, (unit, target_unit) in enumerate(zip(units[-len(target) :], target, strict=True)):
        factors[axis] = registry.get_base_units(unit)[0] / registry.get_base_units(target_unit)[0]
    return factors


def _linear_matrix(layer: Layer) -> Float64Array:
    """Matrix of scale, rotate and shear together, without `translate` and `affine`."""
    from napari.utils.transforms import Affine

    combined = Affine(scale=layer.scale, rotate=layer.rotate, shear=layer.shear, ndim=layer.ndim)
    return np.asarray(combined.linear_matrix)
