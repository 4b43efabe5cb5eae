"""Status messages for the events of a training run; no toolkit and no front end is named."""

from __future__ import annotations

from typing import Any

from napari_colorize.session.messages import duration
from napari_colorize.zoo import CATALOGUE, is_local

INTRO = (
    "Fine-tune a model on color images of the kind that you want to colorize. A few dozen images "
    "are enough for a new subject; training takes minutes."
)


# Headings by the outcome that training reports, with {name} for the name of the model.
TITLES = {
    "": "{name} is ready",
    "better": "{name} is ready",
    "better than base": "{name} is NOT better than gray, though closer to the colors than its base",
    "not better": "{name} is no better than its base",
    "wrong range": "{name} cannot be judged",
}


class TrainingStatus:
    """State of one training run, from the events that it has emitted so far.

    Attributes
    ----------
    sentence : str
        Status message.
    figures : str
        Validation error so far; empty when the run is over.
    done, total : int
        Steps, or images while they are read.
    is_paused : bool
        Whether the run is paused.
    outcome : str
        Key of `TITLES`: what became of the model; empty before the end.
    """

    def __init__(self, name: str, base: str) -> None:
        self.name = name
        self.done, self.total = 0, 0
        self.is_paused = False
        self.outcome = ""
        self.figures = ""
        self.sentence = (
            f"Starting{_download_note(base)}… Training runs in the background and continues if you "
            "close this program."
        )
        self._first_error: float | None = None

    def update(self, event: dict[str, Any]) -> None:
        """Process one event, a line of the run's log; unknown kinds of event are ignored."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def _on_reading(self, event: dict[str, Any]) -> None:
        self.done, self.total = event["done"], event["total"]
        self.sentence = f"Reading images: {self.done} of {self.total}."

    def _on_note(self, event: dict[str, Any]) -> None:
        self.sentence = event["text"]

    def _on_start(self, event: dict[str, Any]) -> None:
        self.done, self.total = event["step"], event["steps"]
        self.is_paused = False

    def _on_step(self, event: dict[str, Any]) -> None:
        self.done, self.total = event["step"], event["steps"]
        self.is_paused = False
        if self.done == self.total:
            self.sentence = "Validating the model…"
            return
        left = duration(event["seconds_left"])
        self.sentence = (
            f"Step {self.done} of {self.total}; at most {left} left. Training ends early when the "
            "validation error stops decreasing."
        )

    def _on_validation(self, event: dict[str, Any]) -> None:
        error, gray = event["validation_ciede2000"], event["validation_ciede2000_gray"]
        if self._first_error is None:
            self._first_error = error
        better = "" if error >= self._first_error else f", {1 - error / self._first_error:.0%} less"
        self.figures = (
            f"Color error (CIEDE2000): {self._first_error:.1f} at the beginning, {error:.1f} "
            f"now{better}; {gray:.1f} without color."
        )

    def _on_paused(self, event: dict[str, Any]) -> None:
        self.is_paused = True
        self.sentence = (
            f"Paused at step {event['step']}. The state is saved: you can shut down the computer "
            "and continue later."
        )

    def _on_resumed(self, event: dict[str, Any]) -> None:
        self.is_paused = False
        self.sentence = f"Continuing from step {event['step']}…"

    def _on_stopped(self, event: dict[str, Any]) -> None:
        self.sentence = f"Stopped at step {event['step']}."

    def _on_finetuned(self, event: dict[str, Any]) -> None:
        # Logs of earlier versions have no outcome.
        self.outcome = event.get("outcome", "better" if event["improved"] else "not better")
        self.sentence = event["text"]
        self.figures = ""

    def _on_error(self, event: dict[str, Any]) -> None:
        self.sentence = event["text"]


def _download_note(base: str) -> str:
    checkpoint = CATALOGUE.get(base)
    if checkpoint is None or is_local(checkpoint):
        return ""
    return f": {base} is downloaded first ({checkpoint.size / 1e6:.0f} MB)"
