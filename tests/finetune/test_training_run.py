"""Run folder and detached process of a training run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from napari_colorize.finetune import training_run as training_run
from napari_colorize.finetune.training_run import (
    State,
    TrainingRequest,
    TrainingRun,
    new_run_folder,
    runs,
)
from napari_colorize.zoo import CATALOGUE, local_path

CHILD = Path(__file__).with_name("finetune_child.py")


@pytest.fixture(autouse=True)
def models_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def run(models_folder, tmp_path, monkeypatch) -> Iterator[TrainingRun]:
    """A run of the fake training program, not launched yet."""
    use_fake_training(monkeypatch)
    Image.new("RGB", (40, 40), (200, 90, 30)).save(tmp_path / "one.png")
    base = str(local_path(CATALOGUE["embedded"]))
    request = TrainingRequest(
        base=base, data=(str(tmp_path),), model=str(models_folder / "mine.safetensors")
    )
    run = TrainingRun.create(request, new_run_folder("mine"))
    yield run
    run.kill()


def use_fake_training(monkeypatch) -> None:
    whole = TrainingRun.command.fget
    monkeypatch.setattr(
        TrainingRun,
        "command",
        property(lambda self: [sys.executable, str(CHILD), *whole(self)[3:]]),
    )


def until(claim: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not claim() and time.monotonic() < end:
        time.sleep(0.01)
    return claim()


def last(run: TrainingRun) -> str:
    return str(run.last_event().get("event"))


def test_the_command_is_accepted_by_the_training_program(run):
    from napari_colorize_training.__main__ import app
    from typer.testing import CliRunner

    request = TrainingRequest(
        base="no-such-model",
        data=("a", "b"),
        model="m",
        augment="stains",
        degrade="none",
        group="folder",
        steps=3,
    )
    request.save(run.folder)
    words = training_run.TrainingRun(run.folder).command[2:]

    result = CliRunner().invoke(app, words)

    assert result.exit_code == 1  # 2 would be a usage error
    assert "no-such-model" in result.stdout


def test_a_run_pauses_resumes_and_writes_a_model(run, models_folder):
    run.launch()
    assert until(lambda: last(run) == "step") and run.state is State.RUNNING

    run.control("pause")
    assert until(lambda: last(run) == "paused")
    assert run.is_running
    run.control("resume")
    assert until(lambda: last(run) == "step")
    run.control("finish")

    assert until(lambda: run.state is State.DONE)
    assert (models_folder / "mine.safetensors").is_file()


def test_a_stopped_run_continues_where_it_ended(run):
    run.launch()
    assert until(lambda: run.last_event().get("step", 0) > 3)
    run.control("stop")
    assert until(lambda: run.state is State.STOPPED)
    reached = run.last_event()["step"]

    run.launch()

    assert until(lambda: run.last_event().get("step", 0) > reached)
    starts = [event["step"] for event in everything(run) if event["event"] == "start"]
    assert starts == [0, reached]


def everything(run: TrainingRun) -> list[dict]:
    run.rewind()
    return [event for block in iter(run.read, []) for event in block]


def test_a_killed_run_is_interrupted_and_an_incomplete_line_is_skipped(run):
    run.launch()
    assert until(lambda: last(run) == "step")
    run.kill()
    assert until(lambda: run.state is State.INTERRUPTED)
    with (run.folder / "events.jsonl").open("a") as file:
        file.write('{"event": "st')

    run.launch()

    assert until(lambda: [e["event"] for e in everything(run)].count("start") == 2)


def test_a_launch_while_it_is_running_changes_nothing(run):
    run.launch()
    record = (run.folder / "process.json").read_text()

    run.launch()

    assert (run.folder / "process.json").read_text() == record


def test_another_process_of_the_same_id_is_not_the_run(run):
    mine = {"pid": os.getpid(), "started": 1.0}  # alive, but started at another time
    (run.folder / "process.json").write_text(json.dumps(mine))

    assert not run.is_running and run.state is State.INTERRUPTED


@pytest.mark.skipif(sys.platform == "win32", reason="Sends a signal.")
def test_a_run_survives_its_starter_and_is_controlled_by_another_process(run):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from napari_colorize.finetune.training_run import TrainingRun\n"
        f"TrainingRun.command = {run.command!r}\n"
        f"TrainingRun(Path({str(run.folder)!r})).launch()\n"
        "print('launched', flush=True)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    assert starter.stdout is not None and starter.stdout.readline() == b"launched\n"
    assert until(lambda: last(run) == "step")

    os.killpg(starter.pid, signal.SIGKILL)  # as a terminal kills its processes
    starter.communicate()

    reached = run.last_event()["step"]
    assert until(lambda: run.last_event().get("step", 0) > reached + 3)
    (found,) = runs()
    found.control("finish")
    assert until(lambda: found.state is State.DONE)


def test_the_failure_reason_is_the_error_event(run):
    for image in Path(run.request.data[0]).glob("*.png"):
        image.unlink()

    run.launch()

    assert until(lambda: run.state is State.FAILED)
    assert run.failure_reason() == "There are no training images."


def test_the_failure_reason_of_a_crash_is_the_last_line(run, monkeypatch):
    crash = [sys.executable, "-c", "import sys; sys.stderr.write('warned\\n'); 1 / 0"]
    monkeypatch.setattr(TrainingRun, "command", crash)

    run.launch()

    assert until(lambda: run.state is State.FAILED)
    assert run.failure_reason() == "ZeroDivisionError: division by zero"


def test_tidy_keeps_only_the_log(run):
    run.launch()
    run.control("finish")
    assert until(lambda: run.state is State.DONE) and run.is_complete

    run.tidy()

    assert {path.name for path in run.folder.iterdir()} <= set(training_run.KEPT)
    assert run.state is State.DONE and not run.is_complete


def test_a_long_log_is_read_completely_in_several_calls(run):
    lines = [json.dumps({"event": "step", "step": n, "more": "x" * 90}) for n in range(3000)]
    (run.folder / "events.jsonl").write_text("\n".join(["no json", "[1]", *lines, '{"event": "ha']))

    blocks = list(iter(run.read, []))

    assert len(blocks) > 3
    assert [event["step"] for block in blocks for event in block] == list(range(3000))


def test_runs_are_listed_newest_first_without_invalid_folders(run, models_folder):
    later = TrainingRequest(
        base="embedded", data=(), model=str(models_folder / "b"), created=run.request.created + 9
    )
    TrainingRun.create(later, new_run_folder("mine"))
    (models_folder / "runs" / "stray").mkdir()
    (models_folder / "runs" / "broken").mkdir()
    (models_folder / "runs" / "broken" / "request.json").write_text('{"base": 1}')

    assert [found.request for found in runs()] == [later, run.request]
    assert [found.folder.name for found in runs()] == ["mine-2", "mine"]


def test_folders_of_earlier_versions_are_opened(models_folder):
    folder = new_run_folder("old")
    folder.mkdir(parents=True)
    saved = {"base": "embedded", "data": ["a"], "model": str(models_folder / "old"), "begun": 5.0}
    (folder / "asked.json").write_text(json.dumps(saved))
    (folder / "told.jsonl").write_text('{"event": "done"}\n')

    (run,) = runs()
    run.control("resume")

    assert (run.request.created, run.state) == (5.0, State.DONE)
    assert (folder / "orders.txt").exists() or (folder / "control.txt").exists()
    run.tidy()
    assert {path.name for path in folder.iterdir()} == {"asked.json", "told.jsonl"}
