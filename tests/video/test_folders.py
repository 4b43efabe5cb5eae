from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from sample_videos import TintResult, decoded_frames, gray_frame, make_video

from napari_colorize.errors import ImageError, OutputError
from napari_colorize.io.images import read_image, read_provenance
from napari_colorize.settings import ColorizeSettings
from napari_colorize.video import folders
from napari_colorize.video.plan import ExportOptions, plan_video
from napari_colorize.video.resume import work_folder

Run = Callable[..., Any]


def make_folder(folder: Path, count: int = 12, dtype: type = np.uint8) -> list[np.ndarray]:
    import tifffile

    folder.mkdir()
    white = np.iinfo(dtype).max
    frames = [np.rint(gray_frame(n, 24, 32) * white).astype(dtype) for n in range(count)]
    for number, frame in enumerate(frames):
        if dtype == np.uint8:
            Image.fromarray(frame).save(folder / f"shot {number}.png")
        else:
            tifffile.imwrite(folder / f"shot {number}.tif", frame)
    return frames


def test_a_folder_of_frames_becomes_a_folder_of_the_same_names(tmp_path: Path, run: Run) -> None:
    frames = make_folder(tmp_path / "in")
    run(tmp_path / "in", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(f"shot {n}.png" for n in range(12))
    for number in (0, 2, 10):
        result = read_image(tmp_path / "out" / f"shot {number}.png").array
        np.testing.assert_array_equal(result, TintResult(frames[number]).rgb)
    record = read_provenance(tmp_path / "out" / "shot 3.png")
    assert record is not None
    assert record["statement"] == "Colors are predicted by a neural network, not measured."


def test_results_of_earlier_runs_are_no_frames(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "in"
    make_folder(folder, 2)
    for name in ("shot 0-colorized.png", "shot 1-colorized.tif", "shot 1-error.png"):
        (folder / name).touch()

    job = run(folder, tmp_path / "out")

    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["shot 0.png", "shot 1.png"]
    assert "3 results of earlier runs ignored." in job.source.notes()


def test_a_folder_with_only_results_is_refused(tmp_path: Path, run: Run) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "shot 0-colorized.png").touch()
    with pytest.raises(ImageError, match=r"no images in .*1 result of earlier runs ignored\.$"):
        run(tmp_path / "in", tmp_path / "out")


def test_frames_with_equal_stems_have_a_result_each(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path / "in", 1)
    Image.new("L", (32, 24)).save(tmp_path / "in" / "shot 0.pgm")

    run(tmp_path / "in", tmp_path / "out")

    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["000000-shot 0.png", "000001-shot 0.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on this system")
def test_names_that_are_not_utf_8_are_kept(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path / "in", 2)
    odd = os.fsdecode(b"shot \xff.png")
    (tmp_path / "in" / "shot 1.png").rename(tmp_path / "in" / odd)

    run(tmp_path / "in", tmp_path / "out")

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["shot 0.png", odd]


@pytest.mark.parametrize("frames", [3, 12])
def test_an_interrupted_folder_is_resumed(
    tmp_path: Path, run: Run, model: Any, frames: int
) -> None:
    make_folder(tmp_path / "in")
    run(tmp_path / "in", tmp_path / "out", frames=frames)
    existing = tmp_path / "out.part" / "images"
    before = {path.name: path.stat().st_mtime_ns for path in existing.iterdir()}
    assert len(before) >= frames
    assert not (tmp_path / "out").exists()

    run(tmp_path / "in", tmp_path / "out", model=model)

    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert len(after) == 12
    assert after.items() >= before.items()
    assert len(model.images_received) == 12 - len(before)
    assert not (tmp_path / "out.part").exists()


def test_a_folder_left_by_an_earlier_version_is_resumed(
    tmp_path: Path, run: Run, model: Any
) -> None:
    make_folder(tmp_path / "in")
    settings = ColorizeSettings(temporal_smoothing=0.5)
    run(tmp_path / "in", tmp_path / "out", frames=3, settings=settings)
    part = tmp_path / "out.part"
    (part / "images").rename(part / "pictures")
    state = json.loads((part / "work.json").read_text())
    identity = state["identity"]
    identity["pictures"] = identity.pop("images")
    identity["settings"]["steadiness"] = identity["settings"].pop("temporal_smoothing")
    state["kept"] = state.pop("sink_state")
    (part / "work.json").write_text(json.dumps(state))

    job = run(tmp_path / "in", tmp_path / "out", settings=settings, model=model)

    assert job.resumed_frames >= 3
    assert len(list((tmp_path / "out").iterdir())) == 12


def test_a_nonempty_folder_needs_overwrite(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path / "in", 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    (tmp_path / "out" / "shot 1.png").write_text("old")
    with pytest.raises(OutputError, match="--overwrite"):
        run(tmp_path / "in", tmp_path / "out")
    run(tmp_path / "in", tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "letter.txt").read_text() == "mine"
    assert read_image(tmp_path / "out" / "shot 1.png").rgb


def test_frames_become_a_video_at_a_rate(tmp_path: Path, run: Run) -> None:
    frames = make_folder(tmp_path / "in")
    run(tmp_path / "in", tmp_path / "out.mp4", rate=Fraction(24000, 1001), quality=3)
    video = decoded_frames(tmp_path / "out.mp4")
    assert [f.pts * f.time_base for f in video] == [Fraction(1001 * n, 24000) for n in range(12)]
    gray = video[5].to_ndarray(format="gray", dst_color_range=2)
    assert np.abs(gray.astype(int) - frames[5]).mean() < 2


def test_16_bit_images_become_a_10_bit_video(tmp_path: Path, run: Run) -> None:
    make_folder(tmp_path / "in", 3, np.uint16)
    run(tmp_path / "in", tmp_path / "out.mp4")
    assert decoded_frames(tmp_path / "out.mp4")[0].format.name == "yuv420p10le"


def test_a_video_becomes_frames_in_display_orientation(tmp_path: Path, run: Run) -> None:
    make_video(tmp_path / "a.mp4", frames=11, rotation=90, options={"crf": "0"})
    run(tmp_path / "a.mp4", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{n:06d}.png" for n in range(11)]
    result = read_image(tmp_path / "out" / "000004.png").array
    upright = np.rot90(gray_frame(4, 48, 64))
    np.testing.assert_allclose(result @ [0.299, 0.587, 0.114] / 255, upright, atol=0.01)


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (Image.new("L", (40, 24)), "shot 2.png has 40 x 24 pixels, shot 0.png 32 x 24"),
        (Image.new("RGB", (32, 24)), "shot 2.png and shot 0.png differ"),
        (Image.new("I;16", (32, 24)), "shot 2.png and shot 0.png differ"),
        (Image.new("RGB", (32, 24), "red").convert("P"), "shot 2.png and shot 0.png differ"),
    ],
)
def test_frames_that_differ_are_refused_before_any_work(
    tmp_path: Path, frame: Image.Image, error: str
) -> None:
    make_folder(tmp_path / "in", 3)
    frame.save(tmp_path / "in" / "shot 2.png")
    with pytest.raises(ImageError, match=error):
        plan_video(tmp_path / "in", tmp_path / "out", ExportOptions())


def test_stacks_as_frames_are_refused_before_any_work(tmp_path: Path) -> None:
    import tifffile

    make_folder(tmp_path / "in", 2, np.uint16)
    tifffile.imwrite(tmp_path / "in" / "shot 1.tif", np.zeros((2, 24, 32), np.uint16))
    with pytest.raises(ImageError, match="shot 1.tif contains several images"):
        plan_video(tmp_path / "in", tmp_path / "out", ExportOptions())


def test_gray_palettes_and_other_formats_are_frames_of_the_same_kind(
    tmp_path: Path, run: Run
) -> None:
    make_folder(tmp_path / "in", 3)
    with Image.open(tmp_path / "in" / "shot 1.png") as image:
        image.convert("RGB").quantize(8).save(tmp_path / "in" / "shot 1.png")
        image.save(tmp_path / "in" / "shot 2.bmp")
    run(tmp_path / "in", tmp_path / "out.tif")
    assert len(read_image(tmp_path / "out.tif").array) == 4


def test_frames_with_equal_headers_are_not_decoded_to_check_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "in", 3)
    read = Mock(side_effect=read_image)
    monkeypatch.setattr(folders, "read_image", read)
    plan_video(tmp_path / "in", tmp_path / "out", ExportOptions())
    read.assert_called_once_with(tmp_path / "in" / "shot 0.png")


def test_an_empty_folder_is_refused(tmp_path: Path, run: Run) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(ImageError, match="There are no images in"):
        run(tmp_path / "in", tmp_path / "out")


def test_images_that_remain_in_the_folder_give_a_note(tmp_path: Path, run: Run) -> None:
    for name, count in (("long", 5), ("short", 2)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new("L", (16, 12), 90).save(tmp_path / name / f"{number}.png")
    run(tmp_path / "long", tmp_path / "out")

    work = run(tmp_path / "short", tmp_path / "out", overwrite=True)

    assert len(list((tmp_path / "out").iterdir())) == 5
    assert any("3 other images remain" in note for note in work.notes)
    assert not work_folder(tmp_path / "out").exists()


def test_frames_of_12_bits_share_a_range_and_keep_their_scale(
    tmp_path: Path, run: Run, model: Any
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, largest in enumerate((60, 4000, 500)):  # the first one is dark
        Image.fromarray(np.full((24, 32), largest, np.uint16)).save(folder / f"{number}.png")

    job = run(folder, tmp_path / "out", model=model)

    assert model.settings_received["declared_range"].limits == (0, 4095)
    assert sum("0 and 4095" in note for note in job.notes) == 1
    assert read_image(tmp_path / "out" / "1.png").array[..., 2].max() == 4000  # blue is unchanged
