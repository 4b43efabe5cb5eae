from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_videos import gray_frame, make_video

from napari_colorize.errors import ImageError
from napari_colorize.video.decoder import HAD_COLOR, VideoSource
from napari_colorize.video.frames import Frame, ResumePoint


def frames_of(
    source: VideoSource, resume_point: ResumePoint | None = None, warm_up: int = 0
) -> list[Frame]:
    (series,) = source.series(resume_point or ResumePoint(), warm_up)
    return list(series)


CONTAINERS: list[dict[str, Any]] = [
    {"name": "a.mp4"},
    {"name": "a.mkv"},
    {"name": "a.ts"},
    {"name": "a.avi", "codec": "mpeg4", "time_base": Fraction(1, 25)},
    {"name": "a.mpg", "codec": "mpeg2video", "time_base": Fraction(1, 25)},
    {"name": "a.webm", "codec": "libvpx-vp9", "b_frames": 0},
]


@pytest.mark.parametrize("how", CONTAINERS, ids=lambda how: how["name"])
@pytest.mark.parametrize("done", [1, 17, 30])
def test_frames_after_a_resume_point_are_unchanged(
    tmp_path: Path, how: dict[str, Any], done: int
) -> None:
    how = dict(how)
    path = tmp_path / how.pop("name")
    make_video(path, frames=30, **how)
    source = VideoSource.of(path)
    whole = frames_of(source)

    rest = frames_of(source, ResumePoint(done, whole[done - 1].time), warm_up=4)

    expected = whole[max(0, done - 4) :] if done < 30 else []
    assert len(whole) == 30
    assert [(f.position, f.time) for f in rest] == [(f.position, f.time) for f in expected]
    for one, other in zip(rest, expected, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_frames_have_display_orientation_and_full_range(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=2, rotation=90, options={"crf": "0"})
    frame = frames_of(VideoSource.of(tmp_path / "a.mp4"))[1]
    expected = np.rot90(gray_frame(1, 48, 64)) * 255
    assert frame.image.shape == (64, 48)
    np.testing.assert_allclose(frame.image, expected, atol=3)


@pytest.mark.parametrize(
    ("codec", "layout"),
    [("ffv1", "gray16le"), ("ffv1", "yuv410p"), ("ffv1", "yuv422p10le"), ("rawvideo", "nv12")],
)
def test_rare_pixel_formats_give_the_same_frames(tmp_path: Path, codec: str, layout: str) -> None:
    make_video(tmp_path / "a.mkv", frames=2, codec=codec, layout=layout, b_frames=0)
    source = VideoSource.of(tmp_path / "a.mkv")
    image = frames_of(source)[0].image / np.iinfo(source.info.dtype).max
    is_full = source.video.ycbcr.full
    expected = gray_frame(0, 48, 64)
    np.testing.assert_allclose(
        image, (16 + 219 * expected) / 255 if is_full else expected, atol=0.01
    )


def test_rgb_becomes_gray_by_rec_601(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mov"), "w") as out:
        stream = out.add_stream("qtrle", rate=25, pix_fmt="rgb24", width=16, height=8)
        pixels = np.zeros((8, 16, 3), np.uint8)
        pixels[:, :8] = 200, 30, 60
        out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        out.mux(stream.encode(None))
    source = VideoSource.of(tmp_path / "a.mov")
    (frame,) = frames_of(source)
    assert frame.image[0, [0, 15]].tolist() == [round(0.299 * 200 + 0.587 * 30 + 0.114 * 60), 0]
    assert source.notes() == (HAD_COLOR,)


def test_bt709_chroma_contributes_to_luminance(tmp_path: Path) -> None:
    tags = {"colors": (1, 1, 1, 1), "chroma": (90, 170), "options": {"crf": "0"}}
    make_video(tmp_path / "a.mp4", frames=1, **tags)
    source = VideoSource.of(tmp_path / "a.mp4")
    (frame,) = frames_of(source)
    added = (0.10158 * (90 - 128) + 0.19608 * (170 - 128)) / 224
    np.testing.assert_allclose(frame.image / 255, gray_frame(0, 48, 64) + added, atol=0.015)
    assert source.notes() == (HAD_COLOR,)


def test_a_part_of_a_video_has_its_own_frame_count(tmp_path: Path) -> None:
    times = make_video(tmp_path / "a.mp4", frames=50)
    source = VideoSource.of(tmp_path / "a.mp4", start=0.5, end=1.0)
    frames = frames_of(source)
    assert [frame.time for frame in frames] == [t for t in times if 45000 <= t < 90000]
    assert (frames[0].position, source.info.total) == (0, len(frames))


def test_a_part_after_the_end_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=5)
    with pytest.raises(ImageError, match=r"a\.mp4 has no frames after 100 s"):
        frames_of(VideoSource.of(tmp_path / "a.mp4", start=100.0))


def test_damaged_packets_are_skipped_with_a_note(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mov", frames=20, codec="png", layout="gray", b_frames=0)
    data = (tmp_path / "a.mov").read_bytes()
    tenth = -1
    for _ in range(10):
        tenth = data.index(b"\x89PNG", tenth + 1)
    (tmp_path / "a.mov").write_bytes(data[:tenth] + bytes(8) + data[tenth + 8 :])
    source = VideoSource.of(tmp_path / "a.mov")
    assert len(frames_of(source)) == 19
    assert source.notes() == ("1 damaged packet was left out.",)


def test_a_video_that_ends_early_gives_a_note(tmp_path: Path) -> None:
    make_video(tmp_path / "whole.mkv", frames=60)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    whole, cut = (VideoSource.of(tmp_path / name) for name in ("whole.mkv", "cut.mkv"))

    assert len(frames_of(whole)) == 60
    assert len(frames_of(cut)) < 40
    assert whole.notes() == ()
    assert re.fullmatch(
        r"The video ends after [\d.]+ s; its file declares 2\.\d+ s and may be incomplete\.",
        cut.notes()[-1],
    )
