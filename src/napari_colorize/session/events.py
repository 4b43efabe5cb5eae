"""Signals of a session, the objects that they carry, and their delivery in the main thread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from psygnal import Signal, SignalInstance

from napari_colorize.errors import ColorizeError

if TYPE_CHECKING:
    from napari_colorize.session.request import RenderRequest

State = Literal["idle", "getting ready", "downloading", "predicting", "composing", "cancelling"]


@dataclass(frozen=True)
class RunProgress:
    """Progress of a download (bytes) or of a run (planes, render factors).

    `text` is a short phrase to display; `seconds_left` is None until it can be estimated.
    """

    text: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class RunFinished:
    """End of a run over a stack or over render factors."""

    done: int  # finished steps
    total: int  # 0 if the run ended before the number of planes was known
    cancelled: bool  # ended before its last step
    keep: bool  # whether finished planes are kept; parameter of `cancel`
    run: int  # number that `colorize_stack` or `sweep` returned


@dataclass(frozen=True, eq=False)
class PlaneSource:
    """Origin of a colorized plane; `ColorizeSession.is_current` compares it with the present."""

    run: int | None  # number that `colorize_stack` returned; None for a prefetched plane
    request: RenderRequest = field(repr=False)  # of the run; its `plane` may be a different one

    @property
    def source(self) -> Any:
        """The array that is colorized."""
        return self.request.source


@dataclass(eq=False)
class Run:
    """A run in progress: every plane of a stack, or one plane at several render factors.

    `request` is the state of the session when the run was started. Each item of `steps` stands
    for one image.
    """

    number: int
    request: RenderRequest
    steps: Iterator[None] = field(default_factory=lambda: iter(()))
    total: int = 0
    done: int = 0
    stopped: bool = False
    keep: bool = True
    began: float | None = None

    def progress(self, text: str) -> RunProgress:
        """Progress after a step. Time counts from the first step, without loading the model."""
        assert self.began is not None
        left = seconds_left(self.began, self.done, self.total)
        return RunProgress(f"{text} {self.done} of {self.total}", self.done, self.total, left)

    def finished(self) -> RunFinished:
        """The event of the end of this run."""
        is_whole = 0 < self.total == self.done  # total is 0 if it was stopped before its first step
        return RunFinished(
            self.done, self.total, self.stopped and not is_whole, self.keep, self.number
        )


def seconds_left(began: float, done: int, total: int) -> float | None:
    """Estimated remaining seconds at the mean speed since `began`; None before the first step."""
    return (time.monotonic() - began) / done * (total - done) if done else None


class SessionSignals:
    """Signals of a session. All are emitted from the worker thread.

    Attributes
    ----------
    result_ready : Signal(Colorized)
        The displayed plane in color, its pixels rendered. A front end that receives signals later,
        in its own thread, compares with `ColorizeSession.result` and ignores other results.
    plane_ready : Signal(tuple of int, Colorized, PlaneSource)
        A plane of `colorize_stack` or `prefetch`: `plane_source.source[index]`.
    sweep_ready : Signal(int, Colorized)
        One render factor of `sweep` and its result.
    run_finished : Signal(RunFinished)
        `colorize_stack` or `sweep` has ended, completely or not.
    attention_ready : Signal(AttentionMap)
        Answer to `request_attention`.
    expected_error_ready : Signal(Colorized, ndarray)
        Answer to `request_expected_error`: the result and the expected CIEDE2000 of each pixel.
    typical_error_ready : Signal(Colorized, float or None)
        Answer to `request_typical_error`: the result, and the CIEDE2000 that half of its pixels
        are expected to stay below; None if it cannot be estimated.
    disagreement_ready : Signal(Disagreement)
        Answer to `request_disagreement`.
    progress : Signal(RunProgress)
        Progress of a download or a run.
    failed : Signal(ColorizeError)
        An error to display; the session continues.
    state : Signal(str)
        New state of the worker; see `State`.
    """

    result_ready = Signal(object)
    plane_ready = Signal(tuple, object, PlaneSource)
    sweep_ready = Signal(int, object)
    run_finished = Signal(RunFinished)
    attention_ready = Signal(object)
    expected_error_ready = Signal(object, object)
    typical_error_ready = Signal(object, object)
    disagreement_ready = Signal(object)
    progress = Signal(RunProgress)
    failed = Signal(ColorizeError)
    state = Signal(str)


Post = Callable[[Callable[[], None]], None]
"""Schedules a function in the main thread; may be called by any thread."""


class MainThreadRelay:
    """Calls slots in the main thread for signals of any thread, in the order of emission.

    `post` schedules a function in the main thread. Without it, slots are called by `deliver` only.
    """

    def __init__(self, post: Post | None = None) -> None:
        self._post = post
        # append and popleft are atomic; everything else happens in the main thread.
        self._pending: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._is_open = True

    def connect(self, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        """Call `slot` in the main thread whenever `signal` is emitted."""

        def send(*values: Any) -> None:
            if self._is_open:
                self._pending.append((slot, values))
                if self._post is not None:
                    self._post(self.deliver)

        signal.connect(send)

    def deliver(self) -> None:
        """Call the slots of all signals that were emitted so far; in the main thread only."""
        while self._pending and self._is_open:
            slot, values = self._pending.popleft()
            slot(*values)

    def close(self) -> None:
        """Deliver nothing any more, not even signals that were emitted already."""
        self._is_open = False
        self._pending.clear()
