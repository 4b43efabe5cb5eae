"""List of training data: folders, color layers of the viewer and corrections, with check boxes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_colorize.finetune import form
from napari_colorize.napari.finetune.training_data import (
    TrainingData,
    colors_of,
    corrections,
    corrections_folder,
    reason_not_usable,
)
from napari_colorize.napari.panels import button, row

if TYPE_CHECKING:
    from napari import Viewer

CORRECTIONS = "corrections"  # content of the row for all corrections
ROWS = 4  # visible without scrolling


class DataList(QWidget):
    """Checkable rows for folders, layers and corrections; folders can be dropped on it."""

    changed = Signal()  # rows were added, removed or checked

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._list = _Rows()
        self._list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self._list.setFixedHeight(self._list.fontMetrics().height() * (2 * ROWS + 1))
        self._list.dropped.connect(self.add_folder)
        self._list.setToolTip(f"{form.DATA.help} Folders can be dropped here.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._list)
        layout.addLayout(self._buttons())
        self._list.itemChanged.connect(lambda _: self.changed.emit())
        removed = viewer.layers.events.removed

        # A function, not a bound method: to disconnect a method, napari 0.6 compares its object,
        # which is deleted by then, with others.
        def drop(event: Any) -> None:
            self._on_layer_removed(event)

        removed.connect(drop)
        self.destroyed.connect(lambda: removed.disconnect(drop))
        self.show_corrections()

    def add_folder(self, path: str | Path) -> None:
        """Add a folder of images (or a CSV file, tar shard or NumPy file)."""
        path = Path(path).absolute()
        self._add(f"folder {path.name}", str(path), str(path))

    def add_layers(self, layers: Any = None) -> None:
        """Add these layers, by default the selected ones in the order of the layer list."""
        selected = self._viewer.layers.selection
        added = [*(layers or (layer for layer in self._viewer.layers if layer in selected))]
        reasons = [reason_not_usable(layer) for layer in added or [None]]
        for layer, reason in zip(added, reasons, strict=False):
            if reason is None:
                count = len(colors_of(layer).planes)
                more = f"  ({count} images)" if count > 1 else ""
                self._add(
                    f"layer {layer.name}{more}", layer, "As displayed when training is started."
                )
        if all(reasons):
            show_error(str(reasons[0]))

    def show_corrections(self) -> None:
        """Update the row of the corrections."""
        count = len(corrections())
        found = self._row(CORRECTIONS)
        if not count:
            self._remove([found] if found is not None else [])
            return
        text = f"your corrections  ({count} image{'s' * (count > 1)})"
        if found is None:
            self._add(text, CORRECTIONS, str(corrections_folder()))
        else:
            found.setText(text)

    def check_corrections(self) -> None:
        """Check the row of the corrections."""
        found = self._row(CORRECTIONS)
        if found is not None:
            found.setCheckState(Qt.CheckState.Checked)

    @property
    def selection(self) -> TrainingData:
        """Checked rows, with layers as they are displayed now."""
        checked = [
            row.data(Qt.ItemDataRole.UserRole)
            for row in self._rows()
            if row.checkState() == Qt.CheckState.Checked
        ]
        return TrainingData(
            tuple(each for each in checked if isinstance(each, str) and each != CORRECTIONS),
            tuple(colors_of(each) for each in checked if not isinstance(each, str)),
            tuple(corrections()) if CORRECTIONS in checked else (),
        )

    def _buttons(self) -> QHBoxLayout:
        return row(
            button(
                "Add folder…",
                "A folder of color images, with sub-folders; grayscale is computed from them. "
                "Folders gray/ and color/ in it are used as pairs.",
                self._choose_folder,
            ),
            button(
                "Add layer",
                "The color (RGB) layers that are selected in the layer list, also stacks.",
                self.add_layers,
            ),
            button(
                "Remove",
                "Remove the selected rows from this list. No file is deleted.",
                lambda: self._remove(self._list.selectedItems()),
            ),
        )

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of color images")
        if path:
            self.add_folder(path)

    def _add(self, text: str, content: Any, tip: str) -> None:
        if self._row(content) is not None:
            return
        item = QListWidgetItem(text)
        item.setData(Qt.ItemDataRole.UserRole, content)
        item.setToolTip(tip)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked)
        self._list.addItem(item)
        self.changed.emit()

    def _rows(self) -> list[QListWidgetItem]:
        return [self._list.item(index) for index in range(self._list.count())]

    def _row(self, content: Any) -> QListWidgetItem | None:
        def matches(row: QListWidgetItem) -> bool:
            other = row.data(Qt.ItemDataRole.UserRole)
            return other is content or (isinstance(other, str) and other == content)

        return next((row for row in self._rows() if matches(row)), None)

    def _remove(self, rows: list[QListWidgetItem]) -> None:
        for each in rows:
            self._list.takeItem(self._list.row(each))
        self.changed.emit()

    def _on_layer_removed(self, event: Any) -> None:
        found = self._row(event.value)
        self._remove([found] if found is not None else [])


class _Rows(QListWidget):
    """List that accepts dropped folders and displays a hint while it is empty."""

    dropped = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        if event is not None and event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dragMoveEvent(self, event: Any) -> None:
        self.dragEnterEvent(event)

    def dropEvent(self, event: QDropEvent | None) -> None:
        if event is None:
            return
        for url in event.mimeData().urls():
            if url.isLocalFile():
                self.dropped.emit(url.toLocalFile())
        event.acceptProposedAction()

    def paintEvent(self, event: Any) -> None:
        super().paintEvent(event)
        if self.count():
            return
        painter = QPainter(self.viewport())
        painter.setOpacity(0.6)
        middle = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        rectangle = self.viewport().rect().adjusted(12, 4, -12, -4)
        painter.drawText(
            rectangle,
            int(middle),
            "Add a folder of color images, or color layers. At least 10 images are recommended.",
        )
        painter.end()
