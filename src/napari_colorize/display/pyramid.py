"""Pictures too large to hold: parts are composed when a viewer asks for them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.display.gray import Array, DisplayRange, dtype_of_picture, gray_picture
from napari_colorize.display.lazy_array import Index, LazyArray, as_slice
from napari_colorize.display.pyramid_levels import (
    GivenPyramid,
    Levels,
    MeanPyramid,
    level_index,
    seen_level,
)
from napari_colorize.display.source_spec import Region, SourceSpec

if TYPE_CHECKING:
    from napari_colorize.array_types import Limits
    from napari_colorize.refine.chroma_field import ChromaLayers
    from napari_colorize.result import Colorized

Span = tuple[float, float]
Spans = tuple[Span, Span]  # of rows and of columns

HELD_BYTES = 2**29  # of chrominance; the oldest is forgotten beyond


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of a plane: its tint on the CPU, and how much of it is wanted."""

    tint: ChromaLayers
    saturation: float


class PyramidColors:
    """Large pictures as levels; a part is composed of its gray and the plane's chrominance.

    Parameters
    ----------
    levels : sequence of arrays, shape (..., Y, X) or (..., Y, X, 3 or 4)
        Of a multiscale layer, the largest first, or one array; see `levels`.
    look : Look
        How they are read.
    region : Region, optional
        The part of each plane that gets colours, in pixels of the largest level.
    """

    multiscale = True

    def __init__(
        self, levels: Sequence[Any], look: DisplayRange, region: Region | None = None
    ) -> None:
        self._arrays, self._look, self._region = levels, look, region
        self._levels: Levels = (
            MeanPyramid(levels[0], look) if len(levels) == 1 else GivenPyramid(levels, look)
        )
        self._known: OrderedDict[Index, _Known] = OrderedDict()
        self._fresh: set[Index] = set()
        self._holds_all = False
        self.data = [LazyArray(_Level(self, level)) for level in range(len(self._levels.shapes))]
        self._sizes = [look.size(shape) for shape in self._levels.shapes]
        self._windows, self.source = self._shown()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pictures."""
        return dtype_of_picture(self._arrays[0].dtype)

    @property
    def limits(self) -> Limits:
        """Values of black and white in `data`."""
        return self._look.shown_limits(np.dtype(self._arrays[0].dtype))

    def put(self, index: Index, result: Colorized) -> None:
        """Colours of a plane have come."""
        self._known[index] = _known(result)
        self._known.move_to_end(index)
        self._fresh.add(index)
        if not self._holds_all:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        held = sum(known.tint.nbytes for known in self._known.values())
        while held > HELD_BYTES and len(self._known) > 1:
            oldest, known = self._known.popitem(last=False)
            self._fresh.discard(oldest)
            held -= known.tint.nbytes

    def mark_stale(self) -> None:
        """Settings changed: what is known is still shown, but no longer counts as known."""
        self._fresh.clear()

    def is_current(self, index: Index) -> bool:
        """Whether the colours of a plane are known, as the settings are now."""
        return index in self._fresh

    def all_current(self) -> bool:
        """Whether those of every plane are known."""
        return len(self._fresh) == math.prod(self._look.leading(self._levels.shapes[0]))

    def matches(self, **read: Any) -> bool:
        """Whether `colors_for`, asked for this, would make the same; see `Basis.matches`."""
        return SourceSpec(self._arrays, self._look, self._region).matches(**read)

    def allocate_all(self) -> None:
        """From now on no plane's chrominance is forgotten; it is small, and no room is made."""
        self._holds_all = True

    def array(self) -> None:
        """None: there is no one array of all pictures, only levels; see `knows_all`."""

    def frozen(self, index: Index) -> list[LazyArray]:
        """The levels of one plane, each axis before Y and X of length 1, as they are now."""
        copy = PyramidColors(self._arrays, self._look, self._region)
        copy._levels = self._levels  # means are made once
        copy._known = OrderedDict((at, known) for at, known in self._known.items() if at == index)
        full = self._levels.shapes[0][: len(index)]
        return [
            LazyArray(_Alone(_Level(copy, level), level_index(index, shape[: len(index)], full)))
            for level, shape in enumerate(self._levels.shapes)
        ]

    def shape(self, level: int) -> tuple[int, ...]:
        """Of a level's pictures: `(..., Y, X, 3 or 4)`."""
        return self._look.picture_shape(self._levels.shapes[level])

    def picture(self, level: int, index: Index, rows: range, columns: range) -> Array:
        """A part of a plane at a level: in colour if it is known, else in gray."""
        values = self._levels.part(level, index, rows, columns)
        known = self._known_at(level, index)
        if known is None or not values.size:
            return gray_picture(values, self._look)
        if self._region is None:
            return self._composed(values, known, level, rows, columns)
        return self._in_region(self._region, values, known, level, rows, columns)

    def _composed(
        self, values: Array, known: _Known, level: int, rows: range, columns: range
    ) -> Array:
        from napari_colorize.imaging.planes import to_numpy, to_plane
        from napari_colorize.imaging.resample import Window
        from napari_colorize.pipeline import compose

        look = self._look
        plane = to_plane(to_numpy(values), limits=look.limits, gamma=look.gamma, rgb=look.rgb)
        window = Window(rows, columns, *self._windows[level])
        return compose(plane, known.tint, known.saturation, window)

    def _in_region(
        self,
        region: Region,
        values: Array,
        known: _Known,
        level: int,
        rows: range,
        columns: range,
    ) -> Array:
        """Gray, and colours where the region's mask is."""
        picture = gray_picture(values, self._look)
        full, size = self._sizes[0], self._sizes[level]
        places = [
            ((np.array(along) + 0.5) * whole / length).astype(np.intp) - window.start
            for along, whole, length, window in zip(
                (rows, columns), full, size, (region.rows, region.columns), strict=True
            )
        ]
        meant = [
            np.flatnonzero((place >= 0) & (place < length))
            for place, length in zip(places, region.mask.shape, strict=True)
        ]
        if not all(inside.size for inside in meant):
            return picture
        there = tuple(slice(inside[0], inside[-1] + 1) for inside in meant)
        part = self._composed(values[there], known, level, rows[there[0]], columns[there[1]])
        mask = region.mask[np.ix_(places[0][there[0]], places[1][there[1]])]
        picture[there][mask] = part[mask]
        return picture

    def _known_at(self, level: int, index: Index) -> _Known | None:
        """The chrominance of a level's plane: where levels have fewer planes, the newest of it."""
        lengths = self._levels.shapes[level][: len(index)]
        full = self._levels.shapes[0][: len(index)]
        if lengths == full:
            return self._known.get(index)
        for at in reversed(self._known):
            if level_index(at, lengths, full) == index:
                return self._known[at]
        return None

    def _shown(self) -> tuple[list[Spans], Any]:
        """What the network is shown of a plane, in pixels of each level; and that as a source."""
        sizes, region = self._sizes, self._region
        if region is None:
            seen = seen_level(sizes)
            return [((0, height), (0, width)) for height, width in sizes], self._levels.source(seen)
        meant = tuple((along.start, along.stop) for along in (region.rows, region.columns))
        windows = [_scaled(meant, sizes[0], size) for size in sizes]
        seen = seen_level([(bottom - top, end - start) for (top, bottom), (start, end) in windows])
        whole = [
            (math.floor(start), min(math.ceil(stop), length))
            for (start, stop), length in zip(windows[seen], sizes[seen], strict=True)
        ]
        rows, columns = (range(*span) for span in whole)
        source = LazyArray(_Cut(self._levels.source(seen), self._look, rows, columns))
        return [_scaled(whole, sizes[seen], size) for size in sizes], source


class _Level:
    """Pictures of one level."""

    defers = True

    def __init__(self, colors: PyramidColors, level: int) -> None:
        self._colors, self._level = colors, level
        self.shape = colors.shape(level)
        self.dtype = colors.dtype
        self.leading = len(self.shape) - 3

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """Rows and columns of one picture."""
        return self._colors.picture(self._level, index, rows, columns)


class _Alone:
    """One plane of a level, as a stack of one."""

    defers = True

    def __init__(self, level: _Level, index: Index) -> None:
        self._level, self._index = level, index
        self.leading, self.dtype = level.leading, level.dtype
        self.shape = (*(1 for _ in index), *level.shape[level.leading :])

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """Rows and columns of the picture."""
        return self._level.part(self._index, rows, columns)


class _Cut:
    """A window of each plane of a stack."""

    defers = True

    def __init__(self, stack: Any, look: DisplayRange, rows: range, columns: range) -> None:
        self._stack, self._rows, self._columns = stack, rows, columns
        self.dtype = np.dtype(stack.dtype)
        self.leading = len(look.leading(stack.shape))
        rest = tuple(stack.shape)[self.leading + 2 :]
        self.shape = (*look.leading(stack.shape), len(rows), len(columns), *rest)

    def part(self, index: Index, rows: range, columns: range) -> Array:
        """Rows and columns of one window."""
        window = as_slice(self._rows[as_slice(rows)]), as_slice(self._columns[as_slice(columns)])
        return np.asarray(self._stack[(*index, *window)])


def _scaled(spans: Sequence[Span], size: Sequence[int], wanted: Sequence[int]) -> Spans:
    """Spans of rows and columns in a picture of one size, in the same picture of another."""
    rows, columns = (
        (start * length / whole, stop * length / whole)
        for (start, stop), whole, length in zip(spans, size, wanted, strict=True)
    )
    return rows, columns


def _known(result: Colorized) -> _Known:
    if result.chroma is not None:
        assert result.settings.saturation is not None
        return _Known(result.chroma_layers.to("cpu"), result.settings.saturation)
    # A fidelity makes a finished picture of 8 bits, whose chrominance is as good.
    import torch

    from napari_colorize.imaging.color import rgb_to_yuv
    from napari_colorize.refine.chroma_field import as_chroma_layers

    assert result.pixels_8bit is not None
    rgb = torch.from_numpy(result.pixels_8bit[..., :3] / np.float32(255))
    return _Known(as_chroma_layers(rgb_to_yuv(rgb)[..., 1:].contiguous()), 1.0)
