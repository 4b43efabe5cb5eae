from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from sample_videos import decoded_frames, make_video, packets_of
from typer.testing import CliRunner, Result

from napari_colorize.cli.program import Program
from napari_colorize.cli.video import video
from napari_colorize.colorizer import Colorizer
from napari_colorize.runtime.claims import Claims
from napari_colorize.video import encoder, runner
from napari_colorize.video.plan import VIDEO_SMOOTHING

pytest.importorskip("av")

app = typer.Typer(cls=Program, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command()(video)
app.command("other")(lambda: None)  # with a second command, the first one is called by its name

cli_runner = CliRunner()


@pytest.fixture(autouse=True)
def folder(fast_network: Path) -> Path:
    return fast_network


def run(*arguments: str) -> Result:
    return cli_runner.invoke(app, ["video", *arguments], catch_exceptions=False)


def test_a_video_is_colorized_and_reported_in_two_lines() -> None:
    make_video(Path("a.mp4"), frames=12, audio="aac")
    done = run("a.mp4", "b.mp4", "--render-factor", "2")
    assert (done.exit_code, done.stdout) == (0, "b.mp4\n")
    assert done.stderr.startswith("b.mp4: 12 frames in ")
    assert len(done.stderr.splitlines()) == 1
    assert len(decoded_frames(Path("b.mp4"))) == 12
    assert packets_of(Path("b.mp4"), "audio") == packets_of(Path("a.mp4"), "audio")


def test_saturation_reaches_the_video() -> None:
    make_video(Path("a.mkv"), frames=2, codec="ffv1", b_frames=0)
    run("a.mkv", "b.mkv", "--codec", "libx264", "--quality", "0", "--temporal-smoothing", "0")
    run("a.mkv", "gray.mkv", "--codec", "libx264", "--quality", "0", "--saturation", "0")
    for name, vivid in (("b.mkv", True), ("gray.mkv", False)):
        rgb = decoded_frames(Path(name))[1].to_ndarray(format="rgb24").astype(int)
        spread = (rgb.max(axis=-1) - rgb.min(axis=-1)).max()
        assert spread > 40 if vivid else spread <= 2


@pytest.mark.parametrize("out", ["out.mp4", "out.mkv", "out", "out.tif", "out.zarr", "o.ome.zarr"])
def test_an_existing_result_says_how_it_was_made(out: str) -> None:
    frames = Path("frames")
    frames.mkdir()
    for number in range(3):
        Image.fromarray(np.eye(32, k=number, dtype=np.uint8) * 255).save(frames / f"{number}.png")
    run("frames", out, "--saturation", "0.5")
    for option, how in (("0.5", "the same settings"), ("2", "saturation 0.5")):
        refused = run("frames", out, "--saturation", option)
        assert refused.exit_code == 1
        assert f" and was made with {how}. Replace " in refused.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not allow")
def test_control_characters_of_names_are_escaped() -> None:
    make_video(Path("a.mp4"), frames=2)
    done = run("a.mp4", "b\x1b\n.mp4")
    assert done.stdout == "b\\x1b\\n.mp4\n"
    assert done.stderr.startswith("b\\x1b\\n.mp4: 2 frames")
    assert Path("b\x1b\n.mp4").is_file()


def test_a_result_that_is_older_than_its_input_says_so() -> None:
    make_video(Path("a.mp4"), frames=2)
    run("a.mp4", "b.mp4")
    os.utime("b.mp4", (0, 0))
    refused = run("a.mp4", "b.mp4")
    assert "b.mp4 exists, is older than its input and was made with the same" in refused.stderr


def test_files_of_a_folder_that_are_no_frames_are_counted() -> None:
    frames = Path("frames")
    frames.mkdir()
    for number in range(2):
        Image.fromarray(np.eye(32, k=number, dtype=np.uint8) * 255).save(frames / f"{number}.png")
    for name in ("notes.txt", "raw.dng", "b.dng", ".hidden"):
        (frames / name).touch()
    (note, _) = run("frames", "out").stderr.splitlines()
    assert note == (
        "3 files with suffixes that are not known as images were left out: .dng 2, .txt 1."
    )


def test_a_result_that_another_process_writes_is_refused() -> None:
    make_video(Path("a.mp4"), frames=2)
    other = Claims()
    other.take(Path("b.mp4"))
    refused = run("a.mp4", "b.mp4")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "b.mp4 is being written by another process." in refused.stderr
    assert not Path("b.mp4.part").exists()
    other.release_all()
    assert run("a.mp4", "b.mp4").exit_code == 0
    assert sorted(path.name for path in Path().iterdir()) == ["a.mp4", "b.mp4"]


def test_videos_are_smoothed_by_default() -> None:
    used: list[float] = []

    def stream(self: Any, images: Any, *, temporal_smoothing: float, **settings: Any) -> Any:
        used.append(temporal_smoothing)
        return original(self, images, temporal_smoothing=temporal_smoothing, **settings)

    make_video(Path("a.mp4"), frames=2)
    original = Colorizer.stream
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Colorizer, "stream", stream)
        run("a.mp4", "b.mp4")
        run("a.mp4", "c.mp4", "--temporal-smoothing", "0.2")
    assert used == [VIDEO_SMOOTHING, 0.2]


def test_quiet_prints_only_the_path() -> None:
    make_video(Path("a.mp4"), frames=2)
    done = run("a.mp4", "b.mp4", "-q")
    assert (done.stdout, done.stderr) == ("b.mp4\n", "")


def test_each_note_is_printed_once() -> None:
    make_video(Path("a.mp4"), frames=8, audio="aac")
    done = run("a.mp4", "b.webm", "--saturation", "0", "--temporal-smoothing", "0")
    output = done.stderr.splitlines()
    assert sum("cannot store the audio stream" in line for line in output) == 1
    assert len(output) == len(set(output))


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["a.mp4", "b.avi"], 1, ".avi files cannot be written"),
        (["nope.mp4", "b.mp4"], 1, "nope.mp4 does not exist."),
        (["a.mp4", "a.mp4"], 1, "a.mp4 exists. Replace it with --overwrite"),
        (["a.mp4", "b.mp4", "--rate", "25"], 2, "--rate sets the frame rate"),
        (["a.mp4", "b.mp4", "--rate", "fast"], 2, "--rate must be a number"),
        (["a.mp4", "b.mp4", "--codec", "nope"], 2, "The encoder 'nope' is not available"),
        (["a.mp4", "b.mp4", "--temporal-smoothing", "3"], 2, "--temporal-smoothing"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(
    arguments: list[str], code: int, sentence: str
) -> None:
    make_video(Path("a.mp4"), frames=2)
    done = run(*arguments)
    assert done.exit_code == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path().glob("*.part"))


def test_after_ctrl_c_the_same_command_resumes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_video(Path("a.mp4"), frames=30)
    original: Callable[..., Any] = runner._fill_range
    calls = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(encoder, "SEGMENT_FRAMES", 8)
    monkeypatch.setattr(runner, "_fill_range", interrupted)
    first = run("a.mp4", "b.mp4", "--temporal-smoothing", "0")
    monkeypatch.setattr(runner, "_fill_range", original)
    second = run("a.mp4", "b.mp4", "--temporal-smoothing", "0")

    assert first.exit_code == 130
    assert first.stderr.splitlines() == [
        "19 frames are done; repeat the command to resume.",
        "Interrupted.",
    ]
    assert second.exit_code == 0
    assert second.stderr.startswith("b.mp4.part is resumed after frame 19.")
    assert "11 frames in" in second.stderr
    assert len(decoded_frames(Path("b.mp4"))) == 30


def test_help_needs_neither_torch_nor_pyav() -> None:
    code = (
        "import sys; from napari_colorize.cli import video; "
        "print(*({'torch', 'av', 'zarr', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
