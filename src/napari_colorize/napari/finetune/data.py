"""What to learn from: folders, colour layers of the viewer, corrections; ticked or not."""

from __future__ import annotations

from dataclasses import dataclass
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
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_colorize.napari.finetune.pictures import (
    ColorStack,
    colors_of,
    corrections,
    corrections_folder,
    reason_not_usable,
)

if TYPE_CHECKING:
    from napari import Viewer

CORRECTIONS = "corrections"  # in place of a folder or a layer
ROWS = 4  # that are seen without scrolling


@dataclass(frozen=True)
class Chosen:
    """What is ticked.

    Parameters
    ----------
    folders : tuple of str
        Absolute paths of folders and files.
    layers : tuple of ColorStack
        To be written to files first.
    corrections : tuple of Path
        Those that there are now.
    """

    folders: tuple[str, ...] = ()
    layers: tuple[ColorStack, ...] = ()
    corrections: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.folders or self.layers or self.corrections)


class DataList(QWidget):
    """Folders, layers and corrections with a tick each; folders may be dropped on it.

    Parameters
    ----------
    viewer : Viewer
        Whose selected layers are added.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._list = _Rows()
        self._list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self._list.setFixedHeight(self._list.fontMetrics().height() * (2 * ROWS + 1))
        self._list.dropped.connect(self.add_folder)
        self._list.setToolTip(
            "What is ticked is learned from. A fifth of the pictures is held back: they are never "
            "trained on and tell honestly how good the model is. Drop folders here, too."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._list)
        layout.addLayout(self._buttons())
        self._list.itemChanged.connect(lambda _: self.changed.emit())
        removed = viewer.layers.events.removed

        # No method: to disconnect one, napari 0.6 compares this list, gone by then, with others.
        def drop(event: Any) -> None:
            self._drop_layer(event)

        removed.connect(drop)
        self.destroyed.connect(lambda: removed.disconnect(drop))
        self.show_corrections()

    def add_folder(self, path: str | Path) -> None:
        """Learn from the pictures in this folder (or CSV, tar shard, NumPy file) as well."""
        path = Path(path).absolute()
        self._add(f"folder {path.name}", str(path), str(path))

    def add_layers(self, layers: Any = None) -> None:
        """Learn from these layers as well; from the selected ones if none are given."""
        chosen = [*(layers or self._viewer.layers.selection)]
        reasons = [reason_not_usable(layer) for layer in chosen or [None]]
        for layer, reason in zip(chosen, reasons, strict=False):
            if reason is None:
                count = len(colors_of(layer).planes)
                more = f"  ({count} pictures)" if count > 1 else ""
                self._add(f"layer {layer.name}{more}", layer, "As it is seen when you press Start.")
        if all(reasons):
            show_error(str(reasons[0]))

    def show_corrections(self) -> None:
        """Count the corrections anew."""
        count = len(corrections())
        row = self._row(CORRECTIONS)
        if not count:
            self._remove([row] if row is not None else [])
            return
        text = f"your corrections  ({count} picture{'s' * (count > 1)})"
        if row is None:
            self._add(text, CORRECTIONS, str(corrections_folder()))
        else:
            row.setText(text)

    def tick_corrections(self) -> None:
        """Learn from them."""
        row = self._row(CORRECTIONS)
        if row is not None:
            row.setCheckState(Qt.CheckState.Checked)

    @property
    def chosen(self) -> Chosen:
        """What is ticked, layers as they are seen now."""
        ticked = [
            row.data(Qt.ItemDataRole.UserRole)
            for row in self._rows()
            if row.checkState() == Qt.CheckState.Checked
        ]
        return Chosen(
            tuple(each for each in ticked if isinstance(each, str) and each != CORRECTIONS),
            tuple(colors_of(each) for each in ticked if not isinstance(each, str)),
            tuple(corrections()) if CORRECTIONS in ticked else (),
        )

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        for text, tip, act in (
            (
                "Add folder…",
                "A folder of colour pictures, nested as it likes; gray is made from them. Folders "
                "gray/ and color/ in it are taken as pairs.",
                self._ask_folder,
            ),
            (
                "Add layer",
                "The colour (RGB) layers that are selected in the list of layers, stacks too.",
                lambda: self.add_layers(),
            ),
            (
                "Remove",
                "Take the selected lines out of this list. Nothing is deleted.",
                lambda: self._remove(self._list.selectedItems()),
            ),
        ):
            button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, act=act: act())
            row.addWidget(button)
        return row

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "A folder of colour pictures")
        if path:
            self.add_folder(path)

    def _add(self, text: str, content: Any, tip: str) -> None:
        if self._row(content) is not None:
            return
        row = QListWidgetItem(text)
        row.setData(Qt.ItemDataRole.UserRole, content)
        row.setToolTip(tip)
        row.setFlags(row.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        row.setCheckState(Qt.CheckState.Checked)
        self._list.addItem(row)
        self.changed.emit()

    def _rows(self) -> list[QListWidgetItem]:
        return [self._list.item(at) for at in range(self._list.count())]

    def _row(self, content: Any) -> QListWidgetItem | None:
        def is_it(row: QListWidgetItem) -> bool:
            other = row.data(Qt.ItemDataRole.UserRole)
            return other is content or (isinstance(other, str) and other == content)

        return next((row for row in self._rows() if is_it(row)), None)

    def _remove(self, rows: list[QListWidgetItem]) -> None:
        for row in rows:
            self._list.takeItem(self._list.row(row))
        self.changed.emit()

    def _drop_layer(self, event: Any) -> None:
        row = self._row(event.value)
        self._remove([row] if row is not None else [])


class _Rows(QListWidget):
    """A list on which folders can be dropped, and that says what it is for while it is empty."""

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
        place = self.viewport().rect().adjusted(12, 4, -12, -4)
        painter.drawText(
            place,
            int(middle),
            "Add a folder of colour pictures, or colour layers: 10 or more are best.",
        )
        painter.end()
