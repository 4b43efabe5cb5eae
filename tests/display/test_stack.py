"""Colors of stacks: planes with and without colors, dropped planes, and memory."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.display import DisplayRange, StackColors
from napari_colorize.display import stack as stack_module
from napari_colorize.display.lazy_array import LazyArray
from napari_colorize.errors import OutOfMemoryError

RANGE = DisplayRange(False, (0, 255))


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 256, (2, 3, 12, 15), np.uint8)


def colors_of(stack, **settings):
    """Empty colors of a stack, and a function that colorizes one of its planes."""
    colorizer = colorizer_of(TintNetwork())
    return StackColors(stack, RANGE, **settings), lambda index: colorizer(stack[index])


def test_planes_get_their_colors_one_by_one(stack):
    colors, colorize = colors_of(stack)
    result = colorize((1, 2))

    colors.put((1, 2), result)

    np.testing.assert_array_equal(colors.data[1, 2], result.pixels)
    np.testing.assert_array_equal(colors.data[0, 2], np.repeat(stack[0, 2][..., None], 3, 2))
    assert colors.is_current((1, 2)) and not colors.is_current((0, 2))


NUMBERS = np.arange(2 * 3 * 4 * 5 * 3).reshape(2, 3, 4, 5, 3)


def lazy_numbers(*, defers=False):
    def part(index, rows, columns):
        return NUMBERS[index][list(rows)][:, list(columns)]

    return LazyArray(part, NUMBERS.shape, NUMBERS.dtype, 2, defers=defers)


@given(key=basic_indices(NUMBERS.shape, allow_newaxis=True))
def test_a_lazy_array_is_indexed_like_an_array(key):
    found = lazy_numbers()[key]

    np.testing.assert_array_equal(found, NUMBERS[key])
    assert np.shape(found) == NUMBERS[key].shape


@given(
    first=basic_indices(NUMBERS.shape, allow_newaxis=False, allow_ellipsis=False),
    data=st.data(),
)
def test_an_indexed_lazy_array_is_indexed_like_an_array(first, data):
    second = data.draw(basic_indices(np.shape(NUMBERS[first])))

    found = lazy_numbers(defers=True)[first][second]

    np.testing.assert_array_equal(found, NUMBERS[first][second])


class IncreasingOnly:
    """A lazy stack that records reads, and refuses negative steps, as zarr does."""

    def __init__(self, values):
        self.values, self.read = values, []
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, key):
        assert all((place.step or 1) > 0 for place in key if isinstance(place, slice))
        self.read.append(key[:2])
        return self.values[key]


def in_gray(stack):
    return np.repeat(stack[..., None], 3, axis=-1)


def test_a_plane_of_a_lazy_stack_is_gray_until_its_colors_arrive(stack):
    lazy = IncreasingOnly(stack)
    colors = StackColors(lazy, RANGE)
    result = colorizer_of(TintNetwork())(stack[0, 1])
    assert not lazy.read

    colors.put((0, 1), result)

    np.testing.assert_array_equal(colors.data[1, 0], in_gray(stack)[1, 0])
    np.testing.assert_array_equal(colors.data[1, 0, ::-2, 3:9], in_gray(stack)[1, 0, ::-2, 3:9])
    assert set(lazy.read) == {(1, 0)}


@pytest.mark.parametrize("is_lazy", [False, True])
def test_several_planes_can_be_read_at_once(stack, is_lazy):
    colors = StackColors(dask.array.from_array(stack) if is_lazy else stack, RANGE)
    result = colorizer_of(TintNetwork())(stack[1, 1])
    colors.put((1, 1), result)

    whole = np.asarray(colors.data)

    wanted = in_gray(stack)
    wanted[1, 1] = result.pixels
    np.testing.assert_array_equal(whole, wanted)
    np.testing.assert_array_equal(colors.data[:, 1, 2:5, 7], wanted[:, 1, 2:5, 7])
    np.testing.assert_array_equal(colors.data[1:1], wanted[1:1])


def test_a_lazy_stack_is_not_read_where_it_has_colors(stack):
    lazy = IncreasingOnly(stack)
    colors = StackColors(lazy, RANGE)
    for index in np.ndindex(2, 3):
        assert not colors.all_current()
        colors.put(index, colorizer_of(TintNetwork())(stack[index]))
    colors.mark_stale()

    whole = np.asarray(colors.data)

    assert not lazy.read and not colors.all_current()
    assert (np.ptp(whole, axis=-1) > 0).any(axis=(2, 3)).all()


def test_the_oldest_planes_are_dropped_beyond_the_budget(stack):
    colors, colorize = colors_of(stack, budget=2 * 12 * 15 * 3)

    for index in [(0, 0), (0, 1), (0, 2)]:
        colors.put(index, colorize(index))

    assert [colors.is_current((0, place)) for place in range(3)] == [False, True, True]
    np.testing.assert_array_equal(colors.data[0, 0, ..., 1], stack[0, 0])


def test_an_allocated_stack_drops_no_plane(stack):
    colors, colorize = colors_of(stack, budget=1)
    colors.put((0, 0), colorize((0, 0)))
    colors.allocate_all()

    for index in np.ndindex(2, 3):
        assert colors.array() is None and not colors.all_current()
        colors.put(index, colorize(index))

    assert colors.all_current()
    wanted = [colorize(index).pixels for index in np.ndindex(2, 3)]
    np.testing.assert_array_equal(colors.array().reshape(6, 12, 15, 3), wanted)
    np.testing.assert_array_equal(colors.data, colors.array())


def test_stale_planes_are_displayed_until_new_ones_arrive(stack):
    colors, colorize = colors_of(stack)
    colors.put((0, 0), colorize((0, 0)))

    colors.mark_stale()

    assert not colors.is_current((0, 0))
    np.testing.assert_array_equal(colors.data[0, 0], colorize((0, 0)).pixels)


def test_allocating_more_than_the_free_memory_is_refused(stack, monkeypatch):
    monkeypatch.setattr(stack_module, "_free_bytes", lambda: 1_000_000)
    large = np.broadcast_to(stack, (10**6, *stack.shape))

    with pytest.raises(OutOfMemoryError, match=r"need 3\.2 GB .* 0\.0 GB are free"):
        StackColors(large, RANGE).allocate_all()


def test_8_bit_results_change_the_dtype(stack):
    deep = stack.astype(np.uint16) * 100
    display_range = DisplayRange(False, (0, 25500))
    colors = StackColors(deep, display_range)
    before = colors.data
    result = colorizer_of(TintNetwork())(stack[0, 0])

    colors.put((0, 0), result)

    assert colors.data is not before and colors.data.dtype == np.uint8
    assert colors.limits == (0, 255)
    np.testing.assert_array_equal(colors.data[1, 1, ..., 0], stack[1, 1])
