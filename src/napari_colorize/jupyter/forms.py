"""The controls of all settings, in groups: each setting stands in one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psygnal import Signal

from napari_colorize.jupyter.controls import SettingControl, SettingControls
from napari_colorize.settings import REFINING, ColorizeSettings

FIRST = ("render_factor", "saturation", "self_attention")
REFINED = ("edges", "shadows", "hue_damping", "hue_from", "hue_to")
PALETTE = ("reference_strength", "reference_method")
BLEND = ("blend", "blend_by")
STEADY = ("temporal_smoothing",)
SEEN = {*FIRST, *REFINED, *PALETTE, *BLEND, *STEADY}
FINISHED = "A fidelity makes finished pictures: leave it at exact."


class Forms:
    """The groups; `changed` brings the name and the value of a knob that was turned.

    Attributes
    ----------
    first, refined, palette, blend, steady, rest : Knobs
        To be shown where they belong.
    controls : dict
        The control of each setting.
    """

    changed = Signal(str, object)

    def __init__(self) -> None:
        self.first, self.refined, self.steady = (
            SettingControls(FIRST),
            SettingControls(REFINED),
            SettingControls(STEADY),
        )
        self.palette = SettingControls(
            PALETTE, reference_strength="strength", reference_method="method"
        )
        self.blend = SettingControls(BLEND, blend="share", blend_by="by")
        self.rest = SettingControls(
            name for name in ColorizeSettings.__dataclass_fields__ if name not in SEEN
        )
        self._all = self.first, self.refined, self.palette, self.blend, self.steady, self.rest
        self.controls: dict[str, SettingControl] = {}
        for knobs in self._all:
            knobs.changed.connect(self.changed.emit)
            self.controls.update(knobs.controls)

    def show_settings(self, settings: ColorizeSettings, recommended: dict[str, Any]) -> None:
        """Show settings, silently; `recommended` has values for those left to the model."""
        for knobs in self._all:
            knobs.show_settings(settings, recommended)

    def switch_off(self, reasons: Mapping[str, str]) -> None:
        """Switch these off, each with a sentence, and all others on."""
        for name, control in self.controls.items():
            control.explain(reasons.get(name))


def without_effect(
    settings: ColorizeSettings, *, has_reference: bool, has_second: bool
) -> dict[str, str]:
    """Settings that change nothing as things are, each with a sentence that says why."""
    if settings.fidelity != "exact":
        return dict.fromkeys(REFINING, FINISHED)
    idle = {}
    if not has_reference:
        idle.update(dict.fromkeys(PALETTE, "Choose a reference picture first."))
    if not has_second:
        idle.update(dict.fromkeys(BLEND, "Choose a second model first."))
    return idle
