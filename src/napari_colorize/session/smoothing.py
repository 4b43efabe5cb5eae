"""Temporal smoothing for a session, whose planes are rendered in any order and repeatedly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from napari_colorize.refine.chroma_field import Chroma
    from napari_colorize.result import Colorized
    from napari_colorize.sequence_smoothing import States
    from napari_colorize.session.request import RenderRequest

MAX_BYTES = 2**28  # of cached states; the two newest planes are kept in any case


@dataclass(frozen=True, eq=False)
class _SmoothedPlane:
    """A smoothed plane with the states before and after it, and its prediction."""

    before: States | None
    after: States
    predicted_uv: Tensor
    chroma: Chroma | None  # not the whole result: its gray plane is large
    second_chroma: Chroma | None

    @property
    def nbytes(self) -> int:
        """Memory of the states, without the prediction."""
        return sum(part.nbytes for state in self.after for part in vars(state).values())


class TemporalSmoother:
    """Smooths a plane with the previous one in time if that was rendered; else it starts anew.

    `sequence_smoothing` has the arithmetic. This class adds a cache of the states after each plane.
    """

    def __init__(self) -> None:
        self._planes: OrderedDict[Hashable, _SmoothedPlane] = OrderedDict()

    def forget(self) -> None:
        """Drop all states."""
        # A new dictionary: the worker may be inside `applied` while another thread calls this.
        self._planes = OrderedDict()

    def applied(
        self,
        request: RenderRequest,
        axes: int,
        key: Callable[[RenderRequest], tuple[Any, ...]],
        entry: Colorized,
    ) -> Colorized:
        """The prediction, smoothed if the request asks for it.

        The chrominance is the same object as long as the states before the plane are the same.
        `axes` is the number of leading axes of the source, and `key` returns the prediction key of
        a request. Raises `SettingsError` if the stack has no axis `request.time_axis`.
        """
        from napari_colorize.sequence_smoothing import checked_axis, smooth_plane

        strength, plane = request.settings.temporal_smoothing, request.plane or (0,) * axes
        axis = checked_axis(request.time_axis, axes) if strength else None
        if axis is None or entry.chroma is None:
            return entry
        planes = self._planes
        own_key = key(request.replace(plane=plane)), strength, axis
        before = None
        if plane[axis] > 0:
            previous_plane = (*plane[:axis], plane[axis] - 1, *plane[axis + 1 :])
            previous = planes.get((key(request.replace(plane=previous_plane)), strength, axis))
            before = None if previous is None else previous.after
        cached = planes.get(own_key)
        entry = replace(entry, settings=replace(entry.settings, temporal_smoothing=strength))
        assert entry.chroma is not None
        if (
            cached is None
            or cached.before is not before
            or cached.predicted_uv is not entry.chroma.uv
        ):
            smoothed, after = smooth_plane(entry, before)
            cached = planes[own_key] = _SmoothedPlane(
                before, after, entry.chroma.uv, smoothed.chroma, smoothed.second_chroma
            )
        planes.move_to_end(own_key)
        while len(planes) > 2 and sum(one.nbytes for one in planes.values()) > MAX_BYTES:
            planes.popitem(last=False)
        return replace(entry, chroma=cached.chroma, second_chroma=cached.second_chroma)
