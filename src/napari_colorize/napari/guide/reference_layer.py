"""Image layers in color as references for palette transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_colorize.napari.crop import plane_size
from napari_colorize.napari.guide.grid import grid_on_layer
from napari_colorize.napari.guide.labels import labels_at
from napari_colorize.napari.layers import KEPT, METADATA, largest

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

    from napari_colorize.array_types import AnyArray, PlaneIndex
    from napari_colorize.napari.guide.grid import Grid
    from napari_colorize.refine.palette_transfer import Reference

ENOUGH_PIXELS = 2**18  # the smallest level with at least this many pixels is read


def is_reference(layer: Layer) -> bool:
    """Whether a layer is an image in color whose values do not follow the settings."""
    if not isinstance(layer, Image) or not layer.rgb:
        return False
    return METADATA not in layer.metadata or KEPT in layer.metadata


def reference_plane(layer: Image, grid: Grid) -> PlaneIndex:
    """Index of the plane of a reference that is nearest to a grid."""
    position = np.rint(grid.position(layer)).astype(int)
    lengths = np.array(largest(layer).shape[: len(position)], int)
    return tuple(position.clip(0, lengths - 1).tolist())


def reference_regions(layer: Image, plane: PlaneIndex, regions: Labels, grid: Grid) -> AnyArray:
    """Labels at the pixels of a plane of a reference, at the size at which it is read."""
    size = plane_size(_level(layer), rgb=True)
    return labels_at(regions, grid_on_layer(grid, layer, plane, size))


def reference_from(layer: Image, plane: PlaneIndex, regions: AnyArray | None) -> Reference:
    """A `Reference` from a plane of a layer and the labels of its regions.

    Raises
    ------
    ImageError
        If the plane has no opaque pixel.
    """
    from napari_colorize.refine.palette_transfer import Reference  # torch

    return Reference(np.asarray(_level(layer)[plane]), regions)


def _level(layer: Image) -> Any:
    """The data; of a multiscale layer the smallest level with enough pixels."""
    if not layer.multiscale:
        return layer.data
    large = [level for level in layer.data if level.shape[-3] * level.shape[-2] >= ENOUGH_PIXELS]
    return large[-1] if large else layer.data[0]
