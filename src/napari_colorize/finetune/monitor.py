"""Follows a training run for a panel: status, curves, preview, final state and enabled buttons."""

from __future__ import annotations

from pathlib import Path

from napari_colorize.finetune.status import TITLES, TrainingStatus
from napari_colorize.finetune.training_curves import TrainingCurves
from napari_colorize.finetune.training_run import State, TrainingRun, runs

POLL_SECONDS = 0.2

# Buttons of the training page: label and tooltip.
BUTTONS = {
    "pause": ("Pause", "Pause after the current step. Memory stays in use."),
    "finish": ("Finish now", "End training. The best checkpoint so far becomes the model."),
    "stop": ("Stop", "End the process and release its memory. Training can be resumed later."),
    "resume": ("Resume", "Resume training at the last saved state."),
    "use": ("Colorize with it", "Use the new model in the Colorize panel."),
    "new": ("New training", "Back to the options."),
}
# Status messages after a command.
SENT = {
    "pause": "Pausing after the current step…",
    "resume": "Resuming…",
    "finish": "Finishing: the best checkpoint so far becomes the model…",
    "stop": "Stopping after the current step…",
}


class RunMonitor:
    """State of a training run, started by this process or by an earlier one.

    `poll` reads the events that the process has written since the last call; a front end calls it
    every `POLL_SECONDS` from a timer of its toolkit.

    Attributes
    ----------
    status : TrainingStatus
        Progress and messages.
    curves : TrainingCurves
        Loss and validation error.
    end_state : State or None
        None until the process has ended and all its events were read.
    """

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self.status = TrainingStatus(run.request.name, run.request.base)
        self.curves = TrainingCurves()
        self._preview: Path | None = None
        self.end_state: State | None = None
        run.rewind()

    def poll(self) -> bool:
        """Read the next events; returns whether there were any."""
        if self.end_state is not None:
            return False
        # Before reading: events that the process writes right before its end are not missed.
        was_running = self.run.is_running
        events = self.run.read()
        for event in events:
            self.status.update(event)
            self.curves.update(event)
            if event["event"] == "preview":
                self._preview = Path(event["path"])
        if not events and not was_running:
            state = self.run.state
            self.end_state = State.INTERRUPTED if state is State.RUNNING else state
        return bool(events)

    def take_preview(self) -> Path | None:
        """Latest sheet with validation images; None if there is no new one."""
        preview, self._preview = self._preview, None
        return preview

    @property
    def title(self) -> str:
        """Heading of the page: the model and what became of it."""
        name = self.run.request.name
        if self.end_state is State.DONE:
            return TITLES[self.status.outcome].format(name=name)
        return f"Training {name}"

    @property
    def buttons(self) -> tuple[str, ...]:
        """Keys of `BUTTONS` that are available in the current state."""
        if self.end_state is None:
            return "pause", "finish", "stop"
        return ("use", "new") if self.end_state is State.DONE else ("resume", "new")

    @property
    def pause_label(self) -> str:
        """Label of the pause button, which also resumes."""
        return BUTTONS["resume" if self.status.is_paused else "pause"][0]

    def send(self, command: str) -> None:
        """Pause (or resume a paused run), finish, or stop; see `BUTTONS`.

        Raises
        ------
        OutputError
            If the command cannot be written.
        """
        if command == "pause" and self.status.is_paused:
            command = "resume"
        self.run.control(command)
        self.status.sentence = SENT[command]  # until the process answers with an event

    def failure(self) -> str:
        """One sentence about a run that failed or was interrupted."""
        reason = (
            self.run.failure_reason() or "its process was ended from outside; it can be resumed"
        )
        return f"The training of {self.run.request.name} ended early: {reason.rstrip('.')}."


def find_run(*, with_finished: bool) -> TrainingRun | None:
    """The active run, or (`with_finished`) one that ended while no panel was open."""
    for run in runs():
        state = run.state
        if state is State.RUNNING or (with_finished and state is State.DONE and run.is_complete):
            return run
    return None


def unfinished_runs() -> list[tuple[TrainingRun, str]]:
    """Runs that can be resumed, each with a line that describes it."""
    found = []
    for run in runs():
        state = run.state
        if state in (State.STOPPED, State.FAILED, State.INTERRUPTED):
            step = run.last_event().get("step")
            reached = "" if step is None else f" at step {step}"
            reason = f" ({run.failure_reason()})" if state is State.FAILED else ""
            found.append((run, f"{run.request.name}: {state.value}{reached}{reason}"))
    return found
