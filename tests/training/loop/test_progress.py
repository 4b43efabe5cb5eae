"""A run tells what it does, and obeys."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from napari_colorize_training.loop.progress import (
    Clock,
    JsonLines,
    ProgressBar,
    RunControl,
    Stopped,
)


def test_programs_read_one_object_per_line():
    stream = io.StringIO()
    lines = JsonLines(stream)

    lines.report("note", text="two\nlines")
    lines.report("done", model=Path("a.safetensors"))

    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert told == [
        {"event": "note", "text": "two\nlines"},
        {"event": "done", "model": "a.safetensors"},
    ]


def test_people_see_notes_before_there_is_a_bar(capsys):
    bar = ProgressBar()

    bar.report("note", text="8 pictures are used.")
    bar.report("start", steps=10, step=4, stages=["1"], run="here")
    bar.report("step", step=5, stage="1: generator", losses={"G": 0.5})
    bar.report("done", model="a.safetensors")

    said = capsys.readouterr()
    assert "8 pictures are used.\n" in said.err and "5/10" in said.err and said.out == ""


def obeying(words: str) -> RunControl:
    control = RunControl()
    control._apply(io.StringIO(words))
    return control


def test_words_pause_resume_and_stop():
    assert obeying("pause\n").is_paused
    assert not obeying("pause\nresume\n").is_paused
    assert obeying(" stop \n").is_stopped
    assert not obeying("halt\n\n").is_stopped


def test_who_is_paused_can_be_stopped():
    control = obeying("pause\nstop\n")

    control.wait()  # returns

    assert control.is_stopped and not control.is_paused


def test_who_is_paused_can_be_told_to_finish():
    control = obeying("pause\nfinish\n")

    control.wait()  # returns

    assert control.is_finished and not control.is_stopped


def test_a_file_of_orders_is_obeyed_as_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_colorize_training.loop.progress.LOOK_EVERY", 0.005)
    orders, control = tmp_path / "orders.txt", RunControl()
    control.follow(orders)

    orders.write_text("pause")
    assert soon(lambda: control.is_paused)
    orders.write_text("resu")  # half a word is none
    orders.write_text("resume")
    assert soon(lambda: not control.is_paused)
    orders.write_text("stop")
    assert soon(lambda: control.is_stopped)


def soon(claim: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether a claim about another thread becomes true."""
    end = time.monotonic() + seconds
    while not claim() and time.monotonic() < end:
        time.sleep(0.002)
    return claim()


def test_who_interrupts_twice_does_not_want_to_wait():
    control = RunControl()
    control.interrupt(2, None)
    assert control.is_stopped

    with pytest.raises(KeyboardInterrupt):
        control.interrupt(2, None)


def test_what_comes_before_the_first_step_can_be_stopped():
    control = RunControl()
    control.check(1, 10)
    control.stop()

    with pytest.raises(Stopped):
        control.check(2, 10)


def test_a_clock_does_not_count_what_is_skipped(monkeypatch):
    now = iter([0.0, 1.0, 101.0, 102.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    clock = Clock()

    assert clock.tick() == 1.0
    clock.skip()
    assert clock.tick() == pytest.approx(1.0)
