"""Steadying: the planes of a stack or film held steady, each after the one before it in time."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_colorize.errors import SettingsError
from napari_colorize.imaging.resample import resize_map
from napari_colorize.refine.temporal import TemporalState, smooth_step

if TYPE_CHECKING:
    from torch import Tensor

    from napari_colorize.pipeline import Chroma
    from napari_colorize.result import Colorized

Index = tuple[int, ...]


class SequenceSmoother:
    """Remembers of each sequence its last plane, at render size: memory stays bounded.

    Planes that differ in another axis than time (channels, depth) are sequences of their own.

    Parameters
    ----------
    time_axis : int, optional
        Of a plane's index; None if there is none: nothing is steadied.
    """

    def __init__(self, time_axis: int | None) -> None:
        self._time_axis = time_axis
        self._last: dict[Hashable, tuple[int, tuple[TemporalState, ...]]] = {}

    def applied(self, result: Colorized, index: Index) -> Colorized:
        """The same result, steadied if its settings say so; planes come in order of time.

        Parameters
        ----------
        result : Colorized
            As the network made it, or without `steadied`.
        index : tuple of int
            Its place in the stack.
        """
        strength, axis = result.settings.temporal_smoothing, self._time_axis
        if strength == 0 or axis is None or result.chroma is None:
            return result
        sequence = (*index[:axis], *index[axis + 1 :])
        before = self._last.get(sequence)
        follows = before is not None and before[0] == index[axis] - 1
        states = smoothing_states(result, before[1] if before is not None and follows else None)
        self._last[sequence] = index[axis], states
        return with_states(result, states)


def smoothing_states(
    result: Colorized, before: tuple[TemporalState, ...] | None
) -> tuple[TemporalState, ...]:
    """The states after a result, of its model and of the one it is blended with."""
    gray, strength = result.plane.gray, result.settings.temporal_smoothing
    said = [chroma for chroma in (result.chroma, result.second_chroma) if chroma is not None]
    last: tuple[TemporalState | None, ...] = before if before is not None else (None,) * len(said)
    return tuple(
        smooth_step(state, _small(gray, chroma), chroma.uv, strength)
        for state, chroma in zip(last, said, strict=True)
    )


def with_states(result: Colorized, states: tuple[TemporalState, ...]) -> Colorized:
    """The result, showing what was steadied."""
    chroma, other, strength = (
        result.chroma,
        result.second_chroma,
        result.settings.temporal_smoothing,
    )
    assert chroma is not None
    chroma = replace(chroma, smoothed_uv=states[0].uv, temporal_smoothing=strength)
    if other is not None:
        other = replace(other, smoothed_uv=states[1].uv, temporal_smoothing=strength)
    return replace(result, chroma=chroma, second_chroma=other)


def _small(gray: Tensor, chroma: Chroma) -> Tensor:
    small = resize_map(gray.nan_to_num(nan=0.0), (chroma.uv.shape[0], chroma.uv.shape[1]))
    return small.to(chroma.uv.device)


def checked_axis(time_axis: int | None, axes: int) -> int | None:
    """The axis of time among the leading axes of a stack; None if it has none.

    Raises
    ------
    SettingsError
        If there is no such axis.
    """
    if axes == 0 and time_axis is None:
        return None
    axis = 0 if time_axis is None else time_axis
    if not -axes <= axis < axes:
        raise SettingsError(
            f"There is no axis {axis} to hold colours steady along: the planes of this stack have "
            f"{axes} axes before height and width."
        )
    return axis % axes
