"""State of an unfinished run."""

from __future__ import annotations

import errno
import os
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


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = ResumeState.open(tmp_path / "out.tif", {"saturation": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="could not be written"):
        state.save(ResumePoint(done=1, time=0))
