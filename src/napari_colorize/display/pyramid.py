"""Images that are too large for memory in color: parts are rendered when a viewer reads them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.array_types import AnyArray, PlaneIndex
from napari_colorize.display.color_arrays import ColorArrays, Region
from napari_colorize.display.gray import DisplayRange, gray_image, result_dtype
from napari_colorize.display.lazy_array import LazyArray, window_of
from napari_colorize.display.pyramid_levels import (
    GivenPyramid,
    MeanPyramid,
    level_index,
    network_level,
)

if TYPE_CHECKING:
    from napari_colorize.refine.chroma_field import ChromaLayers
    from napari_colorize.result import Colorized

Span = tuple[float, float]
Spans = tuple[Span, Span]  # of rows and of columns

MAX_CHROMA_BYTES = 2**29  # the chrominance of the oldest planes is dropped beyond


@dataclass(frozen=True, eq=False)
class _PlaneColors:
    """Chrominance of a plane, on the CPU, and the saturation for it."""

    layers: ChromaLayers
    saturation: float


class PyramidColors(ColorArrays):
    """Colors of a large image, or a stack of them, as levels of a pyramid.

    Only the chrominance of each plane is stored. A part that is read is rendered from it and the
    gray values of the part. `levels` are those of a multiscale layer, the largest first, or one
    array; see `pyramid_levels`.
    """

    multiscale = True

    def __init__(
        self, levels: Sequence[Any], display_range: DisplayRange, region: Region | None = None
    ) -> None:
        super().__init__(levels, display_range, region)
        self._levels = (
            MeanPyramid(levels[0], display_range)
            if len(levels) == 1
            else GivenPyramid(levels, display_range)
        )
        self._colors: OrderedDict[PlaneIndex, _PlaneColors] = OrderedDict()
        self._keeps_all = False
        self.data = [
            self._lazy_array(shape, partial(self.part, level))
            for level, shape in enumerate(self._levels.shapes)
        ]
        self._sizes = [display_range.size(shape) for shape in self._levels.shapes]
        self._windows, self.source = self._network_windows()

    def _lazy_array(self, shape: tuple[int, ...], part: Callable[..., AnyArray]) -> LazyArray:
        """Colors of an array of this shape, (..., Y, X) or (..., Y, X, 3 or 4)."""
        shape = self._display_range.result_shape(shape)
        dtype = result_dtype(self._arrays[0].dtype)
        return LazyArray(part, shape, dtype, len(shape) - 3, defers=True)

    def put(self, index: PlaneIndex, result: Colorized) -> None:
        """Store the chrominance of a plane."""
        self._colors[index] = _plane_colors(result)
        self._colors.move_to_end(index)
        self._current.add(index)
        if not self._keeps_all:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        nbytes = sum(colors.layers.nbytes for colors in self._colors.values())
        while nbytes > MAX_CHROMA_BYTES and len(self._colors) > 1:
            oldest, colors = self._colors.popitem(last=False)
            self._current.discard(oldest)
            nbytes -= colors.layers.nbytes

    def allocate_all(self) -> None:
        """Keep the chrominance of every plane from now on; it is small, so nothing is allocated."""
        self._keeps_all = True

    def array(self) -> None:
        """None: the colors exist as levels only; see `all_current`."""

    def frozen(self, index: PlaneIndex) -> list[LazyArray]:
        """A copy of one plane as levels, each axis before Y and X of length 1."""
        copy = PyramidColors(self._arrays, self._display_range, self._region)
        copy._levels = self._levels  # shared, because block means are costly
        copy._colors = OrderedDict((at, one) for at, one in self._colors.items() if at == index)
        leading = len(index)
        full, levels = self._levels.shapes[0][:leading], []
        for level, shape in enumerate(self._levels.shapes):
            at = level_index(index, shape[:leading], full)

            def part(
                _: PlaneIndex, rows: range, columns: range, level: int = level, at: PlaneIndex = at
            ) -> AnyArray:
                return copy.part(level, at, rows, columns)

            levels.append(self._lazy_array((1,) * leading + shape[leading:], part))
        return levels

    def part(self, level: int, index: PlaneIndex, rows: range, columns: range) -> AnyArray:
        """A part of a plane of a level: in color if its chrominance is stored, else in gray."""
        values = self._levels.part(level, index, rows, columns)
        colors = self._colors_at(level, index)
        if colors is None or not values.size:
            return gray_image(values, self._display_range)
        if self._region is None:
            return self._rendered(values, colors, level, rows, columns)
        return self._rendered_in_region(self._region, values, colors, level, rows, columns)

    def _rendered(
        self, values: AnyArray, colors: _PlaneColors, level: int, rows: range, columns: range
    ) -> AnyArray:
        from napari_colorize.imaging.planes import to_numpy, to_plane
        from napari_colorize.imaging.resample import Window
        from napari_colorize.pipeline import compose

        used = self._display_range
        plane = to_plane(to_numpy(values), limits=used.limits, gamma=used.gamma, rgb=used.rgb)
        window = Window(rows, columns, *self._windows[level])
        return compose(plane, colors.layers, colors.saturation, window)

    def _rendered_in_region(
        self,
        region: Region,
        values: AnyArray,
        colors: _PlaneColors,
        level: int,
        rows: range,
        columns: range,
    ) -> AnyArray:
        """Gray, and colors inside the mask of the region."""
        image = gray_image(values, self._display_range)
        full, size = self._sizes[0], self._sizes[level]
        # For each row and column: the nearest one of the largest level, counted from the window.
        positions = [
            ((np.array(along) + 0.5) * whole / length).astype(np.intp) - window.start
            for along, whole, length, window in zip(
                (rows, columns), full, size, (region.rows, region.columns), strict=True
            )
        ]
        inside = [
            np.flatnonzero((along >= 0) & (along < length))
            for along, length in zip(positions, region.mask.shape, strict=True)
        ]
        if not all(each.size for each in inside):
            return image
        window = tuple(slice(each[0], each[-1] + 1) for each in inside)
        part = self._rendered(values[window], colors, level, rows[window[0]], columns[window[1]])
        mask = region.mask[np.ix_(positions[0][window[0]], positions[1][window[1]])]
        image[window][mask] = part[mask]
        return image

    def _colors_at(self, level: int, index: PlaneIndex) -> _PlaneColors | None:
        """Chrominance for a plane of a level; the newest one if the level has fewer planes."""
        lengths = self._levels.shapes[level][: len(index)]
        full = self._levels.shapes[0][: len(index)]
        if lengths == full:
            return self._colors.get(index)
        for at in reversed(self._colors):
            if level_index(at, lengths, full) == index:
                return self._colors[at]
        return None

    def _network_windows(self) -> tuple[list[Spans], Any]:
        """The window of a plane that the network gets, in pixels of each level, and its source."""
        sizes, region = self._sizes, self._region
        if region is None:
            used = network_level(sizes)
            return [((0, height), (0, width)) for height, width in sizes], self._levels.source(used)
        span = tuple((along.start, along.stop) for along in (region.rows, region.columns))
        windows = [_scaled(span, sizes[0], size) for size in sizes]
        used = network_level(
            [(bottom - top, end - start) for (top, bottom), (start, end) in windows]
        )
        whole = [
            (math.floor(start), min(math.ceil(stop), length))
            for (start, stop), length in zip(windows[used], sizes[used], strict=True)
        ]
        rows, columns = (range(*span) for span in whole)
        stack = self._levels.source(used)
        source = window_of(stack, len(self._display_range.leading(stack.shape)), rows, columns)
        return [_scaled(whole, sizes[used], size) for size in sizes], source


def _scaled(spans: Sequence[Span], size: Sequence[int], new_size: Sequence[int]) -> Spans:
    """Spans of rows and columns, converted from one size of an image to another."""
    rows, columns = (
        (start * length / whole, stop * length / whole)
        for (start, stop), whole, length in zip(spans, size, new_size, strict=True)
    )
    return rows, columns


def _plane_colors(result: Colorized) -> _PlaneColors:
    if result.chroma is not None:
        assert result.settings.saturation is not None
        return _PlaneColors(result.chroma_layers.to("cpu"), result.settings.saturation)
    # Other fidelities return 8-bit pixels, whose chrominance is used instead.
    import torch

    from napari_colorize.imaging.color import rgb_to_yuv
    from napari_colorize.refine.chroma_field import as_chroma_layers

    assert result.pixels_8bit is not None
    rgb = torch.from_numpy(result.pixels_8bit[..., :3] / np.float32(255))
    return _PlaneColors(as_chroma_layers(rgb_to_yuv(rgb)[..., 1:].contiguous()), 1.0)
