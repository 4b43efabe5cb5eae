"""Where colour is a guess, as a layer: how much it changes when the model is asked otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_colorize.analysis.colormaps import LARGEST_ERROR
from napari_colorize.napari.explore.confidence import COLORMAP
from napari_colorize.napari.explore.overlays import AnalysisOverlay
from napari_colorize.session.words import disagreement_in_words

if TYPE_CHECKING:
    from napari_colorize.analysis.disagreement import Disagreement
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.result import Colorized


class DisagreementOverlay(AnalysisOverlay):
    """How far answers for mirror images, render factors and models lie apart, in CIEDE2000."""

    def __init__(self, controller: ColorizeController) -> None:
        super().__init__(
            controller,
            controller.disagreement_ready,
            name="{} (disagreement)",
            colormap=COLORMAP,
            contrast_limits=(0, LARGEST_ERROR),
            opacity=0.7,
        )

    def ask(self, result: Colorized) -> None:
        """Ask the model, and the one that is blended with it."""
        self._controller.session.request_disagreement()

    def take(self, told: Disagreement) -> None:
        """Show where the answers differ."""
        self.show(told.map, disagreement_in_words(told.map, len(told.variants)))
