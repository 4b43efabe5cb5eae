from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import pytest
from sample_videos import make_video

from napari_colorize.errors import ImageError
from napari_colorize.video.probe import probe


def test_properties_of_a_video_are_read(tmp_path: Path) -> None:
    make_video(
        tmp_path / "a.mp4",
        frames=10,
        rotation=90,
        colors=(2, 9, 1, 9),
        pixel_ratio=Fraction(16, 15),
        layout="yuv420p10le",
    )
    video = probe(tmp_path / "a.mp4")
    assert (video.height, video.width, video.display_size) == (48, 64, (64, 48))
    assert (video.frames, video.rate, video.quarter_turns) == (10, 25, 1)
    assert video.pixel_ratio == Fraction(16, 15)
    ycbcr = video.ycbcr
    assert (ycbcr.depth, ycbcr.full, ycbcr.matrix, ycbcr.primaries) == (10, True, 9, 9)
    assert ycbcr.dtype == "uint16"


def test_a_gray_stream_is_limited_as_broadcast_and_full_as_a_scan(tmp_path: Path) -> None:
    make_video(tmp_path / "scan.mkv", codec="ffv1", layout="gray", b_frames=0, frames=3)
    assert probe(tmp_path / "scan.mkv").ycbcr.full
    make_video(tmp_path / "broadcast.mp4", frames=3)
    assert not probe(tmp_path / "broadcast.mp4").ycbcr.full


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_files_that_are_no_videos_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ImageError, match=r"^a\.mp4 cannot be read as a video: .+\.$"):
        probe(tmp_path / "a.mp4")


def test_audio_only_files_are_refused(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "a.wav"), "w") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(800))
    with pytest.raises(ImageError, match="contains no video stream"):
        probe(tmp_path / "a.wav")


def test_without_pyav_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_video(tmp_path / "a.mp4", frames=3)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImageError, match=r"pip install .*\[video\]"):
        probe(tmp_path / "a.mp4")
