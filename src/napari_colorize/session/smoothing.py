"""Steady colours for a session: planes may be asked for in any order, and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from napari_colorize.pipeline import Chroma
    from napari_colorize.refine.temporal import TemporalState
    from napari_colorize.result import Colorized
    from napari_colorize.session.request import RenderRequest

HELD = 2**28  # bytes of states that are remembered; the plane before one's own is always one


@dataclass(frozen=True, eq=False)
class _Known:
    """A steadied plane: after which state of the plane before it, and what became of it."""

    before: tuple[TemporalState, ...] | None
    states: tuple[TemporalState, ...]
    said: Tensor  # U and V of the plane by itself
    chroma: Chroma
    other: Chroma | None

    @property
    def nbytes(self) -> int:
        """Memory that it takes, the prediction's own maps left out."""
        maps = [part for state in self.states for part in vars(state).values()]
        return sum(part.nbytes for part in maps)


class TemporalSmoother:
    """Each plane follows the one before it in time, if that one was seen; else it begins anew."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()

    def forget(self) -> None:
        """Let go of all states; another thread may be at work with them."""
        self._known = OrderedDict()

    def applied(
        self,
        request: RenderRequest,
        axes: int,
        key: Callable[[RenderRequest], tuple[Any, ...]],
        entry: Colorized,
    ) -> Colorized:
        """The entry, steadied if the wish says so; the same chrominance for the same state before.

        Parameters
        ----------
        wish : Wish
            For which the entry was made.
        axes : int
            Leading axes of its source.
        key : callable
            Tells planes' predictions from each other.
        entry : Colorized
            The network's answer.

        Raises
        ------
        SettingsError
            If the wish's axis of time is none of them.
        """
        from napari_colorize.sequence_smoothing import checked_axis, smoothing_states, with_states

        strength, plane = request.settings.temporal_smoothing, request.plane or (0,) * axes
        axis = checked_axis(request.time_axis, axes) if strength else None
        if axis is None or entry.chroma is None:
            return entry
        request = replace(request, plane=plane)
        here = key(request), strength, axis
        last = None
        if plane[axis] > 0:
            one_before = (*plane[:axis], plane[axis] - 1, *plane[axis + 1 :])
            last = self._known.get((key(replace(request, plane=one_before)), strength, axis))
        before = None if last is None else last.states
        known = self._known.get(here)
        settings = replace(entry.settings, temporal_smoothing=strength)
        entry = replace(entry, settings=settings)
        assert entry.chroma is not None
        if known is None or known.before is not before or known.said is not entry.chroma.uv:
            states = smoothing_states(entry, before)
            held = with_states(entry, states)
            assert held.chroma is not None
            known = _Known(before, states, entry.chroma.uv, held.chroma, held.second_chroma)
            self._known[here] = known
        self._known.move_to_end(here)
        while len(self._known) > 2 and sum(one.nbytes for one in self._known.values()) > HELD:
            self._known.popitem(last=False)
        return replace(entry, chroma=known.chroma, second_chroma=known.other)
