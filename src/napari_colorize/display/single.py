"""A single image of moderate size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_colorize.array_types import AnyArray, Limits, PlaneIndex
from napari_colorize.display.gray import DisplayRange, dtype_in_memory
from napari_colorize.display.source_spec import SourceSpec

if TYPE_CHECKING:
    import numpy as np

    from napari_colorize.result import Colorized


class SingleColors:
    """Colors of one image: the pixels of its result.

    Parameters
    ----------
    image : array, shape (Y, X) or (Y, X, 3 or 4)
        Image to colorize.
    display_range : DisplayRange
        How its values are displayed.
    """

    multiscale = False

    def __init__(self, image: Any, display_range: DisplayRange) -> None:
        self.source = image
        self.data: AnyArray | None = None
        self._display_range, self._is_current = display_range, False

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`."""
        return data_limits(self._display_range, dtype_in_memory(self.source.dtype), self.data)

    def put(self, index: PlaneIndex, result: Colorized) -> None:
        """Store the result."""
        self.data, self._is_current = result.pixels, True

    def mark_stale(self) -> None:
        """Mark the image as outdated; its colors are still displayed."""
        self._is_current = False

    def is_current(self, index: PlaneIndex) -> bool:
        """Whether the image has colors that are not outdated."""
        return self._is_current

    def all_current(self) -> bool:
        """Whether the image has colors that are not outdated."""
        return self._is_current

    def allocate_all(self) -> None:
        """Do nothing: one image is always kept."""

    def array(self) -> AnyArray | None:
        """The pixels, if they are current."""
        return self.data if self._is_current else None

    def matches(self, **read: Any) -> bool:
        """Whether `colors_for` would make equal arrays from this; see `SourceSpec.matches`."""
        return SourceSpec([self.source], self._display_range).matches(**read)


def data_limits(display_range: DisplayRange, dtype: np.dtype[Any], data: Any) -> Limits:
    """Values of black and white in the result `data` of a source of type `dtype`."""
    if data is not None and data.dtype.kind == "u" and data.dtype != dtype:
        return 0, 255  # a fidelity other than exact returns 8 bits for any source
    return display_range.result_limits(dtype)
