from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from sample_videos import make_video

from napari_colorize.errors import ColorizeError, OutputError, SettingsError
from napari_colorize.video.plan import ExportOptions, plan_video


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_video(Path("a.mp4"), frames=3)
    tifffile.imwrite("a.tif", np.zeros((3, 12, 16), np.uint8), photometric="minisblack")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "out", "options", "sentence"),
    [
        ("b.mp4", "o.mp4", {}, "b.mp4 does not exist."),
        ("a.mp4", "o.avi", {}, ".avi files cannot be written"),
        ("a.mp4", "a.mp4", {"overwrite": True}, "is the input itself"),
        ("a.mp4", "a.mp4", {}, "a.mp4 exists. Replace it with --overwrite"),
        ("a.mp4", "o.mp4", {"rate": Fraction(24)}, "--rate sets the frame rate"),
        ("a.tif", "o.tif", {"rate": Fraction(24)}, "--rate sets the frame rate"),
        ("a.tif", "o.mp4", {"start": 1.0}, "--start and --end select a part of a video"),
        ("a.mp4", "o.tif", {"quality": 3.0}, "--codec and --quality apply to videos"),
        ("a.mp4", "o.mp4", {"encoder": "nope"}, "The encoder 'nope' is not available"),
        ("a.mp4", "o.mp4", {"encoder": "aac"}, "does not encode video"),
        ("a.mp4", "o.webm", {"encoder": "libx264"}, "cannot store libx264"),
        ("a.mp4", "o.mkv", {"encoder": "ffv1", "quality": 3.0}, "has no quality scale"),
    ],
)
def test_impossible_conversions_are_refused(
    folder: Path, given: str, out: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ColorizeError) as refusal:
        plan_video(given, out, ExportOptions(**options))
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("options", [{"start": 3, "end": 2}, {"start": -1}, {"rate": Fraction(0)}])
def test_options_are_validated(options: dict[str, Any]) -> None:
    with pytest.raises(ColorizeError):
        ExportOptions(**options)


@pytest.mark.parametrize(
    ("out", "encoder", "layout"),
    [
        ("o.mp4", "libx264", "yuv420p"),
        ("o.webm", "libvpx-vp9", "yuv420p"),
        ("o.mov", "prores_ks", "yuv422p10le"),
        ("o.mkv", "ffv1", "yuv420p"),
    ],
)
def test_an_encoder_gets_a_supported_pixel_format(
    folder: Path, out: str, encoder: str, layout: str
) -> None:
    named = None if encoder.startswith("lib") else encoder
    encoding = plan_video("a.mp4", out, ExportOptions(encoder=named)).encoding
    assert encoding is not None
    assert (encoding.encoder, encoding.layout.name) == (encoder, layout)
    encoding.open_context()


def test_an_unsupported_time_base_is_refused(folder: Path) -> None:
    encoding = plan_video("a.mp4", "o.mp4", ExportOptions(encoder="mpeg4")).encoding
    assert encoding is not None
    with pytest.raises(OutputError, match="The encoder mpeg4 does not accept frames of 64 x 48"):
        encoding.open_context()


@pytest.mark.parametrize(("source", "out", "name"), [("", "a.mp4", "IN"), ("a.mp4", " ", "OUT")])
def test_an_empty_name_is_refused(source: str, out: str, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is empty"):
        plan_video(source, out, ExportOptions())


def test_a_trailing_slash_means_a_folder(folder: Path) -> None:
    assert plan_video("a.mp4", "some.frames/", ExportOptions()).kind == "folder"
