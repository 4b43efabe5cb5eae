"""The sweep over folders of files reports what differs from other readers."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from napari_colorize.io import images

TOOL = Path(__file__).parents[1] / "tools" / "sweep_files.py"
GRAY = np.random.default_rng(0).integers(0, 256, (24, 32)).astype(np.uint8)


@pytest.fixture(scope="module")
def sweep() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sweep_files", TOOL)
    assert spec is not None and spec.loader is not None
    module = sys.modules["sweep_files"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_right_refused_or_differing(
    sweep: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.jpg", "c.tif", "d.webp"):
        path = tmp_path / name
        Image.fromarray(GRAY).save(path)
        assert sweep.examine(str(path)).status == "right"
    broken = tmp_path / "broken.png"
    broken.write_bytes((tmp_path / "a.png").read_bytes()[:60])
    assert sweep.examine(str(broken)).status == "refused"

    original = images.read_image
    negative = lambda path, **options: replace(  # noqa: E731
        original(path, **options), array=255 - original(path).array
    )
    monkeypatch.setattr(images, "read_image", negative)
    outcome = sweep.examine(str(tmp_path / "a.png"))
    assert (outcome.status, outcome.kind) == ("differing", "PNG")
    assert "luminance differs from Pillow" in outcome.details[0]
    assert "| PNG | 1 | 0 | 0 | 0 | 1 | 0 |" in sweep.table([outcome])


def test_metadata_that_are_lost_without_a_note_are_found(sweep: ModuleType, tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("Title", "Harbor")
    Image.fromarray(GRAY).save(tmp_path / "a.png", pnginfo=texts)
    Image.fromarray(GRAY).save(tmp_path / "b.png")
    before, after = (sweep.metadata_of(tmp_path / name) for name in ("a.png", "b.png"))
    assert sweep.lost_metadata(before, after, "") == ["text lost without a note"]
    assert sweep.lost_metadata(before, after, "PNG text was dropped.") == []
    assert sweep.lost_metadata(before, before, "") == []
