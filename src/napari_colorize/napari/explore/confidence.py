"""How sure the model is, as a layer: the error that it expects of its own colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_colorize.analysis.colormaps import LARGEST_ERROR
from napari_colorize.napari.explore.overlays import AnalysisOverlay
from napari_colorize.session.words import errors_in_words

if TYPE_CHECKING:
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized

COLORMAP = "viridis"


class ExpectedErrorOverlay(AnalysisOverlay):
    """The error expected of the picture's colours, in CIEDE2000."""

    def __init__(self, controller: ColorizeController) -> None:
        super().__init__(
            controller,
            controller.expected_error_ready,
            name="{} (expected error)",
            colormap=COLORMAP,
            contrast_limits=(0, LARGEST_ERROR),
            opacity=0.7,
        )

    def ask(self, result: Colorized) -> None:
        """Ask the model."""
        self._controller.session.request_expected_error()

    def take(self, result: Colorized, errors: NDArray[np.float32]) -> None:
        """Show what it expects."""
        self.show(errors, errors_in_words(errors))
