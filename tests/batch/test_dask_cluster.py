"""Batches on a cluster, mostly with threads in this process, finally with real processes."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from small_cluster import PATIENCE, embedded_batch, two_processes
from stand_ins import TintNetwork, colorizer_of

from napari_colorize import zoo
from napari_colorize.batch import dask_cluster, task
from napari_colorize.batch.dask_cluster import (
    MAX_FILES_PER_TASK,
    TASKS_IN_FLIGHT,
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
from napari_colorize.errors import (
    CheckpointError,
    ColorizeError,
    ColorizeWarning,
    DownloadError,
    OutputError,
)
from napari_colorize.io.images import read_image
from napari_colorize.model_spec import ModelSpec
from napari_colorize.settings import ColorizeSettings
from napari_colorize.zoo import download

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
    """Images of noise, all different."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, shape, dtype=np.uint8)
        if name.endswith(".tif"):
            import tifffile

            tifffile.imwrite(name, pixels, photometric="minisblack")
        else:
            Image.fromarray(pixels).save(name)


def make_batch(**options: Any) -> BatchRunner:
    defaults: dict[str, Any] = {"settings": ColorizeSettings()}
    defaults["colorizer"] = colorizer_of(TintNetwork())
    return BatchRunner(**{**defaults, **options})


def batch_at(address: str, **options: Any) -> ClusterBatch:
    return ClusterBatch(address=address, **{"make": make_batch, "manifest": Path("out"), **options})


def jobs_of(*inputs: str, **options: Any) -> tuple[Job, ...]:
    return plan_batch(inputs or ["in"], "out", **options).jobs


def outcomes(events: list[Event], kind: Any = (ImageWritten, ImageFailed)) -> list[str]:
    return sorted(event.job.source.name for event in events if isinstance(event, kind))


def test_every_result_equals_the_colorizers_result(folder: Path, scheduler: str) -> None:
    names = [f"{'sub/' * (number % 2)}{'x' * number}.png" for number in range(1, 40)]
    save(*[f"in/{name}" for name in names])

    events = list(
        batch_at(
            scheduler, make=partial(make_batch, settings=ColorizeSettings(saturation=2.0))
        ).run(jobs_of())
    )

    paths = sorted(event.path.as_posix() for event in events if isinstance(event, ImageWritten))
    assert paths == sorted(f"out/{name}" for name in names)  # relative, as given
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


def test_the_manifest_lists_done_and_failed_files(folder: Path, scheduler: str) -> None:
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
def test_failed_images_are_retried_unless_disabled(
    folder: Path, scheduler: str, retry: bool
) -> None:
    save("in/a.png")
    Path("in/b.png").touch()
    list(batch_at(scheduler).run(jobs_of()))
    save("in/b.png", "in/c.png")

    events = list(batch_at(scheduler, retry=retry).run(jobs_of()))

    assert outcomes(events, ImageWritten) == (["b.png", "c.png"] if retry else ["c.png"])
    failed = [str(event.error) for event in events if isinstance(event, ImageFailed)]
    assert failed == ([] if retry else ["It failed in an earlier run: b.png is empty (0 bytes)."])
    assert len((folder / "out" / NAME).read_text().splitlines()) == 2 + len(events) // 3


def test_unrecorded_results_are_added_to_the_manifest(folder: Path, scheduler: str) -> None:
    save("in/a.png", "in/b.png")
    list(batch_at(scheduler).run(jobs_of("in/a.png")))
    Path("out", NAME).unlink()
    todo, kept = jobs_of(), jobs_of("in/a.png", overwrite=True)

    list(batch_at(scheduler).run(todo, kept))
    list(batch_at(scheduler).run((), (*kept, *todo)))  # all are in the manifest now

    assert [entry.seconds is None for entry in read_manifest(Path("out")).values()] == [True, False]
    assert len(Path("out", NAME).read_text().splitlines()) == 2


def test_the_result_of_a_lost_worker_is_accepted(folder: Path) -> None:
    save("in/a.png", "in/b.png")
    jobs = jobs_of()
    colorize_files(jobs[:1], make_batch)
    before = Path("out/a.png").stat()

    done = colorize_files(jobs, make_batch)

    assert outcomes(list(done.events), ImageWritten) == ["a.png", "b.png"]
    assert Path("out/a.png").stat() == before
    colorize_files(jobs, partial(make_batch, overwrite=True))
    assert Path("out/a.png").stat().st_mtime_ns > before.st_mtime_ns


def test_two_workers_that_write_the_same_result_agree(folder: Path, monkeypatch: Any) -> None:
    save("in/a.png")
    write = task.write_image

    def second(*arguments: Any, **options: Any) -> None:
        write(*arguments, **options)
        write(*arguments, **options)  # the name exists now

    monkeypatch.setattr(task, "write_image", second)
    done = colorize_files(jobs_of(), make_batch)
    assert outcomes(list(done.events), ImageWritten) == ["a.png"]


def test_the_number_of_submitted_tasks_is_bounded(
    folder: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    submit = distributed.Client.submit

    def counted(client: Any, work: Any, jobs: Any, *arguments: Any, **options: Any) -> Any:
        if work is colorize_files:
            sizes.append(len(jobs))
        return submit(client, work, jobs, *arguments, **options)

    monkeypatch.setattr(distributed.Client, "submit", counted)
    save(*[f"in/{number:03}.png" for number in range(160)], shape=(4, 4))

    with closing(batch_at(scheduler).run(jobs_of())) as events:
        next(event for event in events if isinstance(event, ImageWritten))
        assert len(sizes) <= TASKS_IN_FLIGHT * THREADS
        list(events)

    assert sum(sizes) == 160
    assert max(sizes) == MAX_FILES_PER_TASK


def test_writing_stops_when_the_iterator_is_closed(folder: Path, scheduler: str) -> None:
    save(*[f"in/{number:03}.png" for number in range(160)], shape=(4, 4))
    events = batch_at(scheduler).run(jobs_of())
    next(event for event in events if isinstance(event, ImageWritten))
    events.close()
    assert 0 < len(list(Path("out").glob("*.png"))) < 160


def test_a_full_disk_ends_the_cluster_batch(
    folder: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, *_: Any, **__: Any) -> None:
        raise OutputError(f"{path} could not be written.") from OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(task, "write_image", write)
    save(*[f"in/{number:03}.png" for number in range(40)], shape=(4, 4))
    assert len(outcomes(list(batch_at(scheduler).run(jobs_of())))) == 1


def refuse() -> BatchRunner:
    raise CheckpointError("other weights")


def fail_task() -> BatchRunner:
    raise KeyError("a bug")


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (refuse, CheckpointError, "other weights"),
        (fail_task, ColorizeError, "A worker failed (KeyError: 'a bug')"),
    ],
)
def test_errors_of_all_images_end_the_batch(
    folder: Path, scheduler: str, make: Any, error: type[Exception], sentence: str
) -> None:
    save("in/a.png", "in/b.png")
    with pytest.raises(error, match=re.escape(sentence)):
        list(batch_at(scheduler, make=make).run(jobs_of()))
    assert read_manifest(Path("out")) == {}


class FailedFuture:
    """A task whose result raises an exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def result(self) -> None:
        raise self.error


def test_images_of_a_killed_task_are_tried_one_by_one(folder: Path) -> None:
    save("in/a.png", "in/b.png")
    jobs = jobs_of()
    lost: Any = FailedFuture(distributed.KilledWorker("task", None, 3))

    assert dask_cluster._task_result(lost, jobs) is None
    done = dask_cluster._task_result(lost, jobs[:1])

    assert done is not None
    (event,) = done.events_for(jobs[:1])
    assert isinstance(event, ImageFailed)
    assert event.job == jobs[0]
    assert "died" in str(event.error)


def test_a_lost_connection_is_reported() -> None:
    lost: Any = FailedFuture(distributed.CancelledError("task"))
    with pytest.raises(ColorizeError, match="connection to the scheduler was lost"):
        dask_cluster._task_result(lost, ())


def test_without_a_scheduler_nothing_is_created(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_TIMEOUT", 0.3)
    save("in/a.png")
    with pytest.raises(ColorizeError, match="There is no dask scheduler"):
        list(batch_at("tcp://127.0.0.1:9").run(jobs_of()))
    assert [path.name for path in folder.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tcp://127.0.0.1:9", "There is no dask scheduler at tcp://127.0.0.1:9."),
        ("nonsense", "There is no dask scheduler at nonsense."),
        ("local:many", "local:many must be local, or for example local:4"),
        ("local:0", "local:0 must be local, or for example local:4"),
    ],
)
def test_an_invalid_address_is_reported(
    monkeypatch: pytest.MonkeyPatch, address: str, sentence: str
) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_TIMEOUT", 0.3)
    with pytest.raises(ColorizeError, match=re.escape(sentence)), connected(address):
        pass


def test_a_scheduler_without_workers_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_TIMEOUT", 0.3)
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


def test_missing_dask_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_the_manifest_is_in_the_output_folder(
    folder: Path, inputs: list[str], out: str | None, expected: str
) -> None:
    save("in/a.png", "in/sub/b.png")
    assert manifest_folder(inputs, out).absolute() == Path(expected).absolute()


def test_two_local_processes_run_the_batch(folder: Path) -> None:
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


def test_local_workers_accept_only_clients_of_their_run(folder: Path) -> None:
    pytest.importorskip("cryptography")
    save("in/a.png", "in/bb.png")
    with connected("local:1") as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        for scheme in ("tls", "tcp"):
            with pytest.raises((OSError, TypeError, ValueError)):
                distributed.Client(address.replace("tls", scheme), timeout=5, set_as_default=False)
        make = client.submit(lambda: make_batch, pure=False)
        assert client.submit(colorize_files, [], make, pure=False).result() is not None


def listening_at(processes: list[psutil.Process]) -> list[Any]:
    """Addresses at which processes listen."""
    return [
        connection.laddr
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_local_workers_serve_no_pages_and_store_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    others = listening_at([psutil.Process()])  # sockets of other tests
    with connected("local:1") as client:
        processes = [psutil.Process(), *map(psutil.Process, client.run(os.getpid).values())]
        listening = [address for address in listening_at(processes) if address not in others]
        assert len(listening) >= 3
        assert {address.ip for address in listening} == {"127.0.0.1"}
        for address in listening:
            for page in ("", "status", "info/main/workers.html", "metrics", "health"):
                with pytest.raises(OSError):  # noqa: PT011, no such page, or TLS is expected
                    urllib.request.urlopen(f"http://127.0.0.1:{address.port}/{page}", timeout=30)
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]


def test_credentials_are_those_of_one_run() -> None:
    pytest.importorskip("cryptography")
    first, second = dask_cluster._temporary_credentials(), dask_cluster._temporary_credentials()
    assert first.require_encryption
    assert first.tls_client_key != second.tls_client_key


def test_a_worker_without_the_file_of_the_model_says_so(folder: Path, scheduler: str) -> None:
    save("in/a.png")
    shutil.copy(str(zoo.local_path(zoo.CATALOGUE["embedded"])), "own.safetensors")
    model = ModelSpec.from_model("own.safetensors", device="cpu")
    Path("own.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"own.safetensors does not exist on .* Copy it"):
        list(batch_at(scheduler, make=partial(batch_of, model)).run(jobs_of()))


def test_a_worker_fetches_a_model_of_the_catalogue(
    folder: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("in/a.png")
    file = zoo.local_path(zoo.CATALOGUE["embedded"])
    remote = replace(
        zoo.CATALOGUE["embedded"],
        file="remote.safetensors",
        urls=("https://example.org/remote",),
        sha256=download.sha256_of(file),
        size=file.stat().st_size,
    )
    monkeypatch.setenv(download.CACHE_VARIABLE, str(folder / "cache"))
    monkeypatch.setitem(zoo.CATALOGUE, "remote", remote)
    model = ModelSpec(checkpoint=remote, source="remote", device="cpu")

    def refuse(url: str, file: Any) -> None:
        raise download._BadResponse("could not be reached")

    def send(url: str, received: Any) -> None:
        received.write(file.read_bytes())
        received.check_complete()

    monkeypatch.setattr(download, "_receive", refuse)
    with pytest.raises(DownloadError, match="could not be downloaded"):
        list(batch_at(scheduler, make=partial(batch_of, model)).run(jobs_of()))
    monkeypatch.setattr(download, "_receive", send)
    events = list(batch_at(scheduler, make=partial(batch_of, model)).run(jobs_of()))
    assert outcomes(events, ImageWritten) == ["a.png"]
    assert (folder / "cache" / "remote.safetensors").is_file()


def batch_of(model: ModelSpec) -> BatchRunner:
    return make_batch(colorizer=model.load(), settings=ColorizeSettings(render_factor=1))


def test_without_credentials_the_risk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.warns(ColorizeWarning, match="pip install cryptography"):
        assert dask_cluster._temporary_credentials() is None


@pytest.mark.slow
def test_no_image_is_lost_with_a_killed_worker(folder: Path) -> None:
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
        [sys.executable, BENCHMARK, "--images", "300", "--kills", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| 1 | SIGKILL |" in done.stdout
    assert "All 300 results are complete" in done.stdout
