"""Controls for settings, built from the fields of `ColorizeSettings`."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.settings import SETTING_GROUPS, ColorizeSettings, setting_of

STYLE_SHEET = Path(__file__).with_name("box.css")
LABEL_WIDTH = "124px"
LOG_STEPS = 130  # steps of a logarithmic slider from its lowest value to 1
LOG_RATIO = 100  # a slider is logarithmic if highest / lowest value exceeds this


class SettingControl(widgets.HBox):
    """Labeled row with the widgets of one setting."""

    changed = Signal(object)  # value chosen by the user; None for "recommended" or "automatic"

    def __init__(self, item: Field[Any], *parts: widgets.Widget) -> None:
        setting = setting_of(item)
        self.help = setting.help
        row = labeled_row(setting.label, *parts)
        self.label: widgets.Label = row.children[0]
        self._parts = parts
        self._is_updating = False
        self._reason: str | None = None  # why it is disabled
        for widget in (self.label, *parts):
            widget.tooltip = self.help
        super().__init__(row.children, layout=row.layout)

    def disable(self, reason: str | None) -> None:
        """Disable the control and show the reason as its tooltip; None enables it."""
        if reason == self._reason:
            return
        self._reason = reason
        for part in self._parts:
            part.disabled = reason is not None
        for widget in (self.label, *self._parts):
            widget.tooltip = reason or self.help

    def set(self, value: Any, recommended: Any) -> None:
        """Display a value without a signal; `recommended` is displayed in place of None."""
        self._is_updating = True
        try:
            self._show(value, recommended)
        finally:
            self._is_updating = False

    def _show(self, value: Any, recommended: Any) -> None:
        raise NotImplementedError

    def _emit(self, value: Any) -> None:
        if not self._is_updating:
            self.changed.emit(value)


class BoolControl(SettingControl):
    """Checkbox of a boolean setting."""

    def __init__(self, item: Field[Any]) -> None:
        self.box = widgets.Checkbox(indent=False, layout=widgets.Layout(width="auto"))
        super().__init__(item, self.box)
        self.box.observe(lambda change: self._emit(change["new"]), "value")

    def _show(self, value: Any, recommended: Any) -> None:
        self.box.value = bool(value)


class ChoiceControl(SettingControl):
    """List of a setting with a few permitted words."""

    def __init__(self, item: Field[Any]) -> None:
        choices = setting_of(item).choices or ()
        self.list = widgets.Dropdown(options=choices, layout=flexible_layout())
        super().__init__(item, self.list)
        self.list.observe(lambda change: self._emit(change["new"]), "value")

    def _show(self, value: Any, recommended: Any) -> None:
        self.list.value = value


class NumberControl(SettingControl):
    """Slider of a number; a setting with a recommended value also gets a reset button."""

    def __init__(self, item: Field[Any]) -> None:
        self.slider = _slider(item)
        self.reset = widgets.Button(icon="undo", layout=widgets.Layout(width="34px"))
        self.reset.add_class("icon-only")
        parts = (self.slider, self.reset) if item.default is None else (self.slider,)
        super().__init__(item, *parts)
        self.reset.tooltip = "Reset to the value recommended by the model."
        self.slider.observe(self._on_slider, "value")
        self.reset.on_click(lambda _: self._on_reset())

    def _show(self, value: Any, recommended: Any) -> None:
        shown = recommended if value is None else value
        if shown is not None:
            self.slider.value = shown
        self.reset.disabled = value is None

    def _on_slider(self, change: Any) -> None:
        if not self._is_updating:
            self.reset.disabled = False
        self._emit(change["new"])

    def _on_reset(self) -> None:
        self.reset.disabled = True
        self._emit(None)


class LimitsControl(SettingControl):
    """List of rules for black and white, and the two numbers that are used.

    The numbers can be changed after "numbers" was chosen in the list.
    """

    NUMBERS = "numbers"

    def __init__(self, item: Field[Any]) -> None:
        rules = setting_of(item).choices or ()
        self.rule = widgets.Dropdown(
            options=[*rules, self.NUMBERS], layout=widgets.Layout(width="104px")
        )
        self.low = widgets.FloatText(0, layout=flexible_layout())
        self.high = widgets.FloatText(1, layout=flexible_layout())
        super().__init__(item, self.rule, self.low, self.high)
        for part in (self.rule, self.low, self.high):
            part.observe(self._on_change, "value")

    def _show(self, value: Any, recommended: Any) -> None:
        is_rule = value is None or isinstance(value, str)
        self.rule.value = (value or "auto") if is_rule else self.NUMBERS
        shown = recommended if is_rule else value
        if shown is not None and not isinstance(shown, str):
            self.low.value, self.high.value = shown
        self._enable_numbers()

    def _on_change(self, change: Any) -> None:
        self._enable_numbers()
        is_rule = self.rule.value != self.NUMBERS
        self._emit(self.rule.value if is_rule else (self.low.value, self.high.value))

    def _enable_numbers(self) -> None:
        self.low.disabled = self.high.disabled = self.rule.value != self.NUMBERS


class SettingControls(widgets.VBox):
    """Column of controls of these fields of `ColorizeSettings`."""

    changed = Signal(str, object)  # name and value of a setting that the user changed

    def __init__(self, names: Iterable[str]) -> None:
        items = {item.name: item for item in fields(ColorizeSettings)}
        self.controls: dict[str, SettingControl] = {
            name: control_for(items[name]) for name in names
        }
        for name, control in self.controls.items():
            control.changed.connect(lambda value, name=name: self.changed.emit(name, value))
        super().__init__(list(self.controls.values()))

    def show_settings(self, settings: ColorizeSettings, recommended: dict[str, Any]) -> None:
        """Display settings without a signal; `recommended` has the values in place of None."""
        for name, control in self.controls.items():
            control.set(getattr(settings, name), recommended.get(name))


class SettingForms:
    """One column of controls for each group of settings, made when it is needed first.

    Most groups are folded and never opened, and each control is several widgets.

    Attributes
    ----------
    controls : mapping of str to SettingControl
        Control of each setting.
    """

    changed = Signal(str, object)  # name and value of a setting that the user changed

    def __init__(self) -> None:
        self._groups: dict[str, SettingControls] = {}
        self.controls: Mapping[str, SettingControl] = _LazyControls(self)
        self._shown: tuple[ColorizeSettings, dict[str, Any]] | None = None
        self._reasons: Mapping[str, str] = {}

    def group(self, title: str) -> SettingControls:
        """Column of a group of settings."""
        if title not in self._groups:
            group = self._groups[title] = SettingControls(SETTING_GROUPS[title])
            # psygnal calls a bare `emit` once to count its parameters: listeners would hear it.
            group.changed.connect(lambda name, value: self.changed.emit(name, value))
            if self._shown is not None:
                group.show_settings(*self._shown)
            self._disable(group)
        return self._groups[title]

    def show_settings(self, settings: ColorizeSettings, recommended: dict[str, Any]) -> None:
        """Display settings without a signal; `recommended` has the values in place of None."""
        self._shown = settings, recommended
        for group in self._groups.values():
            group.show_settings(settings, recommended)

    def disable(self, reasons: Mapping[str, str]) -> None:
        """Disable these settings, each with a reason, and enable all others."""
        self._reasons = reasons
        for group in self._groups.values():
            self._disable(group)

    def _disable(self, group: SettingControls) -> None:
        for name, control in group.controls.items():
            control.disable(self._reasons.get(name))


class _LazyControls(Mapping[str, SettingControl]):
    """Controls by the name of their setting; access makes the group of the setting."""

    def __init__(self, forms: SettingForms) -> None:
        self._forms = forms
        self._titles = {name: title for title, names in SETTING_GROUPS.items() for name in names}

    def __getitem__(self, name: str) -> SettingControl:
        return self._forms.group(self._titles[name]).controls[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._titles)

    def __len__(self) -> int:
        return len(self._titles)


class FoldedGroup(widgets.VBox):
    """Title, a button that the keyboard reaches, and content that is made on first opening."""

    def __init__(self, title: str, make: Callable[[], widgets.Widget]) -> None:
        self.button = widgets.ToggleButton(
            description=title, icon="caret-right", layout=widgets.Layout(width="100%")
        )
        self.button.add_class("fold")
        self._make: Callable[[], widgets.Widget] | None = make
        super().__init__([self.button])
        self.button.observe(lambda change: self._set_open(change["new"]), "value")

    def _set_open(self, on: bool) -> None:
        if self._make is not None:
            self.children, self._make = [self.button, self._make()], None
        self.button.icon = "caret-down" if on else "caret-right"
        self.children[1].layout.display = "" if on else "none"


def control_for(item: Field[Any]) -> SettingControl:
    """The control for a field of `ColorizeSettings`, chosen by its type and range."""
    setting = setting_of(item)
    if item.name == "contrast_limits":
        return LimitsControl(item)
    if setting.choices is not None:
        return ChoiceControl(item)
    return BoolControl(item) if setting.low is None else NumberControl(item)


def labeled_row(name: str, *parts: widgets.Widget) -> widgets.HBox:
    """Row with a label; the labels of all rows are equally wide."""
    label = widgets.Label(name, layout=widgets.Layout(width=LABEL_WIDTH, flex="0 0 auto"))
    label.add_class("setting-label")
    return widgets.HBox([label, *parts], layout=widgets.Layout(align_items="center"))


def flexible_layout() -> widgets.Layout:
    """Layout of a widget that takes the remaining width of its row."""
    return widgets.Layout(flex="1 1 0", width="auto", min_width="0")


def show_message(label: widgets.HTML, sentence: str, kind: str = "message") -> None:
    """Display an escaped sentence in `label`, or hide the label if it is empty.

    `kind` is the CSS class: "message" or "error".
    """
    label.value = f'<span class="{kind}">{html.escape(sentence)}</span>' if sentence else ""
    label.layout.display = "" if sentence else "none"


def style_sheet(hidden_class: str = "") -> widgets.HTML:
    """Invisible widget that brings the style sheet of the boxes, and hides elements of a class."""
    rules = STYLE_SHEET.read_text()
    if hidden_class:
        rules += f".{hidden_class} {{ display: none; }}"
    return widgets.HTML(f"<style>{rules}</style>", layout=widgets.Layout(display="none"))


def _slider(item: Field[Any]) -> widgets.Widget:
    setting = setting_of(item)
    low, high, step = setting.low, setting.high, setting.step
    assert low is not None
    assert high is not None
    assert step is not None
    if isinstance(low, int):
        return widgets.IntSlider(low, low, high, layout=flexible_layout())
    if low > 0 and high / low > LOG_RATIO:
        exponents = math.log10(low), math.log10(high)
        return widgets.FloatLogSlider(
            1,
            base=10,
            min=exponents[0],
            max=exponents[1],
            step=abs(exponents[0]) / LOG_STEPS,  # so that the slider can be set to exactly 1
            layout=flexible_layout(),
        )
    digits = max(0, math.ceil(-math.log10(step)))
    return widgets.FloatSlider(
        low, min=low, max=high, step=step, readout_format=f".{digits}f", layout=flexible_layout()
    )
