"""The same picture at several render factors, side by side; a click takes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QToolButton, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

SIDE = 132  # of a thumbnail, in pixels
COLUMNS = 2


class SweepGrid(QWidget):
    """Thumbnails that come one by one; `picked` brings the render factor that was clicked."""

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._said = QLabel("Small render factors are bold and even, large ones follow details.")
        self._said.setWordWrap(True)
        self._grid = QGridLayout()
        layout.addWidget(self._said)
        layout.addLayout(self._grid)
        self.buttons: dict[int, QToolButton] = {}

    def begin(self, render_factors: list[int]) -> None:
        """Empty places for these render factors."""
        for button in self.buttons.values():
            self._grid.removeWidget(button)
            button.deleteLater()
        self.buttons = {}
        for place, factor in enumerate(render_factors):
            button = QToolButton()
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
            button.setIconSize(QSize(SIDE, SIDE))
            button.setText(f"{factor} …")
            button.setEnabled(False)
            button.clicked.connect(lambda _=False, factor=factor: self.picked.emit(factor))
            self._grid.addWidget(button, place // COLUMNS, place % COLUMNS)
            self.buttons[factor] = button

    def show_result(self, render_factor: int, result: Colorized) -> None:
        """The picture of one render factor has come."""
        button = self.buttons.get(render_factor)
        if button is None:
            return
        button.setIcon(QIcon(QPixmap.fromImage(thumbnail(result))))
        button.setText(str(render_factor))
        button.setEnabled(True)


def thumbnail(result: Colorized) -> QImage:
    """A small picture of a result, alpha left out."""
    from napari_colorize.result import pixels_to_uint8  # torch, which is here by now

    pixels = result.pixels
    step = max(1, max(pixels.shape[:2]) // (2 * SIDE))
    small = pixels_to_uint8(pixels, result.plane)[::step, ::step, :3]
    data = np.ascontiguousarray(small)
    height, width = data.shape[:2]
    image = QImage(data.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    return image.scaled(
        SIDE,
        SIDE,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
