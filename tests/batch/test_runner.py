from __future__ import annotations

import errno
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stand_ins import TintNetwork, colorizer_of
from torch import Tensor

from napari_colorize.batch import runner, task
from napari_colorize.batch.naming import plan_batch
from napari_colorize.batch.runner import (
    READ_AHEAD,
    BatchRunner,
    Event,
    ImageFailed,
    ImageKept,
    ImageWritten,
    OpenedJob,
    StepDone,
)
from napari_colorize.colorizer import Colorizer
from napari_colorize.errors import OutputError
from napari_colorize.io.file_names import COLORIZED, SWEEP
from napari_colorize.io.images import read_image, read_provenance
from napari_colorize.settings import ColorizeSettings

TIMEOUT = 60  # seconds that a thread waits for another one before the test fails


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(name: str, pixels: np.ndarray) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".tif"):
        import tifffile

        tifffile.imwrite(name, pixels, photometric="minisblack")
    else:
        Image.fromarray(pixels).save(name)


def gray(seed: int = 0, *shape: int, dtype: Any = np.uint8) -> np.ndarray:
    """Noise with 256 gray values over the range of a dtype."""
    steps = np.random.default_rng(seed).integers(0, 256, shape or (32, 48))
    return (steps * (np.iinfo(dtype).max // 255)).astype(dtype)


def run(
    colorizer: Colorizer,
    *inputs: str,
    out: str | None = "out",
    sweep: tuple[int, ...] = (),
    overwrite: bool = False,
    **settings: Any,
) -> list[Event]:
    todo = plan_batch(inputs, out, ending=SWEEP if sweep else COLORIZED, overwrite=overwrite)
    chosen = ColorizeSettings(**settings)
    batch = BatchRunner(colorizer=colorizer, settings=chosen, sweep=sweep, overwrite=overwrite)
    return list(batch.run(todo.jobs))


def written(events: list[Event]) -> list[str]:
    return [event.path.as_posix() for event in events if isinstance(event, ImageWritten)]


def test_every_result_equals_the_colorizers_result(folder: Path, tiny_colorizer: Colorizer) -> None:
    images = {f"in/{seed}.png": gray(seed) for seed in range(5)}
    for name, pixels in images.items():
        save(name, pixels)

    events = run(tiny_colorizer, "in", saturation=2.0)

    assert written(events) == [name.replace("in", "out") for name in images]
    for name, pixels in images.items():
        result = read_image(name.replace("in", "out"))
        np.testing.assert_array_equal(result.array, tiny_colorizer(pixels, saturation=2.0).rgb)


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_runs_on_one_folder_share_the_work(folder: Path, overwrite: bool) -> None:
    for seed in range(12):
        save(f"in/{seed}.png", gray(seed))
    save("in/broken.png", gray(99))
    Path("in/broken.png").write_bytes(b"no image")
    if overwrite:
        run(colorizer_of(TintNetwork()), "in")
        for path in Path("out").iterdir():
            os.utime(path, (0, 0))
    jobs = plan_batch(["in"], "out", overwrite=overwrite).jobs
    meeting = threading.Barrier(2, timeout=TIMEOUT)

    def work() -> list[Event]:
        batch = BatchRunner(
            colorizer=colorizer_of(TintNetwork()), settings=ColorizeSettings(), overwrite=overwrite
        )
        meeting.wait()
        return list(batch.run(jobs))

    with ThreadPoolExecutor(2) as threads:
        one, other = (future.result() for future in [threads.submit(work) for _ in range(2)])

    assert sorted(written(one) + written(other)) == sorted(f"out/{n}.png" for n in range(12))
    for events in (one, other):
        ends = [each for each in events if isinstance(each, ImageWritten | ImageKept)]
        assert {each.path.name for each in ends} == {f"{n}.png" for n in range(12)}
        (failed,) = (each for each in events if isinstance(each, ImageFailed))
        assert failed.job.source == Path("in/broken.png")
    assert all(not path.name.startswith(".") for path in Path("out").iterdir())


def test_a_failed_run_leaves_no_empty_folder(folder: Path, tiny_colorizer: Colorizer) -> None:
    Path("in").mkdir()
    Path("in/a.png").write_bytes(b"no image")
    assert isinstance(run(tiny_colorizer, "in")[-1], ImageFailed)
    assert not Path("out").exists()


def test_events_report_steps_and_task_result(folder: Path, tiny_colorizer: Colorizer) -> None:
    save("stack.tif", gray(0, 5, 16, 24))
    (event, *steps, end) = run(tiny_colorizer, "stack.tif", out=None)
    assert isinstance(event, OpenedJob)
    assert event.steps == len(steps) == 5
    assert all(isinstance(step, StepDone) for step in steps)
    assert isinstance(end, ImageWritten)
    assert end.seconds > 0


@pytest.mark.parametrize("shape", [(7, 16, 24), (2, 3, 16, 24), (40, 16, 24)])
def test_a_stack_is_colorized_plane_by_plane(
    folder: Path, tiny_colorizer: Colorizer, shape: tuple[int, ...]
) -> None:
    stack = gray(1, *shape, dtype=np.uint16)
    save("in/stack.tif", stack)

    assert written(run(tiny_colorizer, "in")) == ["out/stack.tif"]

    result = read_image("out/stack.tif").array
    assert result.shape == (*shape, 3)
    for index in np.ndindex(*shape[:-2]):
        np.testing.assert_array_equal(result[index], tiny_colorizer(stack[index]).rgb)


def test_an_animation_stays_an_animation(folder: Path, tiny_colorizer: Colorizer) -> None:
    frames = [Image.fromarray(gray(seed)) for seed in range(3)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:], duration=[100, 200, 300])
    assert written(run(tiny_colorizer, "a.gif")) == ["out/a.webp"]
    result = read_image("out/a.webp")
    assert result.array.shape == (3, 32, 48, 3)
    assert result.metadata.durations == (100, 200, 300)


def test_a_damaged_file_does_not_stop_the_batch(folder: Path, tiny_colorizer: Colorizer) -> None:
    for name in ("in/a.png", "in/c.png"):
        save(name, gray())
    Path("in/b.png").write_bytes(Path("in/a.png").read_bytes()[:60])
    Path("in/d.png").touch()

    events = run(tiny_colorizer, "in")

    assert written(events) == ["out/a.png", "out/c.png"]
    failed = {
        event.job.source.name: str(event.error) for event in events if type(event) is ImageFailed
    }
    assert failed.keys() == {"b.png", "d.png"}
    assert "empty" in failed["d.png"]


def test_a_result_that_cannot_be_written_is_an_event(
    folder: Path, tiny_colorizer: Colorizer
) -> None:
    for name in ("in/a.png", "in/sub/b.png", "in/z.png"):
        save(name, gray())
    save("in/sub/stack.tif", gray(0, 3, 8, 8))
    Path("out").mkdir()
    Path("out/sub").touch()  # a file at the path of a folder, created after planning
    todo = plan_batch(["in"], "elsewhere").jobs
    moved = [replace(job, folder=Path("out", *job.folder.parts[1:])) for job in todo]

    events = list(BatchRunner(colorizer=tiny_colorizer, settings=ColorizeSettings()).run(moved))

    assert written(events) == ["out/a.png", "out/z.png"]
    assert [type(event.error) for event in events if type(event) is ImageFailed] == [
        OutputError
    ] * 2


def test_a_full_disk_ends_the_batch(
    folder: Path, tiny_colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, *_: Any, **__: Any) -> None:
        raise OutputError(f"{path} could not be written.") from OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(task, "write_image", write)
    for seed in range(9):
        save(f"in/{seed}.png", gray(seed))
    outcomes = [
        event
        for event in run(tiny_colorizer, "in")
        if isinstance(event, (ImageFailed, ImageWritten))
    ]
    assert len(outcomes) == 1


class RecordingModel(TintNetwork):
    """A network that calls a function at every run."""

    def __init__(self, at_work: Any) -> None:
        super().__init__()
        self.at_work = at_work

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        self.at_work()
        return super().forward(gray, self_attention)


def test_decoding_and_encoding_overlap_with_the_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first network run waits for the second decoding, the first writing for the second run."""
    for seed in range(3):
        save(f"in/{seed}.png", gray(seed))
    second_read, second_run = threading.Event(), threading.Event()
    waits: list[bool] = []
    read, write = runner.read_image, task.write_image

    def reading(path: Path) -> Any:
        if path.name == "1.png":
            second_read.set()
        return read(path)

    def network() -> None:
        if waits:
            second_run.set()
        else:
            waits.append(second_read.wait(TIMEOUT))

    def writing(path: Path, *rest: Any, **options: Any) -> None:
        if path.name == "0.png":
            waits.append(second_run.wait(TIMEOUT))
        write(path, *rest, **options)

    monkeypatch.setattr(runner, "read_image", reading)
    monkeypatch.setattr(task, "write_image", writing)
    events = run(colorizer_of(RecordingModel(network)), "in")

    assert len(written(events)) == 3
    assert waits == [True, True]


def test_few_images_are_in_memory_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(12):
        save(f"in/{seed:02}.png", gray(seed, 8, 8))
    counts = {"read": 0, "run": 0, "written": 0}
    ahead: list[int] = []
    behind: list[int] = []
    read, write = runner.read_image, task.write_image

    def reading(path: Path) -> Any:
        counts["read"] += 1
        ahead.append(counts["read"] - counts["run"])
        return read(path)

    def network() -> None:
        counts["run"] += 1
        behind.append(counts["run"] - counts["written"])

    def writing(*rest: Any, **options: Any) -> None:
        write(*rest, **options)
        counts["written"] += 1

    monkeypatch.setattr(runner, "read_image", reading)
    monkeypatch.setattr(task, "write_image", writing)
    run(colorizer_of(RecordingModel(network)), "in")

    assert max(ahead) <= READ_AHEAD + 1
    assert max(behind) <= runner.WRITE_BEHIND + 2


def test_a_closed_batch_leaves_complete_files_only(folder: Path) -> None:
    for seed in range(8):
        save(f"in/{seed}.png", gray(seed))
    save("in/3.tif", gray(0, 9, 8, 8))
    todo = plan_batch(["in"], "out")
    batch = BatchRunner(colorizer=colorizer_of(TintNetwork()), settings=ColorizeSettings())
    before = _pool_threads()
    with closing(batch.run(todo.jobs)) as events:
        for event in events:
            if isinstance(event, StepDone) and event.job.source.name == "3.tif":
                break  # the stack is open, images wait to be written

    existing = sorted(path.name for path in Path("out").iterdir() if path.is_file())
    assert "3.tif" not in existing
    assert Path("out/3.tif.part").is_dir()  # a later run resumes the stack
    assert all(re.fullmatch(r"\d\.png", name) for name in existing)
    for name in existing:
        assert read_image(Path("out") / name).array.shape == (32, 48, 3)
    assert not _pool_threads() - before
    rest = list(batch.run(plan_batch(["in"], "out").jobs))
    assert len(existing) + len(written(rest)) == 9


def _pool_threads() -> set[threading.Thread]:
    """Threads of pools, also of tests before; not those of pytest's timeout and of bars."""
    return {each for each in threading.enumerate() if each.name.startswith("ThreadPoolExecutor")}


def test_old_temporary_files_of_killed_runs_are_removed(
    folder: Path, tiny_colorizer: Colorizer
) -> None:
    save("in/a.png", gray())
    Path("out").mkdir()
    old, young, foreign = (Path("out") / f".{name}.part" for name in ("0" * 12, "f" * 12, "yours"))
    for piece in (old, young, foreign):
        piece.touch()
    for piece in (old, foreign):
        os.utime(piece, (0, 0))
    run(tiny_colorizer, "in")
    assert {path.name for path in Path("out").iterdir()} == {"a.png", young.name, foreign.name}


def test_results_contain_provenance_unless_disabled(
    folder: Path, tiny_colorizer: Colorizer
) -> None:
    save("in/a.png", gray())
    save("in/stack.tif", gray(0, 3, 8, 8))
    run(tiny_colorizer, "in", out="with", saturation=1.5)
    run(tiny_colorizer, "in", out="without", provenance=False)
    for name in ("a.png", "stack.tif"):
        entry = read_provenance(f"with/{name}")
        assert entry is not None
        assert entry["settings"]["saturation"] == 1.5  # type: ignore[index]
        assert read_provenance(f"without/{name}") is None


def test_explicit_limits_are_stretched_to_the_full_range(
    folder: Path, tiny_colorizer: Colorizer
) -> None:
    pixels = np.linspace(-1000, 3000, 32 * 48).astype(np.int16).reshape(32, 48)
    save("a.tif", pixels)
    events = run(tiny_colorizer, "a.tif", contrast_limits=(-200.0, 400.0), saturation=0.0)
    (note,) = (event.notes for event in events if isinstance(event, ImageWritten))
    stretched = "file is stretched to the full range of its type."
    assert note == (f"Contrast limits are -200 and 400: the {stretched}",)
    result = read_image("out/a.tif").array
    expected = np.clip((pixels + 200.0) / 600, 0, 1) * 65535
    assert result.dtype == np.uint16
    assert np.abs(result[..., 0] - expected).max() <= 65535 / 600

    save("b.tif", np.stack([pixels, pixels]))
    for name in ("a.tif", "b.tif"):
        events = run(tiny_colorizer, name, contrast_limits="data", overwrite=True)
        ((note,),) = (event.notes for event in events if isinstance(event, ImageWritten))
        assert note.startswith(
            f"Contrast limits were taken from the data: -1000 and 3000. The {stretched} Other "
        )


def test_a_sheet_shows_gray_and_every_render_factor(
    folder: Path, tiny_colorizer: Colorizer
) -> None:
    save("in/a.png", gray(0, 48, 32))
    save("in/deep.tif", gray(0, 5, 48, 32, dtype=np.uint16))
    events = run(tiny_colorizer, "in", sweep=(2, 4, 8))
    assert written(events) == ["out/a-sweep.png", "out/deep-sweep.png"]
    assert [event.steps for event in events if type(event) is OpenedJob] == [3, 3]
    sheets = [read_image(name) for name in written(events)]
    assert sheets[0].array.shape == sheets[1].array.shape  # a grid of 2 x 2
    entry = read_provenance("out/a-sweep.png")
    assert entry is not None
    assert entry["settings"]["render_factor"] == [2, 4, 8]  # type: ignore[index]
    (note,) = (event.notes for event in events if type(event) is ImageWritten and event.notes)
    assert note == ("The sheet shows plane 2 of the stack.",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_a_sheet_shows_any_dtype_over_its_range(
    folder: Path, tiny_colorizer: Colorizer, dtype: Any
) -> None:
    ramp = np.tile(np.linspace(0, 1, 64), (64, 1))
    scale = {np.uint16: 65535, np.int32: 2**20 - 1, np.float32: 1}.get(dtype, 255)
    save("a.tif", (ramp * scale).astype(dtype))
    run(tiny_colorizer, "a.tif", sweep=(4,))
    images_received = read_image("out/a-sweep.png").array[200, 12 : 12 + 480, 0].astype(int)
    assert images_received[0] <= 3
    assert images_received[-1] >= 252
    assert (np.diff(images_received) >= 0).all()


def test_a_stack_for_an_unsuitable_format_is_refused_at_once(folder: Path) -> None:
    runs: list[int] = []
    save("stack.tif", gray(0, 40, 16, 16, dtype=np.uint16))
    colorizer = colorizer_of(RecordingModel(lambda: runs.append(1)))
    (_, end) = run(colorizer, "stack.tif", out="stack.png")
    assert isinstance(end, ImageFailed)
    assert "PNG cannot store this stack of uint16" in str(end.error)
    assert not runs
