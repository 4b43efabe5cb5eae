"""What was done, by which model, as metadata that travels with the picture.

Colours that a network predicted look like colours that a camera measured. So every result says
what it is, first of all in a plain sentence. `describe` makes the record, `to_text` turns it into
one line for places that hold text (PNG, TIFF, EXIF, a layer's metadata) and `from_text` finds it
again between other words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from napari_colorize import __version__
from napari_colorize.settings import ColorizeSettings, with_current_names

SOFTWARE = "napari-colorize"
STATEMENT = "Colours are predicted by a neural network, not measured."
_START = '{"statement": '


def describe(
    *,
    checkpoint_name: str,
    architecture: str,
    sha256: str | None,
    settings: ColorizeSettings,
    notes: Sequence[str] = (),
    device: str = "",
    precision: str = "",
    version: str = __version__,
) -> dict[str, object]:
    """Record how a result was made; only plain values, so that JSON can hold it.

    Parameters
    ----------
    checkpoint_name, architecture, sha256 : str
        Which weights, and the sum that tells them from others of the same name.
    settings : ColorizeSettings
        As used: `render_factor` and `saturation` are numbers, not `None`.
    notes : sequence of str
        What happened on the way: decoloured first, a smaller render factor.
    device, precision : str
        Where the network ran and in which number format.
    version : str
        Of napari-colorize; by default the one that runs.

    Returns
    -------
    dict
        `"statement"` comes first: a reader who sees one line of it has seen that.
    """
    return {
        "statement": STATEMENT,
        "software": SOFTWARE,
        "version": version,
        "model": checkpoint_name,
        "architecture": architecture,
        "weights_sha256": sha256,
        "settings": {name: _plain(value) for name, value in asdict(settings).items()},
        "device": str(device),
        "precision": str(precision),
        "notes": [str(note) for note in notes],
    }


def to_text(provenance: Mapping[str, object]) -> str:
    """One line of ASCII JSON that begins with the statement; `""` for an empty record."""
    if not provenance:
        return ""
    return json.dumps({"statement": STATEMENT, **provenance}, default=str)


def from_text(text: str) -> dict[str, object] | None:
    """The last record that `to_text` put into `text`, wherever in it, or None."""
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
    """`text` as it was before `to_text` was appended: a new result gets a new record."""
    start = text.find(_START)
    return (text if start < 0 else text[:start]).strip()


def software(provenance: Mapping[str, object]) -> str:
    """Name and version for the "Software" field that most formats have; `""` for no record."""
    return f"{SOFTWARE} {provenance.get('version', '')}".strip() if provenance else ""


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's own; tuples as lists, which is what JSON gives back."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
