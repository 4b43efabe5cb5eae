"""Controls for settings, built by magicgui from the annotations of `ColorizeSettings`.

A setting that is added to `ColorizeSettings` gets a control without any change in this module.
Importing this module registers `SettingControls` as the widget of `ColorizeSettings` parameters;
`from napari_colorize.napari import ColorizeSettings` does so too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from magicgui import register_type
from magicgui.types import Undefined
from magicgui.widgets import PushButton, create_widget
from magicgui.widgets.bases import ValuedContainerWidget
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QLineEdit
from superqt import QLabeledDoubleSlider, QLabeledSlider
from superqt.utils import signals_blocked

from napari_colorize.napari.panels import LABEL_WIDTH
from napari_colorize.settings import ColorizeSettings, setting_of

__all__ = ["ColorizeSettings", "NumberControl", "SettingControls", "control_for"]

LAYER_SETTINGS = ("contrast_limits", "gamma")  # set in napari's own layer controls
HORIZONTAL = Qt.Orientation.Horizontal
RESET_WIDTH = 28  # pixels
UNKNOWN = "auto"  # displayed for a value that the model recommends, before the model is known
DECIMALS = 2  # of settings with a step below 1


class NumberControl(ValuedContainerWidget):
    """Slider with a field for exact numbers and a reset button.

    Parameters
    ----------
    low, high : float
        Range, both ends included; integers for an integer setting.
    step : float
        Step of the arrow keys.
    value : float or None
        Initial value.
    default : float, optional
        Value of the reset button. Default: None, the value recommended by the model.
    **kwargs
        Keyword arguments of magicgui's widgets, such as `name` and `label`.
    """

    def __init__(
        self,
        low: float,
        high: float,
        step: float = 1,
        *,
        value: Any = Undefined,
        default: float | None = None,
        **kwargs: Any,
    ) -> None:
        is_integer = isinstance(low, int)
        self._default = default
        # superqt's labeled slider instead of magicgui's own: napari's style leaves no space for
        # the number in the latter.
        self.slider = (QLabeledSlider if is_integer else QLabeledDoubleSlider)(HORIZONTAL)
        self.slider.setRange(low, high)
        self.slider.setSingleStep(step)
        self._decimals = DECIMALS if step < 1 else 0
        if not is_integer:
            self.slider.setDecimals(self._decimals)
        self._field = self.slider.findChild(QLineEdit)
        self._field.setPlaceholderText(UNKNOWN)
        target = "the value recommended by the model" if default is None else f"{default:g}"
        self.reset = PushButton(text="↺", name="reset", tooltip=f"Reset to {target}.")
        self.reset.max_width = RESET_WIDTH
        self._value: float | None = None
        super().__init__(widgets=[self.reset], layout="horizontal", labels=False, **kwargs)
        self.margins = (0, 0, 0, 0)
        self.native.layout().insertWidget(0, self.slider, 1)
        self.slider.valueChanged.connect(self._on_slider_changed)
        self.reset.changed.connect(self._on_reset)
        self.display(default if value is Undefined else value)

    def get_value(self) -> float | None:
        """The chosen value; None stands for the recommended one."""
        return self._value

    def set_value(self, value: Any) -> None:
        """Choose a value and emit `changed` if it differs."""
        if value != self._value:
            self.display(value)
            self.changed.emit(value)

    def display(self, value: float | None, recommended: float | None = None) -> None:
        """Show a value without emitting `changed`.

        If it is None, the slider is at the recommended value; if that is unknown, the field shows
        "auto".
        """
        self._value = value
        position = recommended if value is None else value
        with signals_blocked(self.slider):
            self.slider.setValue(self.slider.minimum() if position is None else position)
        # After the slider, which writes its number into the field when it moves.
        text = "" if position is None else f"{position:.{self._decimals}f}"
        self._field.setText(text)
        self.reset.enabled = value != self._default

    def _on_slider_changed(self, position: float) -> None:
        # A drag gives arbitrary floats; the chosen value is the number that is displayed.
        self._value = round(position, DECIMALS)
        self.reset.enabled = self._value != self._default
        self.changed.emit(self._value)

    def _on_reset(self) -> None:
        self.set_value(self._default)


class SettingControls(ValuedContainerWidget):
    """Form of settings; as a magicgui widget its value is a `ColorizeSettings`.

    Parameters
    ----------
    value : ColorizeSettings, optional
        Initial settings.
    names : iterable of str, optional
        Fields of `ColorizeSettings` in the order of display. Default: all except those that
        napari's layer controls set.
    short_labels : mapping of str to str, optional
        Labels to use instead of those of the settings, by field.
    **kwargs
        Keyword arguments of magicgui's widgets, such as `name` and `label`.
    """

    setting_changed = Signal(str, object)  # field and value of a setting that the user changed

    def __init__(
        self,
        value: Any = Undefined,
        *,
        names: Iterable[str] | None = None,
        short_labels: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        if names is None:
            fields = ColorizeSettings.__dataclass_fields__
            names = [name for name in fields if name not in LAYER_SETTINGS]
        labels = short_labels or {}
        self._base = ColorizeSettings()
        self.controls: dict[str, Any] = {
            name: control_for(name, label=labels.get(name)) for name in names
        }
        super().__init__(widgets=list(self.controls.values()), **kwargs)
        self.margins = (0, 0, 0, 0)
        for label in self.native.findChildren(QLabel):
            # An explicit minimum replaces that of the text, so that long labels would be cut off.
            if label.sizeHint().width() < LABEL_WIDTH:
                label.setMinimumWidth(LABEL_WIDTH)
        for name, control in self.controls.items():
            control.changed.connect(lambda changed, name=name: self._on_changed(name, changed))
        if value is not Undefined:
            self.set_value(value)

    def get_value(self) -> ColorizeSettings:
        """The settings as displayed."""
        chosen = {name: control.value for name, control in self.controls.items()}
        return ColorizeSettings(**{**vars(self._base), **chosen})

    def set_value(self, value: ColorizeSettings) -> None:
        """Display settings and emit `changed` if they differ."""
        if value != self.get_value():
            self.show_settings(value, {})
            self.changed.emit(value)

    def show_settings(self, settings: ColorizeSettings, recommended: Mapping[str, Any]) -> None:
        """Display settings without a signal; `recommended` has the values in place of None."""
        self._base = settings  # keeps the settings that have no control here
        for name, control in self.controls.items():
            value = getattr(settings, name)
            if isinstance(control, NumberControl):
                control.display(value, recommended.get(name))
            else:
                with control.changed.blocked():
                    control.value = value

    def show_rows(self, names: Iterable[str], visible: bool) -> None:
        """Show or hide the rows of some settings."""
        for name in names:
            self.controls[name].visible = visible

    def disable(self, name: str, reason: str | None) -> None:
        """Disable a control, with the reason as its tooltip; None enables it."""
        control = self.controls[name]
        tooltip = _wrapped(reason or setting_of(name).help)
        if control.tooltip != tooltip:  # called after each result, mostly without a change
            control.enabled, control.tooltip = reason is None, tooltip

    def _on_changed(self, name: str, value: Any) -> None:
        self.setting_changed.emit(name, value)
        self.changed.emit(self.get_value())


def control_for(name: str, label: str | None = None) -> Any:
    """The magicgui widget for a field of `ColorizeSettings`, chosen by its annotation and range."""
    described = setting_of(name)
    default: Any = ColorizeSettings.__dataclass_fields__[name].default
    common = {
        "name": name,
        "label": label or described.label,
        "tooltip": _wrapped(described.help),
    }
    if described.low is not None and described.high is not None:
        step = described.step or 1
        return NumberControl(described.low, described.high, step, default=default, **common)
    annotation = get_type_hints(ColorizeSettings)[name]
    tooltip = common.pop("tooltip")
    return create_widget(
        value=default, annotation=annotation, options={"tooltip": tooltip}, **common
    )


def _wrapped(text: str) -> str:
    """HTML of a tooltip: Qt breaks the lines of HTML only."""
    return f"<p>{text}</p>"


register_type(ColorizeSettings, widget_type=SettingControls)
