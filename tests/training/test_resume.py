"""A run that was killed, interrupted or stopped goes on as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from napari_colorize_training.__main__ import app
from napari_colorize_training.progress import STOPPED
from tiny_runs import command, draw_pictures, environment, eventful_table, log_of, to_toml
from typer.testing import CliRunner

STEPS = 60


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return to_toml(eventful_table(40, 20), tmp_path_factory.mktemp("recipe") / "eventful.toml")


@pytest.fixture(scope="module")
def unbroken(recipe, tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    draw_pictures(folder / "pictures")
    to_the_end(recipe, folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    draw_pictures(tmp_path / "pictures")
    return tmp_path


def to_the_end(recipe, folder) -> None:
    result = CliRunner().invoke(app, command(recipe, folder, "--progress", "none")[2:])
    assert result.exit_code == 0, result.output


def start(recipe, folder) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    line = [sys.executable, *command(recipe, folder, "--progress", "json")]
    return subprocess.Popen(
        line, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment()
    )


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What it tells, line by line: every line is an object that names its event."""
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        assert isinstance(told["event"], str)
        yield told


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    next(told for told in events(process) if told["event"] == "step" and told["step"] >= step)


def say(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(word + "\n")
    process.stdin.flush()


def end_of(process: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], str]:
    """The events that were not read yet, and what stands on standard error."""
    out, err = process.communicate(timeout=60)
    return [json.loads(line) for line in out.splitlines()], err


def assert_the_same(folder, other) -> None:
    assert log_of(folder / "run") == log_of(other / "run")
    models = [path / "run" / "model.safetensors" for path in (folder, other)]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert not list(folder.rglob(".*.part"))


def test_killed_at_any_moment_it_goes_on_with_the_same_losses(recipe, folder, unbroken):
    chance = random.Random(time.time())
    for begin in (3, 22, 41):  # in the first stage, before its first line is old, in the game
        process = start(recipe, folder)
        wait_for_step(process, begin + chance.randrange(3))
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()

    to_the_end(recipe, folder)

    assert_the_same(folder, unbroken)


def test_interrupted_or_told_to_stop_it_saves_and_says_how_to_go_on(recipe, folder, unbroken):
    process = start(recipe, folder)
    wait_for_step(process, 5)
    process.send_signal(signal.SIGINT)
    told, said = end_of(process)
    assert process.returncode == STOPPED and told[-1]["event"] == "stopped"
    assert said == "Stopped. The same command goes on from here.\n"
    assert not (folder / "run" / "model.safetensors").exists()

    process = start(recipe, folder)
    first = next(event for event in events(process) if event["event"] == "start")
    assert first["step"] == told[-1]["step"] and first["steps"] == STEPS
    say(process, "pause")
    next(event for event in events(process) if event["event"] == "paused")
    say(process, "resume")
    next(event for event in events(process) if event["event"] == "resumed")
    say(process, "stop")
    told, _ = end_of(process)
    assert process.returncode == STOPPED and told[-1]["event"] == "stopped"

    to_the_end(recipe, folder)
    assert_the_same(folder, unbroken)


def test_the_same_seed_gives_the_same_file(recipe, folder, unbroken):
    to_the_end(recipe, folder)

    assert_the_same(folder, unbroken)
    assert [line["step"] for line in log_of(folder / "run")] == ["25", "40", "50", "60"]
