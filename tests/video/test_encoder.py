"""Video to video: what is kept, and notes about what is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_videos import decoded_frames, gray_frame, make_video, packets_of

from napari_colorize.errors import OutputError
from napari_colorize.settings import ColorizeSettings
from napari_colorize.video import encoder
from napari_colorize.video.decoder import luminance_of
from napari_colorize.video.probe import probe
from napari_colorize.video.resume import work_folder

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415408d763f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
VARIABLE = [3003, 4504, 1800, 3003, 6006]
TESTS = Path(__file__).parents[1]

Run = Callable[..., Any]


def variable_times(frames: int) -> list[int]:
    return np.cumsum([0, *(VARIABLE * frames)])[:frames].tolist()


def lumas(path: Path) -> np.ndarray:
    video = probe(path)
    return np.stack([luminance_of(frame, video)[0] for frame in decoded_frames(path)]).astype(int)


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "SEGMENT_FRAMES", 8)


@pytest.mark.usefixtures("short_segments")
def test_everything_but_color_is_kept(tmp_path: Path, run: Run) -> None:
    given, out = tmp_path / "given.mp4", tmp_path / "out.mp4"
    make_video(
        given,
        times=variable_times(30),
        rotation=90,
        colors=(1, 1, 1, 1),
        pixel_ratio=Fraction(16, 15),
        audio="aac",
        subtitles="mov_text",
    )
    work = run(given, out, quality=10)

    before, after = decoded_frames(given), decoded_frames(out)
    assert work.notes == ()
    assert [f.pts for f in after] == [f.pts for f in before]
    assert after[0].time_base == before[0].time_base
    assert after[0].rotation == 90
    tags = [(f.color_range, f.color_primaries, f.color_trc, f.colorspace) for f in after]
    assert set(tags) == {(1, 1, 1, 1)}
    assert probe(out).pixel_ratio == Fraction(16, 15)
    for kind in ("audio", "subtitle"):
        assert packets_of(out, kind) == packets_of(given, kind) != []
    np.testing.assert_allclose(lumas(out), lumas(given), atol=12)
    assert np.abs(lumas(out) - lumas(given)).mean() < 1
    assert work_folder(out).exists() is False


def test_metadata_chapters_and_provenance_are_in_the_file(tmp_path: Path, run: Run) -> None:
    import av

    make_video(tmp_path / "given.mp4", frames=50)
    run(tmp_path / "given.mp4", tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        texts = {name.lower(): text for name, text in container.metadata.items()}
        chapters = [chapter["metadata"]["title"] for chapter in container.chapters()]
    assert texts["title"] == "A test video"
    assert texts["comment"].startswith('made by hand\n{"statement": "Colors are predicted')
    assert chapters == ["one", "two"]


APPLE = {
    "com.apple.quicktime.location.ISO6709": "+48.1357+011.5746+519.000/",
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.model": "iPhone 13",
    "com.apple.quicktime.creationdate": "2024-05-01T12:00:00+0200",
}


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_tags_of_apples_cameras_are_kept(tmp_path: Path, run: Run, suffix: str) -> None:
    import av

    make_video(tmp_path / "given.mov", frames=4, texts=APPLE)
    work = run(tmp_path / "given.mov", tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        found = {name.lower(): text for name, text in container.metadata.items()}
    assert {name.lower(): text for name, text in APPLE.items()}.items() <= found.items()
    assert found["title"] == "A test video"
    assert "Colors are predicted" in found["comment"]
    assert work.notes == ()


def test_metadata_that_a_container_cannot_store_are_named(tmp_path: Path, run: Run) -> None:
    make_video(tmp_path / "given.mkv", frames=4, texts={"CATALOG": "R 12"})
    work = run(tmp_path / "given.mkv", tmp_path / "out.mp4")
    assert work.notes == (".mp4 cannot store the metadata CATALOG, which were left out.",)


def test_the_model_gets_display_orientation_and_the_file_keeps_its_own(
    tmp_path: Path, run: Run
) -> None:
    given, out = tmp_path / "given.mp4", tmp_path / "out.mp4"
    make_video(given, frames=3, rotation=-90)
    run(given, out, quality=5)
    stored_rgb = decoded_frames(out)[1].to_ndarray(format="rgb24").astype(int)
    upright = np.rot90(stored_rgb, -1)
    redness = upright[..., 0] - upright[..., 1]
    assert redness[:30].mean() > 10  # the replacement model makes the upper half red
    assert redness[34:].mean() < -5


def test_10_bit_videos_stay_10_bit(tmp_path: Path, run: Run) -> None:
    given, out = tmp_path / "given.mkv", tmp_path / "out.mp4"
    make_video(given, frames=4, codec="ffv1", layout="yuv420p10le", b_frames=0)
    run(given, out, quality=8)
    assert decoded_frames(out)[0].format.name == "yuv420p10le"
    expected = np.rint((16 + 219 * gray_frame(2, 48, 64)) * 4)
    assert np.abs(lumas(out)[2] - expected).mean() < 2
    assert len(np.unique(lumas(out)[2] % 4)) == 4


@pytest.mark.parametrize("matrix", [1, 6])
def test_lossless_output_has_exactly_the_same_luminance(
    tmp_path: Path, run: Run, matrix: int
) -> None:
    given, out = tmp_path / "given.mkv", tmp_path / "out.mkv"
    make_video(given, frames=3, colors=(1, matrix, matrix, matrix), options={"crf": "0"})
    run(given, out, encoder="libx264", quality=0)
    np.testing.assert_array_equal(lumas(out), lumas(given))
    assert np.ptp(decoded_frames(out)[0].to_ndarray(format="rgb24").astype(int), axis=-1).max() > 20


def test_gamma_reaches_the_luminance(tmp_path: Path, run: Run) -> None:
    given, out = tmp_path / "given.mp4", tmp_path / "out.mp4"
    make_video(given, frames=2)

    class Dark:
        def stream(self, images: Any, **settings: Any) -> Any:
            from sample_videos import TintResult

            for image in images:
                yield TintResult((image / 2).astype(np.uint8))

    run(given, out, settings=ColorizeSettings(gamma=2.0), model=Dark())
    assert lumas(out).mean() - 16 == pytest.approx((lumas(given).mean() - 16) / 2, abs=1)


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".webm"])
def test_unsupported_streams_are_left_out_with_a_note(
    tmp_path: Path, run: Run, suffix: str
) -> None:
    given, out = tmp_path / "given.mp4", tmp_path / f"out{suffix}"
    times = make_video(given, frames=12, audio="aac", subtitles="mov_text", rotation=90)
    work = run(given, out)
    after = decoded_frames(out)
    first = after[0].pts * after[0].time_base
    seconds = [frame.pts * frame.time_base - first for frame in after]
    assert seconds == [Fraction(time, 90000) for time in times]
    assert after[0].rotation == 90
    left_out = [note for note in work.notes if "cannot store" in note]
    assert len(left_out) == {".mov": 0, ".mkv": 1, ".webm": 2}[suffix]
    if suffix == ".webm":
        assert left_out[0] == (
            ".webm cannot store the audio stream 1 (aac, eng), which was left out. "
            "Choose .mkv, which supports nearly all streams."
        )


def test_rounded_times_give_a_note(tmp_path: Path, run: Run) -> None:
    make_video(tmp_path / "given.mp4", times=variable_times(8))
    work = run(tmp_path / "given.mp4", tmp_path / "out.mkv")
    assert work.notes == (
        ".mkv has a coarser time base than the source, so times were rounded. .mp4 keeps them.",
    )


def test_a_broadcast_starts_at_zero(tmp_path: Path, run: Run) -> None:
    make_video(tmp_path / "given.ts", times=[9_000_000 + 3600 * n for n in range(6)], audio="aac")
    run(tmp_path / "given.ts", tmp_path / "out.mp4")
    frames = decoded_frames(tmp_path / "out.mp4")
    assert 0 <= frames[0].pts * frames[0].time_base < Fraction(1, 10)
    assert packets_of(tmp_path / "out.mp4", "audio")[0][0] < Fraction(1, 10)


def test_a_part_of_a_video_starts_at_zero_with_its_audio(tmp_path: Path, run: Run) -> None:
    import av

    given, out = tmp_path / "given.mp4", tmp_path / "out.mp4"
    make_video(given, frames=110, audio="aac", subtitles="mov_text")  # at 0 and 2 seconds
    run(given, out, start=1.0, end=2.0)
    frames = decoded_frames(out)
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(n, 25) for n in range(25)]
    sound = packets_of(out, "audio")
    assert sound[0][0] >= 0
    assert sound[-1][0] < 1
    assert {data for _, _, data in sound} < {data for _, _, data in packets_of(given, "audio")}
    assert len(packets_of(given, "subtitle")) == 2 and packets_of(out, "subtitle") == []
    with av.open(str(out)) as container:  # the first of two chapters of 2.2 seconds
        (chapter,) = container.chapters()
    assert [chapter[end] * chapter["time_base"] for end in ("start", "end")] == [0, 1]


def test_odd_sizes_are_kept(tmp_path: Path, run: Run) -> None:
    make_video(tmp_path / "given.mkv", frames=2, size=(47, 65), codec="ffv1", b_frames=0)
    work = run(tmp_path / "given.mkv", tmp_path / "out.mp4")
    frame = decoded_frames(tmp_path / "out.mp4")[0]
    assert (frame.height, frame.width, frame.format.name) == (47, 65, "yuv444p")
    assert "is odd" in work.notes[0]


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("frames", [1, 8, 21])
def test_a_resumed_video_equals_an_uninterrupted_one(tmp_path: Path, run: Run, frames: int) -> None:
    given = tmp_path / "given.mp4"
    make_video(given, times=variable_times(30), audio="aac")
    run(given, tmp_path / "whole.mp4", encoder="libx264", quality=0)

    run(given, tmp_path / "out.mp4", frames=frames, encoder="libx264", quality=0)
    assert not (tmp_path / "out.mp4").exists()
    work = run(given, tmp_path / "out.mp4", encoder="libx264", quality=0)

    assert work.resumed_frames >= frames
    assert work.state.notes == (f"out.mp4.part is resumed after frame {work.resumed_frames}.",)
    assert_same_video(tmp_path / "out.mp4", tmp_path / "whole.mp4")


def assert_same_video(one: Path, other: Path) -> None:
    folder, existing = decoded_frames(one), decoded_frames(other)
    assert [frame.pts for frame in folder] == [frame.pts for frame in existing]
    for frame, expected in zip(folder, existing, strict=True):
        np.testing.assert_array_equal(
            frame.to_ndarray(format="rgb24"), expected.to_ndarray(format="rgb24")
        )
    assert packets_of(one, "audio") == packets_of(other, "audio")


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from sample_videos import tint_stream
from napari_colorize.video import encoder
from napari_colorize.video.plan import ExportOptions, plan_video
from napari_colorize.settings import ColorizeSettings

encoder.SEGMENT_FRAMES = 8

class Model:
    def stream(self, images, **settings):
        for number, result in enumerate(tint_stream(images)):
            if number == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            yield result

options = ExportOptions(encoder="libx264", quality=0)
for _ in plan_video(sys.argv[1], sys.argv[2], options).run(
    Model(), ColorizeSettings(), {"model": "tint"}
):
    pass
"""


@pytest.mark.usefixtures("short_segments")
@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_a_killed_run_resumes_after_its_last_complete_segment(tmp_path: Path, run: Run) -> None:
    given, out = tmp_path / "given.mp4", tmp_path / "out.mp4"
    make_video(given, times=variable_times(30), audio="aac")
    run(given, tmp_path / "whole.mp4", encoder="libx264", quality=0)
    places = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])

    killed = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, str(given), str(out), "25"],
        env={**os.environ, "PYTHONPATH": places},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    work = run(given, out, encoder="libx264", quality=0)

    assert work.resumed_frames in (8, 16)  # frames of an incomplete segment are repeated
    assert_same_video(out, tmp_path / "whole.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "given.mp4",
        "out.mp4",
        "whole.mp4",
    ]


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("what", ["settings", "video"])
def test_other_settings_or_another_video_restart_the_run(
    tmp_path: Path, run: Run, what: str
) -> None:
    given, out = tmp_path / "given.mp4", tmp_path / "out.mp4"
    make_video(given, frames=30)
    run(given, out, frames=20)

    if what == "video":
        make_video(given, frames=31)
    changed = ColorizeSettings(saturation=2.0) if what != "video" else None
    with pytest.raises(OutputError, match=r"contains \d+ frames .* discard them with --overwrite"):
        run(given, out, settings=changed)
    work = run(given, out, settings=changed, overwrite=True)

    assert work.resumed_frames == 0
    assert "the run starts from the beginning" in work.state.notes[0]
    assert len(decoded_frames(out)) == (31 if what == "video" else 30)


@pytest.mark.usefixtures("short_segments")
def test_smoothing_restarts_before_the_resume_point(tmp_path: Path, run: Run, model: Any) -> None:
    given, out = tmp_path / "given.mp4", tmp_path / "out.mp4"
    make_video(given, frames=40)
    smooth = ColorizeSettings(temporal_smoothing=0.5)
    run(given, out, frames=33, settings=smooth)

    work = run(given, out, settings=smooth, model=model)

    assert len(model.images_received) == 40 - work.resumed_frames + 24
    assert "Temporal smoothing restarts" in work.state.notes[1]
    assert len(decoded_frames(out)) == 40


def test_errors_of_writing_are_raised(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, out = tmp_path / "given.mp4", tmp_path / "out.mp4"
    make_video(given, frames=30)
    undisturbed, calls = encoder.append, []

    def full(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 12:
            raise OSError(28, "No space left on device")
        undisturbed(*arguments)

    monkeypatch.setattr(encoder, "append", full)
    monkeypatch.setattr(encoder, "SEGMENT_FRAMES", 5)
    with pytest.raises(OutputError, match="the disk is full"):
        run(given, out)
    entry = json.loads((work_folder(out) / "work.json").read_text())
    assert entry["done"] == 10  # two segments; nothing after the missing frame

    monkeypatch.setattr(encoder, "append", undisturbed)
    run(given, out)
    assert len(decoded_frames(out)) == 30


def test_a_foreign_folder_is_not_changed(tmp_path: Path, run: Run) -> None:
    make_video(tmp_path / "given.mp4", frames=3)
    (tmp_path / "out.mp4.part").mkdir()
    (tmp_path / "out.mp4.part" / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match="was not created by this program"):
        run(tmp_path / "given.mp4", tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4.part" / "mine.txt").read_text() == "precious"


def test_cover_and_attachments_are_copied(tmp_path: Path, run: Run) -> None:
    import av

    given, out = tmp_path / "given.mkv", tmp_path / "out.mkv"
    make_video(tmp_path / "plain.mp4", frames=5)
    with av.open(str(tmp_path / "plain.mp4")) as plain, av.open(str(given), "w") as video:
        stream = video.add_stream_from_template(plain.streams.video[0], opaque=True)
        video.add_attachment("letters.ttf", "font/ttf", b"no font" * 50)
        video.add_attachment("cover.png", "image/png", PNG)
        for packet in plain.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                video.mux(packet)

    assert run(given, out).notes == ()
    with av.open(str(out)) as container:
        (letters,) = container.streams.attachments
        assert (letters.name, letters.data) == ("letters.ttf", b"no font" * 50)
        cover = container.streams.video[1]
        assert cover.disposition == av.stream.Disposition.attached_pic
        assert next(bytes(packet) for packet in container.demux(cover)) == PNG

    notes = run(given, tmp_path / "out.mov").notes
    assert [note.split(",")[0] for note in notes] == [
        ".mov cannot store the attachment stream 1 (letters.ttf)",
        ".mov cannot store the video stream 2 (png)",
    ]


def test_interlaced_frames_give_a_note(tmp_path: Path, run: Run) -> None:
    flags = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    make_video(tmp_path / "given.mp4", frames=3, options=flags)
    work = run(tmp_path / "given.mp4", tmp_path / "out.mp4")
    assert work.source.notes()[0].startswith("The video is interlaced")
