"""Folders on a cluster: mostly one of threads in this process, at the end real processes."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from small_cluster import PATIENCE, embedded_batch, two_processes
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.batch import dask_cluster as clusters
from napari_colorize.batch import task
from napari_colorize.batch.dask_cluster import (
    AHEAD,
    FILES,
    ClusterBatch,
    colorize_files,
    connected,
    manifest_folder,
)
from napari_colorize.batch.manifest import NAME, read_manifest
from napari_colorize.batch.naming import Job, plan_batch
from napari_colorize.batch.runner import (
    BatchRunner,
    Event,
    ImageFailed,
    ImageWritten,
    OpenedJob,
    StepDone,
)
from napari_colorize.errors import CheckpointError, ColorizeError, OutputError
from napari_colorize.io.images import read_image
from napari_colorize.settings import ColorizeSettings

distributed = pytest.importorskip("distributed")

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "cluster.py"
THREADS = 2


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a scheduler with a worker of two threads, all in this process."""
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=THREADS,
        processes=False,
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(*names: str, shape: tuple[int, ...] = (20, 30)) -> None:
    """Pictures of noise, each another one."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, shape, dtype=np.uint8)
        if name.endswith(".tif"):
            import tifffile

            tifffile.imwrite(name, pixels, photometric="minisblack")
        else:
            Image.fromarray(pixels).save(name)


def tinting(**options: Any) -> BatchRunner:
    usual: dict[str, Any] = {"settings": ColorizeSettings()}
    return BatchRunner(colorizer=colorizer_of(TintNetwork()), **{**usual, **options})


def batch_at(address: str, **options: Any) -> ClusterBatch:
    return ClusterBatch(address=address, **{"make": tinting, "manifest": Path("out"), **options})


def jobs_of(*inputs: str, **options: Any) -> tuple[Job, ...]:
    return plan_batch(inputs or ["in"], "out", **options).jobs


def outcomes(events: list[Event], kind: Any = (ImageWritten, ImageFailed)) -> list[str]:
    return sorted(event.job.source.name for event in events if isinstance(event, kind))


def test_every_picture_becomes_what_the_colorizer_makes_of_it(folder: Path, scheduler: str) -> None:
    names = [f"{'sub/' * (number % 2)}{'x' * number}.png" for number in range(1, 40)]
    save(*[f"in/{name}" for name in names])

    events = list(
        batch_at(scheduler, make=partial(tinting, settings=ColorizeSettings(saturation=2.0))).run(
            jobs_of()
        )
    )

    paths = sorted(event.path.as_posix() for event in events if isinstance(event, ImageWritten))
    assert paths == sorted(f"out/{name}" for name in names)  # as they were given
    for name in names[::13]:
        expected = colorizer_of(TintNetwork())(read_image(f"in/{name}").array, saturation=2.0).rgb
        np.testing.assert_array_equal(read_image(f"out/{name}").array, expected)


def test_events_are_those_of_a_batch(folder: Path, scheduler: str) -> None:
    save("in/stack.tif", shape=(5, 16, 24))
    (opened, *steps, written) = batch_at(scheduler).run(jobs_of())
    assert isinstance(opened, OpenedJob)
    assert opened.steps == len(steps) == 5
    assert all(isinstance(step, StepDone) for step in steps)
    assert isinstance(written, ImageWritten)
    assert written.seconds > 0
    assert {event.job for event in (opened, *steps, written)} == set(jobs_of(overwrite=True))


def test_done_and_failed_stand_in_the_manifest(folder: Path, scheduler: str) -> None:
    save("in/a.png", "in/c.png")
    Path("in/b.png").touch()

    events = list(batch_at(scheduler).run(jobs_of()))

    assert (outcomes(events, ImageWritten), outcomes(events, ImageFailed)) == (
        ["a.png", "c.png"],
        ["b.png"],
    )
    known = read_manifest(Path("out"))
    assert known.keys() == {str(folder / "in" / name) for name in ("a.png", "b.png", "c.png")}
    done, failed = known[str(folder / "in/a.png")], known[str(folder / "in/b.png")]
    assert (done.result, done.error) == (str(folder / "out/a.png"), None)
    assert done.seconds is not None and done.seconds > 0
    assert failed.error is not None and "empty" in failed.error


@pytest.mark.parametrize("retry", [True, False])
def test_what_failed_is_tried_again_unless_told_not_to(
    folder: Path, scheduler: str, retry: bool
) -> None:
    save("in/a.png")
    Path("in/b.png").touch()
    list(batch_at(scheduler).run(jobs_of()))
    save("in/b.png", "in/c.png")

    events = list(batch_at(scheduler, retry=retry).run(jobs_of()))

    assert outcomes(events, ImageWritten) == (["b.png", "c.png"] if retry else ["c.png"])
    failed = [str(event.error) for event in events if isinstance(event, ImageFailed)]
    assert failed == ([] if retry else ["It failed before: b.png is empty (0 bytes)."])
    assert len((folder / "out" / NAME).read_text().splitlines()) == 2 + len(events) // 3


def test_results_that_nobody_could_note_are_noted(folder: Path, scheduler: str) -> None:
    save("in/a.png", "in/b.png")
    list(batch_at(scheduler).run(jobs_of("in/a.png")))
    Path("out", NAME).unlink()
    todo, kept = jobs_of(), jobs_of("in/a.png", overwrite=True)

    list(batch_at(scheduler).run(todo, kept))
    list(batch_at(scheduler).run((), (*kept, *todo)))  # all are known by now

    assert [entry.seconds is None for entry in read_manifest(Path("out")).values()] == [True, False]
    assert len(Path("out", NAME).read_text().splitlines()) == 2


def test_a_result_of_a_worker_that_died_is_taken_for_what_it_is(folder: Path) -> None:
    save("in/a.png", "in/b.png")
    jobs = jobs_of()
    colorize_files(jobs[:1], tinting)
    before = Path("out/a.png").stat()

    done = colorize_files(jobs, tinting)

    assert outcomes(list(done.events), ImageWritten) == ["a.png", "b.png"]
    assert Path("out/a.png").stat() == before
    colorize_files(jobs, partial(tinting, overwrite=True))
    assert Path("out/a.png").stat().st_mtime_ns > before.st_mtime_ns


def test_two_that_write_the_same_result_agree(folder: Path, monkeypatch: Any) -> None:
    save("in/a.png")
    write = task.write_image

    def second(*some: Any, **more: Any) -> None:
        write(*some, **more)
        write(*some, **more)  # the name is taken by now

    monkeypatch.setattr(task, "write_image", second)
    done = colorize_files(jobs_of(), tinting)
    assert outcomes(list(done.events), ImageWritten) == ["a.png"]


def test_a_bounded_number_of_tasks_is_under_way(
    folder: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    submit = distributed.Client.submit

    def counted(client: Any, work: Any, jobs: Any, *some: Any, **more: Any) -> Any:
        if work is colorize_files:
            sizes.append(len(jobs))
        return submit(client, work, jobs, *some, **more)

    monkeypatch.setattr(distributed.Client, "submit", counted)
    save(*[f"in/{number:03}.png" for number in range(160)], shape=(4, 4))

    with closing(batch_at(scheduler).run(jobs_of())) as events:
        next(event for event in events if isinstance(event, ImageWritten))
        assert len(sizes) <= AHEAD * THREADS
        list(events)

    assert sum(sizes) == 160
    assert max(sizes) == FILES


def test_no_more_is_written_when_nobody_asks(folder: Path, scheduler: str) -> None:
    save(*[f"in/{number:03}.png" for number in range(160)], shape=(4, 4))
    events = batch_at(scheduler).run(jobs_of())
    next(event for event in events if isinstance(event, ImageWritten))
    events.close()
    assert 0 < len(list(Path("out").glob("*.png"))) < 160


def test_a_full_disk_ends_it(folder: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, *_: Any, **__: Any) -> None:
        raise OutputError(f"{path} could not be written.") from OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(task, "write_image", write)
    save(*[f"in/{number:03}.png" for number in range(40)], shape=(4, 4))
    assert len(outcomes(list(batch_at(scheduler).run(jobs_of())))) == 1


def refuse() -> BatchRunner:
    raise CheckpointError("other weights")


def break_down() -> BatchRunner:
    raise KeyError("a bug")


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (refuse, CheckpointError, "other weights"),
        (break_down, ColorizeError, "A worker could not do its work (KeyError: 'a bug')"),
    ],
)
def test_what_concerns_all_pictures_ends_in_one_sentence(
    folder: Path, scheduler: str, make: Any, error: type[Exception], sentence: str
) -> None:
    save("in/a.png", "in/b.png")
    with pytest.raises(error, match=re.escape(sentence)):
        list(batch_at(scheduler, make=make).run(jobs_of()))
    assert read_manifest(Path("out")) == {}


class Lost:
    """A task that came to nothing."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def result(self) -> None:
        raise self.error


def test_of_pictures_that_workers_die_over_each_is_tried_alone(folder: Path) -> None:
    save("in/a.png", "in/b.png")
    jobs = jobs_of()
    lost: Any = Lost(distributed.KilledWorker("task", None, 3))

    assert clusters._outcome(lost, jobs) is None
    done = clusters._outcome(lost, jobs[:1])

    assert done is not None
    (event,) = done.told_of(jobs[:1])
    assert isinstance(event, ImageFailed)
    assert event.job == jobs[0]
    assert "died" in str(event.error)


def test_a_lost_connection_is_one_sentence() -> None:
    lost: Any = Lost(distributed.CancelledError("task"))
    with pytest.raises(ColorizeError, match="connection to the scheduler was lost"):
        clusters._outcome(lost, ())


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tcp://127.0.0.1:9", "There is no dask scheduler at tcp://127.0.0.1:9."),
        ("nonsense", "There is no dask scheduler at nonsense."),
        ("local:many", "local:many should be local, or local:4"),
        ("local:0", "local:0 should be local, or local:4"),
    ],
)
def test_a_wrong_address_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, address: str, sentence: str
) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 0.3)
    with pytest.raises(ColorizeError, match=re.escape(sentence)), connected(address):
        pass


def test_a_scheduler_without_workers_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 0.3)
    with (
        distributed.LocalCluster(
            n_workers=0,
            processes=False,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        ) as cluster,
        pytest.raises(ColorizeError, match="has no workers"),
        connected(cluster.scheduler_address),
    ):
        pass


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ColorizeError, match="pip install"), connected("local"):
        pass


@pytest.mark.parametrize(
    ("inputs", "out", "expected"),
    [
        (["in"], "out", "out"),
        (["in/a.png"], "b.png", "."),
        (["in"], None, "in"),
        (["in/a.png"], None, "in"),
        (["in/*.png", "in/sub/**"], None, "in"),
        (["in/sub", "in/a.png"], None, "in"),
    ],
)
def test_the_manifest_lies_with_the_results(
    folder: Path, inputs: list[str], out: str | None, expected: str
) -> None:
    save("in/a.png", "in/sub/b.png")
    assert manifest_folder(inputs, out).absolute() == Path(expected).absolute()


def test_two_processes_of_this_machine_do_the_work(folder: Path) -> None:
    save(*[f"in/{number:03}.png" for number in range(12)])
    batch = batch_at("local:2", make=embedded_batch)

    with closing(batch.run(jobs_of())) as events:
        next(events)
        children = psutil.Process().children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(_command(child))]
        list(events)

    assert len(list(Path("out").glob("*.png"))) == 12
    assert read_image("out/000.png").array.shape == (20, 30, 3)
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert not alive


def _command(process: psutil.Process) -> list[str]:
    return process.cmdline() if process.is_running() else []


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_picture(folder: Path) -> None:
    save(*[f"in/{number:03}.png" for number in range(60)])
    with two_processes() as client:
        batch = batch_at(client.scheduler.address, make=embedded_batch)
        with closing(batch.run(jobs_of())) as events:
            next(event for event in events if isinstance(event, ImageWritten))
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            list(events)
    for number in range(60):
        assert read_image(f"out/{number:03}.png").array.shape == (20, 30, 3)
    assert len(Path("out", NAME).read_text().splitlines()) == 60


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_a_killed_run_is_finished_by_the_next_one() -> None:
    if not BENCHMARK.is_file():
        pytest.skip("The folder benchmarks is not here.")
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--pictures", "300", "--kills", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| 1 | SIGKILL |" in done.stdout
    assert "All 300 results are whole" in done.stdout
