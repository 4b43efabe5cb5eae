"""What a session tells its front ends besides pictures: what it does, how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from psygnal import Signal

from napari_colorize.errors import ColorizeError

if TYPE_CHECKING:
    from napari_colorize.session.request import RenderRequest

State = Literal["idle", "getting ready", "downloading", "predicting", "composing", "cancelling"]


@dataclass(frozen=True)
class RunProgress:
    """How far a download (bytes) or a run (planes, render factors) has come.

    `text` is a short phrase to show; `seconds_left` is None until it can be guessed.
    """

    text: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class RunFinished:
    """How a run over a stack or over render factors ended.

    `keep` is what `cancel` was told, `run` the number that `run_all` or `sweep` gave. Of a run that
    ended before it was known how many planes there are, `total` is 0.
    """

    done: int
    total: int
    cancelled: bool
    keep: bool
    run: int


@dataclass(frozen=True, eq=False)
class PlaneSource:
    """What a plane was made of and for whom; `ColorizeSession.is_current` tells if it still is so.

    `run` is the number that `run_all` gave, None for a plane that was prefetched.
    """

    run: int | None
    request: RenderRequest = field(repr=False)  # whose plane may be another

    @property
    def source(self) -> Any:
        """The array that the session was given."""
        return self.request.source


def seconds_left(began: float, done: int, total: int) -> float | None:
    """Seconds to go if it goes on as since `began`; None before the first piece."""
    return (time.monotonic() - began) / done * (total - done) if done else None


class SessionSignals:
    """What a session says, always from its worker thread.

    Attributes
    ----------
    composed : Signal(Colorized)
        The picture that is looked at, its pixels composed. A front end that receives signals
        later, in its own thread, should compare with `result` and leave what is other.
    plane_done : Signal(tuple of int, Colorized, Origin)
        A plane of `run_all` or `prefetch`: `origin.source[index]`.
    swept : Signal(int, Colorized)
        One render factor of `sweep`.
    run_ended : Signal(RunEnd)
        `run_all` or `sweep` is over, however it ended.
    attended : Signal(AttentionMap)
        What `attend` asked for.
    judged : Signal(Colorized, ndarray)
        What `judge` asked for: the picture, and the CIEDE2000 expected of each of its pixels.
    doubted : Signal(Disagreement)
        What `doubt` asked for.
    progress : Signal(Progress)
        Of a download or a run.
    failed : Signal(ColorizeError)
        One sentence to show; the session goes on.
    state : Signal(str)
        What the worker does from now on; see `State`.
    """

    result_ready = Signal(object)
    plane_ready = Signal(tuple, object, PlaneSource)
    sweep_ready = Signal(int, object)
    run_finished = Signal(RunFinished)
    attention_ready = Signal(object)
    expected_error_ready = Signal(object, object)
    disagreement_ready = Signal(object)
    progress = Signal(RunProgress)
    failed = Signal(ColorizeError)
    state = Signal(str)

    def __init__(self) -> None:
        # Signals are made when first asked for: not by two threads at once.
        _ = self.result_ready, self.plane_ready, self.sweep_ready, self.run_finished
        _ = (
            self.attention_ready,
            self.expected_error_ready,
            self.disagreement_ready,
            self.progress,
            self.failed,
            self.state,
        )
