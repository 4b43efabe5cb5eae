"""From a wish to its picture: out of what is known, or by asking the network. For the worker."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_colorize.refine.guides import guides_at
from napari_colorize.session.smoothing import TemporalSmoother
from napari_colorize.session.source import InterruptibleStack, StackSubset, as_stack
from napari_colorize.settings import REFINING

if TYPE_CHECKING:
    import torch

    from napari_colorize.imaging.planes import Plane
    from napari_colorize.refine.guides import Guides
    from napari_colorize.result import Colorized
    from napari_colorize.session.cache import PredictionCache
    from napari_colorize.session.events import State
    from napari_colorize.session.model_cache import LoadedModels
    from napari_colorize.session.request import Index, RenderRequest
    from napari_colorize.session.source import SourceImage, SourceReader
    from napari_colorize.settings import ColorizeSettings


class Renderer:
    """Makes pictures, and measures how long that takes.

    Parameters
    ----------
    cache, reader, model
        What is remembered, where planes come from, who is asked.
    pause : callable
        Called between pieces of work; it may raise to end them.
    tell : callable
        Where to say what is being done.
    """

    def __init__(
        self,
        cache: PredictionCache,
        reader: SourceReader,
        model: LoadedModels,
        pause: Callable[[], None],
        tell: Callable[[State], None],
    ) -> None:
        self._cache, self._reader, self._model = cache, reader, model
        self._pause, self._tell = pause, tell
        self._smoother = TemporalSmoother()
        self._last: Colorized | None = None
        self._told: tuple[tuple[Any, ...], Guides] | None = None
        self._predicting: tuple[tuple[Any, ...], float] | None = None  # by which network
        self._composing = 0.0

    def key(self, request: RenderRequest) -> tuple[Any, ...]:
        """Tells predictions from each other; for any thread."""
        cached = self._model.checkpoint(request)
        render_factor = None if cached is None else cached.render_factor
        return request.prediction_key(render_factor, takes_hints=self._model.takes_hints(request))

    def rendering_key(self, request: RenderRequest) -> tuple[Any, ...]:
        """What is made of the networks' answers, with the saturation that comes of it."""
        return self._saturation(request), *request.rendering_key[1:]

    def seconds(self, request: RenderRequest) -> float | None:
        """What a new picture of the wish's network took lately; for any thread."""
        predicting = self._predicting
        if predicting is None or predicting[0] != request.model_key:
            return None
        return predicting[1] + self._composing

    def is_cached(self, request: RenderRequest) -> bool:
        """Whether no network has to be asked."""
        return self._cache.knows(self.key(request))

    def known(self, request: RenderRequest, *, transient: bool = False) -> Colorized | None:
        """A prediction that was made before.

        Of many only the chrominance was kept. Their plane is read again; it is remembered, unless
        it is asked for in passing.
        """
        key = self.key(request)
        entry, colors = self._cache.get(key), self._cache.colors(key)
        if entry is not None or colors is None:
            return entry
        entry = self._joined(request, colors, transient)
        if not transient:
            self._cache.put(key, entry, request.generation)
        return entry

    def same_prediction(self, one: RenderRequest, other: RenderRequest) -> bool:
        """Whether two look at planes of one stack alike, but for what is composed; any thread."""
        return self.key(replace(one, plane=None)) == self.key(replace(other, plane=None))

    def same_result(self, one: RenderRequest, other: RenderRequest) -> bool:
        """Whether any plane of the two wishes' sources comes out the same; for any thread."""
        is_same = one.source is other.source and self.same_prediction(one, other)
        return is_same and self.rendering_key(one) == self.rendering_key(other)

    def network_input(
        self, request: RenderRequest, shown: Colorized | None
    ) -> tuple[SourceImage, ColorizeSettings]:
        """What the network is shown, and how: as for the picture shown, if there is one."""
        settings, _ = self._reader.with_limits(request)
        return self._reader.image(request), settings if shown is None else shown.settings

    def predict(self, request: RenderRequest, *, transient: bool = False) -> Colorized:
        """Ask the network; what is asked in passing keeps its colours for long."""
        colorizer = self._model.ready(request)
        picture = self._reader.image(request, transient=transient)
        settings, notes = self._reader.with_limits(request)
        self._pause()
        self._tell("predicting")
        began = time.monotonic()
        entry = colorizer(
            picture.image,
            rgb=picture.rgb,
            guides=self._guides(request),
            blend_with=self._model.second(request),
            **vars(settings),
        )
        self._predicting = request.model_key, time.monotonic() - began
        entry = _noted(entry, notes)
        if transient:
            self._cache.keep_colors(self.key(request), entry, request.generation)
        self._cache.put(self.key(request), entry, request.generation)
        return entry

    def render(self, request: RenderRequest, entry: Colorized) -> Colorized:
        """A prediction as settings and guides want it shown, its pixels made."""
        began = time.monotonic()
        if entry.pixels_8bit is not None:
            result = entry.with_(provenance=request.settings.provenance)
        else:
            result = self._toned(request, entry)
        _ = result.pixels
        self._composing = time.monotonic() - began
        return result

    def _toned(self, request: RenderRequest, entry: Colorized) -> Colorized:
        changes = {name: getattr(request.settings, name) for name in (*REFINING, "provenance")}
        changes["saturation"] = self._saturation(request)
        stack, axes = as_stack(request)
        entry = self._smoother.applied(request, len(stack.shape) - axes, self.key, entry)
        assert entry.chroma is not None
        changes["temporal_smoothing"] = (
            entry.chroma.temporal_smoothing
        )  # none where there is no time
        last = self._last
        if last is not None and all(
            getattr(last, name) is getattr(entry, name)
            for name in ("plane", "chroma", "second_chroma")
        ):
            entry = last  # whose tint may be the one that is wanted
        guides = self._guides(request)
        if self._model.takes_hints(request):  # those that it was shown are the wish's: see `key`
            guides = replace(guides, hints=entry.guides.hints)
        self._last = entry.with_(guides=guides, **changes)
        return self._last

    def _guides(self, request: RenderRequest) -> Guides:
        """Of the wish's plane: the same object as long as the same is looked at."""
        asked, told = (request.guides, *request.plane_key), self._told
        if told is None or told[0] != asked:
            stack, axes = as_stack(request)
            plane = request.plane or (0,) * (len(stack.shape) - axes)
            told = self._told = asked, guides_at(request.guides, plane)
        return told[1]

    def _saturation(self, request: RenderRequest) -> float | None:
        """As chosen, else as the model recommends; None as long as that is not known."""
        chosen, known = request.settings.saturation, self._model.checkpoint(request)
        return known.saturation if chosen is None and known is not None else chosen

    def planes(self, request: RenderRequest) -> tuple[int, Iterator[tuple[Index, Colorized]]]:
        """How many planes the source has, and each of them: those known already come first."""
        from napari_colorize.imaging.planes import split_stack

        stack, axes = as_stack(request)
        settings, notes = self._reader.with_shared_limits(request)
        requests = {index: replace(request, plane=index) for index in split_stack(stack, axes == 3)}
        known = self._known_of(requests, settings)
        others = [index for index in requests if index not in known]
        asked: Iterator[tuple[Index, Colorized]] = iter(())
        if others or not requests:
            colorizer = self._model.ready(request)
            self._tell("predicting")
            some = StackSubset(InterruptibleStack(stack, self._pause), others, axes)

            def guides(place: Index) -> Guides:
                return self._guides(requests[others[place[0]]])

            asked = colorizer.iter_planes(
                some,
                rgb=axes == 3,
                guides=None if request.guides is None else guides,
                blend_with=self._model.second(request),
                # Steadied when they are composed: these are only some of the planes.
                **vars(replace(settings, temporal_smoothing=0.0)),
            )
        old = self._joined_planes(requests, known)
        new = self._asked_planes(requests, others, asked, notes)
        if settings.temporal_smoothing > 0:  # each after the one before it
            return len(requests), (next(old if index in known else new) for index in requests)
        return len(requests), itertools.chain(old, new)

    def forget(self) -> None:
        """Let go of what was composed last."""
        self._last = self._told = None
        self._smoother.forget()

    def _known_of(
        self, requests: dict[Index, RenderRequest], settings: ColorizeSettings
    ) -> dict[Index, Colorized]:
        """The colours that are known, of planes seen between the limits of their whole stack."""
        found = {
            index: self._cache.colors(self.key(request)) for index, request in requests.items()
        }
        limits = settings.contrast_limits
        return {
            index: colors
            for index, colors in found.items()
            if colors is not None and limits in (None, colors.plane.limits)
        }

    def _joined_planes(
        self, requests: dict[Index, RenderRequest], known: dict[Index, Colorized]
    ) -> Iterator[tuple[Index, Colorized]]:
        for index, colors in known.items():
            self._pause()
            yield index, self._joined(requests[index], colors, transient=True)

    def _asked_planes(
        self,
        requests: dict[Index, RenderRequest],
        indices: list[Index],
        asked: Iterator[tuple[Index, Colorized]],
        notes: tuple[str, ...],
    ) -> Iterator[tuple[Index, Colorized]]:
        spent = 0.0
        for done, index in enumerate(indices, start=1):
            began = time.monotonic()
            entry = _noted(next(asked)[1], notes)
            spent += time.monotonic() - began  # several come at a time
            one = requests[index]
            self._predicting = one.model_key, spent / done
            self._cache.keep_colors(self.key(one), entry, one.generation)
            yield index, entry

    def _joined(self, request: RenderRequest, colors: Colorized, transient: bool) -> Colorized:
        """Kept chrominance with its plane, read again."""
        from napari_colorize.imaging.planes import to_plane
        from napari_colorize.runtime import memory

        picture, chroma = self._reader.image(request, transient=transient), colors.chroma
        assert chroma is not None

        def run(device: torch.device) -> Plane:
            return to_plane(
                picture.image,
                limits=colors.plane.limits,
                gamma=request.settings.gamma,
                device=device,
                rgb=picture.rgb,
            )

        plane = memory.with_cpu_fallback(run, colors.plane.gray.device, "image")
        here = plane.gray.device
        other = None if colors.second_chroma is None else colors.second_chroma.to(here)
        return replace(colors, plane=plane, chroma=chroma.to(here), second_chroma=other)


def _noted(entry: Colorized, notes: tuple[str, ...]) -> Colorized:
    """With notes about the whole stack, which come first."""
    if not notes:
        return entry
    record = {**entry.record, "notes": [*notes, *entry.record["notes"]]}
    return replace(entry, notes=(*notes, *entry.notes), record=record)
