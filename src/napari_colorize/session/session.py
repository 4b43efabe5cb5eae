"""ColorizeSession: settings, a source, and predictions in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_colorize.session.events import PlaneSource, SessionSignals, State
from napari_colorize.session.request import RenderRequest, RequestInputs, accepts, as_index
from napari_colorize.session.worker import SECONDS_TO_CLOSE, Worker
from napari_colorize.settings import settings_from

if TYPE_CHECKING:
    from napari_colorize.result import Colorized


class ColorizeSession(RequestInputs):
    """Colorizes a plane in the background and follows changes of settings and source.

    Set what is displayed; `result_ready` emits the image in color. Only the newest request is
    rendered. All signals are emitted from the worker thread: connect with `thread="main"` (and
    psygnal's queue), or use `MainThreadRelay`. A session is a context manager and ends with
    `close`. Requests raise `ImageError` if there is no source; other errors are emitted by
    `failed`.

    Parameters
    ----------
    source, plane, rgb, settings, model, blend_with, guides, time_axis, device, precision
        The inputs; see the attributes of these names.

    Attributes
    ----------
    source, plane, rgb, settings, model, blend_with, guides, time_axis, device, precision
        The inputs, documented in `RequestInputs`. Setting one renders the displayed plane again.
    result_ready, plane_ready, sweep_ready, run_finished, attention_ready, expected_error_ready
        Signals with results; see `SessionSignals`.
    typical_error_ready, disagreement_ready, progress, failed, state
        Further signals; see `SessionSignals`.

    Examples
    --------
    >>> session = ColorizeSession(source=gray)  # doctest: +SKIP
    >>> session.result_ready.connect(lambda result: show(result.pixels))  # doctest: +SKIP
    >>> session.set_settings(saturation=1.5)  # doctest: +SKIP
    """

    @accepts(RequestInputs)
    def __init__(self, **inputs: Any) -> None:
        # psygnal creates signals on first access. All are created here, before the worker thread
        # exists, so that two threads cannot create one twice.
        events = SessionSignals()
        self.result_ready = events.result_ready
        self.plane_ready = events.plane_ready
        self.sweep_ready = events.sweep_ready
        self.run_finished = events.run_finished
        self.attention_ready = events.attention_ready
        self.expected_error_ready = events.expected_error_ready
        self.typical_error_ready = events.typical_error_ready
        self.disagreement_ready = events.disagreement_ready
        self.progress = events.progress
        self.failed = events.failed
        self.state = events.state
        self._worker = Worker(events)
        self.update(**inputs)

    def __enter__(self) -> ColorizeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _input_values(self) -> Mapping[str, Any]:
        return self._worker.request._input_values()

    def _set_input(self, name: str, value: Any) -> None:
        self.update(**{name: value})

    # Requests

    @accepts(RequestInputs)
    def update(self, **changes: Any) -> None:
        """Change several inputs at once, followed by at most one prediction.

        Raises
        ------
        SettingsError, ImageError
            If `settings` are not ColorizeSettings, or `plane` is not an index. Other errors are
            emitted by `failed`.
        ColorizeError
            If the session is closed.
        """
        self._worker.change(lambda request: request.with_changes(**changes))

    def set_settings(self, **settings: Any) -> None:
        """Change some settings; the others stay. See `ColorizeSettings`.

        Raises
        ------
        SettingsError
            If a setting does not exist, or a value is out of its range.
        """

        def changed(request: RenderRequest) -> RenderRequest:
            return request.with_changes(
                settings=settings_from({**vars(request.settings), **settings})
            )

        self._worker.change(changed)

    def refresh(self) -> None:
        """Predict again, after the values of the source changed in place or after an error."""
        self._worker.change(RenderRequest.with_new_generation)

    def compose_with(self, compose: Callable[[Colorized], object]) -> None:
        """Set what is composed of each result before it is emitted.

        Parameters
        ----------
        compose : callable
            Called with a result in the worker thread. Default: `result.pixels`, which is stored in
            the result. A front end that displays less composes less.
        """
        self._worker.renderer.compose = compose

    def warm_up(self) -> None:
        """Import torch and load the model in the background, before there is a source."""
        self._worker.warm_up()

    def colorize_stack(self) -> int:
        """Colorize every plane of the source with the present inputs.

        `plane_ready` emits each plane, `run_finished` the end. The displayed plane may change
        meanwhile and is rendered first. An earlier run or sweep is cancelled.

        Returns
        -------
        int
            Number of the run, also in `PlaneSource.run` and `RunFinished.run`.
        """
        return self._worker.start_stack()

    def sweep(self, render_factors: Sequence[int]) -> int:
        """Colorize the displayed plane with each of several render factors.

        `sweep_ready` emits each result, `run_finished` the end. The predictions are cached, so
        that one of these render factors can be set without delay. An earlier run or sweep is
        cancelled.

        Returns
        -------
        int
            Number of the sweep, also in `RunFinished.run`.

        Raises
        ------
        ImageError, SettingsError
            If there is no source, or a render factor is out of range.
        """

        def requests(request: RenderRequest) -> list[RenderRequest]:
            return [
                request.replace(settings=replace(request.settings, render_factor=render_factor))
                for render_factor in render_factors
            ]

        return self._worker.start_sweep(requests)

    def request_attention(self, point: tuple[float, float]) -> None:
        """Compute the self-attention map of a point of the displayed plane.

        `attention_ready` emits it. Only the newest point is computed. A change of source or plane
        drops the query.

        Parameters
        ----------
        point : tuple of float
            Row and column, in pixels of the plane.
        """
        self._worker.add_query("attention", point)

    def request_expected_error(self) -> None:
        """Compute the expected color error of the displayed plane.

        `expected_error_ready` emits it. A change of source or plane drops the query.
        """
        self._worker.add_query("expected_error")

    def request_typical_error(self) -> None:
        """Compute the typical color error of the displayed plane.

        `typical_error_ready` emits it. A change of source or plane drops the query, and so does a
        prediction that failed or was cancelled.
        """
        self._worker.add_query("typical_error")

    def request_disagreement(self) -> None:
        """Compute how much the colors vary under flips and other render factors.

        `disagreement_ready` emits it. A change of source or plane drops the query.
        """
        self._worker.add_query("disagreement")

    def prefetch(self, indices: Iterable[Sequence[int]]) -> None:
        """Predict planes when nothing else is to be done; replaces the planes of earlier calls.

        `plane_ready` emits each, cached planes first. A change of source, model or setting drops
        the rest, except a change that needs no prediction, such as saturation.

        Raises
        ------
        ImageError
            If there is no source, or an index is invalid. Other errors are emitted by `failed`.
        """
        self._worker.prefetch(list(dict.fromkeys(map(as_index, indices))))

    def cancel(self, *, keep: bool = True) -> None:
        """Stop all work, at the next layer of the network; the displayed image stays.

        Returns at once. A cancelled prediction is made again after the next change.

        Parameters
        ----------
        keep : bool
            Whether planes that `plane_ready` emitted are kept; passed on by `run_finished`.
        """
        self._worker.cancel(keep=keep)

    def cancel_run(self, run: int, *, keep: bool = True) -> None:
        """Stop one run or sweep only; nothing happens if it is over.

        Parameters
        ----------
        run : int
            Number that `colorize_stack` or `sweep` returned.
        keep : bool
            As for `cancel`.
        """
        self._worker.cancel_run(run, keep=keep)

    def release_memory(self, *, keep_result: bool = True, source: Any = None) -> None:
        """Cancel all work and free the memory of networks and predictions, on the GPU too.

        The next change loads the model again.

        Parameters
        ----------
        keep_result : bool
            Whether `result` stays. If not, `refresh` makes it again.
        source : array, optional
            Array with the values of the source that replaces it, for example one in a file.
        """
        self._worker.release_memory(keep_result=keep_result, source=source)

    def close(self, wait: float = SECONDS_TO_CLOSE) -> None:
        """End the worker thread and free all memory; no signal is emitted any more.

        Parameters
        ----------
        wait : float
            Seconds to wait for the worker at most.
        """
        self._worker.close(wait)

    # State

    @property
    def result(self) -> Colorized | None:
        """The newest result, if it shows the present plane; else None."""
        return self._worker.result

    @property
    def is_pending(self) -> bool:
        """Whether the displayed plane is still to be rendered with the present inputs.

        False without a source, and after the prediction was cancelled or has failed.
        """
        return self._worker.is_pending

    def is_current(self, plane_source: PlaneSource) -> bool:
        """Whether a plane would have the same pixels if it were rendered now.

        That is: same source (not refreshed), same prediction, same rendering settings. The
        displayed plane does not matter.
        """
        return self._worker.is_current(plane_source.request)

    @property
    def plane_source(self) -> PlaneSource:
        """The present inputs, for a later comparison by `is_current`."""
        return PlaneSource(None, self._worker.request)

    @property
    def status(self) -> State:
        """What the worker does now; "cancelling" from the moment that `cancel` is called."""
        return self._worker.state

    @property
    def devices(self) -> tuple[str, ...]:
        """Available devices; "auto" and "cpu" until torch is imported in the background."""
        return self._worker.models.devices

    @property
    def unsupported_settings(self) -> dict[str, str]:
        """Settings that the model ignores, each with the reason; empty until it is loaded."""
        return self._worker.models.unsupported_settings(self._worker.request)

    @property
    def has_calibrated_error(self) -> bool:
        """Whether the model knows its error from photographs; False until it is loaded."""
        return self._worker.models.has_calibrated_error(self._worker.request)

    @property
    def seconds_per_image(self) -> float | None:
        """Seconds for the latest prediction and rendering with this model; None before."""
        return self._worker.renderer.seconds(self._worker.request)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._worker.is_closed

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; False after `timeout` seconds.

        Must not be called by a listener, which runs in the worker thread.
        """
        return self._worker.wait(timeout)
