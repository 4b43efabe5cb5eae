"""Record of model and settings, stored in the metadata of results.

Predicted colors look like measured ones, so each record begins with a sentence that states the
difference. `describe` makes a record, `to_text` writes it as one line of text (for PNG, TIFF and
EXIF), and `from_text` finds it again inside other text.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from napari_colorize.errors import ColorizeError
from napari_colorize.settings import (
    REFINING,
    ColorizeSettings,
    setting_of,
    with_current_names,
)
from napari_colorize.version import __version__

SOFTWARE = "napari-colorize"
STATEMENT = "Colors are predicted by a neural network, not measured."
SAME = "the same settings"
LIMITS, GUIDES = "requested_contrast_limits", "guides_sha256"
# Checksum of the name of the image file, because the name itself may be that of a patient.
SOURCE = "source_name_sha256"
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


def with_request(
    record: Mapping[str, Any],
    contrast_limits: object,
    guides_sha256: object,
    source: Path | None = None,
) -> dict[str, Any]:
    """Add to a record what was requested, by which a later run compares itself; `{}` if empty.

    Parameters
    ----------
    record : mapping
        From `describe`; its settings have the contrast limits that were used.
    contrast_limits : tuple of float, str or None
        The setting, as it was given.
    guides_sha256 : str or None
        Checksum of the guides.
    source : Path, optional
        The image file.
    """
    if not record:
        return {}
    requested = {LIMITS: _plain(contrast_limits), GUIDES: guides_sha256}
    made = {**record, **requested}
    return made if source is None else of_image(made, source)


def of_image(record: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Add to a record which image file it belongs to."""
    return {**record, SOURCE: hashlib.sha256(os.fsencode(source.name)).hexdigest()}


def differences(found: Mapping[str, Any], planned: Mapping[str, Any]) -> tuple[str, ...]:
    """Compare the record of an existing result with the record of a planned one.

    Parameters
    ----------
    found : mapping
        Record from a file, of any version.
    planned : mapping
        From `describe` and `with_request`, before any image was read.

    Returns
    -------
    tuple of str
        What differs, with the values of `found`: `("model eccv16", "saturation 1")`. Empty if a
        new result would be the same. Settings without effect are not compared.
    """
    phrases = []
    sources = [record.get(SOURCE) for record in (found, planned)]
    if all(sources) and sources[0] != sources[1]:
        phrases.append("another image")
    phrases += _model_differences("model", found, planned)
    seconds = [record.get("blended_with") or {} for record in (found, planned)]
    if any(seconds) and not all(seconds):
        phrases.append(f"second model {seconds[0]['model']}" if seconds[0] else "no second model")
    elif all(seconds):
        phrases += _model_differences("second model", *seconds)
    guides = [record.get(GUIDES) for record in (found, planned)]
    if guides[0] != guides[1]:
        phrases.append("other guides" if all(guides) else "guides" if guides[0] else "no guides")
    phrases += _setting_differences(found, planned)
    limits = found.get(LIMITS)
    if LIMITS in found and limits != planned.get(LIMITS):
        phrases.append(f"contrast limits {'auto' if limits is None else _in_words(limits)}")
    if found.get("version") != planned.get("version"):
        phrases.append(f"version {found.get('version')}")
    return tuple(phrases)


def made_with(
    path: Path, planned: Mapping[str, Any], read: Callable[[Path], Mapping[str, Any] | None]
) -> str | None:
    """Say how a result was made: "saturation 1", or `SAME`; None if it has no readable record."""
    try:
        found = read(path)
    except (ColorizeError, OSError):
        return None
    return None if found is None else ", ".join(differences(found, planned)) or SAME


def how_made(
    path: Path,
    planned: Mapping[str, Any] | None,
    read: Callable[[Path], Mapping[str, Any] | None],
) -> str:
    """The same to continue a sentence; empty if there is nothing to say."""
    how = None if planned is None else made_with(path, planned, read)
    return f" and was made with {how}" if how else ""


def is_older(result: Path, source: Path) -> bool:
    """Whether a file was last changed before its source was; False if one cannot be accessed."""
    try:
        return result.stat().st_mtime_ns < source.stat().st_mtime_ns
    except OSError:
        return False


def _model_differences(
    title: str, found: Mapping[str, Any], planned: Mapping[str, Any]
) -> list[str]:
    name = found.get("model")
    if name != planned.get("model"):
        return [f"{title} {name}"]
    if found.get("weights_sha256") != planned.get("weights_sha256"):
        return [f"other weights of {title} {name}"]
    return []


def _setting_differences(found: Mapping[str, Any], planned: Mapping[str, Any]) -> list[str]:
    old: dict[str, Any] = found.get("settings") or {}
    new: dict[str, Any] = planned["settings"]
    ignored = {"contrast_limits", "retry_smaller", "retry_on_cpu", "provenance"}
    if new["fidelity"] != "exact":
        ignored.update(REFINING)  # a fidelity refines nothing
    if not planned.get("blended_with"):
        ignored |= {"blend", "blend_by"}
    if "reference" not in (planned.get("guides") or {}):
        ignored |= {"reference_strength", "reference_method"}
    if not new["hue_damping"] and not old.get("hue_damping"):
        ignored |= {"hue_from", "hue_to"}
    phrases = []
    for item in fields(ColorizeSettings):
        value = old.get(item.name, item.default)
        if item.name not in ignored and value != new[item.name]:
            label = setting_of(item).label.partition(" (")[0]
            phrases.append(f"{label} {_in_words(value)}")
    return phrases


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_record(text: str) -> str:
    """Remove the first record, and what follows it, from a text: a new result has a new record."""
    start = text.find(_START)
    return (text if start < 0 else text[:start]).strip()


def software(provenance: Mapping[str, object], of_source: str = "") -> str:
    """Value of the "Software" field of file formats.

    Parameters
    ----------
    provenance : mapping
        The record, which names this program in any case.
    of_source : str
        Value in the source, for example the program of a scanner. It is kept.

    Returns
    -------
    str
        `of_source`; name and version of this program if it is empty or of an earlier result; ""
        without a record.
    """
    if of_source and not (provenance and of_source.startswith(SOFTWARE)):
        return of_source
    return f"{SOFTWARE} {provenance.get('version', '')}".strip() if provenance else ""


def _plain(value: Any) -> Any:
    """Convert NumPy numbers to Python numbers, and tuples to lists as JSON does."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
