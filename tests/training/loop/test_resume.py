"""A run that was killed, interrupted or stopped goes on as if nothing had happened."""

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
from tiny_training import command, draw_pictures, eventful_table, log_of, to_toml

STEPS = 60

# A run that kills itself a moment after a step: however busy the machine is, not after the end.
DOOMED = """
import json, os, signal, sys, threading
from napari_colorize_training.__main__ import main

step, seconds = int(sys.argv.pop(1)), float(sys.argv.pop(1))
death = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
write = sys.stdout.write

def watched(line):
    told = json.loads(line)
    if told["event"] == "step" and told["step"] >= step and not death.is_alive():
        death.start()
    return write(line)

sys.stdout.write = watched
main()
"""


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


def alike() -> dict[str, str]:
    """Of child processes that round alike: the number of threads decides how sums are rounded."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def to_the_end(recipe, folder) -> None:
    line = [sys.executable, *command(recipe, folder, "--progress", "none")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=alike())
    assert done.returncode == 0, done.stderr


def to_its_death(recipe, folder, step: int, seconds: float) -> None:
    """Run until so many seconds after a step, and be killed there."""
    arguments = command(recipe, folder, "--progress", "json")[2:]
    line = [sys.executable, "-c", DOOMED, str(step), str(seconds), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=alike())
    assert done.returncode == -signal.SIGKILL, done.stderr


def start(recipe, folder, *words: str) -> subprocess.Popen[str]:
    """A run that has been told words before it begins."""
    pipe = subprocess.PIPE
    line = [sys.executable, *command(recipe, folder, "--progress", "json")]
    process = subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=alike())
    say(process, *words)
    return process


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What it tells, line by line: every line is an object that names its event."""
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        assert isinstance(told["event"], str)
        yield told


def wait_for(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    return next(told for told in events(process) if told["event"] == event)


def say(process: subprocess.Popen[str], *words: str) -> None:
    assert process.stdin is not None
    process.stdin.write("".join(f"{word}\n" for word in words))
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
        to_its_death(recipe, folder, begin + chance.randrange(3), chance.uniform(0, 0.1))

    to_the_end(recipe, folder)

    assert_the_same(folder, unbroken)


def test_interrupted_or_told_to_stop_it_saves_and_says_how_to_go_on(recipe, folder, unbroken):
    process = start(recipe, folder, "pause")
    wait_for(process, "paused")
    process.send_signal(signal.SIGINT)
    told, said = end_of(process)
    assert process.returncode == STOPPED and told[-1]["event"] == "stopped"
    assert said == "Stopped. The same command goes on from here.\n"
    assert not (folder / "run" / "model.safetensors").exists()

    process = start(recipe, folder, "pause")
    first = wait_for(process, "start")
    assert first["step"] == told[-1]["step"] and first["steps"] == STEPS
    wait_for(process, "paused")
    say(process, "resume", "pause")  # in one breath: it ends soon
    wait_for(process, "resumed")
    wait_for(process, "paused")
    say(process, "stop")
    told, _ = end_of(process)
    assert process.returncode == STOPPED and told[-1]["event"] == "stopped"

    to_the_end(recipe, folder)
    assert_the_same(folder, unbroken)


def test_the_same_seed_gives_the_same_file(recipe, folder, unbroken):
    to_the_end(recipe, folder)

    assert_the_same(folder, unbroken)
    assert [line["step"] for line in log_of(folder / "run")] == ["25", "40", "50", "60"]
