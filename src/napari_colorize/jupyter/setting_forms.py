"""The controls of all settings, in the groups of `SETTING_GROUPS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psygnal import Signal

from napari_colorize.jupyter.controls import SettingControl, SettingControls
from napari_colorize.settings import REFINING, SETTING_GROUPS, ColorizeSettings

FIDELITY_REASON = "This setting has no effect unless fidelity is exact."


class SettingForms:
    """One column of controls for each group of settings.

    Attributes
    ----------
    changed : Signal(str, object)
        Name and value of a setting that the user changed.
    groups : dict of str to SettingControls
        Columns by the group's title; placed by the box.
    controls : dict of str to SettingControl
        Control of each setting.
    """

    changed = Signal(str, object)

    def __init__(self) -> None:
        self.groups = {title: SettingControls(names) for title, names in SETTING_GROUPS.items()}
        self.controls: dict[str, SettingControl] = {}
        for group in self.groups.values():
            group.changed.connect(self.changed.emit)
            self.controls.update(group.controls)

    def show_settings(self, settings: ColorizeSettings, recommended: dict[str, Any]) -> None:
        """Display settings without a signal; `recommended` has the values in place of None."""
        for group in self.groups.values():
            group.show_settings(settings, recommended)

    def disable(self, reasons: Mapping[str, str]) -> None:
        """Disable these settings, each with a reason, and enable all others."""
        for name, control in self.controls.items():
            control.disable(reasons.get(name))


def without_effect(
    settings: ColorizeSettings, *, has_reference: bool, has_second: bool
) -> dict[str, str]:
    """Settings that currently have no effect, each with the reason."""
    if settings.fidelity != "exact":
        return dict.fromkeys(REFINING, FIDELITY_REASON)
    reasons = {}
    if not has_reference:
        reasons.update(
            dict.fromkeys(SETTING_GROUPS["Reference image"], "Choose a reference image first.")
        )
    if not has_second:
        reasons.update(
            dict.fromkeys(SETTING_GROUPS["Second model"], "Choose a second model first.")
        )
    return reasons
