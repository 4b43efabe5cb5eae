"""The worker: one thread that sees to the newest wish and to what else was asked for.

It does one thing at a time, the first of these that is due: bring the picture that is looked at up
to date, answer a question about it, go one step forward with a run over a stack or over render
factors, predict a plane that will be looked at, load the model. While a network is at work it looks
up between the layers (`_pause`): there a prediction that nobody wants any more ends, and there a
saturation slider is followed while a new prediction is made.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psygnal import EmitLoopError, SignalInstance

from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.session.cache import Cache
from napari_colorize.session.events import Origin, Progress, Signals, State
from napari_colorize.session.model_cache import Model, give_back
from napari_colorize.session.renderer import Pictures
from napari_colorize.session.request import Index, Wish
from napari_colorize.session.runs import Run
from napari_colorize.session.source import Reader
from napari_colorize.session.worker_errors import explained, forget_frames, quietly
from napari_colorize.settings import REFINING

if TYPE_CHECKING:
    from napari_colorize.result import Colorized
    from napari_colorize.session.queries import Question

SECONDS_TO_CLOSE = 5.0

logger = logging.getLogger(__name__)


class _Unwanted(Exception):
    """What was being done is no longer wanted."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """What was shown last: a prediction, for which wish, in which tone."""

    entry: Colorized
    wish: Wish
    tone: tuple[Any, ...]


class Worker(Signals):
    """What a session knows, and what its thread does with it; see `ColorizeSession`.

    What other threads say is under the lock `_changed`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # Said by the callers' threads, under the lock.
        self._wish = Wish()
        self._questions: dict[str, Question] = {}  # the newest of each kind
        self._runs: deque[Run] = deque()
        self._run_numbers = itertools.count(1)
        self._ahead: list[Index] = []  # planes to prefetch; another list for another call
        self._warming = self._unloading = self._cancelling = self._closed = False
        # What became of it.
        self._served: Wish | None = None  # shown, failed or cancelled
        self._given_up: Wish | None = None  # failed or cancelled: not tried again for a saturation
        self._result: tuple[Colorized, tuple[Any, ...]] | None = None
        self._state: State = "idle"
        self._busy = False
        # The worker's own.
        self._cache = Cache()
        self._reader = Reader(self._pause)
        self._model = Model(self._pause, self._tell, self._tell_progress)
        self._pictures = Pictures(self._cache, self._reader, self._model, self._pause, self._tell)
        self._shown: _Shown | None = None
        self._wanted: Callable[[], bool] = _always
        self._looked_at: Wish | None = None

    def close(self, wait: float = SECONDS_TO_CLOSE) -> None:
        """End the worker and free all memory; no signal comes any more.

        Parameters
        ----------
        wait : float
            Seconds to wait for the worker at most. A worker that takes longer, in the midst of
            a layer, ends and frees on its own.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(wait)

    # Said by callers' threads

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ColorizeError("This session is closed: make a new ColorizeSession.")

    def _wish_with_source(self) -> Wish:
        wish = self._wish
        if wish.source is None:
            raise ImageError("There is no image to colorize: choose one first.")
        return wish

    def _start(self, run: Run) -> int:
        with self._changed:
            self._refuse_if_closed()
            for other in self._runs:
                other.stopped = True
            self._runs.append(run)
            self._wake()
        return run.number

    def _ask(self, question: Question) -> None:
        with self._changed:
            self._refuse_if_closed()
            self._wish_with_source()
            self._questions[question.kind] = question
            self._wake()

    def _want(self, wish: Wish) -> None:
        if wish.picture != self._wish.picture:
            self._questions.clear()
        if not self._pictures.are_asked_alike(wish, self._wish):
            self._ahead = []
        if wish.generation != self._wish.generation:  # nothing of the last source is kept
            self._cache.clear(wish.generation)
            self._reader.forget()
            self._pictures.forget()
            self._served = self._given_up = self._shown = self._result = None
        self._wish = wish
        self._wake()

    def _wake(self) -> None:
        if self._thread is None and self._due() is not None:
            self._thread = threading.Thread(target=self._work, name="napari-colorize", daemon=True)
            # Ended before Python is: a thread inside torch must not outlive what it runs on.
            atexit.register(self.close)
            self._thread.start()
        self._changed.notify_all()

    def _is_due(self, wish: Wish) -> bool:
        return wish.source is not None and wish is not self._served

    def _due(self) -> Callable[[], None] | None:
        """What the worker has to do next; under the lock."""
        if self._unloading:
            return self._release
        if self._is_due(self._wish):
            return self._preview
        if self._questions:
            return self._answer
        if self._runs:
            return self._step
        if self._ahead:
            return self._look_ahead
        return self._warm if self._warming else None

    # The worker

    def _work(self) -> None:
        quietly(self._work_on)

    def _work_on(self) -> None:
        try:
            while (task := self._next()) is not None:
                task()
        finally:
            self._release()
            atexit.unregister(self.close)

    def _next(self) -> Callable[[], None] | None:
        while True:
            with self._changed:
                self._cancelling = False
                task = None if self._closed else self._due()
                self._busy = task is not None
                self._changed.notify_all()
            if task is not None or self._closed:
                return task
            self._tell("idle")
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._due() is not None)

    def _preview(self) -> None:
        """Bring the picture that is looked at up to the newest wish."""
        wish = self._wish
        error = self._attempt(
            lambda: self._show_newest(wish), wanted=lambda: self._is_still_asked(wish)
        )
        if error is None:
            return
        with self._changed:
            if self._cancelling or not self._is_still_asked(wish):
                return  # nobody waits for it: the newer wish is next
            self._served = self._given_up = self._wish
        self._emit(self.failed, error)

    def _step(self) -> None:
        """One plane, or one render factor, of the first run."""
        run = self._runs[0]
        goes_on = False

        def work() -> None:
            nonlocal goes_on
            self._pause()
            goes_on = next(run.steps, False) is None

        error = self._attempt(work, wanted=lambda: not run.stopped)
        if not goes_on:
            with self._changed:
                self._runs.popleft()
            run.steps = iter(())  # with it goes its network, if another is in use by now
            give_back()
            if error is not None:
                self._emit(self.failed, error)
            self._emit(self.run_ended, run.end())

    def _look_ahead(self) -> None:
        """One plane that will be looked at soon; what is known already first."""
        with self._changed:
            ahead, wish = self._ahead, self._wish
            if not ahead:
                return
        known = (index for index in ahead if self._pictures.is_known(replace(wish, plane=index)))
        in_order = wish.settings.steadiness > 0  # each is steadied by the one before it
        one = replace(wish, plane=ahead[0] if in_order else next(known, ahead[0]))
        result: Colorized | None = None
        composed_for = one

        def work() -> None:
            nonlocal result, composed_for
            entry = self._pictures.known(one, in_passing=True)
            if entry is None:
                entry = self._pictures.predict(one, in_passing=True)
            composed_for = self._wish_now(one)
            result = self._pictures.composed(composed_for, entry)

        error = self._attempt(work, wanted=lambda: self._is_next(ahead, one))
        with self._changed:
            if self._ahead is not ahead or (result is None and error is None):
                return  # dropped, or interrupted: the rest is for later
            if error is None:
                ahead.remove(one.plane or ())
            else:
                ahead.clear()
        if error is not None:
            self._emit(self.failed, error)
        else:
            self._emit(self.plane_done, one.plane, result, Origin(None, composed_for))

    def _wish_now(self, one: Wish) -> Wish:
        """The same plane at the newest saturation, if that is all that has changed."""
        newest = replace(self._wish, plane=one.plane)
        return newest if self._pictures.are_asked_alike(newest, one) else one

    def _is_next(self, ahead: list[Index], one: Wish) -> bool:
        """Whether nothing comes before a prefetched plane.

        Looked at by now, it is welcome; and what is only to be composed is shown meanwhile.
        """
        with self._changed:
            if self._ahead is not ahead or self._unloading or self._questions or self._runs:
                return False
            if not self._is_due(self._wish):
                return True
            key = self._pictures.key(self._wish)
            return key == self._pictures.key(one) or self._cache.get(key) is not None

    def _answer(self) -> None:
        """The first question, of the picture that is looked at as it is now."""
        with self._changed:
            wish, question = self._wish, next(iter(self._questions.values()), None)
            if question is None:
                return
        answer: tuple[Any, ...] | None = None

        def is_wanted() -> bool:
            return self._questions.get(question.kind) is question and self._is_still_asked(wish)

        def work() -> None:
            nonlocal answer
            self._tell("predicting")
            answer = question.answer(self._model, self._pictures, wish, self._shown_for(wish))

        error = self._attempt(work, is_wanted)
        with self._changed:
            if not is_wanted() or (answer is None and error is None):
                return  # of other settings: asked again when their picture is there
            del self._questions[question.kind]
        if error is not None:
            self._emit(self.failed, error)
        elif answer is not None:
            self._emit(getattr(self, question.kind), *answer)

    def _warm(self) -> None:
        """Load the model, and if meanwhile another is wanted, that one next."""
        wish = self._wish

        def is_wanted() -> bool:
            return self._wish.network == wish.network

        error = self._attempt(lambda: self._model.ready(wish), is_wanted)
        with self._changed:
            if not self._cancelling and not is_wanted():
                return
            self._warming = False
        if error is not None:
            self._emit(self.failed, error)

    def _attempt(
        self, work: Callable[[], object], wanted: Callable[[], bool]
    ) -> ColorizeError | None:
        """Do it as long as it is wanted; the error to tell, if there was one."""
        self._wanted, self._looked_at = wanted, None
        try:
            work()
        except _Unwanted:
            if self._cancelling:
                self._tell("cancelling")
        except ColorizeError as error:
            forget_frames(error)
            return error
        except Exception as error:
            logger.exception("Colorizing failed unexpectedly.")
            forget_frames(error)
            return explained(error)
        finally:
            self._wanted, self._looked_at = _always, None
        return None

    def _pause(self) -> None:
        """Look up from the work: raise if it is no longer wanted, follow the saturation if so."""
        if self._closed or self._cancelling or not self._wanted():
            raise _Unwanted
        wish = self._wish
        if wish is self._looked_at:
            return
        self._looked_at = wish
        if self._is_due(wish):
            entry = self._cache.get(self._pictures.key(wish))
            if entry is None:
                self._show_meanwhile(wish)
            else:
                self._show(wish, entry)

    # What is shown

    def _is_still_asked(self, wish: Wish) -> bool:
        """Whether the newest wish needs the same answer of the network."""
        newest = self._wish
        return newest is wish or self._pictures.key(newest) == self._pictures.key(wish)

    def _show_newest(self, wish: Wish) -> None:
        entry = self._pictures.known(wish)
        may_ask = self._may_ask(wish)
        if entry is None:
            self._show_meanwhile(wish)
            if not may_ask:
                with self._changed:
                    if self._wish is wish:
                        self._served = wish
                return
            entry = self._pictures.predict(wish)
        self._tell("composing")
        newest = self._wish  # the saturation may have moved on
        self._show(newest if self._is_still_asked(wish) else wish, entry)

    def _may_ask(self, wish: Wish) -> bool:
        """Not again what failed or was cancelled, until something else was asked between."""
        with self._changed:
            given_up = self._given_up
            if given_up is not None and self._pictures.key(given_up) == self._pictures.key(wish):
                return False
            self._given_up = None
            return True

    def _show(self, wish: Wish, entry: Colorized) -> None:
        """Compose and tell, unless the network would answer the newest wish otherwise."""
        result = self._pictures.composed(wish, entry)
        with self._changed:
            if self._closed or self._cancelling or not self._is_still_asked(wish):
                return
            self._served = wish
            self._keep(result, _Shown(entry, wish, self._pictures.tone(wish)))
        self._emit(self.composed, result)

    def _show_meanwhile(self, wish: Wish) -> None:
        """Until a new prediction is there, the last one in the new tone."""
        shown, tone = self._shown, self._pictures.tone(wish)
        if shown is None or wish.settings.saturation is None or tone == shown.tone:
            return
        if shown.wish.look != wish.look or shown.entry.fixed is not None:
            return
        if wish.blend_with != shown.wish.blend_with or wish.asks_confidence:
            return
        if wish.hints != shown.wish.hints and self._model.takes_hints(shown.wish):
            return
        # Of the wish that it was made for: its colours are not those of the new one's planes.
        chosen = {name: getattr(wish.settings, name) for name in ("saturation", *REFINING)}
        settings = replace(shown.wish.settings, **chosen)
        old = replace(shown.wish, settings=settings, guides=wish.guides, time_axis=wish.time_axis)
        result = self._pictures.composed(old, shown.entry)
        with self._changed:
            if self._closed or self._cancelling or self._wish.look != wish.look:
                return
            self._keep(result, replace(shown, tone=tone))
        self._emit(self.composed, result)

    def _keep(self, result: Colorized, shown: _Shown) -> None:
        self._result, self._shown = (result, shown.wish.picture), shown

    def _shown_for(self, wish: Wish) -> Colorized | None:
        """The picture that was shown for this very wish."""
        with self._changed:
            is_shown = self._shown is not None and self._shown.wish is wish
            return self._result[0] if is_shown and self._result is not None else None

    # Runs

    def _planes(self, run: Run) -> Iterator[None]:
        """Every plane of a stack, one a step."""
        run.total, planes = self._pictures.planes(run.wish)
        run.began = time.monotonic()
        origin = Origin(run.number, run.wish)
        for index, entry in planes:
            result = self._pictures.composed(replace(run.wish, plane=index), entry)
            run.done += 1
            self._emit(self.plane_done, index, result, origin)
            self._tell_progress(run.progress("Plane"))
            yield
            self._tell("predicting")

    def _factors(self, run: Run, wishes: Sequence[Wish]) -> Iterator[None]:
        """One picture at several render factors, one a step."""
        self._model.ready(run.wish)
        run.began = time.monotonic()
        for wish in wishes:
            entry = self._pictures.known(wish) or self._pictures.predict(wish)
            result = self._pictures.composed(wish, entry)
            run.done += 1
            self._emit(self.swept, wish.settings.render_factor, result)
            self._tell_progress(run.progress("Picture"))
            yield

    def _release(self) -> None:
        """Free everything that is large."""
        with self._changed:
            self._unloading = False
            self._cache.clear()
            self._reader.forget()
            self._pictures.forget()
            self._shown = None
            if self._closed:
                self._runs.clear()
                self._served = self._given_up = self._result = None
                self._wish = replace(self._wish, source=None)
        self._model.forget()

    # What is told

    def _tell(self, state: State) -> None:
        with self._changed:
            if state == self._state:
                return
            self._state = state
        self._emit(self.state, state)

    def _tell_progress(self, progress: Progress) -> None:
        self._emit(self.progress, progress)

    def _emit(self, signal: SignalInstance, *values: Any) -> None:
        if self._closed:
            return
        try:
            signal.emit(*values)
        except EmitLoopError:
            logger.exception("A listener of %s failed.", signal.name)


def _always() -> bool:
    return True
