"""Write docs/reference/settings.md from `ColorizeSettings`: `python tools/settings_table.py`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from napari_colorize.settings import SETTING_GROUPS, ColorizeSettings, setting_of

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
INTRODUCTION = """\
# Settings

Every setting is a keyword argument in Python (`nc.colorize(image, saturation=1.4)`), an option
of the command line (`--saturation 1.4`; switches are `--edges` and `--no-edges`) and a control
in napari and Jupyter. Settings marked *network* change the prediction: call the `Colorizer`
again. All others can be changed afterwards with `Colorized.with_`, without running the
network, except that `temporal_smoothing` can only be switched off (0), and `blend_by="confidence"`
needs another call of the `Colorizer`. An empty default means that the checkpoint or the data
decide.

This page is generated from `napari_colorize/settings.py` by `make settings-table`.
"""
NETWORK = ("render_factor", "self_attention", "contrast_limits", "gamma", "fidelity")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page as Markdown: a table of settings for each group."""
    defaults = {each.name: each.default for each in fields(ColorizeSettings)}
    parts = [INTRODUCTION]
    for group, names in SETTING_GROUPS.items():
        parts.append(f"## {group}\n")
        parts.append("| setting | default | values | |\n|---|---|---|---|")
        parts += [row(name, defaults[name]) for name in names]
        parts.append("")
    return "\n".join(parts)


def row(name: str, default: object) -> str:
    """Return the table row of a setting."""
    setting = setting_of(name)
    if setting.choices:
        values = ", ".join(f"`{choice}`" for choice in setting.choices)
    elif setting.low is not None and setting.high is not None:
        values = f"{setting.low:g} to {setting.high:g}"
    else:
        values = "on, off" if isinstance(default, bool) else "low, high"
    if isinstance(default, bool):
        shown = "on" if default else "off"
    elif isinstance(default, float):
        shown = f"{default:g}"
    else:
        shown = "" if default is None else str(default)
    mark = " (*network*)" if name in NETWORK else ""
    return f"| `{name}`{mark} | {shown} | {values} | {setting.help} |"


if __name__ == "__main__":
    main()
