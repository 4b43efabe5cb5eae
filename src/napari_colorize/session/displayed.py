"""The displayed image of a session: brought up to date with the newest request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_colorize.settings import REFINING

if TYPE_CHECKING:
    from napari_colorize.result import Colorized
    from napari_colorize.session.cache import PredictionCache
    from napari_colorize.session.events import State
    from napari_colorize.session.model_cache import LoadedModels
    from napari_colorize.session.renderer import Renderer
    from napari_colorize.session.request import RenderRequest

# While a slider is dragged, every prediction is outdated before it ends. After one was cancelled,
# the next is therefore completed although it is outdated, unless this takes too long.
MAX_OUTDATED = 2.0  # seconds that such a prediction may take
COARSE_SECONDS = 0.4  # aim for a prediction that comes before a longer one

_Line = tuple[Any, ...]  # see `_line`


@dataclass(frozen=True, eq=False)
class _Displayed:
    """What was displayed last: prediction, request, and the rendering key in use."""

    entry: Colorized
    request: RenderRequest
    rendering_key: tuple[Any, ...]


class DisplayedImage:
    """Renders the newest request, and intermediate images while a prediction is running.

    The lock is that of the worker. It guards the attributes; results are emitted without it,
    because a listener may call any method of the session. `is_stopping` returns whether results are
    no longer wanted, because the session is closed or was cancelled.
    """

    def __init__(
        self,
        lock: threading.Condition,
        cache: PredictionCache,
        renderer: Renderer,
        models: LoadedModels,
        *,
        newest: Callable[[], RenderRequest],
        is_stopping: Callable[[], bool],
        on_result: Callable[[Colorized], None],
        on_state: Callable[[State], None],
    ) -> None:
        self._lock, self._cache, self._renderer, self._models = lock, cache, renderer, models
        self._newest, self._is_stopping = newest, is_stopping
        self._on_result, self._on_state = on_result, on_state
        self._finished: RenderRequest | None = None  # displayed, failed or cancelled
        # Failed or cancelled: not tried again for a change that needs the same prediction.
        self._abandoned: RenderRequest | None = None
        self._displayed: _Displayed | None = None
        self._result: tuple[Colorized, tuple[Any, ...]] | None = None  # with its plane key
        # For the worker thread only.
        self._unfinished: _Line | None = None  # of a prediction that was begun and not displayed
        self._completed_until = 0.0  # time until which an outdated prediction goes on

    # For any thread, under the lock

    def is_due(self, request: RenderRequest) -> bool:
        """Whether the request still has to be rendered."""
        return request.source is not None and request is not self._finished

    def result(self, plane_key: tuple[Any, ...]) -> Colorized | None:
        """The displayed result, if it shows this plane."""
        if self._result is None or self._result[1] != plane_key:
            return None
        return self._result[0]

    def result_for(self, request: RenderRequest) -> Colorized | None:
        """The displayed result, if it was rendered for this very request."""
        is_displayed = self._displayed is not None and self._displayed.request is request
        return self._result[0] if is_displayed and self._result is not None else None

    def finish(self, request: RenderRequest) -> None:
        """Do not render this request."""
        self._finished = request

    def abandon(self, request: RenderRequest) -> None:
        """Do not run the network again for this request: it failed or was cancelled."""
        self._finished = self._abandoned = request

    def release_memory(self) -> None:
        """Drop the prediction of the displayed image; the image itself stays."""
        self._displayed = None

    def forget_result(self) -> None:
        """Drop the displayed image as well; it is rendered again only on request."""
        self._displayed = self._result = None

    def forget(self) -> None:
        """Drop everything, for a new source."""
        self._finished = self._abandoned = self._displayed = self._result = None

    def is_requested(self, request: RenderRequest) -> bool:
        """Whether the newest request needs the same prediction as this one."""
        newest = self._newest()
        return newest is request or self._renderer.cache_key(newest) == self._renderer.cache_key(
            request
        )

    # For the worker thread, without the lock

    def is_wanted(self, request: RenderRequest) -> bool:
        """Whether to go on with a prediction: it is requested, or an image is overdue."""
        return self.is_requested(request) or (
            time.monotonic() < self._completed_until and _line(self._newest()) == _line(request)
        )

    def update(self, request: RenderRequest) -> None:
        """Render the request; predict it if necessary, with an intermediate image before."""
        entry = self._renderer.cached(request)
        may_predict = self._may_predict(request)
        if entry is None:
            self._show_intermediate(request)
            if not may_predict:
                with self._lock:
                    if self._newest() is request:
                        self._finished = request
                return
            entry = self._predict(request)
        self._on_state("composing")
        newest = self._newest()  # the saturation may have changed during the prediction
        self._show(newest if self.is_requested(request) else request, entry)

    def _predict(self, request: RenderRequest) -> Colorized:
        """Run the network; if an image is overdue and this takes long, coarsely before."""
        line = _line(request)
        is_overdue, self._unfinished = self._unfinished == line, line
        self._completed_until = time.monotonic() + MAX_OUTDATED if is_overdue else 0.0
        coarse = self._renderer.coarse(request, COARSE_SECONDS) if is_overdue else None
        if coarse is not None:
            entry = self._renderer.cached(coarse) or self._renderer.predict(coarse)
            self._show(coarse, entry, stands_for=request)
            self._unfinished, self._completed_until = line, 0.0
        return self._renderer.predict(request)

    def follow(self, request: RenderRequest) -> None:
        """Display a request during a prediction, as far as that needs no network."""
        if not self.is_due(request):
            return
        entry = self._cache.get(self._renderer.cache_key(request))
        if entry is None:
            self._show_intermediate(request)
        else:
            self._show(request, entry)

    def _may_predict(self, request: RenderRequest) -> bool:
        """False for what failed or was cancelled, until another prediction was requested."""
        with self._lock:
            abandoned = self._abandoned
            if abandoned is not None and self._renderer.cache_key(
                abandoned
            ) == self._renderer.cache_key(request):
                return False
            self._abandoned = None
            return True

    def _show(
        self, request: RenderRequest, entry: Colorized, stands_for: RenderRequest | None = None
    ) -> None:
        """Render and emit, unless the newest request needs another prediction by now.

        `stands_for` is the request of which this is a coarse preview.
        """
        result = self._renderer.render(request, entry)
        with self._lock:
            if self._is_stopping() or not self.is_wanted(stands_for or request):
                return
            self._finished = request
            self._keep(result, _Displayed(entry, request, self._renderer.result_key(request)))
        self._unfinished = None
        self._on_result(result)

    def _show_intermediate(self, request: RenderRequest) -> None:
        """Until the new prediction exists, render the last one with the new rendering settings."""
        displayed, rendering_key = self._displayed, self._renderer.result_key(request)
        if (
            displayed is None
            or request.settings.saturation is None
            or rendering_key == displayed.rendering_key
        ):
            return
        last = displayed.request
        if last.input_key != request.input_key or displayed.entry.pixels_8bit is not None:
            return
        if request.blend_with != last.blend_with or request.needs_confidence:
            return
        if request.hints != last.hints and self._models.takes_hints(last):
            return
        # The other settings stay those of the last prediction, to which its pixels belong.
        changes = {name: getattr(request.settings, name) for name in ("saturation", *REFINING)}
        intermediate = last.replace(
            settings=replace(last.settings, **changes),
            guides=request.guides,
            time_axis=request.time_axis,
        )
        result = self._renderer.render(intermediate, displayed.entry)
        with self._lock:
            if self._is_stopping() or self._newest().input_key != request.input_key:
                return
            self._keep(result, replace(displayed, rendering_key=rendering_key))
        self._on_result(result)

    def _keep(self, result: Colorized, displayed: _Displayed) -> None:
        self._result, self._displayed = (result, displayed.request.plane_key), displayed


def _line(request: RenderRequest) -> _Line:
    """What requests have in common that differ only in settings of the prediction."""
    return (
        *(*request.plane_key, request.declared_range, request.blend_with),
        *(*request.model_key, request.settings.fidelity, *request.rendering_key),
    )
