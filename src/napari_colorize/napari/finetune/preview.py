"""Preview layer of a training run: validation images in grayscale, predicted and true colors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

NAME = "fine-tuning: gray, predicted, true"
GAP = 0.05  # fraction of the height, between the other layers and the preview


class PreviewLayer:
    """At most one layer; if the user deletes it, it is not added again during this run."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layer: Image | None = None
        self._was_deleted = False

    def begin(self) -> None:
        """Allow the layer again for a new run."""
        self._was_deleted = False

    def show(self, path: Path) -> None:
        """Display the sheet in this file in place of the previous one."""
        if self._layer is not None and self._layer not in self._viewer.layers:
            self._layer, self._was_deleted = None, True
        if self._was_deleted or not path.is_file():
            return
        with PillowImage.open(path) as sheet:
            pixels = np.asarray(sheet.convert("RGB"))
        if self._layer is not None:
            self._layer.data = pixels
            return
        selected = set(self._viewer.layers.selection)
        placement = self._placement(pixels.shape[0])
        self._layer = self._viewer.add_image(
            pixels, name=NAME, rgb=True, contrast_limits=(0, 255), **placement
        )
        if selected:
            self._viewer.layers.selection = selected
        self._viewer.reset_view()  # only once: the new layer is outside the visible area

    def remove(self) -> None:
        """Remove the layer."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None

    def _placement(self, rows: int) -> dict[str, Any]:
        """Scale, position and units: right of all other layers and of the same total height."""
        if not len(self._viewer.layers):
            return {}
        (top, _), (bottom, right) = np.asarray(self._viewer.layers.extent.world)[:, -2:]
        height = (bottom - top) or 1.0
        placement = {"scale": (height / rows,) * 2, "translate": (top, right + GAP * height)}
        units = getattr(self._viewer.layers[0], "units", None)
        return placement if units is None or len(units) < 2 else {**placement, "units": units[-2:]}
