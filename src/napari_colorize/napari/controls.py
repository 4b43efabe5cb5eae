"""Controls for settings, built from `ColorizeSettings`: a knob that is added there appears here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QToolButton,
    QWidget,
)
from superqt import QLabeledDoubleSlider, QLabeledSlider
from superqt.utils import signals_blocked

from napari_colorize.session.words import setting_in_words
from napari_colorize.settings import ColorizeSettings, setting_of

OF_THE_LAYER = ("contrast_limits", "gamma")  # set in napari's own layer controls
WIDE = 50  # a range of which nobody needs fractions
LABEL_WIDTH = 96  # so that the forms of several `Knobs` stand in one line


class Switch(QCheckBox):
    """A setting that is on or off."""

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.toggled.connect(lambda on: self.changed.emit(bool(on)))

    def value(self) -> bool:
        """Whether it is on."""
        return bool(self.isChecked())

    def set(self, value: Any, recommended: Any) -> None:
        """Show a value, silently."""
        with signals_blocked(self):
            self.setChecked(bool(value))


class Choice(QComboBox):
    """A setting with a few possible values."""

    changed = Signal(object)

    def __init__(self, choices: Iterable[str]) -> None:
        super().__init__()
        self.addItems(list(choices))
        self.currentTextChanged.connect(lambda text: self.changed.emit(str(text)))

    def value(self) -> str:
        """The one that is chosen."""
        return str(self.currentText())

    def set(self, value: Any, recommended: Any) -> None:
        """Show a value, silently."""
        with signals_blocked(self):
            self.setCurrentText(str(value))


class Number(QWidget):
    """A number on a slider, and a button that gives it back its default.

    Parameters
    ----------
    low, high : float
        Its range; of whole numbers if `low` is one.
    default : float, optional
        None leaves it to the model.
    """

    changed = Signal(object)

    def __init__(self, low: float, high: float, default: float | None = None) -> None:
        super().__init__()
        self._default = default
        whole = isinstance(low, int)
        self._slider = (QLabeledSlider if whole else QLabeledDoubleSlider)(
            Qt.Orientation.Horizontal
        )
        self._slider.setRange(low, high)
        self._slider.setSingleStep(1 if whole or high > WIDE else 0.05)
        if not whole and high > WIDE:
            self._slider.setDecimals(0)
        self._back = QToolButton()
        self._back.setText("↺")
        back_to = "what the model recommends" if default is None else f"{default:g}"
        self._back.setToolTip(f"Back to {back_to}.")
        self._back.setAutoRaise(True)
        self._value: float | None = None
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._back)
        self._slider.valueChanged.connect(self._turn)
        self._back.clicked.connect(self._give_back)

    @property
    def slider(self) -> Any:
        """What is dragged."""
        return self._slider

    def value(self) -> float | None:
        """As chosen; None where it is left to the model."""
        return self._value

    def set(self, value: Any, recommended: Any) -> None:
        """Show a value, silently; `recommended` stands for None."""
        self._value = value
        shown = recommended if value is None else value
        with signals_blocked(self._slider):
            if shown is not None:
                self._slider.setValue(shown)
        self._back.setEnabled(value != self._default)

    def _turn(self, value: float) -> None:
        self._value = value
        self._back.setEnabled(value != self._default)
        self.changed.emit(value)

    def _give_back(self) -> None:
        self.set(self._default, self._default)
        self.changed.emit(self._default)


class SettingControls(QWidget):
    """A form of settings; `changed` brings the name and the value of the one that was turned.

    Parameters
    ----------
    names : iterable of str
        Which fields of `ColorizeSettings`, in this order; by default all that are not the
        layer's own.
    words : mapping of str to str, optional
        Labels that are shorter, where what stands around says the rest.
    """

    changed = Signal(str, object)

    def __init__(
        self, names: Iterable[str] | None = None, words: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        known = {item.name: item for item in fields(ColorizeSettings)}
        if names is None:
            names = [name for name in known if name not in OF_THE_LAYER]
        self.controls: dict[str, Any] = {}
        self._labels: dict[str, QLabel] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name in names:
            control = self.controls[name] = control_for(known[name])
            control.setToolTip(f"<p>{setting_of(known[name]).help}</p>")  # HTML: Qt wraps it
            control.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            label = QLabel((words or {}).get(name) or setting_in_words(name))
            label.setMinimumWidth(LABEL_WIDTH)
            label.setToolTip(control.toolTip())
            layout.addRow(label, control)
            self._labels[name] = label
            control.changed.connect(lambda value, name=name: self.changed.emit(name, value))

    def show_settings(self, settings: ColorizeSettings, recommended: dict[str, Any]) -> None:
        """Show settings, silently; `recommended` has values for those left to the model."""
        for name, control in self.controls.items():
            control.set(getattr(settings, name), recommended.get(name))

    def show_rows(self, names: Iterable[str], visible: bool) -> None:
        """Show some of the settings, or hide them."""
        for name in names:
            self.controls[name].setVisible(visible)
            self._labels[name].setVisible(visible)

    def refuse(self, name: str, reason: str | None) -> None:
        """Switch a control off and say why, or on again with None."""
        control = self.controls[name]
        control.setEnabled(reason is None)
        item = next(item for item in fields(ColorizeSettings) if item.name == name)
        control.setToolTip(f"<p>{reason or setting_of(item).help}</p>")


def control_for(item: Field[Any]) -> Any:
    """The control that fits a field of `ColorizeSettings`."""
    knob = setting_of(item)
    if knob.choices is not None:
        return Choice(knob.choices)
    if knob.low is not None and knob.high is not None:
        default: Any = item.default
        return Number(knob.low, knob.high, default)
    return Switch()
