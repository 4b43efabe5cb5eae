"""Provenance records: content, JSON, and search in other text."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_colorize import __version__, provenance
from napari_colorize.settings import ColorizeSettings


def record_of(**changes: object) -> dict[str, object]:
    known: dict[str, object] = {
        "checkpoint_name": "embedded",
        "architecture": "compact",
        "sha256": "ab" * 32,
        "settings": ColorizeSettings(render_factor=12, saturation=1.5),
        "notes": ["The image had color."],
        "device": "cpu",
        "precision": "bfloat16",
    }
    return provenance.describe(**(known | changes))  # type: ignore[arg-type]


def test_a_record_begins_with_the_statement():
    record = record_of()
    assert next(iter(record)) == "statement"
    assert "predicted" in str(record["statement"])
    assert "not measured" in str(record["statement"])


def test_a_record_contains_weights_settings_and_version():
    record = record_of()
    assert record["model"] == "embedded"
    assert record["weights_sha256"] == "ab" * 32
    assert record["settings"]["render_factor"] == 12  # type: ignore[index]
    assert record["version"] == __version__


def test_a_record_with_numpy_numbers_is_json():
    settings = ColorizeSettings(
        render_factor=np.int64(12), saturation=np.float32(1.5), contrast_limits=(0, np.float64(9))
    )
    record = record_of(settings=settings)
    assert json.loads(json.dumps(record)) == record


@given(before=st.text(), after=st.text(), note=st.text())
def test_a_record_is_found_in_any_text(before, after, note):
    record = record_of(notes=[note])
    assert provenance.from_text(f"{before} {provenance.to_text(record)}\n{after}") == record


def test_text_is_one_line_of_ascii():
    text = provenance.to_text(record_of(notes=["première\nligne"]))
    assert text.isascii()
    assert "\n" not in text


def test_settings_of_an_earlier_version_are_read_with_their_present_names():
    record = record_of()
    old = {**record["settings"]}  # type: ignore[dict-item]
    old["steadiness"] = old.pop("temporal_smoothing")

    assert provenance.from_text(provenance.to_text({**record, "settings": old})) == record


def test_a_record_without_settings_is_read_as_it_is():
    record = {name: value for name, value in record_of().items() if name != "settings"}

    assert provenance.from_text(provenance.to_text(record)) == record


@pytest.mark.parametrize("text", ["", "A caption.", '{"statement": ', '{"statement": "other"}'])
def test_text_without_a_record_gives_none(text):
    assert provenance.from_text(text) is None


def test_an_empty_record_gives_an_empty_text():
    assert provenance.to_text({}) == ""
    assert provenance.software({}) == ""


def test_the_caption_is_kept_when_a_record_is_removed():
    text = f"Grandmother, 1921\n{provenance.to_text(record_of())}"
    assert provenance.without_record(text) == "Grandmother, 1921"
    assert provenance.without_record("Grandmother, 1921") == "Grandmother, 1921"


def test_the_last_of_two_records_is_read_and_both_are_removed():
    first, last = (record_of(checkpoint_name=name) for name in ("one", "two"))
    text = "\n".join(["Grandmother", *map(provenance.to_text, (first, last)), "1921"])

    assert provenance.from_text(text) == last
    assert provenance.without_record(text) == "Grandmother"


def test_importing_io_and_provenance_is_cheap():
    code = "import sys, napari_colorize.provenance, napari_colorize.io.images; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"torch", "skimage", "tifffile", "PIL", "pydicom", "imagecodecs"} & set(loaded)
