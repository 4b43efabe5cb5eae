"""A part of a plane in colour, what lies around it in gray."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.session.colors.gray import Array, Look, gray_picture, is_in_memory
from napari_colorize.session.colors.stack import StackColors
from napari_colorize.session.colors.view import Index, View, as_slice

if TYPE_CHECKING:
    from napari_colorize.planes import Limits
    from napari_colorize.result import Colorized

REMEMBERED = 8  # planes of a lazy stack that were read and whose colours are on their way


@dataclass(frozen=True, eq=False)
class Region:
    """A window of a plane, and which of its pixels are meant.

    Parameters
    ----------
    rows, columns : slice
        The window, in pixels of the plane; start and stop are numbers within it.
    mask : ndarray of bool
        Of the window's shape.
    """

    rows: slice
    columns: slice
    mask: Array = field(repr=False)


class RegionColors:
    """An image or a stack of which only a window is shown to the network.

    Parameters
    ----------
    stack : array, shape (..., Y, X) or (..., Y, X, 3 or 4)
        What is colorized.
    look : Look
        How it is read.
    region : Region
        Of every plane.
    """

    multiscale = False

    def __init__(self, stack: Any, look: Look, region: Region) -> None:
        self._stack, self._look, self._region = stack, look, region
        self._whole = StackColors(stack, look)
        self._windows = _Windows(stack, look, region)
        self.source = View(self._windows)

    @property
    def data(self) -> Any:
        """Pictures of the whole planes, as an array."""
        return self._whole.data

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`."""
        return self._whole.limits

    def put(self, index: Index, result: Colorized) -> None:
        """Colours of a plane's window have come."""
        pixels, region = result.pixels, self._region
        picture = gray_picture(self._windows.around(index), self._look, pixels.dtype)
        picture[region.rows, region.columns][region.mask] = pixels[region.mask]
        self._whole.keep(index, picture)

    def outdate(self) -> None:
        """Settings changed: what is known is still shown, but no longer counts as known."""
        self._whole.outdate()

    def knows(self, index: Index) -> bool:
        """Whether the colours of a plane are known, as the settings are now."""
        return self._whole.knows(index)

    def hold_all(self) -> None:
        """Make room for every plane; see `StackColors.hold_all`."""
        self._whole.hold_all()

    def finished(self) -> Array | None:
        """All pictures, if they are held and the colours of every plane are known."""
        return self._whole.finished()


class _Windows:
    """The windows of a stack's planes; of a lazy one whole planes are read, once, by the worker."""

    defers = True

    def __init__(self, stack: Any, look: Look, region: Region) -> None:
        self._stack, self._region = stack, region
        self._planes: OrderedDict[Index, Array] = OrderedDict()
        self.dtype = np.dtype(stack.dtype)
        self.leading = len(look.leading(stack.shape))
        rest = tuple(stack.shape)[self.leading + 2 :]
        self.shape = (*look.leading(stack.shape), *region.mask.shape, *rest)

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """Rows and columns of one window."""
        window = self.around(index)[self._region.rows, self._region.columns]
        return window[as_slice(rows), as_slice(columns)]

    def around(self, index: Index) -> Array:
        """The whole plane."""
        if is_in_memory(self._stack):
            found: Array = self._stack[index]
            return found
        plane = self._planes.get(index)
        if plane is None:
            plane = self._planes[index] = np.asarray(self._stack[index])
            while len(self._planes) > REMEMBERED:
                self._planes.popitem(last=False)
        return plane
