"""Widgets for the options of a training run; labels and help texts are those of `form`."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QSpinBox, QWidget

from napari_colorize.finetune import form


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


def _choice_list(field: form.FormField) -> QComboBox:
    box = QComboBox()
    for choice in field.choices:
        box.addItem(choice.label, choice.value)
    box.setToolTip(field.tooltip)
    return box
