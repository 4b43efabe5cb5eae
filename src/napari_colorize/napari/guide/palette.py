"""A layer in colour as the reference whose palette is taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_colorize.napari.crop import plane_size
from napari_colorize.napari.guide.grid import over
from napari_colorize.napari.guide.labels import Array, labels_on
from napari_colorize.napari.layers import KEPT, METADATA, largest

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

    from napari_colorize.napari.guide.grid import Grid, Index
    from napari_colorize.refine.palette_transfer import Reference

ENOUGH = 2**18  # pixels of a level of which a palette is taken


def has_palette(layer: Layer) -> bool:
    """Whether it is a picture in colour, and none that follows the knobs."""
    if not isinstance(layer, Image) or not layer.rgb:
        return False
    return METADATA not in layer.metadata or KEPT in layer.metadata


def plane_of_reference(layer: Image, grid: Grid) -> Index:
    """Index of the plane of a reference that is nearest to a grid."""
    place = np.rint(grid.place(layer)).astype(int)
    lengths = np.array(largest(layer).shape[: len(place)], int)
    return tuple(place.clip(0, lengths - 1).tolist())


def regions_of_reference(layer: Image, plane: Index, regions: Labels, grid: Grid) -> Array:
    """The parts of a plane of a reference by number, of the size at which it is read."""
    return labels_on(regions, over(grid, layer, plane, plane_size(_level(layer), rgb=True)))


def reference_of(layer: Image, plane: Index, regions: Array | None) -> Reference:
    """A plane of a layer, and its parts by number if there are any.

    Raises
    ------
    ImageError
        If nothing of it is opaque.
    """
    from napari_colorize.refine.palette_transfer import Reference  # torch

    return Reference(np.asarray(_level(layer)[plane]), regions)


def _level(layer: Image) -> Any:
    """The data; of several levels a small one."""
    if not layer.multiscale:
        return layer.data
    enough = [level for level in layer.data if level.shape[-3] * level.shape[-2] >= ENOUGH]
    return enough[-1] if enough else layer.data[0]
