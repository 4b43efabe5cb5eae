"""Regions: the window is predicted, the mask is colorized."""

from __future__ import annotations

import threading

import dask
import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import basic_indices
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.display import DisplayRange, Region, RegionColors
from napari_colorize.session import ColorizeSession

SOON = 100
RANGE = DisplayRange(False, (0, 255))
MASK = np.tri(10, 20, 5, dtype=bool)
REGION = Region(slice(8, 18), slice(4, 24), MASK)


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 256, (3, 30, 40), np.uint8)


def test_only_the_mask_is_colorized_and_only_its_window_is_read(stack):
    colors = RegionColors(stack, RANGE, REGION)
    window = np.asarray(colors.source[1])
    np.testing.assert_array_equal(window, stack[1, 8:18, 4:24])
    result = colorizer_of(TintNetwork())(window)

    colors.put((1,), result)

    shown = colors.data[1]
    np.testing.assert_array_equal(shown[8:18, 4:24][MASK], result.pixels[MASK])
    outside = np.ones((30, 40), bool)
    outside[8:18, 4:24] = ~MASK
    np.testing.assert_array_equal(shown[outside], np.repeat(stack[1][outside][:, None], 3, 1))


def test_a_single_image_can_have_a_region(stack):
    colors = RegionColors(stack[0], RANGE, REGION)

    colors.put((), colorizer_of(TintNetwork())(np.asarray(colors.source)))

    assert colors.data.shape == (30, 40, 3) and colors.is_current(())
    assert (np.ptp(colors.data[...], axis=2) > 0)[8:18, 4:24][MASK].any()


@pytest.fixture
def lazy(stack):
    """The stack as a lazy array, and the names of the threads that read it."""
    readers = []

    def note(block):
        readers.append(threading.current_thread().name)
        return block

    lazy = dask.array.from_array(stack, chunks=(1, -1, -1)).map_blocks(
        note, dtype="u1", meta=np.zeros((0, 0, 0), "u1")
    )
    with dask.config.set(scheduler="synchronous"):
        yield lazy, readers


def test_put_reads_no_plane(stack, lazy):
    lazy, readers = lazy
    stacked = dask.array.concatenate([lazy] * 20)
    colors = RegionColors(stacked, RANGE, REGION)
    colors.allocate_all()
    results = []
    tint = colorizer_of(TintNetwork())
    with ColorizeSession(source=colors.source, rgb=False, model=tint) as session:
        session.plane_ready.connect(lambda *values: results.append(values))
        session.colorize_stack()
        assert session.wait(SOON)

    for index, result, _ in results:  # all at once, long after they were read
        colors.put(index, result)

    assert len(results) == 60 and colors.all_current()
    assert set(readers) == {"napari-colorize"}


def test_a_displayed_plane_is_read_once(stack, lazy):
    lazy, readers = lazy
    colors = RegionColors(lazy, RANGE, REGION)
    result = colorizer_of(TintNetwork())(stack[2, 8:18, 4:24])

    for saturation in (0, 1, 2):
        colors.put((2,), result.with_(saturation=saturation))
        shown = colors.data[2]

    assert len(readers) == 1
    np.testing.assert_array_equal(shown[20:, :, 0], stack[2, 20:])
    np.testing.assert_array_equal(colors.data[1][..., 0], stack[1])


@given(key=basic_indices((3, 30, 40, 3), allow_newaxis=True))
def test_a_part_equals_that_part_of_the_whole(key):
    stack = np.arange(3 * 30 * 40, dtype=np.uint16).reshape(3, 30, 40) % 251
    colors = RegionColors(stack, DisplayRange(False, (0, 65535)), REGION)
    colors.put((1,), colorizer_of(TintNetwork())(stack[1, 8:18, 4:24]))
    colors.allocate_all()
    for plane in (0, 2):
        colors.put((plane,), colorizer_of(TintNetwork())(stack[plane, 8:18, 4:24]))

    np.testing.assert_array_equal(colors.data[key], colors.array()[key])
