"""From a wish to its picture: out of what is known, or by asking the network. For the worker."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_colorize.refine.guides import guides_at
from napari_colorize.session.smoothing import SteadyPlanes
from napari_colorize.session.source import Some, Watched, as_stack
from napari_colorize.settings import REFINING

if TYPE_CHECKING:
    import torch

    from napari_colorize.imaging.planes import Plane
    from napari_colorize.refine.guides import Guides
    from napari_colorize.result import Colorized
    from napari_colorize.session.cache import Cache
    from napari_colorize.session.events import State
    from napari_colorize.session.model_cache import Model
    from napari_colorize.session.request import Index, Wish
    from napari_colorize.session.source import Picture, Reader
    from napari_colorize.settings import ColorizeSettings


class Pictures:
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
        cache: Cache,
        reader: Reader,
        model: Model,
        pause: Callable[[], None],
        tell: Callable[[State], None],
    ) -> None:
        self._cache, self._reader, self._model = cache, reader, model
        self._pause, self._tell = pause, tell
        self._steadying = SteadyPlanes()
        self._last: Colorized | None = None
        self._told: tuple[tuple[Any, ...], Guides] | None = None
        self._predicting: tuple[tuple[Any, ...], float] | None = None  # by which network
        self._composing = 0.0

    def key(self, wish: Wish) -> tuple[Any, ...]:
        """Tells predictions from each other; for any thread."""
        known = self._model.checkpoint(wish)
        render_factor = None if known is None else known.render_factor
        return wish.asked(render_factor, takes_hints=self._model.takes_hints(wish))

    def tone(self, wish: Wish) -> tuple[Any, ...]:
        """What is made of the networks' answers, with the saturation that comes of it."""
        return self._saturation(wish), *wish.tone[1:]

    def seconds(self, wish: Wish) -> float | None:
        """What a new picture of the wish's network took lately; for any thread."""
        predicting = self._predicting
        if predicting is None or predicting[0] != wish.network:
            return None
        return predicting[1] + self._composing

    def is_known(self, wish: Wish) -> bool:
        """Whether no network has to be asked."""
        return self._cache.knows(self.key(wish))

    def known(self, wish: Wish, *, in_passing: bool = False) -> Colorized | None:
        """A prediction that was made before.

        Of many only the chrominance was kept. Their plane is read again; it is remembered, unless
        it is asked for in passing.
        """
        key = self.key(wish)
        entry, colors = self._cache.get(key), self._cache.colors(key)
        if entry is not None or colors is None:
            return entry
        entry = self._joined(wish, colors, in_passing)
        if not in_passing:
            self._cache.put(key, entry, wish.generation)
        return entry

    def are_asked_alike(self, one: Wish, other: Wish) -> bool:
        """Whether two look at planes of one stack alike, but for what is composed; any thread."""
        return self.key(replace(one, plane=None)) == self.key(replace(other, plane=None))

    def are_alike(self, one: Wish, other: Wish) -> bool:
        """Whether any plane of the two wishes' sources comes out the same; for any thread."""
        is_same = one.source is other.source and self.are_asked_alike(one, other)
        return is_same and self.tone(one) == self.tone(other)

    def seen(self, wish: Wish, shown: Colorized | None) -> tuple[Picture, ColorizeSettings]:
        """What the network is shown, and how: as for the picture shown, if there is one."""
        settings, _ = self._reader.with_limits(wish)
        return self._reader.picture(wish), settings if shown is None else shown.settings

    def predict(self, wish: Wish, *, in_passing: bool = False) -> Colorized:
        """Ask the network; what is asked in passing keeps its colours for long."""
        colorizer = self._model.ready(wish)
        picture = self._reader.picture(wish, in_passing=in_passing)
        settings, notes = self._reader.with_limits(wish)
        self._pause()
        self._tell("predicting")
        began = time.monotonic()
        entry = colorizer(
            picture.image,
            rgb=picture.rgb,
            guides=self._guides(wish),
            blend_with=self._model.second(wish),
            **vars(settings),
        )
        self._predicting = wish.network, time.monotonic() - began
        entry = _noted(entry, notes)
        if in_passing:
            self._cache.keep_colors(self.key(wish), entry, wish.generation)
        self._cache.put(self.key(wish), entry, wish.generation)
        return entry

    def composed(self, wish: Wish, entry: Colorized) -> Colorized:
        """A prediction as settings and guides want it shown, its pixels made."""
        began = time.monotonic()
        if entry.fixed is not None:
            result = entry.with_(provenance=wish.settings.provenance)
        else:
            result = self._toned(wish, entry)
        _ = result.pixels
        self._composing = time.monotonic() - began
        return result

    def _toned(self, wish: Wish, entry: Colorized) -> Colorized:
        changes = {name: getattr(wish.settings, name) for name in (*REFINING, "provenance")}
        changes["saturation"] = self._saturation(wish)
        stack, axes = as_stack(wish)
        entry = self._steadying.applied(wish, len(stack.shape) - axes, self.key, entry)
        assert entry.chroma is not None
        changes["steadiness"] = entry.chroma.steadiness  # none where there is no time
        last = self._last
        if last is not None and all(
            getattr(last, name) is getattr(entry, name) for name in ("plane", "chroma", "other")
        ):
            entry = last  # whose tint may be the one that is wanted
        guides = self._guides(wish)
        if self._model.takes_hints(wish):  # those that it was shown are the wish's: see `key`
            guides = replace(guides, hints=entry.guides.hints)
        self._last = entry.with_(guides=guides, **changes)
        return self._last

    def _guides(self, wish: Wish) -> Guides:
        """Of the wish's plane: the same object as long as the same is looked at."""
        asked, told = (wish.guides, *wish.picture), self._told
        if told is None or told[0] != asked:
            stack, axes = as_stack(wish)
            plane = wish.plane or (0,) * (len(stack.shape) - axes)
            told = self._told = asked, guides_at(wish.guides, plane)
        return told[1]

    def _saturation(self, wish: Wish) -> float | None:
        """As chosen, else as the model recommends; None as long as that is not known."""
        chosen, known = wish.settings.saturation, self._model.checkpoint(wish)
        return known.saturation if chosen is None and known is not None else chosen

    def planes(self, wish: Wish) -> tuple[int, Iterator[tuple[Index, Colorized]]]:
        """How many planes the source has, and each of them: those known already come first."""
        from napari_colorize.imaging.planes import split_stack

        stack, axes = as_stack(wish)
        settings, notes = self._reader.with_shared_limits(wish)
        wishes = {index: replace(wish, plane=index) for index in split_stack(stack, axes == 3)}
        known = self._known_of(wishes, settings)
        others = [index for index in wishes if index not in known]
        asked: Iterator[tuple[Index, Colorized]] = iter(())
        if others or not wishes:
            colorizer = self._model.ready(wish)
            self._tell("predicting")
            some = Some(Watched(stack, self._pause), others, axes)

            def guides(place: Index) -> Guides:
                return self._guides(wishes[others[place[0]]])

            asked = colorizer.iter_planes(
                some,
                rgb=axes == 3,
                guides=None if wish.guides is None else guides,
                blend_with=self._model.second(wish),
                # Steadied when they are composed: these are only some of the planes.
                **vars(replace(settings, steadiness=0.0)),
            )
        old = self._joined_planes(wishes, known)
        new = self._asked_planes(wishes, others, asked, notes)
        if settings.steadiness > 0:  # each after the one before it
            return len(wishes), (next(old if index in known else new) for index in wishes)
        return len(wishes), itertools.chain(old, new)

    def forget(self) -> None:
        """Let go of what was composed last."""
        self._last = self._told = None
        self._steadying.forget()

    def _known_of(
        self, wishes: dict[Index, Wish], settings: ColorizeSettings
    ) -> dict[Index, Colorized]:
        """The colours that are known, of planes seen between the limits of their whole stack."""
        found = {index: self._cache.colors(self.key(wish)) for index, wish in wishes.items()}
        limits = settings.contrast_limits
        return {
            index: colors
            for index, colors in found.items()
            if colors is not None and limits in (None, colors.plane.limits)
        }

    def _joined_planes(
        self, wishes: dict[Index, Wish], known: dict[Index, Colorized]
    ) -> Iterator[tuple[Index, Colorized]]:
        for index, colors in known.items():
            self._pause()
            yield index, self._joined(wishes[index], colors, in_passing=True)

    def _asked_planes(
        self,
        wishes: dict[Index, Wish],
        indices: list[Index],
        asked: Iterator[tuple[Index, Colorized]],
        notes: tuple[str, ...],
    ) -> Iterator[tuple[Index, Colorized]]:
        spent = 0.0
        for done, index in enumerate(indices, start=1):
            began = time.monotonic()
            entry = _noted(next(asked)[1], notes)
            spent += time.monotonic() - began  # several come at a time
            one = wishes[index]
            self._predicting = one.network, spent / done
            self._cache.keep_colors(self.key(one), entry, one.generation)
            yield index, entry

    def _joined(self, wish: Wish, colors: Colorized, in_passing: bool) -> Colorized:
        """Kept chrominance with its plane, read again."""
        from napari_colorize.imaging.planes import to_plane
        from napari_colorize.runtime import memory

        picture, chroma = self._reader.picture(wish, in_passing=in_passing), colors.chroma
        assert chroma is not None

        def run(device: torch.device) -> Plane:
            return to_plane(
                picture.image,
                limits=colors.plane.limits,
                gamma=wish.settings.gamma,
                device=device,
                rgb=picture.rgb,
            )

        plane = memory.here_or_on_cpu(run, colors.plane.gray.device, "image")
        here = plane.gray.device
        other = None if colors.other is None else colors.other.to(here)
        return replace(colors, plane=plane, chroma=chroma.to(here), other=other)


def _noted(entry: Colorized, notes: tuple[str, ...]) -> Colorized:
    """With notes about the whole stack, which come first."""
    if not notes:
        return entry
    record = {**entry.record, "notes": [*notes, *entry.record["notes"]]}
    return replace(entry, notes=(*notes, *entry.notes), record=record)
