"""How sure the model is, as a layer: the error that it expects of its own colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_colorize.errors import ColorizeError
from napari_colorize.napari.explore.covering import Cover, part_seen
from napari_colorize.napari.links import Links
from napari_colorize.session.words import LARGEST_ERROR, errors_in_words

if TYPE_CHECKING:
    from napari_colorize.napari.desk import Desk
    from napari_colorize.result import Colorized

COLORMAP = "viridis"
MILLISECONDS_TO_SETTLE = 300  # without another picture, before the new one is judged


class ConfidenceLayer:
    """While it is on, the error expected of the picture's colours lies over it and follows it.

    Parameters
    ----------
    desk : Desk
        Whose picture and model.

    Attributes
    ----------
    told : Signal(str)
        A sentence to show.
    """

    told = Signal(str)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._errors = Cover(
            desk.viewer,
            name="{} (expected error)",
            colormap=COLORMAP,
            contrast_limits=(0, LARGEST_ERROR),
            opacity=0.7,
        )
        self._judged: Any = None  # the picture that the map is of, or will be
        self._settled = QTimer()
        self._settled.setSingleShot(True)
        self._settled.setInterval(MILLISECONDS_TO_SETTLE)
        self._settled.timeout.connect(self._ask)
        self._links = Links()
        self.is_on = False

    @property
    def layer(self) -> Any:
        """The map, or None."""
        return self._errors.layer

    def start(self) -> None:
        """Ask, and show what comes."""
        if self.is_on:
            return
        self.is_on = True
        self._links.add(self._desk.judged, self._show)
        self._links.add(self._desk.shown, self._follow)
        self._links.add(self._desk.layer_changed, self._clear)
        self._ask()

    def stop(self) -> None:
        """Take the map away."""
        if not self.is_on:
            return
        self.is_on = False
        self._links.end()
        self._clear()

    def _ask(self) -> None:
        if self._desk.result is None:
            self.told.emit("There are no colours yet: wait for the first picture.")
            return
        self._judged = self._desk.result
        try:
            self._desk.session.judge()
        except ColorizeError as error:
            self.told.emit(str(error))
        else:
            self.told.emit("Asking the model…")

    def _follow(self, result: Colorized) -> None:
        if result is self._judged:
            return
        if self.layer is not None and result.chroma is not self._judged.chroma:
            self.layer.visible = False  # of other colours, which may not be judged at all
        self._settled.start()

    def _show(self, result: Colorized, errors: NDArray[np.float32]) -> None:
        if self._desk.layer is None:
            return
        layer = self._errors.show(self._desk.layer, errors, part_seen(self._desk), self._desk.plane)
        layer.visible = True
        self.told.emit(errors_in_words(errors))

    def _clear(self, layer: Any = None) -> None:
        self._settled.stop()
        self._judged = None
        self._errors.remove()
