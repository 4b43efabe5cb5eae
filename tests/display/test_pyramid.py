"""Large images: levels, block means, and parts that are rendered when they are read."""

from __future__ import annotations

import threading
from itertools import pairwise

import dask.array
import numpy as np
import pytest
from stand_ins import TintNetwork, colorizer_of

from napari_colorize import pipeline
from napari_colorize.display import DisplayRange, PyramidColors, Region
from napari_colorize.display import pyramid as pyramid_module
from napari_colorize.display import pyramid_levels as levels_module
from napari_colorize.display.pyramid_levels import MeanPyramid, level_index
from napari_colorize.imaging.pyramid import halve
from napari_colorize.session import ColorizeSession

RANGE = DisplayRange(False, (0, 255))
SOON = 100


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Images of some 100 pixels count as large."""
    monkeypatch.setattr(levels_module, "MAX_COARSEST_SIDE", 16)
    monkeypatch.setattr(levels_module, "MIN_NETWORK_PIXELS", 30 * 30)
    monkeypatch.setattr(levels_module, "BLOCK_PIXELS", 2000)


def smooth_image(*shape, dtype="uint8"):
    """Smooth enough for similar values in all levels."""
    rows, columns = np.indices(shape[-2:]) / 20
    smooth = (np.sin(rows) + np.cos(columns) + 2) * 60
    return np.broadcast_to(smooth, shape).astype(dtype)


def colorize(image, **settings):
    return colorizer_of(TintNetwork())(image, contrast_limits=(0, 255), **settings)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float16", "float64"])
@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (1, 4), (6, 5, 3)])
def test_halve_returns_the_means_of_blocks(shape, dtype):
    values = (np.random.default_rng(0).random(shape) * 100).astype(dtype)

    half = halve(values)

    even = np.pad(values, [(0, n % 2) for n in shape[:2]] + [(0, 0)] * (len(shape) - 2), "edge")
    even = even.astype(float).reshape(even.shape[0] // 2, 2, -1, 2, *shape[2:])
    assert half.dtype == dtype
    np.testing.assert_allclose(half, even.mean((1, 3)), atol=0.5 if half.dtype.kind != "f" else 0.1)


def test_halve_does_not_overflow():
    most = np.iinfo(np.uint64).max

    assert halve(np.full((2, 2), most)) == most
    assert halve(np.array([[True, True], [False, False]])) == [[True]]


def test_means_do_not_depend_on_the_blocks_of_rows():
    image = smooth_image(203, 117)
    means = MeanPyramid(image, RANGE)

    levels = [means.plane(level, ()) for level in range(len(means.shapes))]

    assert [level.shape for level in levels] == means.shapes
    assert max(levels[-1].shape) <= 16
    for finer, coarser in pairwise(levels):
        np.testing.assert_array_equal(coarser, halve(finer))


class Slow(np.ndarray):
    """An image whose rows cannot be read before `may_read` is set; its single pixels can."""

    def __getitem__(self, key):
        if len(key) == 1:
            self.is_reading.set()
            assert self.may_read.wait(SOON)
        return super().__getitem__(key)


def test_a_viewer_does_not_wait_for_means():
    image = smooth_image(200, 120)
    slow = image.view(Slow)
    slow.is_reading, slow.may_read = threading.Event(), threading.Event()
    colors = PyramidColors([slow], RANGE)
    worker = threading.Thread(target=np.asarray, args=(colors.source,))
    worker.start()
    assert slow.is_reading.wait(SOON)

    single = colors.data[1][5:50, ::-3]
    slow.may_read.set()
    worker.join(SOON)

    np.testing.assert_array_equal(single[..., 0], image[::2, ::2][5:50, ::-3])
    np.testing.assert_array_equal(colors.data[1][:, :, 0], halve(image))


def test_an_overview_does_not_compute_a_lazy_plane():
    lazy = dask.array.from_array(smooth_image(2, 200, 120), chunks=(1, 64, 64))
    colors = PyramidColors([lazy], RANGE)
    assert not colors.data[2][0].any() and colors.data[2][0].shape == (50, 30, 3)

    np.asarray(colors.source[0])

    means = halve(halve(smooth_image(200, 120)))
    np.testing.assert_array_equal(colors.data[2][0][..., 0], means)
    assert not colors.data[2][1].any()
    assert colors.data[0][1, :10, :10].any()  # a small part of it may be


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool"])
def test_a_part_of_a_level_equals_that_part_of_the_result(dtype):
    image = smooth_image(200, 120) > 100 if dtype == "bool" else smooth_image(200, 120, dtype=dtype)
    colors = PyramidColors([image], RANGE)
    source = np.asarray(colors.source)
    assert source.shape == (50, 30)
    result = colorize(source, saturation=1.5)
    colors.put((), result)

    np.testing.assert_allclose(colors.data[2], result.pixels, atol=1)
    large = colorize(image, saturation=1.5)  # almost the same network input
    part = colors.data[0][20:90, 7:100:3]
    assert part.dtype == large.pixels.dtype
    if dtype != "bool":  # block means of booleans have no gray levels
        off = np.abs(part.astype(float) - large.pixels[20:90, 7:100:3])
        assert off.mean() < 3 and off.max() < 20
    gray = np.broadcast_to(image[20:90, 7:100:3, None], part.shape)
    assert not np.array_equal(part, gray)


def test_the_saturation_is_that_of_the_newest_result():
    image = smooth_image(200, 120)
    colors = PyramidColors([image], RANGE)
    result = colorize(np.asarray(colors.source), saturation=2)
    colors.put((), result)
    vivid = colors.data[1][:]

    colors.put((), result.with_(saturation=0))

    np.testing.assert_array_equal(colors.data[1][..., 0], colors.data[1][..., 2])
    assert not np.array_equal(vivid[..., 0], vivid[..., 2])


def test_8_bit_results_are_shown_by_their_chrominance():
    image = smooth_image(200, 120)
    colors = PyramidColors([image], RANGE)
    result = colorize(np.asarray(colors.source))
    finished = colorize(np.asarray(colors.source))
    object.__setattr__(finished, "pixels_8bit", result.pixels)
    object.__setattr__(finished, "chroma", None)

    colors.put((), finished)

    np.testing.assert_allclose(colors.data[2], result.pixels.astype(float), atol=2)


def test_each_plane_of_a_multiscale_stack_has_its_own_colors():
    full = smooth_image(3, 80, 100)
    colors = PyramidColors([full, full[:, ::2, ::2]], RANGE)
    assert colors.source.shape == (3, 40, 50)

    colors.put((1,), colorize(colors.source[1]))

    assert colors.is_current((1,)) and not colors.is_current((0,))
    seen = colors.data[0][:, 10:20, 30:50]  # in the order of napari: first the part, then the plane
    assert seen.shape == (3, 10, 20, 3)
    assert not np.array_equal(seen[1][..., 0], seen[1][..., 2])
    np.testing.assert_array_equal(np.asarray(seen[0:1])[0, ..., 0], full[0, 10:20, 30:50])


def test_levels_with_fewer_planes_show_the_plane_that_napari_displays():
    full = smooth_image(6, 80, 100)
    colors = PyramidColors([full, full[::2, ::2, ::2]], RANGE)
    assert colors.source.shape == (6, 40, 50)

    colors.put((5,), colorize(np.asarray(colors.source[5])))

    assert level_index((5,), (3,), (6,)) == (2,)
    assert not np.array_equal(colors.data[1][2][..., 0], colors.data[1][2][..., 2])
    np.testing.assert_array_equal(colors.data[1][1][..., 0], colors.data[1][1][..., 2])


def test_a_frozen_plane_does_not_change():
    full = smooth_image(3, 80, 100)
    colors = PyramidColors([full, full[:, ::2, ::2]], RANGE)
    result = colorize(colors.source[1], saturation=1)
    colors.put((1,), result)

    kept = colors.frozen((1,))
    colors.put((1,), result.with_(saturation=0))

    assert [level.shape for level in kept] == [(1, 80, 100, 3), (1, 40, 50, 3)]
    np.testing.assert_array_equal(kept[1][0], result.pixels)


def test_the_session_reads_the_level_for_the_network(tiny_colorizer):
    stack = dask.array.from_array(smooth_image(2, 200, 120), chunks=(1, 64, 64))
    colors = PyramidColors([stack], RANGE)
    emitted = []
    with ColorizeSession(source=colors.source, rgb=False, model=tiny_colorizer) as session:
        session.plane_ready.connect(
            lambda index, result: emitted.append((index, result.gray.shape))
        )
        session.colorize_stack()
        assert session.wait(SOON)

    assert emitted == [((0,), (50, 30)), ((1,), (50, 30))]


@pytest.mark.parametrize("is_multiscale", [False, True])
def test_after_a_run_all_planes_are_current(tiny_colorizer, is_multiscale, monkeypatch):
    monkeypatch.setattr(pyramid_module, "MAX_CHROMA_BYTES", 1)
    stack = dask.array.from_array(smooth_image(5, 200, 120), chunks=(1, 64, 64))
    colors = PyramidColors([stack, stack[:, ::4, ::4]] if is_multiscale else [stack], RANGE)
    colors.allocate_all()
    with ColorizeSession(source=colors.source, rgb=False, model=tiny_colorizer) as session:
        session.plane_ready.connect(lambda index, result, _: colors.put(index, result))
        session.colorize_stack()
        before = colors.all_current()
        assert session.wait(SOON)

    assert not before and colors.all_current() and colors.array() is None
    assert all(np.ptp(colors.data[0][plane, :50, :50], axis=2).any() for plane in range(5))
    colors.mark_stale()
    assert not colors.all_current()


@pytest.mark.parametrize("rows", [slice(40, 160), slice(50, 71)])
def test_only_the_region_of_a_large_image_is_colorized(rows):
    image = smooth_image(200, 120)
    mask = np.zeros((rows.stop - rows.start, 60), bool)
    mask[2:-5, 10:] = True
    colors = PyramidColors([image], RANGE, Region(rows, slice(30, 90), mask))
    window = np.asarray(colors.source)
    assert window.shape[0] >= (rows.stop - rows.start) // 2

    colors.put((), colorize(window))

    shown = colors.data[0][...]
    is_color = (shown != image[..., None]).any(axis=2)
    assert not is_color[: rows.start + 2].any() and not is_color[rows.stop - 5 :].any()
    assert is_color[rows, 30:90][mask].mean() > 0.9 and not is_color[:, :40].any()
    np.testing.assert_array_equal(colors.data[0][60:70, 35:95:2], shown[60:70, 35:95:2])


def test_only_the_pixels_of_a_part_are_rendered(monkeypatch):
    image = smooth_image(200, 120)
    colors = PyramidColors([image], RANGE)
    colors.put((), colorize(np.asarray(colors.source)))
    composed, compose = [], pipeline.compose

    def recorded(plane, *arguments):
        composed.append(tuple(plane.gray.shape))
        return compose(plane, *arguments)

    monkeypatch.setattr(pipeline, "compose", recorded)

    colors.data[0][30:70, 50:80]

    assert composed == [(40, 30)]
