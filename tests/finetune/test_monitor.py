from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from napari_colorize.finetune import monitor as module
from napari_colorize.finetune.monitor import BUTTONS, RunMonitor, find_run, unfinished_runs
from napari_colorize.finetune.training_run import State


class FakeRun:
    """A run whose events and state are set by the test."""

    def __init__(self, *batches: list[dict[str, Any]], state: State = State.RUNNING) -> None:
        self.request = SimpleNamespace(name="slides", base="embedded")
        self.batches = list(batches)
        self.state = state
        self.commands: list[str] = []
        self.reason = ""
        self.is_complete = True

    @property
    def is_running(self) -> bool:
        return self.state is State.RUNNING

    def rewind(self) -> None:
        """The events are not read yet."""

    def read(self) -> list[dict[str, Any]]:
        return self.batches.pop(0) if self.batches else []

    def control(self, command: str) -> None:
        self.commands.append(command)

    def failure_reason(self) -> str:
        return self.reason

    def last_event(self) -> dict[str, Any]:
        return {"step": 7}


def step(number: int) -> dict[str, Any]:
    losses = {"G": 1.0}
    return {
        "event": "step", "step": number, "steps": 9, "losses": losses, "seconds_left": 5.0
    }  # fmt: skip


def test_events_update_status_and_curves():
    monitor = RunMonitor(FakeRun([{"event": "start", "step": 0, "steps": 9}, step(1)]))

    assert monitor.poll()

    assert (monitor.status.done, monitor.status.total) == (1, 9)
    assert monitor.curves.losses == [(1, 1.0)]
    assert not monitor.poll() and monitor.end_state is None


def test_the_end_is_reported_after_the_last_events_were_read():
    run = FakeRun([step(1)], [step(2)], state=State.DONE)
    monitor = RunMonitor(run)

    assert monitor.poll() and monitor.end_state is None
    assert monitor.poll() and monitor.end_state is None
    assert not monitor.poll()

    assert monitor.end_state is State.DONE
    assert not monitor.poll()


def test_a_preview_is_taken_once():
    monitor = RunMonitor(FakeRun([{"event": "preview", "path": "preview.png"}]))
    monitor.poll()

    assert monitor.take_preview().name == "preview.png"
    assert monitor.take_preview() is None


@pytest.mark.parametrize(
    ("state", "buttons"),
    [
        (State.RUNNING, ("pause", "finish", "stop")),
        (State.DONE, ("use", "new")),
        (State.STOPPED, ("resume", "new")),
        (State.FAILED, ("resume", "new")),
        (State.INTERRUPTED, ("resume", "new")),
    ],
)
def test_the_buttons_follow_the_state(state, buttons):
    monitor = RunMonitor(FakeRun(state=state))
    monitor.poll()

    assert monitor.buttons == buttons
    assert set(buttons) <= set(BUTTONS)


def test_pausing_twice_resumes():
    run = FakeRun([{"event": "paused", "step": 1}])
    monitor = RunMonitor(run)

    monitor.send("pause")
    assert monitor.status.sentence == "Pausing after the current step…"
    monitor.poll()
    assert monitor.pause_label == "Resume"
    monitor.send("pause")

    assert run.commands == ["pause", "resume"]


def test_commands_are_sent_to_the_run():
    run = FakeRun()
    monitor = RunMonitor(run)

    monitor.send("finish")
    monitor.send("stop")

    assert run.commands == ["finish", "stop"]


def test_a_failure_has_its_reason():
    run = FakeRun(state=State.FAILED)
    run.reason = "ValueError: no images."

    assert RunMonitor(run).failure() == (
        "The training of slides ended early: ValueError: no images."
    )


def test_the_active_run_is_found_and_a_finished_one_only_on_request(monkeypatch):
    done, running = FakeRun(state=State.DONE), FakeRun()
    monkeypatch.setattr(module, "runs", lambda: [done, running])
    assert find_run(with_finished=True) is done
    assert find_run(with_finished=False) is running

    done.is_complete = False  # its result was displayed before
    assert find_run(with_finished=True) is running


def test_unfinished_runs_are_described(monkeypatch):
    stopped, failed = FakeRun(state=State.STOPPED), FakeRun(state=State.FAILED)
    failed.reason = "disk full"
    monkeypatch.setattr(module, "runs", lambda: [FakeRun(), stopped, failed])

    assert unfinished_runs() == [
        (stopped, "slides: stopped at step 7"),
        (failed, "slides: failed at step 7 (disk full)"),
    ]
