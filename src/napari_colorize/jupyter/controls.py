"""Controls for settings, built from `ColorizeSettings`: a knob that is added there appears here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from psygnal import Signal

from napari_colorize.session.words import setting_in_words
from napari_colorize.settings import ColorizeSettings, setting_of

STYLE = Path(__file__).with_name("box.css")
LABEL = "96px"
FINE = 130  # steps of such a slider from its lowest value to 1
STEPS = ((1, 0.01, 2), (10, 0.05, 2), (math.inf, 1.0, 0))  # of others up to a width, and digits
WIDE_RANGE = 100  # a factor between lowest and highest above which a slider is logarithmic


class SettingControl(widgets.HBox):
    """A labelled row for one setting; `changed` brings what a person chose."""

    changed = Signal(object)

    def __init__(self, item: Field[Any], *parts: widgets.Widget) -> None:
        self.help = setting_of(item).help
        made = row(setting_in_words(item.name), *parts)
        self.label: widgets.Label = made.children[0]
        self._parts = parts
        self._is_showing = False
        self._refusal: str | None = None
        for widget in (self.label, *parts):
            widget.tooltip = self.help
        super().__init__(made.children, layout=made.layout)

    def explain(self, refusal: str | None) -> None:
        """Switch it off and say why, or on again with None."""
        if refusal == self._refusal:
            return
        self._refusal = refusal
        for part in self._parts:
            part.disabled = refusal is not None
        for widget in (self.label, *self._parts):
            widget.tooltip = refusal or self.help

    def set(self, value: Any, recommended: Any) -> None:
        """Show a value, silently; `recommended` stands for None."""
        self._is_showing = True
        try:
            self._show(value, recommended)
        finally:
            self._is_showing = False

    def _show(self, value: Any, recommended: Any) -> None:
        raise NotImplementedError

    def _tell(self, value: Any) -> None:
        if not self._is_showing:
            self.changed.emit(value)


class Switch(SettingControl):
    """A setting that is on or off."""

    def __init__(self, item: Field[Any]) -> None:
        self.box = widgets.Checkbox(indent=False, layout=widgets.Layout(width="auto"))
        super().__init__(item, self.box)
        self.box.observe(lambda change: self._tell(change["new"]), "value")

    def _show(self, value: Any, recommended: Any) -> None:
        self.box.value = bool(value)


class Choice(SettingControl):
    """A setting with a few possible values."""

    def __init__(self, item: Field[Any]) -> None:
        choices = setting_of(item).choices or ()
        self.list = widgets.Dropdown(options=choices, layout=growing())
        super().__init__(item, self.list)
        self.list.observe(lambda change: self._tell(change["new"]), "value")

    def _show(self, value: Any, recommended: Any) -> None:
        self.list.value = value


class Number(SettingControl):
    """A number on a slider; one that may be left to the model has a button that does so."""

    def __init__(self, item: Field[Any]) -> None:
        self.slider = _slider(item)
        self.back = widgets.Button(icon="undo", layout=widgets.Layout(width="34px"))
        self.back.add_class("icon-only")
        parts = (self.slider, self.back) if item.default is None else (self.slider,)
        super().__init__(item, *parts)
        self.back.tooltip = "Back to what the model recommends."
        self.slider.observe(self._turn, "value")
        self.back.on_click(lambda _: self._give_back())

    def _show(self, value: Any, recommended: Any) -> None:
        shown = recommended if value is None else value
        if shown is not None:
            self.slider.value = shown
        self.back.disabled = value is None

    def _turn(self, change: Any) -> None:
        if not self._is_showing:
            self.back.disabled = False
        self._tell(change["new"])

    def _give_back(self) -> None:
        self.back.disabled = True
        self._tell(None)


class LimitsControl(SettingControl):
    """Two numbers, black and white; automatic as long as nobody says otherwise."""

    def __init__(self, item: Field[Any]) -> None:
        self.automatic = widgets.Checkbox(
            description="automatic", indent=False, layout=widgets.Layout(width="92px")
        )
        self.low = widgets.FloatText(0, layout=growing())
        self.high = widgets.FloatText(1, layout=growing())
        super().__init__(item, self.automatic, self.low, self.high)
        for part in (self.automatic, self.low, self.high):
            part.observe(self._turn, "value")

    def _show(self, value: Any, recommended: Any) -> None:
        shown = recommended if value is None else value
        self.automatic.value = value is None
        if shown is not None:
            self.low.value, self.high.value = shown
        self._switch()

    def _turn(self, change: Any) -> None:
        self._switch()
        self._tell(None if self.automatic.value else (self.low.value, self.high.value))

    def _switch(self) -> None:
        self.low.disabled = self.high.disabled = self.automatic.value


class SettingControls(widgets.VBox):
    """A form of settings; `changed` brings the name and the value of the one that was turned.

    Parameters
    ----------
    names : iterable of str
        Which fields of `ColorizeSettings`, in this order.
    **labels : str
        What some of them are called here, where the form itself says the rest.
    """

    changed = Signal(str, object)

    def __init__(self, names: Iterable[str], **labels: str) -> None:
        known = {item.name: item for item in fields(ColorizeSettings)}
        self.controls: dict[str, SettingControl] = {
            name: control_for(known[name]) for name in names
        }
        for name, control in self.controls.items():
            control.label.value = labels.get(name, control.label.value)
            control.changed.connect(lambda value, name=name: self.changed.emit(name, value))
        super().__init__(list(self.controls.values()))

    def show_settings(self, settings: ColorizeSettings, recommended: dict[str, Any]) -> None:
        """Show settings, silently; `recommended` has values for those left to the model."""
        for name, control in self.controls.items():
            control.set(getattr(settings, name), recommended.get(name))


def control_for(item: Field[Any]) -> SettingControl:
    """The control that fits a field of `ColorizeSettings`."""
    knob = setting_of(item)
    if knob.choices is not None:
        return Choice(item)
    if knob.low is not None:
        return Number(item)
    return Switch(item) if isinstance(item.default, bool) else LimitsControl(item)


def row(name: str, *parts: widgets.Widget) -> widgets.HBox:
    """A labelled row, in line with all others."""
    label = widgets.Label(name, layout=widgets.Layout(width=LABEL, flex="0 0 auto"))
    return widgets.HBox([label, *parts], layout=widgets.Layout(align_items="center"))


def _slider(item: Field[Any]) -> widgets.Widget:
    knob = setting_of(item)
    low, high = knob.low, knob.high
    assert low is not None
    assert high is not None
    if isinstance(low, int):
        return widgets.IntSlider(low, low, high, layout=growing())
    if low > 0 and high / low > WIDE_RANGE:
        least, most = math.log10(low), math.log10(high)
        step = abs(least) / FINE  # 1 is on one
        return widgets.FloatLogSlider(1, base=10, min=least, max=most, step=step, layout=growing())
    step, digits = next((step, digits) for width, step, digits in STEPS if high - low <= width)
    return widgets.FloatSlider(
        low, min=low, max=high, step=step, readout_format=f".{digits}f", layout=growing()
    )


def growing() -> widgets.Layout:
    """Of a part that takes the room that is left in its row."""
    return widgets.Layout(flex="1 1 0", width="auto", min_width="0")


def style() -> widgets.HTML:
    """Nothing to see: what a box brings so that its parts look as they should."""
    return widgets.HTML(
        f"<style>{STYLE.read_text()}</style>", layout=widgets.Layout(display="none")
    )
