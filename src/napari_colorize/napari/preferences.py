"""Initial state of the panel, as set by the user under File > Preferences."""

from __future__ import annotations

from dataclasses import dataclass

PLUGIN = "napari-colorize"


@dataclass(frozen=True)
class Preferences:
    """Initial model and settings of a panel; None stands for the model's recommended value."""

    model: str = "embedded"
    render_factor: int | None = None
    saturation: float | None = None
    live: bool = True


def preferences() -> Preferences:
    """Read the user's preferences; the defaults if napari (before 0.9) does not store them."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return Preferences()
    try:
        chosen = get_plugin_settings(PLUGIN).panel
    except KeyError:  # not installed as a plugin, but imported by a script
        return Preferences()
    return Preferences(
        chosen.model, chosen.render_factor or None, chosen.saturation or None, chosen.live
    )
