"""First page of the Fine-tune panel: training data, options, and runs that can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_colorize.finetune import form
from napari_colorize.finetune.monitor import BUTTONS, unfinished_runs
from napari_colorize.finetune.status import INTRO
from napari_colorize.napari.finetune.data_list import DataList
from napari_colorize.napari.panels import Section, add_items, button, row, tooltip, wrapped_label

if TYPE_CHECKING:
    from napari import Viewer

    from napari_colorize.finetune.training_run import TrainingRun


class SetupPage(QWidget):
    """Form for a new run, with a start button."""

    started = Signal()  # the start button was pressed
    resumed = Signal(object)  # TrainingRun: an unfinished run is to be resumed

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.base = BaseChooser()
        self.data = DataList(viewer)
        self.name = QLineEdit(form.DEFAULT_NAME)
        self.name.setToolTip(form.NAME.tooltip)
        self.options = TrainingOptions()
        self.start = button(
            "Start training",
            "Trains in a separate process, which continues when napari is closed. It ends by "
            "itself and reports whether the model has improved.",
        )
        self.start.setMinimumHeight(36)
        self.start.setStyleSheet("font-weight: bold;")
        self.message = wrapped_label()
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
        more = Section("More options", self.options)
        rows = QFormLayout()
        rows.addRow(form.BASE.label, self.base)
        rows.addRow(form.NAME.label, self.name)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        add_items(
            layout,
            (
                self.message,
                wrapped_label(INTRO),
                QLabel(form.DATA.label),
                self.data,
                rows,
                more,
                self.start,
                self.hint,
                self.unfinished,
            ),
        )


class BaseChooser(QComboBox):
    """List of the models that can be fine-tuned."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.setToolTip(form.BASE.tooltip)
        self.refresh()

    def refresh(self) -> None:
        """List the models again and keep the selection."""
        before = self.base
        self.clear()
        for choice in form.base_models():
            self.addItem(choice.label, choice.value)
        self.select(before)

    def select(self, base: str) -> None:
        """Select a model if it is listed, otherwise the first one."""
        self.setCurrentIndex(max(0, self.findData(base)))

    @property
    def base(self) -> str:
        """Name or path of the selected model."""
        return str(self.currentData() or "embedded")


class TrainingOptions(QWidget):
    """Optional choices; the defaults suit most data."""

    def __init__(self) -> None:
        super().__init__()
        self._augment = _choice_list(form.AUGMENTATION)
        self._degrade = _choice_list(form.DEGRADATION)
        self.steps = QSpinBox()
        self.steps.setRange(0, form.MAX_STEPS)
        self.steps.setSingleStep(50)
        self.steps.setSpecialValueText("automatic")
        self.steps.setToolTip(form.STEPS.tooltip)
        self.group = QCheckBox(form.GROUP.label)
        self.group.setToolTip(form.GROUP.tooltip)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addRow(form.AUGMENTATION.label, self._augment)
        layout.addRow(form.DEGRADATION.label, self._degrade)
        layout.addRow(form.STEPS.label, self.steps)
        layout.addRow(self.group)

    @property
    def values(self) -> dict[str, Any]:
        """Keyword arguments for `TrainingRequest`; None is automatic."""
        return {
            "augment": self._augment.currentData(),
            "degrade": self._degrade.currentData(),
            "steps": self.steps.value() or None,
            "group": "folder" if self.group.isChecked() else None,
        }


class UnfinishedRuns(QWidget):
    """List of runs that were stopped or interrupted; hidden while there are none."""

    resumed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._list = QListWidget()
        self._list.setFixedHeight(self._list.fontMetrics().height() * 6)
        self._list.setWordWrap(True)
        self._list.setToolTip(tooltip("Training runs that were stopped or interrupted."))
        self.resume = button(*BUTTONS["resume"], self._resume)
        self.delete = button("Delete", "Delete the selected run and its checkpoints.", self._delete)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 8, 0, 0)
        add_items(layout, (QLabel("Unfinished runs"), self._list, row(self.resume, self.delete)))

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


def _choice_list(field: form.FormField) -> QComboBox:
    box = QComboBox()
    for choice in field.choices:
        box.addItem(choice.label, choice.value)
    box.setToolTip(field.tooltip)
    return box
