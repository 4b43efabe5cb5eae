"""A region of a plane: its window is predicted, its mask gets the colours."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize.session import ColorizeSession
from napari_colorize.session.colors import Look, Region, RegionColors

SOON = 100
LOOK = Look(False, (0, 255))
MASK = np.tri(10, 20, 5, dtype=bool)
REGION = Region(slice(8, 18), slice(4, 24), MASK)


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 256, (3, 30, 40), np.uint8)


def test_only_the_mask_gets_colours_and_only_its_window_is_seen(stack):
    colors = RegionColors(stack, LOOK, REGION)
    window = np.asarray(colors.source[1])
    np.testing.assert_array_equal(window, stack[1, 8:18, 4:24])
    result = colorizer_of(TintNetwork())(window)

    colors.put((1,), result)

    shown = colors.data[1]
    np.testing.assert_array_equal(shown[8:18, 4:24][MASK], result.pixels[MASK])
    outside = np.ones((30, 40), bool)
    outside[8:18, 4:24] = ~MASK
    np.testing.assert_array_equal(shown[outside], np.repeat(stack[1][outside][:, None], 3, 1))


def test_an_image_has_regions_too(stack):
    colors = RegionColors(stack[0], LOOK, REGION)

    colors.put((), colorizer_of(TintNetwork())(np.asarray(colors.source)))

    assert colors.data.shape == (30, 40, 3) and colors.knows(())
    assert (np.ptp(colors.data[...], axis=2) > 0)[8:18, 4:24][MASK].any()


def test_planes_of_a_lazy_stack_are_read_once_and_by_the_session(stack):
    read = []

    def count(block):
        read.append(block.shape)
        return block

    lazy = dask.array.from_array(stack, chunks=(1, -1, -1)).map_blocks(count, dtype="u1")
    read.clear()
    colors = RegionColors(lazy, LOOK, REGION)
    tint = colorizer_of(TintNetwork())
    with ColorizeSession(source=colors.source, rgb=False, plane=(2,), model=tint) as session:
        assert session.wait(SOON)
        colors.put((2,), session.result)

    assert read == [(1, 30, 40)]
    np.testing.assert_array_equal(colors.data[2][20:, :, 0], stack[2, 20:])
