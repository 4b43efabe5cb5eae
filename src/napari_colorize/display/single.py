"""One picture that is held as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_colorize.display.gray import DisplayRange, dtype_in_memory
from napari_colorize.display.source_spec import SourceSpec

if TYPE_CHECKING:
    import numpy as np

    from napari_colorize.array_types import Limits
    from napari_colorize.display.gray import Array
    from napari_colorize.result import Colorized


class PlainColors:
    """One image of moderate size: the picture as it came from the session.

    Parameters
    ----------
    image : array, shape (Y, X) or (Y, X, 3 or 4)
        What is colorized.
    look : Look
        How it is read.
    """

    multiscale = False

    def __init__(self, image: Any, look: DisplayRange) -> None:
        self.source = image
        self.data: Array | None = None
        self._look, self._is_known = look, False

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`."""
        return shown_limits(self._look, dtype_in_memory(self.source.dtype), self.data)

    def put(self, index: tuple[int, ...], result: Colorized) -> None:
        """The picture has come."""
        self.data, self._is_known = result.pixels, True

    def mark_stale(self) -> None:
        """Settings changed: the picture is still shown, but no longer counts as known."""
        self._is_known = False

    def is_current(self, index: tuple[int, ...]) -> bool:
        """Whether the picture is here, as the settings are now."""
        return self._is_known

    def all_current(self) -> bool:
        """As `knows`: there is but one."""
        return self._is_known

    def allocate_all(self) -> None:
        """Nothing is forgotten anyway."""

    def array(self) -> Array | None:
        """The picture, if it is here as the settings are now."""
        return self.data if self._is_known else None

    def matches(self, **read: Any) -> bool:
        """Whether `colors_for`, asked for this, would make the same; see `Basis.matches`."""
        return SourceSpec([self.source], self._look).matches(**read)


def shown_limits(look: DisplayRange, dtype: np.dtype[Any], shown: Any) -> Limits:
    """Values of black and white in `shown`, which may hold an 8-bit fidelity of another dtype."""
    if shown is not None and shown.dtype.kind == "u" and shown.dtype != dtype:
        return 0, 255
    return look.shown_limits(dtype)
