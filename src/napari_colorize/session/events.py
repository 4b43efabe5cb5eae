"""What a session tells its front ends besides pictures: what it does, how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from psygnal import Signal

from napari_colorize.errors import ColorizeError

if TYPE_CHECKING:
    from napari_colorize.session.request import Wish

State = Literal["idle", "getting ready", "downloading", "predicting", "composing", "cancelling"]


@dataclass(frozen=True)
class Progress:
    """How far a download (bytes) or a run (planes, render factors) has come.

    `text` is a short phrase to show; `seconds_left` is None until it can be guessed.
    """

    text: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class RunEnd:
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
class Origin:
    """What a plane was made of and for whom; `ColorizeSession.is_current` tells if it still is so.

    `run` is the number that `run_all` gave, None for a plane that was prefetched.
    """

    run: int | None
    wish: Wish = field(repr=False)  # whose plane may be another

    @property
    def source(self) -> Any:
        """The array that the session was given."""
        return self.wish.source


def seconds_left(began: float, done: int, total: int) -> float | None:
    """Seconds to go if it goes on as since `began`; None before the first piece."""
    return (time.monotonic() - began) / done * (total - done) if done else None


class Signals:
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

    composed = Signal(object)
    plane_done = Signal(tuple, object, Origin)
    swept = Signal(int, object)
    run_ended = Signal(RunEnd)
    attended = Signal(object)
    judged = Signal(object, object)
    doubted = Signal(object)
    progress = Signal(Progress)
    failed = Signal(ColorizeError)
    state = Signal(str)

    def __init__(self) -> None:
        # Signals are made when first asked for: not by two threads at once.
        _ = self.composed, self.plane_done, self.swept, self.run_ended
        _ = self.attended, self.judged, self.doubted, self.progress, self.failed, self.state
