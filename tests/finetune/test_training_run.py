"""A training as a folder and a process that nobody holds: what a viewer's end cannot touch."""

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
def own(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NAPARI_COLORIZE_MODELS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def run(own, tmp_path, monkeypatch) -> Iterator[TrainingRun]:
    """A run of the stand-in, not launched yet."""
    use_stand_in(monkeypatch)
    Image.new("RGB", (40, 40), (200, 90, 30)).save(tmp_path / "one.png")
    base = str(local_path(CATALOGUE["embedded"]))
    asked = TrainingRequest(base=base, data=(str(tmp_path),), model=str(own / "mine.safetensors"))
    run = TrainingRun.begin(asked, new_run_folder("mine"))
    yield run
    run.kill()


def use_stand_in(monkeypatch) -> None:
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


def test_the_command_is_one_that_training_knows(run):
    from napari_colorize_training.__main__ import app
    from typer.testing import CliRunner

    asked = TrainingRequest(
        base="no-such-model",
        data=("a", "b"),
        model="m",
        augment="stains",
        degrade="none",
        group="folder",
        steps=3,
    )
    asked.save(run.folder)
    words = training_run.TrainingRun(run.folder).command[2:]

    told = CliRunner().invoke(app, words)

    assert told.exit_code == 1  # not 2, which a wrong option has
    assert "no-such-model" in told.stdout


def test_it_pauses_goes_on_and_makes_a_model(run, own):
    run.launch()
    assert until(lambda: last(run) == "step") and run.state is State.RUNNING

    run.order("pause")
    assert until(lambda: last(run) == "paused")
    assert run.is_running
    run.order("resume")
    assert until(lambda: last(run) == "step")
    run.order("finish")

    assert until(lambda: run.state is State.DONE)
    assert (own / "mine.safetensors").is_file()


def test_stopped_it_ends_and_goes_on_where_it_was(run):
    run.launch()
    assert until(lambda: run.last_event().get("step", 0) > 3)
    run.order("stop")
    assert until(lambda: run.state is State.STOPPED)
    reached = run.last_event()["step"]

    run.launch()

    assert until(lambda: run.last_event().get("step", 0) > reached)
    starts = [event["step"] for event in everything(run) if event["event"] == "start"]
    assert starts == [0, reached]


def everything(run: TrainingRun) -> list[dict]:
    run.read_again()
    return [event for piece in iter(run.read, []) for event in piece]


def test_killed_it_is_interrupted_and_half_a_line_spoils_nothing(run):
    run.launch()
    assert until(lambda: last(run) == "step")
    run.kill()
    assert until(lambda: run.state is State.INTERRUPTED)
    with (run.folder / "told.jsonl").open("a") as file:
        file.write('{"event": "st')

    run.launch()

    assert until(lambda: [e["event"] for e in everything(run)].count("start") == 2)


def test_a_launch_while_it_is_running_changes_nothing(run):
    run.launch()
    passport = (run.folder / "process.json").read_text()

    run.launch()

    assert (run.folder / "process.json").read_text() == passport


def test_the_id_of_another_process_is_not_taken_for_it(run):
    mine = {"pid": os.getpid(), "started": 1.0}  # alive, but begun at another time
    (run.folder / "process.json").write_text(json.dumps(mine))

    assert not run.is_running and run.state is State.INTERRUPTED


@pytest.mark.skipif(sys.platform == "win32", reason="Sends a signal.")
def test_who_began_it_may_be_killed_and_another_gives_the_orders(run):
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

    os.killpg(starter.pid, signal.SIGKILL)  # as a terminal ends what it has begun
    starter.communicate()

    reached = run.last_event()["step"]
    assert until(lambda: run.last_event().get("step", 0) > reached + 3)
    (found,) = runs()
    found.order("finish")
    assert until(lambda: found.state is State.DONE)


def test_why_it_failed_is_what_it_said_itself(run):
    for picture in Path(run.asked.data[0]).glob("*.png"):
        picture.unlink()

    run.launch()

    assert until(lambda: run.state is State.FAILED)
    assert run.why() == "There is nothing to learn from."


def test_of_a_crash_the_last_line_is_told(run, monkeypatch):
    crash = [sys.executable, "-c", "import sys; sys.stderr.write('warned\\n'); 1 / 0"]
    monkeypatch.setattr(TrainingRun, "command", crash)

    run.launch()

    assert until(lambda: run.state is State.FAILED)
    assert run.why() == "ZeroDivisionError: division by zero"


def test_of_a_finished_run_only_the_log_stays(run):
    run.launch()
    run.order("finish")
    assert until(lambda: run.state is State.DONE) and run.is_whole

    run.tidy()

    assert {path.name for path in run.folder.iterdir()} <= set(training_run.KEPT)
    assert run.state is State.DONE and not run.is_whole


def test_a_long_story_is_read_in_pieces_and_whole(run):
    lines = [json.dumps({"event": "step", "step": n, "more": "x" * 90}) for n in range(3000)]
    (run.folder / "told.jsonl").write_text("\n".join(["no json", "[1]", *lines, '{"event": "ha']))

    pieces = list(iter(run.read, []))

    assert len(pieces) > 3
    assert [event["step"] for piece in pieces for event in piece] == list(range(3000))


def test_runs_come_newest_first_and_other_folders_are_passed_over(run, own):
    later = TrainingRequest(
        base="embedded", data=(), model=str(own / "b"), begun=run.asked.begun + 9
    )
    TrainingRun.begin(later, new_run_folder("mine"))
    (own / "runs" / "stray").mkdir()
    (own / "runs" / "broken").mkdir()
    (own / "runs" / "broken" / "asked.json").write_text('{"base": 1}')

    assert [found.asked for found in runs()] == [later, run.asked]
    assert [found.folder.name for found in runs()] == ["mine-2", "mine"]
