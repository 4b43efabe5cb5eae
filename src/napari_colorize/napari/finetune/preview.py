"""What a training makes of pictures held back, as one layer beside the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pictures

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

NAME = "fine-tuning: gray, predicted, true"
GAP = 0.05  # of the height, between the sheet and what stands left of it


class PreviewLayer:
    """At most one layer; who deletes it does not get it again in this training.

    Parameters
    ----------
    viewer : Viewer
        Where it is shown.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layer: Image | None = None
        self._is_unwelcome = False

    def begin(self) -> None:
        """Another training: it may be shown again."""
        self._is_unwelcome = False

    def show(self, path: Path) -> None:
        """Show the sheet in this file, in place of the one before."""
        if self._layer is not None and self._layer not in self._viewer.layers:
            self._layer, self._is_unwelcome = None, True
        if self._is_unwelcome or not path.is_file():
            return
        with Pictures.open(path) as sheet:
            pixels = np.asarray(sheet.convert("RGB"))
        if self._layer is not None:
            self._layer.data = pixels
            return
        selected = set(self._viewer.layers.selection)
        placed = self._beside(pixels.shape[0])
        self._layer = self._viewer.add_image(
            pixels, name=NAME, rgb=True, contrast_limits=(0, 255), **placed
        )
        if selected:
            self._viewer.layers.selection = selected
        self._viewer.reset_view()  # once: it stands where nobody looks

    def remove(self) -> None:
        """Take it away."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None

    def _beside(self, rows: int) -> dict[str, Any]:
        """Right of all layers and as high as they are together, in their units."""
        if not len(self._viewer.layers):
            return {}
        (top, _), (bottom, right) = np.asarray(self._viewer.layers.extent.world)[:, -2:]
        height = (bottom - top) or 1.0
        placed = {"scale": (height / rows,) * 2, "translate": (top, right + GAP * height)}
        units = getattr(self._viewer.layers[0], "units", None)
        return placed if units is None or len(units) < 2 else {**placed, "units": units[-2:]}
