"""Worker thread: renders the newest request, then handles queries, runs and prefetching.

It does one thing at a time, the first of these that is due: render the displayed plane, answer a
query about it, one step of a run over a stack or over render factors, predict a plane that will
probably be displayed next, load the model.

During inference, `_check_cancelled` is called before every layer. There an outdated prediction is
cancelled, unless an image is overdue (see `displayed`). A change of saturation is applied to the
displayed image meanwhile.

Threads and locks: methods of the first section are called by any thread. They change what is
requested under the lock `_changed` and wake the worker. The worker reads it under the lock, works
without it, and takes it again to store a result. Signals are emitted without the lock, because a
listener may call any method of the session or wait for another thread. `PredictionCache` has a
lock of its own, which is only acquired inside `_changed`, never the other way round.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401, before `_register_atexit` below
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from psygnal import EmitLoopError, SignalInstance

from napari_colorize.array_types import PlaneIndex
from napari_colorize.errors import (
    ColorizeError,
    ImageError,
    as_colorize_error,
    clear_traceback,
    warnings_suppressed,
)
from napari_colorize.session.cache import PredictionCache
from napari_colorize.session.displayed import DisplayedImage
from napari_colorize.session.events import PlaneSource, Run, SessionSignals, State
from napari_colorize.session.model_cache import LoadedModels, empty_device_cache
from napari_colorize.session.queries import Queries
from napari_colorize.session.renderer import Renderer
from napari_colorize.session.request import RenderRequest
from napari_colorize.session.source import SourceReader

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

SECONDS_TO_CLOSE = 5.0
SECONDS_TO_EXIT = 60.0  # a model is loaded as a whole

logger = logging.getLogger(__name__)


_running: WeakSet[Worker] = WeakSet()


def _close_running() -> None:
    for worker in list(_running):
        worker.close(SECONDS_TO_EXIT)


# The threads end before the interpreter exits: torch must not be unloaded below them. Functions of
# `atexit` are called too late, after thread pools have been closed, so that a task would fail. The
# function that `concurrent.futures` registers when it is imported is called after this one.
getattr(threading, "_register_atexit", atexit.register)(_close_running)


class _Cancelled(Exception):
    """The current task is no longer needed."""


class Worker:
    """The request of a session, other pending work, and the thread that does it."""

    def __init__(self, events: SessionSignals) -> None:
        self._events = events
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        # Set by any thread, under the lock.
        self.request = RenderRequest()
        self._queries: dict[str, tuple[Any, ...]] = {}  # the newest of each kind
        self._runs: deque[Run] = deque()
        self._run_numbers = itertools.count(1)
        self._prefetch: list[PlaneIndex] = []  # a new list for each call of `prefetch`
        self._is_warming = self._is_releasing = self._is_cancelling = False
        self._has_released = False  # nothing was done since `release_memory`
        self.is_closed = False
        # Set by the worker, under the lock.
        self._state: State = "idle"
        self._is_busy = False
        # For the worker thread only, apart from the methods that are marked otherwise.
        self._cache = PredictionCache()
        self._reader = SourceReader(self._check_cancelled)
        self.models = LoadedModels(
            self._check_cancelled,
            self._emit_state,
            lambda event: self._emit(events.progress, event),
        )
        self.renderer = Renderer(
            self._cache, self._reader, self.models, self._check_cancelled, self._emit_state
        )
        self._answers = Queries(self.models, self.renderer)
        self._displayed_image = DisplayedImage(
            self._changed,
            self._cache,
            self.renderer,
            self.models,
            newest=lambda: self.request,
            is_stopping=lambda: self.is_closed or self._is_cancelling,
            on_result=lambda result: self._emit(events.result_ready, result),
            on_state=self._emit_state,
        )
        self._is_wanted: Callable[[], bool] = _always  # whether the current task still is
        self._followed: RenderRequest | None = None  # request of the last `_check_cancelled`

    # For any thread

    def change(self, make: Callable[[RenderRequest], RenderRequest]) -> None:
        """Replace the request by what `make` returns for it."""
        with self._changed:
            self._raise_if_closed()
            self._set_request(make(self.request))

    def warm_up(self) -> None:
        """Load the model when nothing else is to be done."""
        with self._changed:
            self._raise_if_closed()
            self._is_warming = True
            self._notify()

    def start_stack(self) -> int:
        """Start a run over all planes; returns its number."""
        run = Run(next(self._run_numbers), self._request_with_source())
        run.steps = self._plane_steps(run)
        return self._start(run)

    def start_sweep(self, requests: Callable[[RenderRequest], list[RenderRequest]]) -> int:
        """Start a run over the requests made from the present one; returns its number."""
        request = self._request_with_source()
        steps = requests(request)
        run = Run(next(self._run_numbers), request, total=len(steps))
        run.steps = self._sweep_steps(run, steps)
        return self._start(run)

    def add_query(self, kind: str, *arguments: Any) -> None:
        """Call a method of `Queries`; replaces a query of the same kind."""
        with self._changed:
            self._raise_if_closed()
            self._request_with_source()
            self._queries[kind] = arguments
            self._notify()

    def prefetch(self, indices: list[PlaneIndex]) -> None:
        """Predict these planes when nothing else is to be done; replaces an earlier list."""
        with self._changed:
            self._raise_if_closed()
            self._request_with_source()
            self._prefetch = indices
            self._notify()

    def cancel(self, *, keep: bool) -> None:
        """Stop the current task and drop all others."""
        with self._changed:
            self._is_cancelling = self._is_busy
            self._is_warming = False
            self._queries.clear()
            self._prefetch = []
            for run in self._runs:
                run.stopped, run.keep = True, keep
            if self._displayed_image.is_due(self.request):
                self._displayed_image.abandon(self.request)
            self._changed.notify_all()

    def cancel_run(self, number: int, *, keep: bool) -> None:
        """Stop one run; nothing happens if it is over."""
        with self._changed:
            for run in self._runs:
                if run.number == number:
                    run.stopped, run.keep = True, keep

    def release_memory(self, *, keep_result: bool, source: Any = None) -> None:
        """Cancel everything, then free networks, predictions and, if asked, the result.

        `source`, if given, has the values of the present one and replaces it.
        """
        with self._changed:
            if source is not None:
                self.request = self.request.replace(source=source)
            self.cancel(keep=True)
            self._displayed_image.finish(self.request)
            if not keep_result:
                self._displayed_image.forget_result()
            self._is_releasing = self._thread is not None
            self._changed.notify_all()

    def close(self, wait: float = SECONDS_TO_CLOSE) -> None:
        """End the thread and free all memory; a thread that takes longer, inside a layer, later.

        In a forked process nothing is done: the thread is the parent's, and may hold the lock.
        """
        if self._is_forked:
            return
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            self._release()  # the thread has ended after `release_memory`, or never existed
        elif thread is not threading.current_thread():
            thread.join(wait)

    def wait(self, timeout: float | None) -> bool:
        """Wait until nothing is left to do; False after `timeout` seconds."""
        self._raise_if_forked()
        with self._changed:
            return self._changed.wait_for(
                lambda: self.is_closed or (not self._is_busy and self._next_task() is None), timeout
            )

    @property
    def state(self) -> State:
        """What the worker does now; "cancelling" from the moment that `cancel` is called."""
        with self._changed:
            return "cancelling" if self._is_cancelling else self._state

    @property
    def result(self) -> Colorized | None:
        """The newest result, if it shows the plane of the request."""
        with self._changed:
            return self._displayed_image.result(self.request.plane_key)

    @property
    def is_pending(self) -> bool:
        """Whether the request is still to be rendered."""
        with self._changed:
            return self._displayed_image.is_due(self.request)

    def is_current(self, request: RenderRequest) -> bool:
        """Whether a request gives the same pixels as the present one, for the same plane."""
        with self._changed:
            return self.renderer.same_result(request, self.request)

    def _raise_if_closed(self) -> None:
        self._raise_if_forked()
        if self.is_closed:
            raise ColorizeError("This session is closed: make a new ColorizeSession.")

    @property
    def _is_forked(self) -> bool:
        return self._process != os.getpid()

    def _raise_if_forked(self) -> None:
        if self._is_forked:
            raise ColorizeError(
                "This session was made before the process was forked, and its thread does not run "
                'here. Make a new ColorizeSession, or start processes with the method "spawn".'
            )

    def _request_with_source(self) -> RenderRequest:
        request = self.request
        if request.source is None:
            raise ImageError("There is no image to colorize: choose one first.")
        return request

    def _start(self, run: Run) -> int:
        with self._changed:
            self._raise_if_closed()
            for other in self._runs:
                other.stopped = True
            self._runs.append(run)
            self._notify()
        return run.number

    def _set_request(self, request: RenderRequest) -> None:
        if request.plane_key != self.request.plane_key:
            self._queries.clear()
        if not self.renderer.same_prediction(request, self.request):
            self._prefetch = []
        if request.generation != self.request.generation:
            # The worker may be predicting from the old source: the cache then refuses its result.
            self._cache.clear(request.generation)
            self._reader.forget()
            self.renderer.forget()
            self._displayed_image.forget()
        self.request = request
        self._notify()

    def _notify(self) -> None:
        """Start the thread, or wake it."""
        if self._thread is None and self._next_task() is not None:
            self._thread = threading.Thread(target=self._run, name="napari-colorize", daemon=True)
            _running.add(self)
            self._thread.start()
        self._changed.notify_all()

    def _next_task(self) -> Callable[[], None] | None:
        """The most urgent task, None if there is none; under the lock."""
        if self._is_releasing:
            return self._release
        if self._displayed_image.is_due(self.request):
            return self._update_preview
        if self._queries:
            return self._answer_query
        if self._runs:
            return self._step_run
        if self._prefetch:
            return self._prefetch_next
        return self._warm_up if self._is_warming else None

    # For the worker thread

    def _run(self) -> None:
        with warnings_suppressed():
            is_done = False
            try:
                while (task := self._wait_for_task()) is not None:
                    task()
                is_done = not self.is_closed
            finally:
                if not is_done:  # else memory was released, and another thread may run already
                    self._release()
                    _running.discard(self)

    def _wait_for_task(self) -> Callable[[], None] | None:
        """The next task; None when the session is closed, or idle after `release_memory`.

        Libraries keep work memory for each thread: it is freed when the thread ends. `_notify`
        starts another one.
        """
        while True:
            with self._changed:
                self._is_cancelling = False
                task = None if self.is_closed else self._next_task()
                if task is not None:
                    self._has_released = task == self._release
                # Decided together with the task, so that `wait` sees no gap between two tasks.
                self._is_busy = task is not None
                self._changed.notify_all()
            if task is not None or self.is_closed:
                return task
            self._emit_state("idle")
            with self._changed:
                if self._has_released and not self.is_closed and self._next_task() is None:
                    self._thread = None
                    return None
                self._changed.wait_for(lambda: self.is_closed or self._next_task() is not None)

    def _update_preview(self) -> None:
        request, preview = self.request, self._displayed_image
        error = self._run_guarded(
            lambda: preview.update(request), lambda: preview.is_wanted(request)
        )
        if error is None:
            return
        with self._changed:
            if self._is_cancelling or not preview.is_requested(request):
                return  # an error of an outdated request; the newest one is next
            preview.abandon(self.request)
        self._emit(self._events.failed, error)

    def _answer_query(self) -> None:
        """The oldest query, about the displayed image."""
        with self._changed:
            if not self._queries:
                return
            request, (kind, arguments) = self.request, next(iter(self._queries.items()))
        answer: tuple[Any, ...] | None = None
        is_void = False  # there is nothing to answer

        def is_wanted() -> bool:
            is_newest = self._queries.get(kind) is arguments
            return is_newest and self._displayed_image.is_requested(request)

        def work() -> None:
            nonlocal answer, is_void
            self._emit_state("predicting")
            with self._changed:
                displayed = self._displayed_image.result_for(request)
                is_due = self._displayed_image.is_due(request)
            if displayed is None and kind in Queries.ABOUT_RESULT:
                is_void = not is_due
            else:
                answer = getattr(self._answers, kind)(request, displayed, *arguments)

        error = self._run_guarded(work, is_wanted)
        with self._changed:
            if not is_wanted() or (answer is None and error is None and not is_void):
                return  # about outdated settings: answered again after the next preview
            del self._queries[kind]
        if error is not None:
            self._emit(self._events.failed, error)
        elif answer is not None:
            self._emit(getattr(self._events, f"{kind}_ready"), *answer)

    def _step_run(self) -> None:
        """One plane, or one render factor, of the oldest run."""
        run = self._runs[0]
        continues = False

        def work() -> None:
            nonlocal continues
            self._check_cancelled()
            continues = next(run.steps, False) is None

        error = self._run_guarded(work, lambda: not run.stopped)
        if not continues:
            with self._changed:
                self._runs.popleft()
            # The generator holds the network of the run, which may not be the present one.
            run.steps = iter(())
            empty_device_cache()
            if error is not None:
                self._emit(self._events.failed, error)
            self._emit(self._events.run_finished, run.finished())

    def _plane_steps(self, run: Run) -> Iterator[None]:
        run.total, planes = self.renderer.planes(run.request)
        run.began = time.monotonic()
        plane_source = PlaneSource(run.number, run.request)
        for index, entry in planes:
            result = self.renderer.render(run.request.replace(plane=index), entry)
            run.done += 1
            self._emit(self._events.plane_ready, index, result, plane_source)
            self._emit(self._events.progress, run.progress("Plane"))
            yield
            self._emit_state("predicting")

    def _sweep_steps(self, run: Run, requests: Sequence[RenderRequest]) -> Iterator[None]:
        self.models.ready(run.request)
        run.began = time.monotonic()
        for request in requests:
            entry = self.renderer.cached(request) or self.renderer.predict(request)
            result = self.renderer.render(request, entry)
            run.done += 1
            self._emit(self._events.sweep_ready, request.settings.render_factor, result)
            self._emit(self._events.progress, run.progress("Image"))
            yield

    def _prefetch_next(self) -> None:
        """One plane that will probably be displayed; cached planes first."""
        with self._changed:
            indices, request = self._prefetch, self.request
            if not indices:
                return
        cached = (
            index for index in indices if self.renderer.is_cached(request.replace(plane=index))
        )
        # Temporal smoothing needs the plane before, so the order is kept.
        in_order = request.settings.temporal_smoothing > 0
        one = request.replace(plane=indices[0] if in_order else next(cached, indices[0]))
        result: Colorized | None = None
        rendered_for = one

        def work() -> None:
            nonlocal result, rendered_for
            entry = self.renderer.cached(one, transient=True)
            if entry is None:
                entry = self.renderer.predict(one, transient=True)
            # The saturation may have changed during the prediction.
            newest = self.request.replace(plane=one.plane)
            rendered_for = newest if self.renderer.same_prediction(newest, one) else one
            result = self.renderer.render(rendered_for, entry)

        error = self._run_guarded(work, lambda: self._is_prefetch_wanted(indices, one))
        with self._changed:
            if self._prefetch is not indices or (result is None and error is None):
                return  # replaced, or interrupted and continued later
            if error is None:
                indices.remove(one.plane or ())
            else:
                indices.clear()
        if error is not None:
            self._emit(self._events.failed, error)
        else:
            plane_source = PlaneSource(None, rendered_for)
            self._emit(self._events.plane_ready, one.plane, result, plane_source)

    def _is_prefetch_wanted(self, indices: list[PlaneIndex], one: RenderRequest) -> bool:
        """Whether nothing is more urgent than a prefetched plane.

        It goes on if the plane is displayed by now, or if the displayed plane is cached, so that
        `_check_cancelled` can render it meanwhile.
        """
        with self._changed:
            if self._prefetch is not indices or self._is_releasing or self._queries or self._runs:
                return False
            if not self._displayed_image.is_due(self.request):
                return True
            key = self.renderer.cache_key(self.request)
            return key == self.renderer.cache_key(one) or self._cache.get(key) is not None

    def _warm_up(self) -> None:
        """Load the model; called again if another one is requested meanwhile."""
        request = self.request

        def is_wanted() -> bool:
            return self.request.model_key == request.model_key

        error = self._run_guarded(lambda: self.models.ready(request), is_wanted)
        with self._changed:
            if not self._is_cancelling and not is_wanted():
                return
            self._is_warming = False
        if error is not None:
            self._emit(self._events.failed, error)

    def _release(self) -> None:
        """Free networks and predictions."""
        with self._changed:
            self._is_releasing = False
            self._cache.clear()
            self._reader.forget()
            self.renderer.forget()
            self._displayed_image.release_memory()
            if self.is_closed:
                self._runs.clear()
                self._displayed_image.forget()
                self.request = self.request.replace(source=None)
        self.models.forget()

    def _run_guarded(
        self, work: Callable[[], object], is_wanted: Callable[[], bool]
    ) -> ColorizeError | None:
        """Do a task as long as it is wanted; returns the error to emit, if there was one."""
        self._is_wanted, self._followed = is_wanted, None
        try:
            work()
        except _Cancelled:
            if self._is_cancelling:
                self._emit_state("cancelling")
        except ColorizeError as error:
            clear_traceback(error)
            return error
        except Exception as error:
            if self.is_closed:  # at exit, for example, no new thread can be started
                return None
            logger.exception("Colorizing failed unexpectedly.")
            clear_traceback(error)
            return as_colorize_error(error)
        finally:
            self._is_wanted, self._followed = _always, None
        return None

    def _check_cancelled(self) -> None:
        """Raise if the current task is no longer wanted; else display what needs no network."""
        if self.is_closed or self._is_cancelling or not self._is_wanted():
            raise _Cancelled
        request = self.request
        if request is not self._followed:
            self._followed = request
            self._displayed_image.follow(request)

    def _emit_state(self, state: State) -> None:
        with self._changed:
            if state == self._state:
                return
            self._state = state
        self._emit(self._events.state, state)

    def _emit(self, signal: SignalInstance, *values: Any) -> None:
        if self.is_closed:
            return
        try:
            signal.emit(*values)
        except EmitLoopError:
            logger.exception("A listener of %s failed.", signal.name)


def _always() -> bool:
    return True
