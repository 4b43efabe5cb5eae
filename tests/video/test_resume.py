"""State of an unfinished run."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_colorize.errors import OutputError
from napari_colorize.video.frames import ResumePoint
from napari_colorize.video.resume import ResumeState


def test_only_finished_frames_keep_other_settings_from_starting(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    ResumeState.open(target, {"saturation": 1})

    state = ResumeState.open(target, {"saturation": 2})
    state.save(ResumePoint(done=1, time=0))

    assert "starts from the beginning" in state.notes[0]
    with pytest.raises(OutputError, match="1 frames of another input"):
        ResumeState.open(target, {"saturation": 3})
