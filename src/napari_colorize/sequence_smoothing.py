"""Temporal smoothing of the planes of a stack or video, each after the previous one in time."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING

from napari_colorize.array_types import PlaneIndex
from napari_colorize.errors import SettingsError
from napari_colorize.imaging.resample import resize_map
from napari_colorize.refine.temporal import TemporalState, smooth_step

if TYPE_CHECKING:
    from torch import Tensor

    from napari_colorize.refine.chroma_field import Chroma
    from napari_colorize.result import Colorized

States = tuple[TemporalState, ...]
"""States after a plane: one for the model, and one for the model that it is blended with."""


class SequenceSmoother:
    """Smooths planes that arrive in order of time.

    Of each sequence only the state after its last plane is stored, at network size, so memory is
    bounded. Planes that differ in another axis than time (channels, depth) are separate sequences.
    `time_axis` is the position of the time axis in the index of a plane; None: no smoothing.
    """

    def __init__(self, time_axis: int | None) -> None:
        self._time_axis = time_axis
        self._last: dict[Hashable, tuple[int, States]] = {}

    def applied(self, result: Colorized, index: PlaneIndex) -> Colorized:
        """A result as predicted, smoothed by the strength in its settings.

        `index` is the position of the plane in the stack. After a gap in time the sequence starts
        again.
        """
        axis = self._time_axis
        if not is_smoothed(result) or axis is None:
            return result
        sequence = (*index[:axis], *index[axis + 1 :])
        last_index, states = self._last.get(sequence, (None, None))
        previous = states if last_index == index[axis] - 1 else None
        smoothed, after = smooth_plane(result, previous)
        self._last[sequence] = index[axis], after
        return smoothed


def is_smoothed(result: Colorized) -> bool:
    """Whether temporal smoothing applies to a result; finished 8-bit images have no chrominance."""
    return result.settings.temporal_smoothing > 0 and result.chroma is not None


def smooth_plane(result: Colorized, previous: States | None) -> tuple[Colorized, States]:
    """Smooth the chrominance of one plane, for which `is_smoothed` holds, by its settings.

    `previous` are the states after the previous plane; None starts the sequence. Returns the
    smoothed result and the states after this plane.
    """
    strength = result.settings.temporal_smoothing
    chromas = [chroma for chroma in (result.chroma, result.second_chroma) if chroma is not None]
    states = tuple(
        smooth_step(before, _gray_at_network_size(result, chroma), chroma.uv, strength)
        for before, chroma in zip(previous or (None,) * len(chromas), chromas, strict=True)
    )
    first, *second = (
        replace(chroma, smoothed_uv=state.uv, temporal_smoothing=strength)
        for chroma, state in zip(chromas, states, strict=True)
    )
    smoothed = replace(result, chroma=first, second_chroma=second[0] if second else None)
    return smoothed, states


def _gray_at_network_size(result: Colorized, chroma: Chroma) -> Tensor:
    gray = result.plane.gray.nan_to_num(nan=0.0)
    return resize_map(gray, (chroma.uv.shape[0], chroma.uv.shape[1])).to(chroma.uv.device)


def checked_axis(time_axis: int | None, axes: int) -> int | None:
    """The time axis as a number of one of the leading `axes`; None if there are none.

    A negative axis counts from the end; the default is the first.

    Raises
    ------
    SettingsError
        If there is no such axis, or it is not a number.
    """
    if axes == 0 and time_axis is None:
        return None
    if time_axis is not None and not isinstance(time_axis, Integral):
        raise SettingsError(f"time_axis must be the number of an axis, not {time_axis!r}.")
    axis = 0 if time_axis is None else int(time_axis)
    if not -axes <= axis < axes:
        raise SettingsError(
            f"There is no axis {axis} for temporal smoothing: this stack has {axes} axes before "
            "height and width."
        )
    return axis % axes
