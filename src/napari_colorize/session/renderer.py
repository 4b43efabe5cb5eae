"""Renders a request: from cached predictions, or by running the network. For the worker thread."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_colorize.array_types import PlaneIndex
from napari_colorize.refine.guides import guides_at
from napari_colorize.session.smoothing import TemporalSmoother
from napari_colorize.session.source import (
    InterruptibleStack,
    StackSubset,
    as_stack,
    declared_range,
)
from napari_colorize.settings import REFINING

if TYPE_CHECKING:
    import torch

    from napari_colorize.array_types import Limits
    from napari_colorize.imaging.intensity_range import IntensityRange
    from napari_colorize.imaging.planes import Plane
    from napari_colorize.refine.guides import Guides
    from napari_colorize.result import Colorized
    from napari_colorize.session.cache import PredictionCache
    from napari_colorize.session.events import State
    from napari_colorize.session.model_cache import LoadedModels
    from napari_colorize.session.request import RenderRequest
    from napari_colorize.session.source import SourceImage, SourceReader
    from napari_colorize.settings import ColorizeSettings, ContrastLimits

COARSEST = 6  # render factor; colors of a smaller one say little about those of a larger one


class Renderer:
    """Predicts and renders planes, and measures the time that this takes.

    `check_cancelled` is called between steps; it may raise to end them.
    """

    def __init__(
        self,
        cache: PredictionCache,
        reader: SourceReader,
        models: LoadedModels,
        check_cancelled: Callable[[], None],
        on_state: Callable[[State], None],
    ) -> None:
        self._cache, self._reader, self._models = cache, reader, models
        self._check_cancelled, self._on_state = check_cancelled, on_state
        self._smoother = TemporalSmoother()
        # Computes what a front end displays of a result, here, in the worker thread.
        self.compose: Callable[[Colorized], object] = lambda result: result.pixels
        self._last_rendered: Colorized | None = None
        self._last_guides: tuple[tuple[Any, ...], Guides] | None = None
        # Times in seconds. One tuple, so that other threads read model and time together.
        self._prediction_time: tuple[tuple[Any, ...], float] | None = None
        self._predicted_factor: int | None = None  # render factor of the latest prediction
        self._rendering_time = 0.0

    # For any thread

    def cache_key(self, request: RenderRequest) -> tuple[Any, ...]:
        """Prediction key of a request, with what is known of its models."""
        checkpoint = self._models.checkpoint(request)
        render_factor = None if checkpoint is None else checkpoint.render_factor
        return request.prediction_key(render_factor, takes_hints=self._models.takes_hints(request))

    def result_key(self, request: RenderRequest) -> tuple[Any, ...]:
        """Rendering key of a request, with the saturation that its model recommends."""
        return self._saturation(request), *request.rendering_key[1:]

    def seconds(self, request: RenderRequest) -> float | None:
        """Seconds for the latest prediction and rendering with this model; None before."""
        prediction = self._prediction_time
        if prediction is None or prediction[0] != request.model_key:
            return None
        return prediction[1] + self._rendering_time

    def is_cached(self, request: RenderRequest) -> bool:
        """Whether the request can be rendered without running a network."""
        return self.cache_key(request) in self._cache

    def same_prediction(self, one: RenderRequest, other: RenderRequest) -> bool:
        """Whether two requests need the same prediction for the same plane."""
        return self.cache_key(one.replace(plane=None)) == self.cache_key(other.replace(plane=None))

    def same_result(self, one: RenderRequest, other: RenderRequest) -> bool:
        """Whether two requests give the same pixels for the same plane."""
        is_same = one.source is other.source and self.same_prediction(one, other)
        return is_same and self.result_key(one) == self.result_key(other)

    def _saturation(self, request: RenderRequest) -> float | None:
        """Saturation as set, else as the model recommends; None until the model is loaded."""
        chosen, checkpoint = request.settings.saturation, self._models.checkpoint(request)
        return checkpoint.saturation if chosen is None and checkpoint is not None else chosen

    def _render_factor(self, request: RenderRequest) -> int | None:
        """Render factor as set, else as the model recommends; None until the model is loaded."""
        chosen, checkpoint = request.settings.render_factor, self._models.checkpoint(request)
        return checkpoint.render_factor if chosen is None and checkpoint is not None else chosen

    # For the worker thread

    def coarse(self, request: RenderRequest, seconds: float) -> RenderRequest | None:
        """The request with a smaller render factor, so that its prediction takes about `seconds`.

        None if its own factor takes no longer, or if the time is not known. The time is taken as
        proportional to the number of pixels.
        """
        latest, factor, predicted = (
            self._prediction_time,
            self._render_factor(request),
            self._predicted_factor,
        )
        if latest is None or latest[0] != request.model_key or not factor or not predicted:
            return None
        smaller = max(COARSEST, int(predicted * math.sqrt(seconds / max(latest[1], 1e-6))))
        if smaller >= factor:
            return None
        return request.replace(settings=replace(request.settings, render_factor=smaller))

    def cached(self, request: RenderRequest, *, transient: bool = False) -> Colorized | None:
        """The cached prediction of a request; None if there is none.

        If only its chrominance is cached, the plane is read again, and the prediction is added to
        the cache unless `transient`.
        """
        key = self.cache_key(request)
        entry, chroma = self._cache.get(key), self._cache.chroma(key)
        if entry is not None or chroma is None:
            return entry
        entry = self._with_plane(request, chroma, transient)
        if not transient:
            self._cache.put(key, entry, request.generation)
        return entry

    def network_input(
        self, request: RenderRequest, displayed: Colorized | None
    ) -> tuple[SourceImage, ColorizeSettings]:
        """Image and settings for the network: those of the displayed result if there is one."""
        source, settings = self._reader.image(request), request.settings
        if displayed is not None:
            return source, displayed.settings
        found = self._range(request)
        if found is not None and found.limits[0] < found.limits[1]:
            settings = replace(settings, contrast_limits=found.limits)
        return source, settings

    def _range(self, request: RenderRequest) -> IntensityRange | None:
        """Intensity range for the Colorizer; None if that finds it from the plane."""
        return self._reader.displayed_range(request, self._asked_range(request))

    def _asked_range(self, request: RenderRequest) -> ContrastLimits:
        colorizer = self._models.ready(request)
        return colorizer.asked_range(request.settings, declared_range(request))

    def predict(self, request: RenderRequest, *, transient: bool = False) -> Colorized:
        """Run the network and cache its prediction.

        `transient` is for planes that are not displayed now: their chrominance is cached as well,
        which outlives the prediction.
        """
        colorizer = self._models.ready(request)
        source = self._reader.image(request, transient=transient)
        found = self._range(request)
        self._check_cancelled()
        self._on_state("predicting")
        began = time.monotonic()
        entry = colorizer(
            source.image,
            rgb=source.rgb,
            guides=self._guides(request),
            blend_with=self._models.second(request),
            **_with_range(request.settings, found),
        )
        self._prediction_time = request.model_key, time.monotonic() - began
        self._predicted_factor = self._render_factor(request)
        if transient:
            self._cache.put_chroma(self.cache_key(request), entry, request.generation)
        self._cache.put(self.cache_key(request), entry, request.generation)
        return entry

    def render(self, request: RenderRequest, entry: Colorized) -> Colorized:
        """Render a prediction with the settings and guides of a request."""
        began = time.monotonic()
        if entry.pixels_8bit is not None:
            result = entry.with_(provenance=request.settings.provenance)
        else:
            result = self._recomposed(request, entry)
        self.compose(result)
        self._rendering_time = time.monotonic() - began
        return result

    def _recomposed(self, request: RenderRequest, entry: Colorized) -> Colorized:
        changes = {name: getattr(request.settings, name) for name in (*REFINING, "provenance")}
        changes["saturation"] = self._saturation(request)
        stack, axes = as_stack(request)
        entry = self._smoother.applied(request, len(stack.shape) - axes, self.cache_key, entry)
        assert entry.chroma is not None
        # 0 for a single image, whatever the settings are.
        changes["temporal_smoothing"] = entry.chroma.temporal_smoothing
        last = self._last_rendered
        if last is not None and all(
            getattr(last, name) is getattr(entry, name)
            for name in ("plane", "chroma", "second_chroma")
        ):
            entry = last  # it may hold the chroma layers that are needed, which are costly
        guides = self._guides(request)
        if self._models.takes_hints(request):
            # The prediction was made with these hints: they are part of its key.
            guides = replace(guides, hints=entry.guides.hints)
        self._last_rendered = entry.with_(guides=guides, **changes)
        return self._last_rendered

    def _guides(self, request: RenderRequest) -> Guides:
        """Guides of the request's plane, the same object as long as the plane is the same."""
        key, last = (request.guides, *request.plane_key), self._last_guides
        if last is None or last[0] != key:
            stack, axes = as_stack(request)
            plane = request.plane or (0,) * (len(stack.shape) - axes)
            last = self._last_guides = key, guides_at(request.guides, plane)
        return last[1]

    def planes(self, request: RenderRequest) -> tuple[int, Iterator[tuple[PlaneIndex, Colorized]]]:
        """Number of planes of the source, and the prediction of each.

        Cached planes come first, except with temporal smoothing, which needs the order of time.
        """
        from napari_colorize.imaging.planes import split_stack

        (stack, axes), settings = as_stack(request), request.settings
        found = self._reader.shared_range(request, self._asked_range(request))
        requests = {index: request.replace(plane=index) for index in split_stack(stack, axes == 3)}
        cached = self._cached_chroma(requests, found.limits)
        missing = [index for index in requests if index not in cached]
        predictions: Iterator[tuple[PlaneIndex, Colorized]] = iter(())
        if missing or not requests:
            colorizer = self._models.ready(request)
            self._on_state("predicting")
            subset = StackSubset(InterruptibleStack(stack, self._check_cancelled), missing, axes)

            def guides(place: PlaneIndex) -> Guides:
                return self._guides(requests[missing[place[0]]])

            predictions = colorizer.iter_planes(
                subset,
                rgb=axes == 3,
                guides=None if request.guides is None else guides,
                blend_with=self._models.second(request),
                # Smoothed when they are rendered: planes may be missing between these.
                **_with_range(replace(settings, temporal_smoothing=0.0), found),
            )
        old = self._cached_planes(requests, cached)
        new = self._predicted_planes(requests, missing, predictions)
        if settings.temporal_smoothing > 0:
            return len(requests), (next(old if index in cached else new) for index in requests)
        return len(requests), itertools.chain(old, new)

    def forget(self) -> None:
        """Drop what was rendered last."""
        self._last_rendered = self._last_guides = None
        self._smoother.forget()

    def _cached_chroma(
        self, requests: dict[PlaneIndex, RenderRequest], limits: Limits
    ) -> dict[PlaneIndex, Colorized]:
        """Cached chrominance of planes that were predicted with the limits of the whole stack."""
        found = {
            index: self._cache.chroma(self.cache_key(request))
            for index, request in requests.items()
        }
        return {
            index: chroma
            for index, chroma in found.items()
            if chroma is not None and chroma.plane.limits == limits
        }

    def _cached_planes(
        self, requests: dict[PlaneIndex, RenderRequest], cached: dict[PlaneIndex, Colorized]
    ) -> Iterator[tuple[PlaneIndex, Colorized]]:
        for index, chroma in cached.items():
            self._check_cancelled()
            yield index, self._with_plane(requests[index], chroma, transient=True)

    def _predicted_planes(
        self,
        requests: dict[PlaneIndex, RenderRequest],
        indices: list[PlaneIndex],
        predictions: Iterator[tuple[PlaneIndex, Colorized]],
    ) -> Iterator[tuple[PlaneIndex, Colorized]]:
        spent = 0.0
        for done, index in enumerate(indices, start=1):
            began = time.monotonic()
            entry = next(predictions)[1]
            # The mean of all planes so far: predictions arrive in batches.
            spent += time.monotonic() - began
            request = requests[index]
            self._prediction_time = request.model_key, spent / done
            self._cache.put_chroma(self.cache_key(request), entry, request.generation)
            yield index, entry

    def _with_plane(self, request: RenderRequest, chroma: Colorized, transient: bool) -> Colorized:
        """Cached chrominance joined with its plane, which is read again."""
        from napari_colorize.imaging.intensity_range import IntensityRange
        from napari_colorize.imaging.planes import to_plane
        from napari_colorize.runtime import memory

        source, uv = self._reader.image(request, transient=transient), chroma.chroma
        assert uv is not None

        def read(device: torch.device) -> Plane:
            return to_plane(
                source.image,
                declared=IntensityRange(chroma.plane.limits, chroma.plane.limits_source),
                gamma=request.settings.gamma,
                device=device,
                rgb=source.rgb,
            )

        plane = memory.with_cpu_fallback(read, chroma.plane.gray.device, "image")
        device = plane.gray.device
        second = None if chroma.second_chroma is None else chroma.second_chroma.to(device)
        return replace(chroma, plane=plane, chroma=uv.to(device), second_chroma=second)


def _with_range(settings: ColorizeSettings, found: IntensityRange | None) -> dict[str, Any]:
    """Arguments of the Colorizer: settings and, in place of their contrast limits, a range."""
    limits = settings.contrast_limits if found is None else None
    return {**vars(settings), "contrast_limits": limits, "declared_range": found}
