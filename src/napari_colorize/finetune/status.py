"""Status messages for the events of a training run; no toolkit and no front end is named."""

from __future__ import annotations

from typing import Any

from napari_colorize.session.messages import duration
from napari_colorize.zoo import CATALOGUE, is_local

INTRO = (
    "Fine-tune a model on color images of the kind that you want to colorize. A few dozen images "
    "are enough for a new subject; training takes minutes."
)


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
    is_better : bool
        Whether the new model is better than its base.
    """

    def __init__(self, name: str, base: str) -> None:
        self.name = name
        self.done, self.total = 0, 0
        self.is_paused = False
        self.is_better = False
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
        before, after = event["before"], event["after"]
        images = after["images"] if "images" in after else after["pictures"]  # in older logs
        figures = (
            f"the color error (CIEDE2000) on {images} validation images changed from "
            f"{before['ciede2000']:.1f} to {after['ciede2000']:.1f}; without color it is "
            f"{after['ciede2000_gray']:.1f}"
        )
        self.is_better = bool(event["improved"])
        if self.is_better:
            self.sentence = f"{self.name} is better than its base: {figures}."
        elif before == after:
            self.sentence = (
                f"Training did not reduce the color error on the {images} validation images, so "
                f"{self.name} is a copy of its base (color error "
                f"{after['ciede2000']:.1f}; without color {after['ciede2000_gray']:.1f}). Use the "
                "base, or add more images of the kind that you want to colorize."
            )
        else:
            self.sentence = (
                f"{self.name} is NOT better than its base: {figures}. Use the base, or add more "
                "images of the kind that you want to colorize."
            )
        self.figures = ""

    def _on_error(self, event: dict[str, Any]) -> None:
        self.sentence = event["text"]


def _download_note(base: str) -> str:
    checkpoint = CATALOGUE.get(base)
    if checkpoint is None or is_local(checkpoint):
        return ""
    return f": {base} is downloaded first ({checkpoint.size / 1e6:.0f} MB)"
