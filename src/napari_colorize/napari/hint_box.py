"""Color hints in two clicks: a swatch in the panel, then the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QToolButton, QVBoxLayout, QWidget

from napari_colorize.napari.panels import button, flow, tooltip, wrapped_label

if TYPE_CHECKING:
    from napari_colorize.napari.controller import ColorizeController

SWATCHES = {
    "red": "#c0392b",
    "orange": "#e67e22",
    "yellow": "#f1c40f",
    "green": "#4f8a3c",
    "blue": "#3a78c2",
    "purple": "#8e5ba6",
    "skin": "#d9a07c",
    "brown": "#7a5230",
}
SWATCH_SIDE = 22  # pixels
CHOOSE = "Choose a color, then click the image."
CLICK = "Click the image where it should have this color. Brightness is kept: black stays black."
PICK = "Click a color layer to take the color of that pixel."


class HintBox(QWidget):
    """Swatches, and a line that says what to do next.

    `guarded` returns a function that shows the `ColorizeError` of a given function.
    """

    def __init__(
        self,
        controller: ColorizeController,
        guarded: Callable[[Callable[..., object]], Callable[..., None]],
    ) -> None:
        super().__init__()
        self._controller = controller
        self._choose = guarded(self._begin)
        self.swatches = {name: self._swatch(name, color) for name, color in SWATCHES.items()}
        self.custom = button("Other…", "Choose any color.", self._ask)
        self.pick = button(
            "Pick", "Take the color of a pixel of a layer in color.", guarded(self._begin_to_pick)
        )
        self.message = wrapped_label(CHOOSE)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(flow(*self.swatches.values(), self.custom, self.pick))
        layout.addWidget(self.message)

    def show_all(self) -> None:
        """Display the state of the controller."""
        self.setEnabled(self._controller.layer is not None)
        if self._controller.guiding.layer("hints") is None:
            self.message.setText(CHOOSE)

    def _swatch(self, name: str, color: str) -> QToolButton:
        swatch = QToolButton()
        swatch.setFixedSize(QSize(SWATCH_SIDE, SWATCH_SIDE))
        swatch.setStyleSheet(f"background: {color}; border: 1px solid gray; border-radius: 3px;")
        swatch.setAccessibleName(name)
        swatch.setToolTip(tooltip(f"Hint: {name}. Then click the image."))
        swatch.clicked.connect(lambda _=False: self._choose(color))
        return swatch

    def _begin(self, color: str) -> None:
        self._controller.begin_hint(color)
        self.message.setText(CLICK)

    def _ask(self) -> None:
        chosen = QColorDialog.getColor(QColor(SWATCHES["red"]), self, "Color of the hint")
        if chosen.isValid():
            self._choose(chosen.name())

    def _begin_to_pick(self) -> None:
        self._controller.pick_color(self._choose)
        self.message.setText(PICK)
