"""A run on its way: every plane of a stack, or one picture at several render factors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from napari_colorize.session.events import RunFinished, RunProgress, seconds_left
from napari_colorize.session.request import RenderRequest


@dataclass(eq=False)
class Run:
    """What was wished for when it began, and how far it is; every step tells of one picture."""

    number: int
    request: RenderRequest
    steps: Iterator[None] = field(default_factory=lambda: iter(()))
    total: int = 0
    done: int = 0
    stopped: bool = False
    keep: bool = True
    began: float | None = None

    def progress(self, text: str) -> RunProgress:
        """After a step; the clock starts with the first, so that loading a model counts not."""
        assert self.began is not None
        left = seconds_left(self.began, self.done, self.total)
        return RunProgress(f"{text} {self.done} of {self.total}", self.done, self.total, left)

    def end(self) -> RunFinished:
        """How it ended."""
        is_whole = 0 < self.total == self.done  # no total: it was stopped before its first step
        return RunFinished(
            self.done, self.total, self.stopped and not is_whole, self.keep, self.number
        )
