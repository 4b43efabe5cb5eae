from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import pytest
from sample_videos import make_film

from napari_colorize.errors import ImageError
from napari_colorize.video.probe import probe


def test_a_film_tells_what_it_is(tmp_path: Path) -> None:
    make_film(
        tmp_path / "a.mp4",
        frames=10,
        rotation=90,
        colors=(2, 9, 1, 9),
        pixel_ratio=Fraction(16, 15),
        layout="yuv420p10le",
    )
    film = probe(tmp_path / "a.mp4")
    assert (film.height, film.width, film.upright) == (48, 64, (64, 48))
    assert (film.frames, film.rate, film.turns) == (10, 25, 1)
    assert film.pixel_ratio == Fraction(16, 15)
    tones = film.tones
    assert (tones.depth, tones.full, tones.matrix, tones.primaries) == (10, True, 9, 9)
    assert tones.dtype == "uint16"


def test_a_gray_stream_is_limited_as_broadcast_and_full_as_a_scan(tmp_path: Path) -> None:
    make_film(tmp_path / "scan.mkv", codec="ffv1", layout="gray", b_frames=0, frames=3)
    assert probe(tmp_path / "scan.mkv").tones.full
    make_film(tmp_path / "broadcast.mp4", frames=3)
    assert not probe(tmp_path / "broadcast.mp4").tones.full


@pytest.mark.parametrize("content", [b"", b"no film at all" * 100])
def test_what_is_no_film_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ImageError, match=r"^a\.mp4 cannot be read as a film: .+\.$"):
        probe(tmp_path / "a.mp4")


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "a.wav"), "w") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(800))
    with pytest.raises(ImageError, match="holds no moving pictures"):
        probe(tmp_path / "a.wav")


def test_without_pyav_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_film(tmp_path / "a.mp4", frames=3)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImageError, match=r"pip install .napari-colorize\[video\]"):
        probe(tmp_path / "a.mp4")
