from __future__ import annotations

import pickle
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_videos import decoded, make_film, picture

from napari_colorize.errors import ImageError
from napari_colorize.video import lazy_frames
from napari_colorize.video.lazy_frames import VideoFrames, open_video


@pytest.fixture
def film(tmp_path: Path) -> VideoFrames:
    make_film(tmp_path / "a.mp4", frames=40, options={"crf": "0"})
    return open_video(tmp_path / "a.mp4")


def test_a_gray_film_is_an_array_of_gray_planes(film: VideoFrames) -> None:
    assert (film.shape, film.ndim, film.dtype) == ((40, 48, 64), 3, np.uint8)
    assert (len(film), film.size, film.nbytes) == (40, 40 * 48 * 64, 40 * 48 * 64)
    np.testing.assert_allclose(film[7] / 255, picture(7, 48, 64), atol=0.01)
    assert film.time(25) == 1.0


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
def test_it_is_indexed_like_an_array(film: VideoFrames, key: Any) -> None:
    whole = np.asarray(film)
    np.testing.assert_array_equal(film[key], whole[key])


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
def test_the_order_of_asking_does_not_matter(
    tmp_path: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_frames, "KEPT_FRAMES", 2)
    monkeypatch.setattr(lazy_frames, "NEAR", 3)
    how = dict(how)
    path = tmp_path / how.pop("name")
    make_film(path, frames=40, **how)
    film = open_video(path)
    whole = film[:]
    assert len(whole) == len(decoded(path)) == 40
    for number in np.random.default_rng(0).permutation(40):
        np.testing.assert_array_equal(film[int(number)], whole[number])


def test_frames_in_order_are_decoded_once(
    film: VideoFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    undisturbed = lazy_frames.raw_frames

    def counted(*arguments: Any) -> Any:
        opened.append(arguments)
        return undisturbed(*arguments)

    monkeypatch.setattr(lazy_frames, "raw_frames", counted)
    for number in range(40):
        film[number]
    assert len(opened) == 1


def test_colors_come_out_upright(tmp_path: Path) -> None:
    make_film(tmp_path / "a.mp4", frames=5, rotation=90, chroma=(90, 170), colors=(1, 1, 1, 1))
    film = open_video(tmp_path / "a.mp4")
    assert film.shape == (5, 64, 48, 3)
    red, _, blue = film[2].reshape(-1, 3).astype(float).mean(axis=0)
    gray = 255 * picture(2, 48, 64).mean()
    assert red - gray == pytest.approx(1.5748 * 42 / 224 * 255, abs=8)
    assert blue - gray == pytest.approx(-1.8556 * 38 / 224 * 255, abs=8)
    assert open_video(tmp_path / "a.mp4", rgb=False).shape == (5, 64, 48)


def test_several_threads_get_the_right_frames(film: VideoFrames) -> None:
    whole = film[:].copy()
    right = []

    def ask(seed: int) -> None:
        numbers = np.random.default_rng(seed).integers(0, 40, 30).tolist()
        right.extend(np.array_equal(film[number], whole[number]) for number in numbers)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 120


def test_more_than_memory_is_refused(film: VideoFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    class Little:
        available = 10_000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(ImageError, match="do not fit into memory"):
        np.asarray(film)
    assert film[3].shape == (48, 64)
    assert film[:2, :50].shape == (2, 48, 64)


def test_there_is_no_frame_behind_the_last(film: VideoFrames) -> None:
    with pytest.raises(IndexError, match="the film has 40"):
        film[40]


def test_it_can_be_sent_to_another_process(film: VideoFrames) -> None:
    again = pickle.loads(pickle.dumps(film))
    np.testing.assert_array_equal(again[9], film[9])


def test_a_colorizer_takes_it_as_a_stack(film: VideoFrames, tiny_colorizer: Any) -> None:
    planes = tiny_colorizer.iter_planes(film, rgb=False)
    index, colored = next(planes)
    assert (index, np.asarray(colored.rgb).shape) == ((0,), (48, 64, 3))
