"""Choosing a layer and a model: two lists that keep up with the viewer and the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_colorize.napari.layers import reason_not_colorizable
from napari_colorize.session.words import cost_in_words
from napari_colorize.zoo import CATALOGUE, is_local, user_models

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari import Viewer
    from napari.layers import Layer

NO_LAYER = "no image layer"
LETTERS = 8  # of a name that are shown at least, so that panels may be narrow
WEIGHTS = "Models (*.safetensors *.pth *.pt)"


class LayerChooser(QComboBox):
    """The layers of one viewer that fit a test, topmost first.

    Parameters
    ----------
    viewer : Viewer
        Whose layers.
    fits : callable
        A layer to whether it belongs in the list.
    takes_first : bool
        Whether the topmost is chosen as long as nobody chose.
    none : str, optional
        Words for choosing no layer, which is then possible.
    """

    chosen = Signal(object)

    def __init__(
        self,
        viewer: Viewer,
        fits: Callable[[Layer], bool] = lambda layer: reason_not_colorizable(layer) is None,
        *,
        takes_first: bool = False,
        none: str | None = None,
    ) -> None:
        super().__init__()
        self._viewer, self._fits, self._takes_first = viewer, fits, takes_first
        self._none = none
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(LETTERS)
        events = viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.connect(self._relist)
        self.activated.connect(self._choose)
        self._relist()

    @property
    def layer(self) -> Any:
        """The one that is shown, or None."""
        return self.currentData()

    def show_layer(self, layer: Any) -> None:
        """Show a layer as chosen, silently."""
        with signals_blocked(self):
            nowhere = -1 if self._none is None else 0
            places = range(self.count())
            self.setCurrentIndex(next((at for at in places if self.itemData(at) is layer), nowhere))

    def close_list(self) -> None:
        """Follow the viewer no longer."""
        events = self._viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.disconnect(self._relist)

    def _relist(self, event: Any = None) -> None:
        before = self.layer
        with signals_blocked(self):
            self.clear()
            if self._none is not None:
                self.addItem(self._none, None)
            for layer in reversed(self._viewer.layers):
                if self._fits(layer):
                    self.addItem(layer.name, layer)
                    layer.events.name.connect(self._rename)
        self.show_layer(before)
        if self.currentIndex() < 0 and self._takes_first and self.count():
            with signals_blocked(self):
                self.setCurrentIndex(0)
            self.chosen.emit(self.layer)

    def _rename(self, event: Any = None) -> None:
        for at in range(self.count()):
            if self.itemData(at) is not None:
                self.setItemText(at, self.itemData(at).name)

    def _choose(self, at: int) -> None:
        self.chosen.emit(self.itemData(at))


class ModelChooser(QWidget):
    """The models by name, with what fetching costs; a button fetches, another opens a file.

    `chosen` brings a name or path whose file is here; one that must be fetched first is chosen
    when the button is pressed.

    Parameters
    ----------
    none : str, optional
        Words for choosing no model, which is then possible and comes as "".
    """

    chosen = Signal(str)

    def __init__(self, none: str | None = None) -> None:
        super().__init__()
        self._none = none
        self._list = QComboBox()
        self._list.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._list.setMinimumContentsLength(LETTERS)
        self._fetch = QPushButton("Fetch")
        self._file = QToolButton()
        self._file.setText("…")
        self._file.setToolTip("Open a model of your own: a .safetensors or .pth file.")
        row = QHBoxLayout()
        row.addWidget(self._list, 1)
        row.addWidget(self._file)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self._fetch)  # below: a panel grows in height, not in width
        self._files: list[str] = []
        self._list.activated.connect(self._pick)
        self._fetch.clicked.connect(lambda: self.chosen.emit(self.model))
        self._file.clicked.connect(self._open)
        self.relist()

    @property
    def model(self) -> str:
        """Name or path of the one that is shown; "" for none."""
        return str(self._list.currentData() or ("embedded" if self._none is None else ""))

    @property
    def is_here(self) -> bool:
        """Whether its file is on this computer."""
        return not _must_be_fetched(self.model)

    def relist(self) -> None:
        """Look again which models there are, and which are here."""
        before = self.model
        with signals_blocked(self._list):
            self._list.clear()
            if self._none is not None:
                self._list.addItem(self._none, "")
            for name, checkpoint in CATALOGUE.items():
                self._list.addItem(f"{name}{cost_in_words(name)}", name)
                at = self._list.count() - 1
                self._list.setItemData(at, f"{checkpoint.title}. {checkpoint.license}.", _TOOLTIP)
            for path in [*map(str, user_models()), *self._files]:
                self._list.addItem(Path(path).stem, path)
                self._list.setItemData(self._list.count() - 1, path, _TOOLTIP)
        self.show_model(before)

    def show_model(self, model: str) -> None:
        """Show a model as chosen, silently; a file that is not listed yet is added."""
        at = self._list.findData(model)
        if at < 0 and model not in CATALOGUE:
            self._files.append(model)
            self._list.addItem(Path(model).stem, model)
            at = self._list.count() - 1
        self._list.setCurrentIndex(at)
        self._show_fetch()

    def _pick(self, at: int) -> None:
        self._show_fetch()
        if self.is_here:
            self.chosen.emit(self.model)

    def _open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a model", "", WEIGHTS)
        if path:
            self.show_model(path)
            self.chosen.emit(path)

    def _show_fetch(self) -> None:
        self._fetch.setVisible(not self.is_here)
        if not self.is_here:
            size = CATALOGUE[self.model].size
            self._fetch.setText(f"Fetch {size / 1e6:.0f} MB")
            self._fetch.setToolTip("Download this model once; it stays on this computer.")


_TOOLTIP = 3  # Qt.ItemDataRole.ToolTipRole, as the number that every binding takes


def _must_be_fetched(model: str) -> bool:
    return model in CATALOGUE and not is_local(CATALOGUE[model])
