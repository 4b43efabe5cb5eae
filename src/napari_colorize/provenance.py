"""Record of model and settings, stored in the metadata of results.

Predicted colors look like measured ones, so each record begins with a sentence that states the
difference. `describe` makes a record, `to_text` writes it as one line of text (for PNG, TIFF and
EXIF), and `from_text` finds it again inside other text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from napari_colorize.settings import ColorizeSettings, with_current_names
from napari_colorize.version import __version__

SOFTWARE = "napari-colorize"
STATEMENT = "Colors are predicted by a neural network, not measured."
_START = '{"statement": '


def describe(
    *,
    checkpoint_name: str,
    architecture: str,
    sha256: str | None,
    settings: ColorizeSettings,
    intensity_range: Mapping[str, object] | None = None,
    notes: Sequence[str] = (),
    device: str = "",
    precision: str = "",
    version: str = __version__,
) -> dict[str, object]:
    """Make the record of a result from values that JSON supports.

    `settings` are those used: render factor and saturation are numbers. `intensity_range` is
    `IntensityRange.record`. `notes` are sentences about how the image was read and what was
    changed. The first key is `"statement"`, so that it is visible in a truncated line.
    """
    return {
        "statement": STATEMENT,
        "software": SOFTWARE,
        "version": version,
        "model": checkpoint_name,
        "architecture": architecture,
        "weights_sha256": sha256,
        "settings": {name: _plain(value) for name, value in vars(settings).items()},
        "intensity_range": {name: _plain(value) for name, value in (intensity_range or {}).items()},
        "device": str(device),
        "precision": str(precision),
        "notes": [str(note) for note in notes],
    }


def to_text(provenance: Mapping[str, object]) -> str:
    """Write a record as one line of ASCII JSON that begins with the statement.

    An empty record gives an empty string.
    """
    if not provenance:
        return ""
    return json.dumps({"statement": STATEMENT, **provenance}, default=str)


def from_text(text: str) -> dict[str, object] | None:
    """Find the last record in a text, with settings under their present names; None if none."""
    start = text.rfind(_START)
    if start < 0:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return None
    if found.get("software") != SOFTWARE:
        return None
    settings = found.get("settings")
    return {**found, "settings": with_current_names(settings)} if settings else found


def without_record(text: str) -> str:
    """Remove the first record, and what follows it, from a text: a new result has a new record."""
    start = text.find(_START)
    return (text if start < 0 else text[:start]).strip()


def software(provenance: Mapping[str, object]) -> str:
    """Name and version for the "Software" field of file formats; empty for an empty record."""
    return f"{SOFTWARE} {provenance.get('version', '')}".strip() if provenance else ""


def _plain(value: Any) -> Any:
    """Convert NumPy numbers to Python numbers, and tuples to lists as JSON does."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
