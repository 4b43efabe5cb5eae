"""A run that was killed, interrupted or stopped is resumed with the same results."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from napari_colorize_training.loop.progress import STOPPED
from tiny_training import command, draw_images, eventful_table, log_of, to_toml

STEPS = 60

# The number of threads changes rounding: all child processes have one.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

# A run that kills itself shortly after a step, and never after its end, also on a busy machine.
KILLED_AFTER_STEP = """
import json, os, signal, sys, threading
from napari_colorize_training.__main__ import main

step, seconds = int(sys.argv.pop(1)), float(sys.argv.pop(1))
kill = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
write = sys.stdout.write

def write_and_watch(line):
    event = json.loads(line)
    if event["event"] == "step" and event["step"] >= step and not kill.is_alive():
        kill.start()
    return write(line)

sys.stdout.write = write_and_watch
main()
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return to_toml(eventful_table(40, 20), tmp_path_factory.mktemp("recipe") / "eventful.toml")


@pytest.fixture(scope="module")
def uninterrupted(recipe, tmp_path_factory):
    """Folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    draw_images(folder / "images")
    run_to_end(recipe, folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    draw_images(tmp_path / "images")
    return tmp_path


def run_to_end(recipe, folder) -> None:
    line = [sys.executable, *command(recipe, folder, "--progress", "none")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr


def run_until_killed(recipe, folder, step: int, seconds: float) -> None:
    """Run, and be killed some seconds after a step."""
    arguments = command(recipe, folder, "--progress", "json")[2:]
    line = [sys.executable, "-c", KILLED_AFTER_STEP, str(step), str(seconds), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL, done.stderr


def start(recipe, folder, *commands: str) -> subprocess.Popen[str]:
    """Start a run with commands on its standard input."""
    pipe = subprocess.PIPE
    line = [sys.executable, *command(recipe, folder, "--progress", "json")]
    process = subprocess.Popen(
        line, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT
    )
    send(process, *commands)
    return process


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a run."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        assert isinstance(event["event"], str)
        yield event


def wait_for(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    return next(found for found in events(process) if found["event"] == event)


def send(process: subprocess.Popen[str], *commands: str) -> None:
    assert process.stdin is not None
    process.stdin.write("".join(f"{command}\n" for command in commands))
    process.stdin.flush()


def remaining_output(process: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], str]:
    """Return the remaining events, and the text on standard error."""
    out, err = process.communicate(timeout=300)
    return [json.loads(line) for line in out.splitlines()], err


def assert_same_run(folder, other) -> None:
    assert log_of(folder / "run") == log_of(other / "run")
    models = [path / "run" / "model.safetensors" for path in (folder, other)]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert not list(folder.rglob(".*.part"))


def test_a_killed_run_is_resumed_with_the_same_losses(recipe, folder, uninterrupted):
    generator = random.Random(time.time())
    for begin in (
        3,
        22,
        41,
    ):  # early, shortly before the first row of the log, and with a critic
        run_until_killed(recipe, folder, begin + generator.randrange(3), generator.uniform(0, 0.1))

    run_to_end(recipe, folder)

    assert_same_run(folder, uninterrupted)


def test_an_interrupted_or_stopped_run_saves_and_can_be_resumed(recipe, folder, uninterrupted):
    process = start(recipe, folder, "pause")
    wait_for(process, "paused")
    process.send_signal(signal.SIGINT)
    left, errors = remaining_output(process)
    assert process.returncode == STOPPED and left[-1]["event"] == "stopped"
    assert errors == "Stopped. The same command resumes the run.\n"
    assert not (folder / "run" / "model.safetensors").exists()

    process = start(recipe, folder, "pause")
    first = wait_for(process, "start")
    assert first["step"] == left[-1]["step"] and first["steps"] == STEPS
    wait_for(process, "paused")
    send(process, "resume", "pause")  # at once: it pauses again after one step
    wait_for(process, "resumed")
    wait_for(process, "paused")
    send(process, "stop")
    left, _ = remaining_output(process)
    assert process.returncode == STOPPED and left[-1]["event"] == "stopped"

    run_to_end(recipe, folder)
    assert_same_run(folder, uninterrupted)


def test_the_same_seed_gives_the_same_file(recipe, folder, uninterrupted):
    run_to_end(recipe, folder)

    assert_same_run(folder, uninterrupted)
    assert [line["step"] for line in log_of(folder / "run")] == ["25", "40", "50", "60"]
