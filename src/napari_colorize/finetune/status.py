"""What a training's events come to in sentences; no Qt."""

from __future__ import annotations

from typing import Any

from napari_colorize.session.messages import duration
from napari_colorize.zoo import CATALOGUE, is_local

INTRO = (
    "Show a model colour pictures of the kind that you want to colorize, and it learns their "
    "colours. A few dozen are enough for a new subject; it takes minutes."
)


class TrainingStatus:
    """The story so far of one training.

    Parameters
    ----------
    name, base : str
        Of the model that is made, and of the one that it begins with.
    """

    def __init__(self, name: str, base: str) -> None:
        self.name = name
        self.done, self.total = 0, 0
        self.is_paused = False
        self.is_better = False
        self.figures = ""
        self.sentence = f"Starting{_to_fetch(base)}… You can go on working, or close napari."
        self._first: float | None = None

    def update(self, event: dict[str, Any]) -> None:
        """Take in one event; kinds that are not known here change nothing."""
        hear = getattr(self, f"_hear_{event['event']}", None)
        if hear is not None:
            hear(event)

    def _hear_reading(self, event: dict[str, Any]) -> None:
        self.done, self.total = event["done"], event["total"]
        self.sentence = f"Reading pictures: {self.done} of {self.total}."

    def _hear_note(self, event: dict[str, Any]) -> None:
        self.sentence = event["text"]

    def _hear_start(self, event: dict[str, Any]) -> None:
        self.done, self.total = event["step"], event["steps"]
        self.is_paused = False

    def _hear_step(self, event: dict[str, Any]) -> None:
        self.done, self.total = event["step"], event["steps"]
        self.is_paused = False
        if self.done == self.total:
            self.sentence = "Measuring the model on pictures held back…"
            return
        left = duration(event["seconds_left"])
        self.sentence = (
            f"Step {self.done} of {self.total}; {left} left, or less: it ends when the pictures "
            "held back get no better."
        )

    def _hear_validation(self, event: dict[str, Any]) -> None:
        error, gray = event["validation_ciede2000"], event["validation_ciede2000_gray"]
        if self._first is None:
            self._first = error
        better = "" if error >= self._first else f", {1 - error / self._first:.0%} less"
        self.figures = (
            f"Colour error: {self._first:.1f} at the beginning, {error:.1f} now{better}; "
            f"{gray:.1f} without colour."
        )

    def _hear_paused(self, event: dict[str, Any]) -> None:
        self.is_paused = True
        self.sentence = (
            f"Paused at step {event['step']}. All of it is saved: you may even switch off the "
            "computer, and go on later."
        )

    def _hear_resumed(self, event: dict[str, Any]) -> None:
        self.is_paused = False
        self.sentence = f"Going on from step {event['step']}…"

    def _hear_stopped(self, event: dict[str, Any]) -> None:
        self.sentence = f"Stopped at step {event['step']}."

    def _hear_finetuned(self, event: dict[str, Any]) -> None:
        before, after = event["before"], event["after"]
        figures = (
            f"on {after['pictures']} pictures held back the colour error (CIEDE2000) went from "
            f"{before['ciede2000']:.1f} to {after['ciede2000']:.1f}; without colour it is "
            f"{after['ciede2000_gray']:.1f}"
        )
        self.is_better = bool(event["improved"])
        if self.is_better:
            self.sentence = f"{self.name} is better than its base: {figures}."
        elif before == after:
            self.sentence = (
                f"Nothing that was learned came nearer to the {after['pictures']} pictures held "
                f"back, so {self.name} is its base once more (colour error "
                f"{after['ciede2000']:.1f}; without colour {after['ciede2000_gray']:.1f}). Use the "
                "base, or give more pictures of the kind that you want to colorize."
            )
        else:
            self.sentence = (
                f"{self.name} is NOT better than its base: {figures}. Use the base, or give more "
                "pictures of the kind that you want to colorize."
            )
        self.figures = ""

    def _hear_error(self, event: dict[str, Any]) -> None:
        self.sentence = event["text"]


def _to_fetch(base: str) -> str:
    checkpoint = CATALOGUE.get(base)
    if checkpoint is None or is_local(checkpoint):
        return ""
    return f": {base} is fetched first ({checkpoint.size / 1e6:.0f} MB)"
