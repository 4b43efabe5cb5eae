"""A new layer to scribble into, right above what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points

from napari_colorize.napari.crop import plane_size
from napari_colorize.napari.layers import largest, placement

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

NAME = "hints"
COLOR = "#c84b31"  # brick; napari's own controls choose others
SHARE = 0.03  # of the shorter side of the picture: the size of a new point
SMALLEST = 2.0


def add_hints(viewer: Viewer, source: Image) -> Points:
    """An empty Points layer on top, at the source's place in the world, ready to click into."""
    size = max(SMALLEST, round(SHARE * min(plane_size(largest(source), source.rgb))))
    made = Points(
        np.zeros((0, source.ndim)),
        ndim=source.ndim,
        name=NAME,
        size=size,
        face_color=COLOR,
        border_width=0,
        **placement(source),
    )
    viewer.layers.append(made)
    viewer.layers.selection.active = made
    made.mode = "add"
    return made
