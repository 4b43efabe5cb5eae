"""Where a picture got next to no colour, as a layer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import Colormap
from numpy.typing import NDArray
from psygnal import Signal

from napari_colorize.napari.explore.overlays import AnalysisOverlay
from napari_colorize.napari.qt_relay import QtRelay
from napari_colorize.session.words import pale_in_words

if TYPE_CHECKING:
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized

COLOR = (1.0, 0.0, 1.0)  # no photograph has it


class UncoloredOverlay(AnalysisOverlay):
    """Pixels whose chroma nobody sees, in a colour that no picture has."""

    found = Signal(object, object)
    _looked = Signal(object, object)  # in a thread of its own: CIELAB of many pixels takes a while

    def __init__(self, controller: ColorizeController) -> None:
        super().__init__(
            controller,
            self.found,
            waiting="Looking for it…",
            name="{} (next to no colour)",
            colormap=Colormap([(*COLOR, 0), (*COLOR, 1)], name="pale"),
            contrast_limits=(0, 1),
            opacity=0.5,
        )
        self._bridge = QtRelay()
        self._bridge.connect(self._looked, self.found.emit)

    def ask(self, result: Colorized) -> None:
        """Look at the picture."""

        def look() -> None:
            self._looked.emit(result, result.uncolored())

        threading.Thread(target=look, name="napari-colorize pale", daemon=True).start()

    def take(self, result: Colorized, pale: NDArray[Any]) -> None:
        """Mark what was found, unless another picture is looked at by now."""
        if result is self._asked:
            self.show(pale.astype(np.uint8), pale_in_words(float(pale.mean())))
