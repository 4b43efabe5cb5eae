"""Decoding and encoding run parallel to the model, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_videos import TintResult, make_video

from napari_colorize.errors import OutOfMemoryError
from napari_colorize.video import encoder
from napari_colorize.video.decoder import VideoSource
from napari_colorize.video.runner import READ_AHEAD, WRITE_BEHIND

Run = Callable[..., Any]


class RecordingModel:
    """A model that records how far reader and writer are from it."""

    def __init__(self, read: list[int], written: list[int]) -> None:
        self.read, self.written = read, written
        self.ahead: list[int] = []
        self.behind: list[int] = []
        self.threads: set[str] = set()

    def stream(self, images: Iterable[Any], **settings: Any) -> Iterator[Any]:
        for number, image in enumerate(images):
            self.ahead.append(len(self.read) - number)
            self.behind.append(number - len(self.written))
            yield TintResult(image)


def test_reader_and_writer_are_bounded_and_not_in_the_models_thread(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_video(tmp_path / "a.mp4", frames=60)
    threads: dict[str, set[int]] = {"read": set(), "write": set()}
    read: list[int] = []
    written: list[int] = []
    decode, write = VideoSource._frame, encoder.VideoWriter.write

    def reading(self: Any, raw: Any, time: int, position: int) -> Any:
        threads["read"].add(threading.get_ident())
        read.append(position)
        return decode(self, raw, time, position)

    def writes(self: Any, frame: Any, rgb: Any) -> None:
        threads["write"].add(threading.get_ident())
        write(self, frame, rgb)
        written.append(frame.position)

    monkeypatch.setattr(VideoSource, "_frame", reading)
    monkeypatch.setattr(encoder.VideoWriter, "write", writes)
    model = RecordingModel(read, written)
    run(tmp_path / "a.mp4", tmp_path / "o.mp4", model=model)

    assert read == written == list(range(60))
    assert max(model.ahead) <= READ_AHEAD + 1
    assert max(model.behind) <= WRITE_BEHIND + 1
    assert len(threads["read"] | threads["write"] | {threading.get_ident()}) == 3


def test_an_error_of_the_model_keeps_finished_frames(tmp_path: Path, run: Run) -> None:
    class Exhausted:
        def stream(self, images: Iterable[Any], **settings: Any) -> Iterator[Any]:
            for number, image in enumerate(images):
                if number == 20:
                    raise OutOfMemoryError("It does not fit.")
                yield TintResult(image)

    make_video(tmp_path / "a.mp4", frames=30)
    with pytest.raises(OutOfMemoryError):
        run(tmp_path / "a.mp4", tmp_path / "o.mp4", model=Exhausted())
    assert run(tmp_path / "a.mp4", tmp_path / "o.mp4").resumed_frames == 20


def test_notes_about_frames_are_counted(tmp_path: Path, run: Run) -> None:
    class NoteModel:
        def stream(self, images: Iterable[Any], **settings: Any) -> Iterator[Any]:
            for number, image in enumerate(images):
                notes = (f"Almost no color ({number / 100:.4f}).",) if number in (4, 5) else ()
                yield TintResult(image, notes=("It is a video.", *notes))

    make_video(tmp_path / "a.mp4", frames=9)
    work = run(tmp_path / "a.mp4", tmp_path / "o.mp4", model=NoteModel())
    assert work.notes == ("It is a video.", "Almost no color (0.0400). (2 x)")


def test_settings_reach_the_model(tmp_path: Path, run: Run, model: Any) -> None:
    from napari_colorize.settings import ColorizeSettings

    make_video(tmp_path / "a.mp4", frames=3)
    chosen = ColorizeSettings(saturation=1.5, render_factor=9)
    run(tmp_path / "a.mp4", tmp_path / "o.mp4", model=model, settings=chosen)
    assert (model.settings_received["saturation"], model.settings_received["render_factor"]) == (
        1.5,
        9,
    )
    assert model.settings_received["contrast_limits"] is None
