"""Arrays for a viewer that are filled with colors while a session predicts.

A viewer needs an array at once and reads parts of it in its own thread, while colors arrive plane
by plane. `colors_for` chooses the implementation: a single image (`single`), the planes of a stack
(`stack`), parts of an image that is too large for memory (`pyramid`), or a part of each plane
(`region`). Pixels without colors are shown in gray (`gray`). Nothing in this package runs a
network, and importing it does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from napari_colorize.array_types import Limits, PlaneIndex
from napari_colorize.display.gray import DisplayRange
from napari_colorize.display.pyramid import PyramidColors
from napari_colorize.display.region import RegionColors
from napari_colorize.display.single import SingleColors
from napari_colorize.display.source_spec import Region
from napari_colorize.display.stack import StackColors

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

__all__ = [
    "MAX_PIXELS",
    "ColorArrays",
    "DisplayRange",
    "LayerData",
    "PyramidColors",
    "Region",
    "RegionColors",
    "SingleColors",
    "StackColors",
    "colors_for",
]

MAX_PIXELS = 2**23  # of a plane; larger ones are colorized in the parts that a viewer reads


class LayerData(Protocol):
    """Data of a viewer's layer."""

    @property
    def data(self) -> Any:
        """An array, an array-like object, or a list of levels; None before the first result.

        The same object as long as its dtype and type stay the same; its values change in place.
        """

    @property
    def multiscale(self) -> bool:
        """Whether `data` is a list of levels, the largest first."""

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`, for display."""


class ColorArrays(LayerData, Protocol):
    """Data of a result layer that receives colors plane by plane."""

    @property
    def source(self) -> Any:
        """Array for the session: the stack, a smaller level of it, or a window of each plane."""

    def put(self, index: PlaneIndex, result: Colorized) -> None:
        """Store the result for `source[index]`."""

    def mark_stale(self) -> None:
        """Mark all planes as outdated; their colors are still displayed."""

    def is_current(self, index: PlaneIndex) -> bool:
        """Whether the plane has colors that are not outdated."""

    def all_current(self) -> bool:
        """Whether every plane has colors that are not outdated."""

    def allocate_all(self) -> None:
        """Keep every plane from now on; raises `OutOfMemoryError` if memory is too small."""

    def array(self) -> Any:
        """All planes as one array, if all are current; None for levels."""

    def matches(self, **read: Any) -> bool:
        """Whether `colors_for` would make equal arrays from this; see `SourceSpec.matches`."""


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
