"""Progress reports of a run, and the requests that control it."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from napari_colorize_training.loop import progress
from napari_colorize_training.loop.progress import (
    Clock,
    JsonLines,
    ProgressBar,
    RunControl,
    Stopped,
)
from napari_colorize_training.loop.validation import ValidationFigures


def test_json_lines_are_one_object_per_event():
    stream = io.StringIO()
    lines = JsonLines(stream)

    lines.report("note", text="two\nlines")
    lines.report("done", model=Path("a.safetensors"))

    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "note", "text": "two\nlines"},
        {"event": "done", "model": "a.safetensors"},
    ]


def test_notes_are_printed_before_the_bar_exists(capsys):
    bar = ProgressBar()

    bar.report("note", text="8 images are used.")
    bar.report("start", steps=10, step=4, stages=["1"], run="here")
    bar.report("step", step=5, stage="1: generator", losses={"G": 0.5})
    bar.report("done", model="a.safetensors")

    printed = capsys.readouterr()
    assert "8 images are used.\n" in printed.err and "5/10" in printed.err and printed.out == ""


def test_the_bar_states_validation_figures_in_words(capsys):
    figures = ValidationFigures(0.1, 0.2, 9.7956, 15.93, colorfulness=0.904, frechet=0.2982)

    ProgressBar().report("validation", step=4, **figures.as_row())

    assert capsys.readouterr().err.strip() == (
        "Step 4, validation crops: color error (CIEDE2000) 9.796, gray 15.93; colorfulness 0.90; "
        "Frechet distance 0.30"
    )


def controlled_by(commands: str) -> RunControl:
    control = RunControl()
    control._read_stream(io.StringIO(commands))
    return control


def test_commands_stop():
    assert controlled_by(" stop \n").is_stopped
    assert not controlled_by("halt\n\n").is_stopped


@pytest.mark.parametrize("command", ["stop", "finish"])
def test_a_paused_run_can_be_ended(command):
    control = controlled_by("pause\n")

    assert returns(lambda: control.wait_while_paused(lambda: control.apply(command)))

    assert control.is_stopped == (command == "stop")
    assert control.is_finished == (command == "finish")


def test_a_run_that_is_not_paused_does_not_wait():
    assert not RunControl().wait_while_paused(pytest.fail)


def test_a_pause_and_a_resume_in_one_breath_are_both_executed():
    control, pauses = controlled_by("pause\nresume\n"), []

    assert returns(lambda: control.wait_while_paused(lambda: pauses.append(1)))

    assert pauses == [1]
    assert not control.wait_while_paused(pytest.fail)


def test_every_pause_is_ended_by_one_resume():
    control, pauses = controlled_by("resume\npause\npause\nresume\npause\nresume\n"), []

    for count in (1, 2):
        assert returns(lambda: control.wait_while_paused(lambda: pauses.append(1)))
        assert len(pauses) == count

    assert not control.wait_while_paused(pytest.fail)


def test_a_resume_during_the_wait_is_not_lost_when_a_pause_follows():
    control = controlled_by("pause\n")

    def resume_and_pause() -> None:
        control.resume()
        control.pause()

    assert returns(lambda: control.wait_while_paused(resume_and_pause))
    assert returns(lambda: control.wait_while_paused(control.resume))  # after the next step


def test_an_interrupt_at_any_line_of_the_wait_ends_it():
    """A signal handler runs between two lines of the waiting thread, in library code, too."""
    lines = lines_before_the_wait_blocks()
    assert lines > 4

    for line in range(1, lines + 1):
        assert returns(partial(wait_interrupted_at, line)), line


def lines_before_the_wait_blocks() -> int:
    class Blocked(Exception):
        pass

    class Requests:
        def get(self) -> str:
            if paused:
                raise Blocked
            return "pause"

        def empty(self) -> bool:
            return False

    control, lines, paused = RunControl(), 0, []

    def count(frame, event, argument):
        nonlocal lines
        lines += is_line_of_progress(frame, event)
        return count

    control._requests = Requests()
    with pytest.raises(Blocked), tracing(count):
        control.wait_while_paused(lambda: paused.append(1))
    return lines


def wait_interrupted_at(line: int) -> bool:
    control, lines = controlled_by("pause\n"), 0

    def interrupt(frame, event, argument):
        nonlocal lines
        lines += is_line_of_progress(frame, event)
        if lines == line and not control.is_stopped:
            control.interrupt()
        return interrupt

    with tracing(interrupt):
        control.wait_while_paused(lambda: None)
    return control.is_stopped


def is_line_of_progress(frame, event: str) -> bool:
    return event == "line" and frame.f_code.co_filename == progress.__file__


@contextmanager
def tracing(function):
    before = sys.gettrace()
    sys.settrace(function)
    try:
        yield
    finally:
        sys.settrace(before)


def test_commands_in_a_file_are_applied_as_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_colorize_training.loop.progress.POLL_INTERVAL", 0.005)
    file, control = tmp_path / "control.txt", RunControl()
    control.follow(file)

    file.write_text("pause")
    assert soon(lambda: not control._requests.empty())
    waiting = threading.Thread(target=control.wait_while_paused, args=(lambda: None,), daemon=True)
    waiting.start()
    file.write_text("resu")  # a part of a command is ignored
    file.write_text("resume")
    assert soon(lambda: not waiting.is_alive())
    file.write_text("stop")
    assert soon(lambda: control.is_stopped)


def returns(call: Callable[[], object], seconds: float = 30.0) -> bool:
    """Whether a call returns something true, instead of blocking."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(results and results[0])


def soon(claim: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether a claim about another thread becomes true."""
    end = time.monotonic() + seconds
    while not claim() and time.monotonic() < end:
        time.sleep(0.002)
    return claim()


def test_the_second_interrupt_does_not_wait_for_the_step():
    control = RunControl()
    control.interrupt(2, None)
    assert control.is_stopped

    with pytest.raises(KeyboardInterrupt):
        control.interrupt(2, None)


def test_a_run_can_be_stopped_before_its_first_step():
    control = RunControl()
    control.check(1, 10)
    control.stop()

    with pytest.raises(Stopped):
        control.check(2, 10)


def test_a_clock_leaves_out_skipped_time(monkeypatch):
    now = iter([0.0, 1.0, 101.0, 102.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    clock = Clock()

    assert clock.tick() == 1.0
    clock.skip()
    assert clock.tick() == pytest.approx(1.0)
