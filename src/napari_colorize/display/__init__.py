"""Colours of what a viewer shows, as arrays that fill up while a session predicts.

A viewer wants an array at once and asks it for parts from its own thread; colours come later, plane
by plane. `colors_for` chooses how: one picture as it is (`plain`), the planes of a stack (`stack`),
parts of a picture too large to hold (`pyramid`), or a part of a plane (`region`). Until a colour is
known its gray is shown (`gray`). Nothing here runs a network, and importing it brings no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from napari_colorize.display.gray import DisplayRange
from napari_colorize.display.pyramid import PyramidColors
from napari_colorize.display.region import RegionColors
from napari_colorize.display.single import PlainColors
from napari_colorize.display.source_spec import Region
from napari_colorize.display.stack import StackColors

if TYPE_CHECKING:
    from napari_colorize.array_types import Limits
    from napari_colorize.result import Colorized

__all__ = [
    "BIG",
    "ColorArrays",
    "DisplayRange",
    "LayerData",
    "PlainColors",
    "PyramidColors",
    "Region",
    "RegionColors",
    "StackColors",
    "colors_for",
]

BIG = 2**23  # pixels of a plane above which its picture is composed in parts


class LayerData(Protocol):
    """What a layer of a viewer is made of."""

    @property
    def data(self) -> Any:
        """An array, something like one, or a list of levels; None while there is nothing.

        Another object when its dtype or its kind is another; else the same, with new values.
        """

    @property
    def multiscale(self) -> bool:
        """Whether `data` is a list of levels, the largest first."""

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`, with which a viewer shows it."""


class ColorArrays(LayerData, Protocol):
    """What a result layer shows, and how colours come to it."""

    @property
    def source(self) -> Any:
        """What a session is to colorize: the stack, a smaller level of it, or a window."""

    def put(self, index: tuple[int, ...], result: Colorized) -> None:
        """Colours of a plane have come: `source[index]` is what `result` was made of."""

    def mark_stale(self) -> None:
        """Settings changed: what is known is still shown, but no longer counts as known."""

    def is_current(self, index: tuple[int, ...]) -> bool:
        """Whether the colours of a plane are known, as the settings are now."""

    def all_current(self) -> bool:
        """Whether those of every plane are."""

    def allocate_all(self) -> None:
        """From now on no plane is forgotten; `OutOfMemoryError` if they would not fit."""

    def array(self) -> Any:
        """All pictures as one array, if all are known and held so; of levels always None."""

    def matches(self, **read: Any) -> bool:
        """Whether `colors_for`, asked for this, would make the same; see `Basis.matches`."""


def colors_for(
    stack: Any,
    *,
    rgb: bool,
    levels: Sequence[Any] | None = None,
    limits: Limits,
    gamma: float,
    region: Region | None = None,
) -> ColorArrays:
    """The way to show colours that suits a layer.

    Parameters
    ----------
    stack : array, shape (..., Y, X) or (..., Y, X, 3 or 4)
        The layer's data, or its largest level.
    rgb : bool
        Whether the last axis holds colours.
    levels : sequence of arrays, optional
        All levels of a multiscale layer, the largest first.
    limits, gamma
        As the layer is shown; the session's settings should say the same.
    region : Region, optional
        To colorize only a part of each plane.
    """
    look = DisplayRange(rgb, limits, gamma)
    height, width = look.size(stack.shape)
    if levels is not None or height * width > BIG:
        return PyramidColors(levels if levels is not None else [stack], look, region)
    if region is not None:
        return RegionColors(stack, look, region)
    if not look.leading(stack.shape):
        return PlainColors(stack, look)
    return StackColors(stack, look)
