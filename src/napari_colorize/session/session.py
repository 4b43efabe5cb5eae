"""The session: wishes come from any thread, one worker thread (`worker`) sees to the newest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_colorize.session.events import PlaneSource, State
from napari_colorize.session.queries import AttentionQuery, DisagreementQuery, ExpectedErrorQuery
from napari_colorize.session.request import Changes, Index, as_index, normalized
from napari_colorize.session.runs import Run
from napari_colorize.session.worker import Worker
from napari_colorize.settings import ColorizeSettings, settings_from

if TYPE_CHECKING:
    from typing import Unpack

    import torch

    from napari_colorize.colorizer import Colorizer
    from napari_colorize.refine.guides import Guides, PlaneGuides
    from napari_colorize.result import Colorized
    from napari_colorize.runtime.devices import Precision


class ColorizeSession(Worker):
    """Settings, a source, and predictions in the background of which the newest wins.

    Set what is looked at; `composed` brings the picture. All signals (see `Signals`) come from the
    worker thread: connect with `thread="main"` (and psygnal's queue) or pass them on to your loop.
    A session is a context manager and ends with `close`.

    Parameters
    ----------
    source, plane, rgb, settings, model, blend_with, guides, time_axis, device, precision
        See the properties of these names.

    Examples
    --------
    >>> session = ColorizeSession(source=gray)  # doctest: +SKIP
    >>> session.composed.connect(lambda result: show(result.pixels))  # doctest: +SKIP
    >>> session.choose(saturation=1.5)  # doctest: +SKIP
    """

    def __init__(self, **wanted: Unpack[Changes]) -> None:
        super().__init__()
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
        return self._request.source

    @source.setter
    def source(self, source: Any) -> None:
        self.update(source=source)

    @property
    def plane(self) -> Index | None:
        """Index of the plane looked at, `source[plane]`; None is the first."""
        return self._request.plane

    @plane.setter
    def plane(self, plane: Sequence[int] | None) -> None:
        self.update(plane=plane)

    @property
    def rgb(self) -> bool | None:
        """Whether the last axis of the source holds colours; None: if it has 3 or 4 entries."""
        return self._request.rgb

    @rgb.setter
    def rgb(self, rgb: bool | None) -> None:
        self.update(rgb=rgb)

    @property
    def settings(self) -> ColorizeSettings:
        """Every knob."""
        return self._request.settings

    @settings.setter
    def settings(self, settings: ColorizeSettings) -> None:
        self.update(settings=settings)

    @property
    def model(self) -> str | Colorizer:
        """A name in the catalogue (fetched if it must be), a file, or a Colorizer of yours."""
        return self._request.model

    @model.setter
    def model(self, model: str | os.PathLike[str] | Colorizer) -> None:
        self.update(model=model)

    @property
    def blend_with(self) -> str | Colorizer | None:
        """A second model, whose colours are blended with the first one's; None for none."""
        return self._request.blend_with

    @blend_with.setter
    def blend_with(self, model: str | os.PathLike[str] | Colorizer | None) -> None:
        self.update(blend_with=model)

    @property
    def guides(self) -> Guides | PlaneGuides | None:
        """Mask, hints and reference for the source's planes; None for none.

        Planes that have each their own are told by a callable, which is given a plane's index, in
        the worker's thread; give another one when it would say something else. No network runs
        for guides, but for one that takes hints.
        """
        return self._request.guides

    @guides.setter
    def guides(self, guides: Guides | PlaneGuides | None) -> None:
        self.update(guides=guides)

    @property
    def time_axis(self) -> int | None:
        """Axis of a stack along which colours are held steady; None is the first."""
        return self._request.time_axis

    @time_axis.setter
    def time_axis(self, time_axis: int | None) -> None:
        self.update(time_axis=time_axis)

    @property
    def device(self) -> str:
        """Where the network runs: "auto", "cpu", "cuda", ..."""
        return self._request.device

    @device.setter
    def device(self, device: str | torch.device) -> None:
        self.update(device=device)

    @property
    def precision(self) -> Precision:
        """In which the network computes: "auto", "float32" or "bfloat16"."""
        return self._request.precision

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
            self._set_request(self._request.with_changes(changed))

    def set_settings(self, **settings: Any) -> None:
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
            self._set_request(self._request.with_new_generation())

    def warm_up(self) -> None:
        """Import torch and load the model in the background, before there is a picture."""
        with self._changed:
            self._refuse_if_closed()
            self._warming = True
            self._notify()

    def colorize_stack(self) -> int:
        """Colorize every plane of the source, as settings and model are now.

        Each is told by `plane_done`, the end by `run_ended`. What is looked at may change
        meanwhile and comes first. A run or sweep that is under way is cancelled.

        Returns
        -------
        int
            The run's number, which `Origin.run` and `RunEnd.run` tell too.

        Raises
        ------
        ImageError
            If there is no source.
        """
        run = Run(next(self._run_numbers), self._request_with_source())
        run.steps = self._planes(run)
        return self._start(run)

    def sweep(self, render_factors: Sequence[int]) -> int:
        """Colorize the plane looked at with each of several render factors.

        Each is told by `swept`, the end by `run_ended`; all are kept, so that choosing one of
        them shows it at once. A run or sweep that is under way is cancelled.

        Returns
        -------
        int
            The sweep's number, which `RunEnd.run` tells too.

        Raises
        ------
        ImageError, SettingsError
            If there is no source, or a render factor is out of range.
        """
        request = self._request_with_source()
        requests = [
            replace(request, settings=replace(request.settings, render_factor=render_factor))
            for render_factor in render_factors
        ]
        run = Run(next(self._run_numbers), request, total=len(requests))
        run.steps = self._factors(run, requests)
        return self._start(run)

    def request_attention(self, point: tuple[float, float]) -> None:
        """Ask where self-attention looks from a point of the picture that is looked at.

        Told by `attended`. The newest point wins; another source or plane drops it.

        Parameters
        ----------
        point : tuple of float
            Row and column, in pixels of the plane.

        Raises
        ------
        ImageError
            If there is no source. The rest is told by `failed`.
        """
        self._add_query(AttentionQuery(point))

    def request_expected_error(self) -> None:
        """Ask how far off the truth the colours of the picture looked at are expected to be.

        Told by `judged`; another source or plane drops it.

        Raises
        ------
        ImageError
            If there is no source. The rest is told by `failed`.
        """
        self._add_query(ExpectedErrorQuery())

    def request_disagreement(self) -> None:
        """Ask where colours are a guess: how much they change when the network is asked otherwise.

        Told by `doubted`; another source or plane drops it.

        Raises
        ------
        ImageError
            If there is no source. The rest is told by `failed`.
        """
        self._add_query(DisagreementQuery())

    def prefetch(self, indices: Iterable[Sequence[int]]) -> None:
        """Predict these planes when nothing else is to be done; replaces those asked for before.

        Each is told by `plane_done`, those that are known already first. Another source, model
        or setting drops the rest; another saturation is followed.

        Raises
        ------
        ImageError
            If there is no source, or an index is none. The rest is told by `failed`.
        """
        ahead = list(dict.fromkeys(map(as_index, indices)))
        with self._changed:
            self._refuse_if_closed()
            self._request_with_source()
            self._prefetch = ahead
            self._notify()

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
            self._queries.clear()
            self._prefetch = []
            for run in self._runs:
                run.stopped, run.keep = True, keep
            if self._is_due(self._request):
                self._served = self._abandoned = self._request
            self._changed.notify_all()

    def cancel_run(self, run: int, *, keep: bool = True) -> None:
        """Stop this run or sweep, within a plane, and nothing else; none if it is over.

        Parameters
        ----------
        run : int
            What `run_all` or `sweep` returned.
        keep : bool
            As for `cancel`.
        """
        with self._changed:
            for each in self._runs:
                if each.number == run:
                    each.stopped, each.keep = True, keep

    def release_memory(self) -> None:
        """Free the memory of network and predictions, on the GPU too; cancels what is going on.

        The next change loads the model again, from its file as it is then.
        """
        with self._changed:
            self.cancel()
            self._served = self._request
            self._unloading = self._thread is not None
            self._changed.notify_all()

    # What there is

    @property
    def result(self) -> Colorized | None:
        """The newest picture, if it is of what is looked at now."""
        with self._changed:
            if self._result is None or self._result[1] != self._request.plane_key:
                return None
            return self._result[0]

    def is_current(self, plane_source: PlaneSource) -> bool:
        """Whether a plane of this origin comes out the same, were it made now.

        So it is if the source is the same (and was not refreshed), the network would be asked the
        same, and the saturation is the same; whichever plane is looked at.
        """
        with self._changed:
            return self._renderer.same_result(plane_source.request, self._request)

    @property
    def status(self) -> State:
        """What the worker does now; "cancelling" from the moment that `cancel` is called."""
        with self._changed:
            return "cancelling" if self._cancelling else self._state

    @property
    def devices(self) -> tuple[str, ...]:
        """Where a network can run: "auto", the GPUs as soon as torch is there to ask, "cpu"."""
        return self._model.devices

    @property
    def unsupported_settings(self) -> dict[str, str]:
        """Settings that the model cannot follow, each with a sentence; empty until it is loaded."""
        return self._model.unsupported_settings(self._request)

    @property
    def seconds_per_picture(self) -> float | None:
        """What a new picture of this model took lately, predicted and composed; None before."""
        return self._renderer.seconds(self._request)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; False after `timeout` seconds. Not for listeners."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._closed or (not self._busy and self._next_task() is None), timeout
            )
