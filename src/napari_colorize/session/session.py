"""The session: wishes come from any thread, one worker thread sees to the newest.

The worker does one thing at a time: bring the picture that is looked at up to date, or else go one
step forward with a run over a stack or over render factors. While a network is at work it looks up
between the layers (`_pause`): there a prediction that nobody wants any more ends, and there a
saturation slider is followed while a new prediction is made.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from psygnal import EmitLoopError, Signal, SignalInstance

from napari_colorize.errors import ColorizeError, ColorizeWarning, ImageError, OutOfMemoryError
from napari_colorize.session.cache import Cache
from napari_colorize.session.model import Model, give_back
from napari_colorize.session.reading import Reader, Watched, as_stack
from napari_colorize.session.told import Progress, RunEnd, State, seconds_left
from napari_colorize.session.wish import Changes, Index, Wish, normalized
from napari_colorize.settings import ColorizeSettings, settings_from

if TYPE_CHECKING:
    from typing import Unpack

    import torch

    from napari_colorize.colorizer import Colorizer
    from napari_colorize.devices import Precision
    from napari_colorize.result import Colorized

SECONDS_TO_CLOSE = 5.0

logger = logging.getLogger(__name__)


class _Unwanted(Exception):
    """What was being done is no longer wanted."""


@dataclass(eq=False)
class _Run:
    """A stack or a sweep on its way."""

    wish: Wish
    steps: Iterator[None] = field(default_factory=lambda: iter(()))
    total: int = 0
    done: int = 0
    stopped: bool = False
    keep: bool = True
    began: float | None = None

    def progress(self, text: str) -> Progress:
        """After a step; the clock starts with the first, so that loading a model counts not."""
        assert self.began is not None
        return Progress(
            text, self.done, self.total, seconds_left(self.began, self.done, self.total)
        )


@dataclass(frozen=True, eq=False)
class _Shown:
    """What was shown last: a prediction, for which wish, at which saturation."""

    entry: Colorized
    wish: Wish
    saturation: float | None


class ColorizeSession:
    """Settings, a source, and predictions in the background of which the newest wins.

    Set what is looked at; `composed` brings the picture. All signals come from the worker thread:
    connect with `thread="main"` (and psygnal's queue) or pass them on to your loop. A session is
    a context manager and ends with `close`.

    Parameters
    ----------
    source, plane, rgb, settings, model, device, precision
        See the properties of these names.

    Attributes
    ----------
    composed : Signal(Colorized)
        The picture that is looked at, its pixels composed. A front end that receives signals
        later, in its own thread, should compare with `result` and leave what is other.
    plane_done : Signal(tuple of int, Colorized)
        A plane of `run_all`: `source[index]`.
    swept : Signal(int, Colorized)
        One render factor of `sweep`.
    run_ended : Signal(RunEnd)
        `run_all` or `sweep` is over, however it ended.
    progress : Signal(Progress)
        Of a download or a run.
    failed : Signal(ColorizeError)
        One sentence to show; the session goes on.
    state : Signal(str)
        What the worker does from now on; see `State`.

    Examples
    --------
    >>> session = ColorizeSession(source=gray)  # doctest: +SKIP
    >>> session.composed.connect(lambda result: show(result.pixels))  # doctest: +SKIP
    >>> session.choose(saturation=1.5)  # doctest: +SKIP
    """

    composed = Signal(object)
    plane_done = Signal(tuple, object)
    swept = Signal(int, object)
    run_ended = Signal(RunEnd)
    progress = Signal(Progress)
    failed = Signal(ColorizeError)
    state = Signal(str)

    def __init__(self, **wanted: Unpack[Changes]) -> None:
        # Signals are made when first asked for: not by two threads at once.
        _ = self.composed, self.plane_done, self.swept, self.run_ended
        _ = self.progress, self.failed, self.state
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # Said by the callers' threads, under the lock.
        self._wish = Wish()
        self._runs: deque[_Run] = deque()
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
        self._shown: _Shown | None = None
        self._wanted: Callable[[], bool] = _always
        self._looked_at: Wish | None = None
        self.update(**wanted)

    def __enter__(self) -> ColorizeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What is wanted

    @property
    def source(self) -> Any:
        """An image or a stack: NumPy, dask, zarr, torch; None while there is none.

        Of a lazy one only the plane that is looked at is computed. Another source starts at its
        first plane.
        """
        return self._wish.source

    @source.setter
    def source(self, source: Any) -> None:
        self.update(source=source)

    @property
    def plane(self) -> Index | None:
        """Index of the plane looked at, `source[plane]`; None is the first."""
        return self._wish.plane

    @plane.setter
    def plane(self, plane: Sequence[int] | None) -> None:
        self.update(plane=plane)

    @property
    def rgb(self) -> bool | None:
        """Whether the last axis of the source holds colours; None: if it has 3 or 4 entries."""
        return self._wish.rgb

    @rgb.setter
    def rgb(self, rgb: bool | None) -> None:
        self.update(rgb=rgb)

    @property
    def settings(self) -> ColorizeSettings:
        """Every knob."""
        return self._wish.settings

    @settings.setter
    def settings(self, settings: ColorizeSettings) -> None:
        self.update(settings=settings)

    @property
    def model(self) -> str | Colorizer:
        """A name in the catalogue (fetched if it must be), a file, or a Colorizer of yours."""
        return self._wish.model

    @model.setter
    def model(self, model: str | os.PathLike[str] | Colorizer) -> None:
        self.update(model=model)

    @property
    def device(self) -> str:
        """Where the network runs: "auto", "cpu", "cuda", ..."""
        return self._wish.device

    @device.setter
    def device(self, device: str | torch.device) -> None:
        self.update(device=device)

    @property
    def precision(self) -> Precision:
        """In which the network computes: "auto", "float32" or "bfloat16"."""
        return self._wish.precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        self.update(precision=precision)

    def update(self, **changes: Unpack[Changes]) -> None:
        """Change several things at once: one prediction follows, or none.

        Raises
        ------
        SettingsError, ImageError
            If settings are none, or a plane is no index. The rest is told by `failed`.
        ColorizeError
            If the session is closed.
        """
        changed = normalized(changes)
        with self._changed:
            self._refuse_if_closed()
            self._want(self._wish.changed(changed))

    def choose(self, **settings: Any) -> None:
        """Change some knobs, the others stay; see `ColorizeSettings`.

        Raises
        ------
        SettingsError
            If there is no such knob, or a value is out of its range.
        """
        with self._changed:
            self.update(settings=settings_from({**vars(self.settings), **settings}))

    def refresh(self) -> None:
        """Predict anew: the source's values have changed in place, or a failure is mended."""
        with self._changed:
            self._refuse_if_closed()
            self._want(self._wish.renewed())

    def get_ready(self) -> None:
        """Import torch and load the model in the background, before there is a picture."""
        with self._changed:
            self._refuse_if_closed()
            self._warming = True
            self._wake()

    def run_all(self) -> None:
        """Colorize every plane of the source, as settings and model are now.

        Each is told by `plane_done`, the end by `run_ended`. What is looked at may change
        meanwhile and comes first. A run or sweep that is under way is cancelled.

        Raises
        ------
        ImageError
            If there is no source.
        """
        run = _Run(self._wish_with_source())
        run.steps = self._planes(run)
        self._start(run)

    def sweep(self, render_factors: Sequence[int]) -> None:
        """Colorize the plane looked at with each of several render factors.

        Each is told by `swept`, the end by `run_ended`; all are kept, so that choosing one of
        them shows it at once. A run or sweep that is under way is cancelled.

        Raises
        ------
        ImageError, SettingsError
            If there is no source, or a render factor is out of range.
        """
        wish = self._wish_with_source()
        wishes = [
            replace(wish, settings=replace(wish.settings, render_factor=render_factor))
            for render_factor in render_factors
        ]
        run = _Run(wish, total=len(wishes))
        run.steps = self._factors(run, wishes)
        self._start(run)

    def cancel(self, *, keep: bool = True) -> None:
        """Stop what is being done, within a plane; the picture shown last stays.

        Returns at once. Cancelled settings are tried again when they are set anew.

        Parameters
        ----------
        keep : bool
            Whether planes that `plane_done` told of shall be kept: handed on by `run_ended`.
        """
        with self._changed:
            self._cancelling = self._busy
            self._warming = False
            for run in self._runs:
                run.stopped, run.keep = True, keep
            if self._is_due(self._wish):
                self._served = self._given_up = self._wish
            self._changed.notify_all()

    def unload(self) -> None:
        """Free the memory of network and predictions, on the GPU too; cancels what is going on.

        The next change loads the model again, from its file as it is then.
        """
        with self._changed:
            self.cancel()
            self._served = self._wish
            self._unloading = self._thread is not None
            self._changed.notify_all()

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
        if thread is None or thread is threading.current_thread():
            return
        thread.join(wait)
        if not thread.is_alive():
            atexit.unregister(self.close)

    # What there is

    @property
    def result(self) -> Colorized | None:
        """The newest picture, if it is of what is looked at now."""
        with self._changed:
            if self._result is None or self._result[1] != self._wish.picture:
                return None
            return self._result[0]

    @property
    def doing(self) -> State:
        """What the worker does now; "cancelling" from the moment that `cancel` is called."""
        with self._changed:
            return "cancelling" if self._cancelling else self._state

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; False after `timeout` seconds. Not for listeners."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._closed or (not self._busy and self._due() is None), timeout
            )

    # Said by callers' threads

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ColorizeError("This session is closed: make a new ColorizeSession.")

    def _wish_with_source(self) -> Wish:
        wish = self._wish
        if wish.source is None:
            raise ImageError("There is no image to colorize: choose one first.")
        return wish

    def _start(self, run: _Run) -> None:
        with self._changed:
            self._refuse_if_closed()
            for other in self._runs:
                other.stopped = True
            self._runs.append(run)
            self._wake()

    def _want(self, wish: Wish) -> None:
        if wish.generation != self._wish.generation:  # nothing of the last source is kept
            self._cache.clear()
            self._reader.forget()
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
        if self._runs:
            return self._step
        return self._warm if self._warming else None

    # The worker

    def _work(self) -> None:
        _hide_warnings_of_this_thread()
        try:
            while (task := self._next()) is not None:
                task()
        finally:
            self._release()

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
            cancelled = run.stopped and run.done < run.total
            self._emit(self.run_ended, RunEnd(run.done, run.total, cancelled, run.keep))

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
            _forget_frames(error)
            return error
        except Exception as error:
            logger.exception("Colorizing failed unexpectedly.")
            _forget_frames(error)
            return _explained(error)
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
            entry = self._cache.get(self._key(wish))
            if entry is None:
                self._show_meanwhile(wish)
            else:
                self._show(wish, entry)

    # What is shown

    def _key(self, wish: Wish) -> tuple[Any, ...]:
        known = self._model.checkpoint(wish)
        return wish.asked(None if known is None else known.render_factor)

    def _is_still_asked(self, wish: Wish) -> bool:
        """Whether the newest wish needs the same answer of the network."""
        newest = self._wish
        return newest is wish or self._key(newest) == self._key(wish)

    def _show_newest(self, wish: Wish) -> None:
        entry = self._cache.get(self._key(wish))
        may_ask = self._may_ask(wish)
        if entry is None:
            self._show_meanwhile(wish)
            if not may_ask:
                self._served = wish
                return
            entry = self._predict(wish)
        self._tell("composing")
        newest = self._wish  # the saturation may have moved on
        self._show(newest if self._is_still_asked(wish) else wish, entry)

    def _may_ask(self, wish: Wish) -> bool:
        """Not again what failed or was cancelled, until something else was asked between."""
        with self._changed:
            given_up = self._given_up
            if given_up is not None and self._key(given_up) == self._key(wish):
                return False
            self._given_up = None
            return True

    def _show(self, wish: Wish, entry: Colorized) -> None:
        """Compose and tell, unless the network would answer the newest wish otherwise."""
        result, saturation = self._composed(wish, entry)
        with self._changed:
            if self._closed or self._cancelling or not self._is_still_asked(wish):
                return
            self._served = wish
            self._keep(result, _Shown(entry, wish, saturation))
        self._emit(self.composed, result)

    def _show_meanwhile(self, wish: Wish) -> None:
        """Until a new prediction is there, the last one at the new saturation."""
        shown, saturation = self._shown, wish.settings.saturation
        if shown is None or saturation is None or saturation == shown.saturation:
            return
        if shown.wish.look != wish.look or shown.entry.fixed is not None:
            return
        result = shown.entry.with_(saturation=saturation)
        _ = result.pixels
        with self._changed:
            if self._closed or self._cancelling or self._wish.look != wish.look:
                return
            self._keep(result, replace(shown, saturation=saturation))
        self._emit(self.composed, result)

    def _keep(self, result: Colorized, shown: _Shown) -> None:
        self._result, self._shown = (result, shown.wish.picture), shown

    def _composed(self, wish: Wish, entry: Colorized) -> tuple[Colorized, float | None]:
        """A prediction as the settings want it shown, its pixels made; and its saturation."""
        changes: dict[str, Any] = {"provenance": wish.settings.provenance}
        if entry.fixed is None:
            chosen = wish.settings.saturation
            known = self._model.checkpoint(wish)
            changes["saturation"] = known.saturation if chosen is None and known else chosen
        result = entry.with_(**changes)
        _ = result.pixels
        return result, result.settings.saturation

    # What is predicted

    def _predict(self, wish: Wish) -> Colorized:
        colorizer = self._model.ready(wish)
        picture = self._reader.picture(wish)
        settings, notes = self._reader.with_limits(wish)
        self._pause()
        self._tell("predicting")
        entry = colorizer(picture.image, rgb=picture.rgb, **vars(settings))
        entry = replace(entry, notes=(*notes, *entry.notes))
        with self._changed:
            if wish.generation == self._wish.generation:
                self._cache.put(self._key(wish), entry)
        return entry

    def _planes(self, run: _Run) -> Iterator[None]:
        """Every plane of a stack, one a step."""
        colorizer = self._model.ready(run.wish)
        stack, axes = as_stack(run.wish)
        run.total = math.prod(stack.shape[:-axes])
        run.began = time.monotonic()
        self._tell("predicting")
        watched = Watched(stack, self._pause)
        settings = vars(run.wish.settings)
        for index, result in colorizer.iter_planes(watched, rgb=axes == 3, **settings):
            _ = result.pixels  # composed here, not where it is received
            run.done += 1
            self._emit(self.plane_done, index, result)
            self._tell_progress(run.progress(f"Plane {run.done} of {run.total}"))
            yield
            self._tell("predicting")

    def _factors(self, run: _Run, wishes: Sequence[Wish]) -> Iterator[None]:
        """One picture at several render factors, one a step."""
        self._model.ready(run.wish)
        run.began = time.monotonic()
        for wish in wishes:
            entry = self._cache.get(self._key(wish)) or self._predict(wish)
            result, _ = self._composed(wish, entry)
            run.done += 1
            self._emit(self.swept, wish.settings.render_factor, result)
            self._tell_progress(run.progress(f"Picture {run.done} of {run.total}"))
            yield

    def _release(self) -> None:
        """Free everything that is large."""
        with self._changed:
            self._unloading = False
            self._cache.clear()
            self._reader.forget()
            self._shown = None
            if self._closed:
                self._runs.clear()
                self._wish, self._result = replace(self._wish, source=None), None
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


def _explained(error: Exception) -> ColorizeError:
    """An unexpected error in one sentence, itself as the cause."""
    said = " ".join(str(error).split()) or "no reason was given"
    if isinstance(error, MemoryError):
        explained: ColorizeError = OutOfMemoryError(
            "Memory ran out: close other programs, or colorize a smaller part."
        )
    else:
        kind = type(error).__name__
        explained = ColorizeError(f"Something unexpected went wrong ({kind}: {said}).")
    explained.__cause__ = error
    return explained


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what an error's frames hold: tensors on a GPU whose memory ran out, say."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _hide_warnings_of_this_thread() -> None:
    """Warnings travel in `Colorized.notes`; shown from a worker they crash Qt (napari#2598).

    `errors.warn` speaks in the name of whoever called this package: of this thread that is the
    module `threading`. Filters are the process's, so none is removed again: that would undo what
    other threads did to them meanwhile.
    """
    warnings.filterwarnings("ignore", category=ColorizeWarning, module=r"threading\Z")
