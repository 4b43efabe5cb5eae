from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from sample_videos import make_film

from napari_colorize.errors import ColorizeError, OutputError
from napari_colorize.video.plan import ExportOptions, plan_video


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_film(Path("a.mp4"), frames=3)
    tifffile.imwrite("a.tif", np.zeros((3, 12, 16), np.uint8), photometric="minisblack")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "out", "wishes", "sentence"),
    [
        ("b.mp4", "o.mp4", {}, "There is no file or folder named b.mp4."),
        ("a.mp4", "o.avi", {}, "nothing is written as .avi"),
        ("a.mp4", "a.mp4", {"overwrite": True}, "is the input itself"),
        ("a.mp4", "a.mp4", {}, "a.mp4 exists. Replace it with --overwrite"),
        ("a.mp4", "o.mp4", {"rate": Fraction(24)}, "--rate says how many pictures"),
        ("a.tif", "o.tif", {"rate": Fraction(24)}, "--rate says how many pictures"),
        ("a.tif", "o.mp4", {"start": 1.0}, "--start and --end are seconds of a film"),
        ("a.mp4", "o.tif", {"quality": 3.0}, "--codec and --quality are for films"),
        ("a.mp4", "o.mp4", {"encoder": "nope"}, "There is no encoder 'nope' here"),
        ("a.mp4", "o.mp4", {"encoder": "aac"}, "does not encode pictures"),
        ("a.mp4", "o.webm", {"encoder": "libx264"}, "cannot hold libx264"),
        ("a.mp4", "o.mkv", {"encoder": "ffv1", "quality": 3.0}, "has no scale of quality"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    here: Path, given: str, out: str, wishes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ColorizeError) as refusal:
        plan_video(given, out, ExportOptions(**wishes))
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(here.glob("*.part"))


@pytest.mark.parametrize("wishes", [{"start": 3, "end": 2}, {"start": -1}, {"rate": Fraction(0)}])
def test_wishes_are_checked(wishes: dict[str, Any]) -> None:
    with pytest.raises(ColorizeError):
        ExportOptions(**wishes)


@pytest.mark.parametrize(
    ("out", "encoder", "layout"),
    [
        ("o.mp4", "libx264", "yuv420p"),
        ("o.webm", "libvpx-vp9", "yuv420p"),
        ("o.mov", "prores_ks", "yuv422p10le"),
        ("o.mkv", "ffv1", "yuv420p"),
    ],
)
def test_an_encoder_gets_planes_that_it_takes(
    here: Path, out: str, encoder: str, layout: str
) -> None:
    named = None if encoder.startswith("lib") else encoder
    coding = plan_video("a.mp4", out, ExportOptions(encoder=named)).coding
    assert coding is not None
    assert (coding.encoder, coding.layout.name) == (encoder, layout)
    coding.opened()


def test_what_an_encoder_cannot_count_is_told(here: Path) -> None:
    coding = plan_video("a.mp4", "o.mp4", ExportOptions(encoder="mpeg4")).coding
    assert coding is not None
    with pytest.raises(OutputError, match="The encoder mpeg4 refuses pictures of 64 x 48"):
        coding.opened()


def test_a_slash_asks_for_a_folder(here: Path) -> None:
    assert plan_video("a.mp4", "some.frames/", ExportOptions()).kind == "folder"
