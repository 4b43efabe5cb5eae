"""First page of the Fine-tune panel: training data, options, and runs that can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_colorize.finetune import form
from napari_colorize.finetune.monitor import BUTTONS, unfinished_runs
from napari_colorize.finetune.status import INTRO
from napari_colorize.napari.finetune.data_list import DataList
from napari_colorize.napari.finetune.options import BaseChooser, TrainingOptions
from napari_colorize.napari.finetune.training_page import labeled_button, wrapped_label

if TYPE_CHECKING:
    from napari import Viewer

    from napari_colorize.finetune.training_run import TrainingRun


class SetupPage(QWidget):
    """Form for a new run, with a start button.

    Attributes
    ----------
    started : Signal()
        The start button was pressed.
    resumed : Signal(TrainingRun)
        An unfinished run is to be resumed.
    """

    started = Signal()
    resumed = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.base = BaseChooser()
        self.data = DataList(viewer)
        self.name = QLineEdit(form.DEFAULT_NAME)
        self.name.setToolTip(form.NAME.tooltip)
        self.options = TrainingOptions()
        self.start = QPushButton("Start training")
        self.start.setToolTip(
            "Trains in a separate process, which continues when napari is closed. It ends by "
            "itself and reports whether the model has improved."
        )
        self.start.setMinimumHeight(36)
        self.start.setStyleSheet("font-weight: bold;")
        self.message = wrapped_label("")
        self.hint = wrapped_label(form.NO_DATA)
        self.unfinished = UnfinishedRuns()
        self._arrange()
        self.start.clicked.connect(self.started)
        self.unfinished.resumed.connect(self.resumed)
        self.data.changed.connect(self._enable_start)
        self.refresh()

    def refresh(self, text: str = "") -> None:
        """List models, corrections and runs again, and display a message."""
        self.base.refresh()
        self.data.show_corrections()
        self.unfinished.refresh()
        self.message.setText(text)
        self.message.setVisible(bool(text))
        self._enable_start()

    def _enable_start(self) -> None:
        has_data = bool(self.data.selection)
        self.start.setEnabled(has_data)
        self.hint.setVisible(not has_data)

    def _arrange(self) -> None:
        more = QCollapsible("More options", expandedIcon="▾", collapsedIcon="▸")
        more.setDuration(0)
        more.addWidget(self.options)
        rows = QFormLayout()
        rows.addRow(form.BASE.label, self.base)
        rows.addRow(form.NAME.label, self.name)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.message)
        column.addWidget(wrapped_label(INTRO))
        column.addWidget(QLabel(form.DATA.label))
        column.addWidget(self.data)
        column.addLayout(rows)
        column.addWidget(more)
        column.addWidget(self.start)
        column.addWidget(self.hint)
        column.addWidget(self.unfinished)


class UnfinishedRuns(QWidget):
    """List of runs that were stopped or interrupted; hidden while there are none."""

    resumed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._list = QListWidget()
        self._list.setFixedHeight(self._list.fontMetrics().height() * 6)
        self._list.setWordWrap(True)
        self.resume = labeled_button(*BUTTONS["resume"])
        self.delete = labeled_button("Delete", "Delete the selected run and its checkpoints.")
        row = QHBoxLayout()
        row.addWidget(self.resume)
        row.addWidget(self.delete)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.addWidget(QLabel("Unfinished runs"))
        column.addWidget(self._list)
        column.addLayout(row)
        self.resume.clicked.connect(self._resume)
        self.delete.clicked.connect(self._delete)

    @property
    def runs(self) -> list[TrainingRun]:
        """The listed runs."""
        return [self._run_of(self._list.item(index)) for index in range(self._list.count())]

    def refresh(self) -> None:
        """List the runs again."""
        self._list.clear()
        for run, description in unfinished_runs():
            item = QListWidgetItem(description)
            item.setData(Qt.ItemDataRole.UserRole, run)
            item.setToolTip(f"Base model {run.request.base}, folder {run.folder}")
            self._list.addItem(item)
        self._list.setCurrentRow(0)
        self.setVisible(bool(self._list.count()))

    def _run_of(self, item: QListWidgetItem) -> TrainingRun:
        run: TrainingRun = item.data(Qt.ItemDataRole.UserRole)
        return run

    def _resume(self) -> None:
        item = self._list.currentItem()
        if item is not None:
            # After this click is handled: resuming clears this list.
            run = self._run_of(item)
            QTimer.singleShot(0, lambda: self.resumed.emit(run))

    def _delete(self) -> None:
        item = self._list.currentItem()
        if item is None:
            return
        run = self._run_of(item)
        question = f"Delete the training run of {run.request.name} and its checkpoints?"
        if QMessageBox.question(self, "Delete", question) == QMessageBox.StandardButton.Yes:
            run.remove()
            self.refresh()
