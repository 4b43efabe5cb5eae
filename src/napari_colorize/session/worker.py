"""The worker: one thread that sees to the newest request and to what else was asked for.

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
from napari_colorize.session.cache import PredictionCache
from napari_colorize.session.events import PlaneSource, RunProgress, SessionSignals, State
from napari_colorize.session.model_cache import LoadedModels, empty_device_cache
from napari_colorize.session.renderer import Renderer
from napari_colorize.session.request import Index, RenderRequest
from napari_colorize.session.runs import Run
from napari_colorize.session.source import SourceReader
from napari_colorize.session.worker_errors import (
    as_colorize_error,
    clear_traceback,
    without_warnings,
)
from napari_colorize.settings import REFINING

if TYPE_CHECKING:
    from napari_colorize.result import Colorized
    from napari_colorize.session.queries import Query

SECONDS_TO_CLOSE = 5.0

logger = logging.getLogger(__name__)


class _Cancelled(Exception):
    """What was being done is no longer wanted."""


@dataclass(frozen=True, eq=False)
class _Displayed:
    """What was shown last: a prediction, for which request, in which tone."""

    entry: Colorized
    request: RenderRequest
    rendering_key: tuple[Any, ...]


class Worker(SessionSignals):
    """What a session knows, and what its thread does with it; see `ColorizeSession`.

    What other threads say is under the lock `_changed`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # Said by the callers' threads, under the lock.
        self._request = RenderRequest()
        self._queries: dict[str, Query] = {}  # the newest of each kind
        self._runs: deque[Run] = deque()
        self._run_numbers = itertools.count(1)
        self._prefetch: list[Index] = []  # planes to prefetch; another list for another call
        self._warming = self._unloading = self._cancelling = self._closed = False
        # What became of it.
        self._served: RenderRequest | None = None  # shown, failed or cancelled
        self._abandoned: RenderRequest | None = (
            None  # failed or cancelled: not tried again for a saturation
        )
        self._result: tuple[Colorized, tuple[Any, ...]] | None = None
        self._state: State = "idle"
        self._busy = False
        # The worker's own.
        self._cache = PredictionCache()
        self._reader = SourceReader(self._check_cancelled)
        self._model = LoadedModels(self._check_cancelled, self._emit_state, self._tell_progress)
        self._renderer = Renderer(
            self._cache, self._reader, self._model, self._check_cancelled, self._emit_state
        )
        self._displayed: _Displayed | None = None
        self._wanted: Callable[[], bool] = _always
        self._displayed_request: RenderRequest | None = None

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

    def _request_with_source(self) -> RenderRequest:
        request = self._request
        if request.source is None:
            raise ImageError("There is no image to colorize: choose one first.")
        return request

    def _start(self, run: Run) -> int:
        with self._changed:
            self._refuse_if_closed()
            for other in self._runs:
                other.stopped = True
            self._runs.append(run)
            self._notify()
        return run.number

    def _add_query(self, query: Query) -> None:
        with self._changed:
            self._refuse_if_closed()
            self._request_with_source()
            self._queries[query.kind] = query
            self._notify()

    def _set_request(self, request: RenderRequest) -> None:
        if request.plane_key != self._request.plane_key:
            self._queries.clear()
        if not self._renderer.same_prediction(request, self._request):
            self._prefetch = []
        if request.generation != self._request.generation:  # nothing of the last source is kept
            self._cache.clear(request.generation)
            self._reader.forget()
            self._renderer.forget()
            self._served = self._abandoned = self._displayed = self._result = None
        self._request = request
        self._notify()

    def _notify(self) -> None:
        if self._thread is None and self._next_task() is not None:
            self._thread = threading.Thread(target=self._run, name="napari-colorize", daemon=True)
            # Ended before Python is: a thread inside torch must not outlive what it runs on.
            atexit.register(self.close)
            self._thread.start()
        self._changed.notify_all()

    def _is_due(self, request: RenderRequest) -> bool:
        return request.source is not None and request is not self._served

    def _next_task(self) -> Callable[[], None] | None:
        """What the worker has to do next; under the lock."""
        if self._unloading:
            return self._release
        if self._is_due(self._request):
            return self._preview
        if self._queries:
            return self._answer_query
        if self._runs:
            return self._step
        if self._prefetch:
            return self._prefetch_next
        return self._warm if self._warming else None

    # The worker

    def _run(self) -> None:
        without_warnings(self._loop)

    def _loop(self) -> None:
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
                task = None if self._closed else self._next_task()
                self._busy = task is not None
                self._changed.notify_all()
            if task is not None or self._closed:
                return task
            self._emit_state("idle")
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next_task() is not None)

    def _preview(self) -> None:
        """Bring the picture that is looked at up to the newest request."""
        request = self._request
        error = self._run_guarded(
            lambda: self._show_newest(request), wanted=lambda: self._is_still_requested(request)
        )
        if error is None:
            return
        with self._changed:
            if self._cancelling or not self._is_still_requested(request):
                return  # nobody waits for it: the newer request is next
            self._served = self._abandoned = self._request
        self._emit(self.failed, error)

    def _step(self) -> None:
        """One plane, or one render factor, of the first run."""
        run = self._runs[0]
        goes_on = False

        def work() -> None:
            nonlocal goes_on
            self._check_cancelled()
            goes_on = next(run.steps, False) is None

        error = self._run_guarded(work, wanted=lambda: not run.stopped)
        if not goes_on:
            with self._changed:
                self._runs.popleft()
            run.steps = iter(())  # with it goes its network, if another is in use by now
            empty_device_cache()
            if error is not None:
                self._emit(self.failed, error)
            self._emit(self.run_finished, run.end())

    def _prefetch_next(self) -> None:
        """One plane that will be looked at soon; what is known already first."""
        with self._changed:
            ahead, request = self._prefetch, self._request
            if not ahead:
                return
        known = (
            index for index in ahead if self._renderer.is_cached(replace(request, plane=index))
        )
        in_order = request.settings.temporal_smoothing > 0  # each is steadied by the one before it
        one = replace(request, plane=ahead[0] if in_order else next(known, ahead[0]))
        result: Colorized | None = None
        composed_for = one

        def work() -> None:
            nonlocal result, composed_for
            entry = self._renderer.known(one, transient=True)
            if entry is None:
                entry = self._renderer.predict(one, transient=True)
            composed_for = self._current_request(one)
            result = self._renderer.render(composed_for, entry)

        error = self._run_guarded(work, wanted=lambda: self._is_next(ahead, one))
        with self._changed:
            if self._prefetch is not ahead or (result is None and error is None):
                return  # dropped, or interrupted: the rest is for later
            if error is None:
                ahead.remove(one.plane or ())
            else:
                ahead.clear()
        if error is not None:
            self._emit(self.failed, error)
        else:
            self._emit(self.plane_ready, one.plane, result, PlaneSource(None, composed_for))

    def _current_request(self, one: RenderRequest) -> RenderRequest:
        """The same plane at the newest saturation, if that is all that has changed."""
        newest = replace(self._request, plane=one.plane)
        return newest if self._renderer.same_prediction(newest, one) else one

    def _is_next(self, ahead: list[Index], one: RenderRequest) -> bool:
        """Whether nothing comes before a prefetched plane.

        Looked at by now, it is welcome; and what is only to be composed is shown meanwhile.
        """
        with self._changed:
            if self._prefetch is not ahead or self._unloading or self._queries or self._runs:
                return False
            if not self._is_due(self._request):
                return True
            key = self._renderer.key(self._request)
            return key == self._renderer.key(one) or self._cache.get(key) is not None

    def _answer_query(self) -> None:
        """The first question, of the picture that is looked at as it is now."""
        with self._changed:
            request, query = self._request, next(iter(self._queries.values()), None)
            if query is None:
                return
        answer: tuple[Any, ...] | None = None

        def is_wanted() -> bool:
            return self._queries.get(query.kind) is query and self._is_still_requested(request)

        def work() -> None:
            nonlocal answer
            self._emit_state("predicting")
            answer = query.answer(
                self._model, self._renderer, request, self._displayed_for(request)
            )

        error = self._run_guarded(work, is_wanted)
        with self._changed:
            if not is_wanted() or (answer is None and error is None):
                return  # of other settings: asked again when their picture is there
            del self._queries[query.kind]
        if error is not None:
            self._emit(self.failed, error)
        elif answer is not None:
            self._emit(getattr(self, query.kind), *answer)

    def _warm(self) -> None:
        """Load the model, and if meanwhile another is wanted, that one next."""
        request = self._request

        def is_wanted() -> bool:
            return self._request.model_key == request.model_key

        error = self._run_guarded(lambda: self._model.ready(request), is_wanted)
        with self._changed:
            if not self._cancelling and not is_wanted():
                return
            self._warming = False
        if error is not None:
            self._emit(self.failed, error)

    def _run_guarded(
        self, work: Callable[[], object], wanted: Callable[[], bool]
    ) -> ColorizeError | None:
        """Do it as long as it is wanted; the error to tell, if there was one."""
        self._wanted, self._displayed_request = wanted, None
        try:
            work()
        except _Cancelled:
            if self._cancelling:
                self._emit_state("cancelling")
        except ColorizeError as error:
            clear_traceback(error)
            return error
        except Exception as error:
            logger.exception("Colorizing failed unexpectedly.")
            clear_traceback(error)
            return as_colorize_error(error)
        finally:
            self._wanted, self._displayed_request = _always, None
        return None

    def _check_cancelled(self) -> None:
        """Look up from the work: raise if it is no longer wanted, follow the saturation if so."""
        if self._closed or self._cancelling or not self._wanted():
            raise _Cancelled
        request = self._request
        if request is self._displayed_request:
            return
        self._displayed_request = request
        if self._is_due(request):
            entry = self._cache.get(self._renderer.key(request))
            if entry is None:
                self._show_intermediate(request)
            else:
                self._show(request, entry)

    # What is shown

    def _is_still_requested(self, request: RenderRequest) -> bool:
        """Whether the newest request needs the same answer of the network."""
        newest = self._request
        return newest is request or self._renderer.key(newest) == self._renderer.key(request)

    def _show_newest(self, request: RenderRequest) -> None:
        entry = self._renderer.known(request)
        may_ask = self._can_answer(request)
        if entry is None:
            self._show_intermediate(request)
            if not may_ask:
                with self._changed:
                    if self._request is request:
                        self._served = request
                return
            entry = self._renderer.predict(request)
        self._emit_state("composing")
        newest = self._request  # the saturation may have moved on
        self._show(newest if self._is_still_requested(request) else request, entry)

    def _can_answer(self, request: RenderRequest) -> bool:
        """Not again what failed or was cancelled, until something else was asked between."""
        with self._changed:
            given_up = self._abandoned
            if given_up is not None and self._renderer.key(given_up) == self._renderer.key(request):
                return False
            self._abandoned = None
            return True

    def _show(self, request: RenderRequest, entry: Colorized) -> None:
        """Compose and tell, unless the network would answer the newest request otherwise."""
        result = self._renderer.render(request, entry)
        with self._changed:
            if self._closed or self._cancelling or not self._is_still_requested(request):
                return
            self._served = request
            self._keep(result, _Displayed(entry, request, self._renderer.rendering_key(request)))
        self._emit(self.result_ready, result)

    def _show_intermediate(self, request: RenderRequest) -> None:
        """Until a new prediction is there, the last one in the new tone."""
        shown, tone = self._displayed, self._renderer.rendering_key(request)
        if shown is None or request.settings.saturation is None or tone == shown.rendering_key:
            return
        if shown.request.input_key != request.input_key or shown.entry.pixels_8bit is not None:
            return
        if request.blend_with != shown.request.blend_with or request.needs_confidence:
            return
        if request.hints != shown.request.hints and self._model.takes_hints(shown.request):
            return
        # Of the request that it was made for: its colours are not those of the new one's planes.
        chosen = {name: getattr(request.settings, name) for name in ("saturation", *REFINING)}
        settings = replace(shown.request.settings, **chosen)
        old = replace(
            shown.request, settings=settings, guides=request.guides, time_axis=request.time_axis
        )
        result = self._renderer.render(old, shown.entry)
        with self._changed:
            if self._closed or self._cancelling or self._request.input_key != request.input_key:
                return
            self._keep(result, replace(shown, rendering_key=tone))
        self._emit(self.result_ready, result)

    def _keep(self, result: Colorized, shown: _Displayed) -> None:
        self._result, self._displayed = (result, shown.request.plane_key), shown

    def _displayed_for(self, request: RenderRequest) -> Colorized | None:
        """The picture that was shown for this very request."""
        with self._changed:
            is_shown = self._displayed is not None and self._displayed.request is request
            return self._result[0] if is_shown and self._result is not None else None

    # Runs

    def _planes(self, run: Run) -> Iterator[None]:
        """Every plane of a stack, one a step."""
        run.total, planes = self._renderer.planes(run.request)
        run.began = time.monotonic()
        plane_source = PlaneSource(run.number, run.request)
        for index, entry in planes:
            result = self._renderer.render(replace(run.request, plane=index), entry)
            run.done += 1
            self._emit(self.plane_ready, index, result, plane_source)
            self._tell_progress(run.progress("Plane"))
            yield
            self._emit_state("predicting")

    def _factors(self, run: Run, requests: Sequence[RenderRequest]) -> Iterator[None]:
        """One picture at several render factors, one a step."""
        self._model.ready(run.request)
        run.began = time.monotonic()
        for request in requests:
            entry = self._renderer.known(request) or self._renderer.predict(request)
            result = self._renderer.render(request, entry)
            run.done += 1
            self._emit(self.sweep_ready, request.settings.render_factor, result)
            self._tell_progress(run.progress("Picture"))
            yield

    def _release(self) -> None:
        """Free everything that is large."""
        with self._changed:
            self._unloading = False
            self._cache.clear()
            self._reader.forget()
            self._renderer.forget()
            self._displayed = None
            if self._closed:
                self._runs.clear()
                self._served = self._abandoned = self._result = None
                self._request = replace(self._request, source=None)
        self._model.forget()

    # What is told

    def _emit_state(self, state: State) -> None:
        with self._changed:
            if state == self._state:
                return
            self._state = state
        self._emit(self.state, state)

    def _tell_progress(self, progress: RunProgress) -> None:
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
