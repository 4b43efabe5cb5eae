"""How the panel starts: what the user set under File > Preferences, else the usual."""

from __future__ import annotations

from dataclasses import dataclass

PLUGIN = "napari-colorize"


@dataclass(frozen=True)
class Preferences:
    """What is chosen when a panel opens; None is what the model recommends."""

    model: str = "embedded"
    render_factor: int | None = None
    saturation: float | None = None
    live: bool = True


def preferences() -> Preferences:
    """The user's, read anew; the defaults where napari (before 0.9) keeps none for plugins."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return Preferences()
    try:
        chosen = get_plugin_settings(PLUGIN).panel
    except KeyError:  # not installed as a plugin: imported from a script
        return Preferences()
    return Preferences(
        chosen.model, chosen.render_factor or None, chosen.saturation or None, chosen.live
    )
