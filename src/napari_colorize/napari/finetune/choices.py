"""What a training begins with and how it goes about it: four choices with good defaults."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QSpinBox, QWidget

from napari_colorize.zoo import CATALOGUE, is_local, user_models

MOST_STEPS = 100_000
Option = tuple[str, str | None, str]

AUGMENT: tuple[Option, ...] = (
    ("automatic", None, "Pictures are varied where they are few."),
    ("none", "none", "Pictures are only cropped, shrunk and mirrored."),
    ("photographs", "photographs", "Turned a little, brighter and darker, other contrast."),
    ("stains", "stains", "For histology: turned and mirrored at will, stains stronger and weaker."),
)
DEGRADE: tuple[Option, ...] = (
    ("clean as they are", None, "What you colorize is as clean as what is learned from."),
    ("tone and grain", "tone-and-grain", "Gray gets other tones and film grain."),
    ("old photographs", "old-photograph", "Gray fades, blurs and gets grain, as old prints have."),
)


class BaseChooser(QComboBox):
    """The models that a training may begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.setToolTip(
            "The model that is made better. The embedded one is small and learns quickly; to go on "
            "from a model that you have trained, choose it here."
        )
        self.relist()

    def relist(self) -> None:
        """Look again which models there are; what was chosen stays so."""
        before = self.base
        self.clear()
        for name, checkpoint in CATALOGUE.items():
            cost = "" if is_local(checkpoint) else f"  ({checkpoint.size / 1e6:.0f} MB to fetch)"
            self.addItem(f"{name}{cost}", name)
        for path in user_models():
            self.addItem(f"{path.stem}  (yours)", str(path))
        self.choose(before)

    def choose(self, base: str) -> None:
        """Show a model as chosen, if it is listed."""
        self.setCurrentIndex(max(0, self.findData(base)))

    @property
    def base(self) -> str:
        """Name or path."""
        return str(self.currentData() or "embedded")


class TrainingOptions(QWidget):
    """The choices that need not be made."""

    def __init__(self) -> None:
        super().__init__()
        self._augment = _options(AUGMENT, "How pictures are varied while they are learned from.")
        self._degrade = _options(DEGRADE, "What happens to the gray that the model learns to read.")
        self.steps = QSpinBox()
        self.steps.setRange(0, MOST_STEPS)
        self.steps.setSingleStep(50)
        self.steps.setSpecialValueText("automatic")
        self.steps.setToolTip(
            "At most so many steps. Automatic: 300 to 2000, by the number of pictures. It always "
            "ends earlier when the pictures held back get no better."
        )
        self.together = QCheckBox("Keep each folder together")
        self.together.setToolTip(
            "Tick it where a folder is one slide, patient, film or bag: then no folder is both "
            "learned from and measured on, and the figures are honest. Needs three folders or more."
        )
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Vary pictures", self._augment)
        form.addRow("Gray to read", self._degrade)
        form.addRow("Steps", self.steps)
        form.addRow(self.together)

    @property
    def chosen(self) -> dict[str, Any]:
        """As `Asked` takes them; None is automatic."""
        return {
            "augment": self._augment.currentData(),
            "degrade": self._degrade.currentData(),
            "steps": self.steps.value() or None,
            "group": "folder" if self.together.isChecked() else None,
        }


def _options(options: tuple[Option, ...], tip: str) -> QComboBox:
    box = QComboBox()
    for text, value, _ in options:
        box.addItem(text, value)
    lines = "\n".join(f"{text}: {more}" for text, _, more in options)
    box.setToolTip(f"{tip}\n{lines}")
    return box
