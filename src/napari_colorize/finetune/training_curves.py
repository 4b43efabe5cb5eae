"""Loss and validation error of a training run, collected from its events and drawn as charts."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from napari_colorize.finetune.line_chart import Chart, Level, Line, render_svg

Points = list[tuple[int, float]]

ERROR_COLOR, LOSS_COLOR = "#e8833a", "#4aa3df"  # distinguishable for color-blind users
DECAY = 0.9  # of the exponential moving average of the loss
EXPLANATION = (
    "Top: color error (CIEDE2000, about 1 is just visible) on the validation images, which are "
    "never trained on. Dashed: base model. Dotted: gray images. The ring marks the checkpoint that "
    "would become the model: low error, and neither too little chroma nor too much.\n"
    "Bottom: loss on the training images."
)


class TrainingCurves:
    """Points of the validation error and the training loss over the steps of a run."""

    def __init__(self) -> None:
        self.losses: Points = []
        self.errors: Points = []
        self.gray_error: float | None = None  # error of gray images, without any color
        self.steps = 1
        self._measures: dict[int, float] = {}  # by step; the checkpoint with the lowest is the best

    def update(self, event: dict[str, Any]) -> bool:
        """Add an event of the training process; returns whether the curves changed."""
        kind, step = event["event"], event.get("step", 0)
        if kind == "start":
            # A resumed run repeats the steps after its last saved state.
            self.steps = event["steps"]
            self.losses = [point for point in self.losses if point[0] <= step]
            self.errors = [point for point in self.errors if point[0] <= step]
        elif kind == "step":
            self.losses.append((step, event["losses"].get("G", 0.0)))
        elif kind == "validation":
            self.errors = [point for point in self.errors if point[0] != step]
            self.errors.append((step, event["validation_ciede2000"]))
            self.gray_error = event["validation_ciede2000_gray"]
            self._measures[step] = event["validation_measure"]
        return kind in ("start", "step", "validation")

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and error of the best checkpoint so far, by the measure that training uses."""
        return min(self.errors, key=lambda point: self._measures[point[0]], default=None)

    def svg(self, width: int = 640, height: int = 280, ink: str = "currentColor") -> str:
        """Both charts below each other, sizes in px."""
        return render_svg(
            self._error_chart(),
            self._loss_chart(),
            width=width,
            height=height,
            ink=ink,
            alt="Color error and loss",
        )

    @property
    def _x_range(self) -> tuple[float, float]:
        reached = [step for step, _ in [*self.losses[-1:], *self.errors[-1:]]]
        return 0, max([self.steps, *reached])

    def _error_chart(self) -> Chart:
        levels = []
        if self.errors:
            levels.append(Level(value=self.errors[0][1], name="base", dashes="6 3"))
        if self.gray_error is not None:
            levels.append(Level(value=self.gray_error, name="gray", dashes="1 3"))
        return Chart(
            title="Color error (CIEDE2000) on validation images",
            color=ERROR_COLOR,
            lines=[Line(points=self.errors, color=ERROR_COLOR, has_markers=True)],
            levels=levels,
            ring=self.best,
            x_range=self._x_range,
            placeholder="available after the first validation",
        )

    def _loss_chart(self) -> Chart:
        return Chart(
            title="Training loss",
            color=LOSS_COLOR,
            lines=[
                Line(points=self.losses, color=LOSS_COLOR, width=1, opacity=0.5),
                Line(points=smooth(self.losses), color=LOSS_COLOR),
            ],
            x_range=self._x_range,
            placeholder="available after the first steps",
        )


def smooth(points: Points) -> Points:
    """Exponential moving average; bias-corrected, so that it starts at the first value."""
    sums = accumulate((y for _, y in points), lambda total, y: DECAY * total + y)
    weights = accumulate((1.0 for _ in points), lambda total, one: DECAY * total + one)
    return [
        (step, total / weight)
        for (step, _), total, weight in zip(points, sums, weights, strict=True)
    ]
