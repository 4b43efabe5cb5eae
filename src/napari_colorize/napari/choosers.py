"""Widgets to choose a layer, a model, or one of several render factors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_colorize.napari.layers import reason_not_colorizable
from napari_colorize.napari.panels import row, tooltip, wrapped_label
from napari_colorize.session.messages import download_label, model_choices, needs_download
from napari_colorize.zoo import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari import Viewer
    from napari.layers import Layer

    from napari_colorize.result import Colorized

MINIMUM_CHARACTERS = 6  # of a name that stay visible, so that panels can be narrow
MODEL_FILE_FILTER = "Models (*.safetensors *.pth *.pt)"
TOOLTIP_ROLE = 3  # Qt.ItemDataRole.ToolTipRole, as the number that every Qt binding accepts
THUMBNAIL_SIDE = 132  # pixels
SWEEP_COLUMNS = 2


class LayerChooser(QComboBox):
    """Combo box of the layers of one viewer that pass a test, topmost first.

    `select_first` selects the topmost layer as long as the user has not chosen one. `none_label`
    adds an entry for no layer.
    """

    chosen = Signal(object)  # the layer that was chosen, or None

    def __init__(
        self,
        viewer: Viewer,
        accepts: Callable[[Layer], bool] = lambda layer: reason_not_colorizable(layer) is None,
        *,
        select_first: bool = False,
        none_label: str | None = None,
    ) -> None:
        super().__init__()
        self._viewer, self._accepts, self._select_first = viewer, accepts, select_first
        self._none_label = none_label
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(MINIMUM_CHARACTERS)
        events = viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.connect(self._refresh)
        self.activated.connect(self._on_activated)
        self._refresh()

    @property
    def layer(self) -> Any:
        """The selected layer, or None."""
        return self.currentData()

    def show_layer(self, layer: Any) -> None:
        """Select a layer without emitting `chosen`."""
        with signals_blocked(self):
            fallback = -1 if self._none_label is None else 0
            positions = range(self.count())
            self.setCurrentIndex(
                next((at for at in positions if self.itemData(at) is layer), fallback)
            )

    def disconnect_viewer(self) -> None:
        """Stop following the layers of the viewer."""
        events = self._viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.disconnect(self._refresh)

    def _refresh(self, event: Any = None) -> None:
        before = self.layer
        with signals_blocked(self):
            self.clear()
            if self._none_label is not None:
                self.addItem(self._none_label, None)
            for layer in reversed(self._viewer.layers):
                if self._accepts(layer):
                    self.addItem(layer.name, layer)
                    layer.events.name.connect(self._update_names)
        self.show_layer(before)
        if self.currentIndex() < 0 and self._select_first and self.count():
            with signals_blocked(self):
                self.setCurrentIndex(0)
            self.chosen.emit(self.layer)

    def _update_names(self, event: Any = None) -> None:
        for position in range(self.count()):
            if self.itemData(position) is not None:
                self.setItemText(position, self.itemData(position).name)

    def _on_activated(self, position: int) -> None:
        self.chosen.emit(self.itemData(position))


class ModelChooser(QWidget):
    """Combo box of models, with a download button and a button that opens a model file.

    `none_label` adds an entry for no model, which is emitted as "".

    Attributes
    ----------
    chosen : Signal(str)
        Name or path of a model whose file is on this computer. A model that must be downloaded is
        emitted when the download button is clicked.
    """

    chosen = Signal(str)

    def __init__(self, none_label: str | None = None) -> None:
        super().__init__()
        self._none_label = none_label
        self._list = QComboBox()
        self._list.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._list.setMinimumContentsLength(MINIMUM_CHARACTERS)
        self._list.setToolTip(
            tooltip("The network that predicts the colors. Point at an entry to read about it.")
        )
        self._download = QPushButton("Download")
        self._download.setToolTip("Download this model once; it is stored on this computer.")
        self._file = QToolButton()
        self._file.setText("Open…")
        self._file.setToolTip("Open a model file (.safetensors or .pth).")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row(self._list, self._file, stretch=1))
        layout.addWidget(self._download)  # below the list, so that the panel stays narrow
        self._files: list[str] = []
        self._list.activated.connect(self._on_activated)
        self._download.clicked.connect(lambda: self.chosen.emit(self.model))
        self._file.clicked.connect(self._open_file)
        self.refresh()

    @property
    def model(self) -> str:
        """Name or path of the selected model; "" for none."""
        return str(self._list.currentData() or ("embedded" if self._none_label is None else ""))

    @property
    def is_local(self) -> bool:
        """Whether the file of the selected model is on this computer."""
        return not needs_download(self.model)

    def refresh(self) -> None:
        """List the models again, and show which are downloaded."""
        before = self.model
        with signals_blocked(self._list):
            self._list.clear()
            if self._none_label is not None:
                self._list.addItem(self._none_label, "")
            for label, model in model_choices(self._files):
                self._list.addItem(label, model)
                about = CATALOGUE.get(model)
                text = model if about is None else f"{about.title}. {about.license}."
                self._list.setItemData(self._list.count() - 1, text, TOOLTIP_ROLE)
        self.show_model(before)

    def show_model(self, model: str) -> None:
        """Select a model without emitting `chosen`; a file that is not listed is added."""
        position = self._list.findData(model)
        if position < 0 and model not in CATALOGUE:
            self._files.append(model)
            self._list.addItem(Path(model).stem, model)
            position = self._list.count() - 1
        self._list.setCurrentIndex(position)
        self._update_download()

    def _on_activated(self, position: int) -> None:
        self._update_download()
        if self.is_local:
            self.chosen.emit(self.model)

    def _open_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a model", "", MODEL_FILE_FILTER)
        if path:
            self.show_model(path)
            self.chosen.emit(path)

    def _update_download(self) -> None:
        self._download.setVisible(not self.is_local)
        if not self.is_local:
            self._download.setText(download_label(self.model))


class SweepGrid(QWidget):
    """Thumbnails of one image at several render factors; a choice closes them."""

    picked = Signal(int)  # the render factor whose thumbnail was clicked

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        help_text = wrapped_label(
            "Low render factors give uniform colors, high ones follow small structures. "
            "Click one to use it."
        )
        self.close_button = QToolButton()
        self.close_button.setText("✕")
        self.close_button.setToolTip("Close the thumbnails.")
        self.close_button.clicked.connect(self.hide)
        self._grid = QGridLayout()
        layout.addLayout(row(help_text, self.close_button, stretch=1))
        layout.addLayout(self._grid)
        self.picked.connect(self.hide)
        self.buttons: dict[int, QToolButton] = {}

    def begin(self, render_factors: list[int]) -> None:
        """Show a disabled button without a thumbnail for each of these render factors."""
        for button in self.buttons.values():
            self._grid.removeWidget(button)
            button.deleteLater()
        self.buttons = {}
        for position, factor in enumerate(render_factors):
            button = QToolButton()
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
            button.setIconSize(QSize(THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            button.setText(f"{factor} …")
            button.setEnabled(False)
            button.clicked.connect(lambda _=False, factor=factor: self.picked.emit(factor))
            self._grid.addWidget(button, position // SWEEP_COLUMNS, position % SWEEP_COLUMNS)
            self.buttons[factor] = button

    def show_result(self, render_factor: int, result: Colorized) -> None:
        """Show the result of one render factor and enable its button."""
        button = self.buttons.get(render_factor)
        if button is None:
            return
        image = thumbnail(result)
        button.setIcon(QIcon(QPixmap.fromImage(image)))
        button.setIconSize(image.size())  # the number is below the image, however wide that is
        button.setText(str(render_factor))
        button.setEnabled(True)


def thumbnail(result: Colorized) -> QImage:
    """A small image of a result, without alpha."""
    from napari_colorize.result import pixels_to_uint8  # torch is imported by then

    pixels = result.pixels
    step = max(1, max(pixels.shape[:2]) // (2 * THUMBNAIL_SIDE))
    small = pixels_to_uint8(pixels, result.plane)[::step, ::step, :3]
    data = np.ascontiguousarray(small)
    height, width = data.shape[:2]
    image = QImage(data.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    return image.scaled(
        THUMBNAIL_SIDE,
        THUMBNAIL_SIDE,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
