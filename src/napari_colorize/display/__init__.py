"""Arrays for a viewer that are filled with colors while a session predicts.

A viewer needs an array at once and reads parts of it in its own thread, while colors arrive plane
by plane. `colors_for` chooses the implementation of `ColorArrays`: a single image (`color_arrays`),
the planes of a stack (`stack`), parts of an image that is too large for memory (`pyramid`), or a
part of each plane (`region`). Pixels without colors are shown in gray (`gray`). Nothing in this
package runs a network, and importing it does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_colorize.array_types import Limits
from napari_colorize.display.color_arrays import ColorArrays, Region, SingleColors
from napari_colorize.display.gray import DisplayRange
from napari_colorize.display.pyramid import PyramidColors
from napari_colorize.display.region import RegionColors
from napari_colorize.display.stack import StackColors

__all__ = [
    "MAX_PIXELS",
    "ColorArrays",
    "DisplayRange",
    "PyramidColors",
    "Region",
    "RegionColors",
    "SingleColors",
    "StackColors",
    "colors_for",
]

MAX_PIXELS = 2**23  # of a plane; larger ones are colorized in the parts that a viewer reads


def colors_for(
    stack: Any,
    *,
    rgb: bool,
    levels: Sequence[Any] | None = None,
    limits: Limits,
    gamma: float,
    region: Region | None = None,
) -> ColorArrays:
    """Empty color arrays for a layer.

    Parameters
    ----------
    stack : array, shape (..., Y, X) or (..., Y, X, 3 or 4)
        The layer's data, or its largest level.
    rgb : bool
        Whether the last axis holds color channels.
    levels : sequence of arrays, optional
        All levels of a multiscale layer, the largest first.
    limits : tuple of float
        Values of black and white of the layer, as in the session's settings.
    gamma : float
        Exponent on gray, as in the session's settings.
    region : Region, optional
        Part of each plane to colorize. Default: all.
    """
    display_range = DisplayRange(rgb, limits, gamma)
    height, width = display_range.size(stack.shape)
    if levels is not None or height * width > MAX_PIXELS:
        return PyramidColors(levels if levels is not None else [stack], display_range, region)
    if region is not None:
        return RegionColors(stack, display_range, region)
    if not display_range.leading(stack.shape):
        return SingleColors(stack, display_range)
    return StackColors(stack, display_range)
