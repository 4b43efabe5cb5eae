"""Stacks in a batch: equal to the `video` command, resumable, in a suitable format."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_colorize.batch.naming import plan_batch
from napari_colorize.batch.runner import BatchRunner, Event, ImageFailed, ImageWritten, StepDone
from napari_colorize.batch.task import Extras
from napari_colorize.colorizer import Colorizer
from napari_colorize.io.images import read_image
from napari_colorize.settings import ColorizeSettings
from napari_colorize.video import resume
from napari_colorize.video.plan import ExportOptions, default_temporal_smoothing, plan_video


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(name: str, shape: tuple[int, ...], axes: str, dtype: Any = np.uint8) -> np.ndarray:
    stack = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    tifffile.imwrite(name, stack, photometric="minisblack", metadata={"axes": axes})
    return stack


def run_batch(
    colorizer: Colorizer, *, extras: Extras | None = None, **settings: Any
) -> list[Event]:
    runner = BatchRunner(
        colorizer=colorizer, settings=ColorizeSettings(**settings), extras=extras or Extras()
    )
    return list(runner.run(plan_batch(["a.tif"], "batch.tif").jobs))


def run_video(colorizer: Colorizer, **settings: Any) -> None:
    plan = plan_video("a.tif", "video.tif", ExportOptions())
    for _ in plan.run(colorizer, ColorizeSettings(**settings), {}):
        pass


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize(
    "settings",
    [{}, {"temporal_smoothing": 0.85}, {"contrast_limits": (20.0, 90.0), "saturation": 1.5}],
)
def test_image_and_video_give_equal_stacks(
    tiny_colorizer: Colorizer, dtype: Any, settings: dict[str, Any]
) -> None:
    save("a.tif", (2, 4, 16, 24), "ZTYX", dtype)
    assert isinstance(run_batch(tiny_colorizer, **settings)[-1], ImageWritten)
    run_video(tiny_colorizer, **settings)
    batch, video = tifffile.imread("batch.tif"), tifffile.imread("video.tif")
    assert batch.dtype == video.dtype
    np.testing.assert_array_equal(batch, video)


def test_smoothing_acts_along_the_given_axis(tiny_colorizer: Colorizer) -> None:
    stack = save("a.tif", (3, 4, 16, 24), "QIYX")
    run_batch(tiny_colorizer, extras=Extras(time_axis=1), temporal_smoothing=0.85)
    result = tifffile.imread("batch.tif")
    for index, series in enumerate(stack):
        expected = tiny_colorizer.stream(series, rgb=False, temporal_smoothing=0.85)
        for plane, colorized in zip(result[index], expected, strict=True):
            np.testing.assert_array_equal(plane, colorized.rgb)


def test_a_time_axis_that_does_not_exist_fails(tiny_colorizer: Colorizer) -> None:
    save("a.tif", (3, 16, 24), "TYX")
    (*_, end) = run_batch(tiny_colorizer, extras=Extras(time_axis=1))
    assert isinstance(end, ImageFailed)
    assert "axis 1" in str(end.error)


def test_an_interrupted_stack_is_resumed_by_the_next_batch(
    tiny_colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "SAVE_INTERVAL", 2)
    stack = save("a.tif", (9, 16, 24), "TYX")
    runner = BatchRunner(colorizer=tiny_colorizer, settings=ColorizeSettings())
    jobs = plan_batch(["a.tif"], "batch.tif").jobs
    with closing(runner.run(jobs)) as events:
        for number, _ in enumerate(events):
            if number == 6:
                break
    assert not Path("batch.tif").exists()
    assert Path("batch.tif.part").is_dir()

    events = run_batch(tiny_colorizer)

    assert sum(isinstance(event, StepDone) for event in events) == 9
    end = events[-1]
    assert isinstance(end, ImageWritten)
    assert "is resumed after frame" in end.notes[0]
    assert not Path("batch.tif.part").exists()
    result = read_image("batch.tif").array
    for plane, gray in zip(result, stack, strict=True):
        np.testing.assert_array_equal(plane, tiny_colorizer(gray).rgb)


def test_other_settings_do_not_resume_a_stack(tiny_colorizer: Colorizer) -> None:
    save("a.tif", (20, 16, 24), "TYX")
    runner = BatchRunner(colorizer=tiny_colorizer, settings=ColorizeSettings())
    jobs = plan_batch(["a.tif"], "batch.tif").jobs
    with closing(runner.run(jobs)) as events:
        for number, _ in enumerate(events):
            if number == 18:
                break
    (*_, end) = run_batch(tiny_colorizer, saturation=2.0)
    assert isinstance(end, ImageFailed)
    assert "discard them with --overwrite" in str(end.error)


@pytest.mark.parametrize(
    ("names", "smoothing"),
    [
        (["film.mp4"], 0.85),
        (["1.png", "2.png"], 0.85),
        (["1.dcm", "2.dcm"], 0.0),
        (["a.tif"], 0.0),
        (["a.zarr"], 0.0),
    ],
)
def test_only_videos_and_folders_of_frames_are_smoothed_by_default(
    folder: Path, names: list[str], smoothing: float
) -> None:
    for name in names:
        if name == "a.zarr":
            (folder / name).mkdir()
            (folder / name / "zarr.json").write_text("{}")
        else:
            (folder / name).write_bytes(bytes(128) + b"DICM" * name.endswith(".dcm") + bytes(100))
    path = folder if len(names) > 1 else folder / names[0]

    assert default_temporal_smoothing(path) == smoothing
    assert ColorizeSettings().temporal_smoothing == 0
