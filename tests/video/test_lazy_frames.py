from __future__ import annotations

import pickle
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_videos import decoded_frames, gray_frame, make_video

from napari_colorize.errors import ImageError
from napari_colorize.io import limits
from napari_colorize.video import lazy_frames
from napari_colorize.video.lazy_frames import VideoFrames, open_video


@pytest.fixture
def video(tmp_path: Path) -> VideoFrames:
    make_video(tmp_path / "a.mp4", frames=40, options={"crf": "0"})
    return open_video(tmp_path / "a.mp4")


def test_a_gray_video_is_an_array_of_gray_planes(video: VideoFrames) -> None:
    assert (video.shape, video.ndim, video.dtype) == ((40, 48, 64), 3, np.uint8)
    assert (len(video), video.size, video.nbytes) == (40, 40 * 48 * 64, 40 * 48 * 64)
    np.testing.assert_allclose(video[7] / 255, gray_frame(7, 48, 64), atol=0.01)
    assert video.time(25) == 1.0


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        np.int64(4),
        (5, slice(None), slice(None)),
        (slice(2, 9, 3), slice(10), 5),
        slice(None, None, -13),
        (Ellipsis, 0),
        ([1, 30, 2],),
        np.arange(40) % 19 == 0,
        (0, Ellipsis, slice(3, 4)),
    ],
    ids=str,
)
def test_it_is_indexed_like_an_array(video: VideoFrames, key: Any) -> None:
    whole = np.asarray(video)
    np.testing.assert_array_equal(video[key], whole[key])


@pytest.mark.parametrize(
    "how",
    [
        {"name": "a.mkv"},
        {"name": "a.ts"},
        {"name": "a.avi", "codec": "mpeg4", "time_base": Fraction(1, 25)},
        {"name": "a.mov", "layout": "yuv420p10le"},
    ],
    ids=lambda how: how["name"],
)
def test_frames_do_not_depend_on_the_order_of_access(
    tmp_path: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_frames, "CACHE_FRAMES", 2)
    monkeypatch.setattr(lazy_frames, "DECODE_AHEAD", 3)
    how = dict(how)
    path = tmp_path / how.pop("name")
    make_video(path, frames=40, **how)
    video = open_video(path)
    whole = video[:]
    assert len(whole) == len(decoded_frames(path)) == 40
    for number in np.random.default_rng(0).permutation(40):
        np.testing.assert_array_equal(video[int(number)], whole[number])


def test_frames_in_order_are_decoded_once(
    video: VideoFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    undisturbed = lazy_frames.raw_frames

    def counted(*arguments: Any) -> Any:
        opened.append(arguments)
        return undisturbed(*arguments)

    monkeypatch.setattr(lazy_frames, "raw_frames", counted)
    for number in range(40):
        video[number]
    assert len(opened) == 1


def test_color_frames_have_display_orientation(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=5, rotation=90, chroma=(90, 170), colors=(1, 1, 1, 1))
    video = open_video(tmp_path / "a.mp4")
    assert video.shape == (5, 64, 48, 3)
    red, _, blue = video[2].reshape(-1, 3).astype(float).mean(axis=0)
    gray = 255 * gray_frame(2, 48, 64).mean()
    assert red - gray == pytest.approx(1.5748 * 42 / 224 * 255, abs=8)
    assert blue - gray == pytest.approx(-1.8556 * 38 / 224 * 255, abs=8)
    assert open_video(tmp_path / "a.mp4", rgb=False).shape == (5, 64, 48)


def test_several_threads_get_the_right_frames(video: VideoFrames) -> None:
    whole = video[:].copy()
    right = []

    def ask(seed: int) -> None:
        numbers = np.random.default_rng(seed).integers(0, 40, 30).tolist()
        right.extend(np.array_equal(video[number], whole[number]) for number in numbers)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 120


def test_more_frames_than_memory_are_refused(
    video: VideoFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    class Little:
        available = 10_000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    monkeypatch.setattr(limits, "_UNCHECKED", 0)
    with pytest.raises(ImageError, match=r"needs about 0\.0 GB of memory to be read"):
        np.asarray(video)
    assert video[3].shape == (48, 64)
    assert video[:2, :50].shape == (2, 48, 64)


def test_an_index_after_the_last_frame_raises(video: VideoFrames) -> None:
    with pytest.raises(IndexError, match="the video has 40"):
        video[40]


def test_it_can_be_pickled(video: VideoFrames) -> None:
    again = pickle.loads(pickle.dumps(video))
    np.testing.assert_array_equal(again[9], video[9])


def test_a_colorizer_accepts_a_video_as_a_stack(video: VideoFrames, tiny_colorizer: Any) -> None:
    planes = tiny_colorizer.iter_planes(video, rgb=False)
    index, colored = next(planes)
    assert (index, np.asarray(colored.rgb).shape) == ((0,), (48, 64, 3))
