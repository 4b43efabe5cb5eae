"""Lazy stacks and sources of every kind, colorized through the panel plane by plane."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest
import zarr
from skimage import data
from zarr.storage import MemoryStore

from napari_colorize import Colorizer
from napari_colorize.session.presenter import PLANES_AHEAD

LENGTH = 200
SHAPE = (48, 64)
LIMITS = (10, 200)


def planes_of(length: int) -> np.ndarray:
    """Different planes of a photograph, uint8 (length, 48, 64)."""
    photo = data.astronaut()[: SHAPE[0] * 2 : 2, 150 : 150 + SHAPE[1] * 2 : 2, 1]
    return np.stack([np.roll(photo, k, axis=1) for k in range(length)])


class Counted:
    """An array that records which planes are read."""

    def __init__(self, values: np.ndarray, reads: list[int]) -> None:
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self._values, self._reads = values, reads

    def __getitem__(self, key: Any) -> np.ndarray:
        self._reads.extend(np.atleast_1d(np.arange(self.shape[0])[key[0]]).tolist())
        return self._values[key]


class CountedStore(MemoryStore):
    """A store in memory that records which chunks are read."""

    reads: list[int]

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        if key.startswith("c/"):
            self.reads.append(int(key.split("/")[1]))
        return await super().get(key, *args, **options)


def as_dask(values: np.ndarray, reads: list[int]) -> Any:
    return dask.array.from_array(Counted(values, reads), chunks=(1, *SHAPE), asarray=False)


def as_zarr(values: np.ndarray, reads: list[int]) -> Any:
    store = CountedStore()
    store.reads = reads
    array = zarr.create_array(store, shape=values.shape, chunks=(1, *SHAPE), dtype=values.dtype)
    array[:] = values
    return array


@pytest.fixture(params=[as_dask, as_zarr], ids=["dask", "zarr"])
def lazy(request) -> tuple[Any, list[int]]:
    """A lazy stack of 200 planes, and the numbers of the planes that are read."""
    reads: list[int] = []
    stack = request.param(planes_of(LENGTH), reads)
    reads.clear()
    return stack, reads


@pytest.fixture
def colorizer() -> Colorizer:
    """A Colorizer with the default model of the panel."""
    return Colorizer.from_pretrained("embedded")


def test_opening_the_panel_reads_the_displayed_plane_only(
    make_napari_viewer, panel_of, settle, lazy
):
    stack, reads = lazy
    viewer = make_napari_viewer()
    viewer.add_image(stack, contrast_limits=LIMITS)
    viewer.dims.set_current_step(0, 120)
    reads.clear()

    panel = panel_of(viewer)
    settle(panel.controller)

    assert set(reads) <= {0, 120}  # napari displays the first plane of a new layer for a moment
    assert np.ptp(panel.controller.result_layer.data[120].astype(int), axis=-1).mean() > 3


def test_displaying_the_result_reads_planes_without_colors_only(
    make_napari_viewer, panel_of, settle, lazy
):
    stack, reads = lazy
    viewer = make_napari_viewer()
    viewer.add_image(stack, contrast_limits=LIMITS)
    viewer.dims.set_current_step(0, 0)
    panel = panel_of(viewer)
    settle(panel.controller)
    shown = panel.controller.result_layer
    reads.clear()

    shown.refresh()
    shown.contrast_limits = (0, 255)
    known = list(reads)
    other, some = shown.data[150], shown.data[:3]

    assert not known and sorted(reads) == [1, 2, 150]
    gray = np.clip(planes_of(LENGTH), *LIMITS)  # no plane stands in the place of another
    np.testing.assert_array_equal(other[..., 1], gray[150])
    np.testing.assert_array_equal(some[0], panel.controller.result.pixels)
    np.testing.assert_array_equal(some[1:, ..., 1], gray[1:3])


def test_stepping_prefetches_the_next_planes(make_napari_viewer, panel_of, settle, lazy, qtbot):
    stack, reads = lazy
    viewer = make_napari_viewer()
    viewer.add_image(stack, contrast_limits=LIMITS)
    viewer.dims.set_current_step(0, 50)
    panel = panel_of(viewer)
    settle(panel.controller)
    knows, last = panel.controller.colors.is_current, 49 - PLANES_AHEAD
    reads.clear()

    viewer.dims.set_current_step(0, 49)
    qtbot.waitUntil(lambda: knows((last,)), timeout=60_000)
    settle(panel.controller)

    assert all(knows((plane,)) for plane in range(last, 51))
    assert min(reads) == last
    before = panel.controller.result_layer.data[48]
    viewer.dims.set_current_step(0, 48)
    settle(panel.controller)
    np.testing.assert_array_equal(before, panel.controller.result.pixels)


def test_a_current_plane_runs_no_network(make_napari_viewer, panel_of, settle, lazy, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(lazy[0], contrast_limits=LIMITS)
    viewer.dims.set_current_step(0, 0)
    panel = panel_of(viewer)
    settle(panel.controller)
    viewer.dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: panel.controller.colors.is_current((1 + PLANES_AHEAD,)), timeout=60_000)
    settle(panel.controller)
    states: list[str] = []
    panel.controller.session.state.connect(states.append)

    viewer.dims.set_current_step(0, 0)  # backwards; there is no plane before it to prefetch
    settle(panel.controller)

    assert panel.controller.plane == (0,) and "predicting" not in states


def test_playing_shows_the_plane_where_it_stops(make_napari_viewer, panel_of, settle, lazy, qtbot):
    stack, reads = lazy
    viewer = make_napari_viewer(show=True)  # it waits for each frame to be drawn
    viewer.add_image(stack, contrast_limits=LIMITS)
    panel = panel_of(viewer)
    settle(panel.controller)
    player = viewer.window._qt_viewer.dims

    viewer.dims.set_current_step(0, 0)
    settle(panel.controller)
    displayed = [0]
    viewer.dims.events.current_step.connect(
        lambda event: displayed.append(viewer.dims.current_step[0])
    )
    reads.clear()
    player.play(0, 10)
    qtbot.waitUntil(lambda: viewer.dims.current_step[0] >= 8, timeout=60_000)
    player.stop()
    qtbot.waitUntil(lambda: not player.is_playing, timeout=60_000)
    settle(panel.controller)

    (plane,) = panel.controller.plane
    # On a busy machine frames are skipped, and prefetching takes the same larger steps.
    step = max(1, *np.diff(displayed))
    assert plane == viewer.dims.current_step[0] and max(reads) <= plane + PLANES_AHEAD * step
    np.testing.assert_array_equal(
        panel.controller.result_layer.data[plane], panel.controller.result.pixels
    )


@pytest.mark.parametrize("lazily", [as_dask, as_zarr])
def test_a_run_reads_every_plane_once(make_napari_viewer, panel_of, settle, qtbot, lazily):
    reads: list[int] = []
    stack = lazily(planes_of(6), reads)
    viewer = make_napari_viewer()
    viewer.add_image(stack, contrast_limits=LIMITS)
    panel = panel_of(viewer)
    settle(panel.controller)
    reads.clear()

    panel.controller.colorize_all()
    qtbot.waitUntil(lambda: panel.controller.colors.array() is not None, timeout=60_000)
    settle(panel.controller)

    looked_at = viewer.dims.current_step[0]
    assert sorted({*reads, looked_at}) == list(range(6)) and len(reads) <= 6


def test_time_and_depth(make_napari_viewer, panel_of, settle, colorizer):
    stack = planes_of(12).reshape(3, 4, *SHAPE)
    viewer = make_napari_viewer()
    layer = viewer.add_image(
        dask.array.from_array(stack, chunks=(1, 1, -1, -1)), scale=(2, 3, 1, 1)
    )
    panel = panel_of(viewer)
    settle(panel.controller)

    viewer.dims.set_point((0, 1), (4, 6))  # in the world: the layer is scaled
    settle(panel.controller)

    assert panel.controller.plane == (2, 2)
    assert panel.controller.result_layer.data.shape == (3, 4, *SHAPE, 3)
    wanted = colorizer(stack[2, 2], contrast_limits=tuple(layer.contrast_limits)).pixels
    np.testing.assert_array_equal(panel.controller.result_layer.data[2, 2], wanted)


@pytest.mark.parametrize("is_stack", [False, True], ids=["image", "stack"])
@pytest.mark.parametrize("channels", [3, 4], ids=["rgb", "rgba"])
def test_colors_of_an_rgb_source_are_replaced(
    make_napari_viewer, panel_of, settle, colorizer, channels, is_stack
):
    photo = np.dstack(
        [data.astronaut()[100:164, 150:230], np.arange(80 * 64).reshape(64, 80) % 256]
    )
    image = photo[..., :channels].astype(np.uint8)
    viewer = make_napari_viewer()
    source = dask.array.from_array(np.stack([image, image[::-1]])) if is_stack else image
    layer = viewer.add_image(source, rgb=True)
    viewer.dims.set_current_step(0, 0)
    panel = panel_of(viewer)

    panel.controller.choose_layer(layer)
    settle(panel.controller)

    shown = panel.controller.result_layer
    wanted = colorizer(image, rgb=True, contrast_limits=tuple(layer.contrast_limits)).pixels
    assert shown.data.shape == (*source.shape[:-1], channels)
    np.testing.assert_array_equal(shown.data[0] if is_stack else shown.data, wanted)
    np.testing.assert_array_equal(wanted[..., 3:], image[..., 3:])


def test_levels_stay_levels_and_lazy(make_napari_viewer, panel_of, settle, colorizer):
    largest = np.tile(data.camera(), (3, 4))
    levels = [dask.array.from_array(largest[:: 2**k, :: 2**k], chunks=256) for k in range(3)]
    viewer = make_napari_viewer()
    layer = viewer.add_image(levels, multiscale=True, contrast_limits=LIMITS)
    panel = panel_of(viewer)
    settle(panel.controller)

    shown = panel.controller.result_layer
    assert shown.multiscale
    assert [level.shape for level in shown.data] == [(*level.shape, 3) for level in levels]
    assert panel.controller.session.source is layer.data[0]  # the coarsest of a megapixel
    wanted = colorizer(largest, contrast_limits=LIMITS).pixels
    part = np.asarray(shown.data[0][500:700, 600:900]).astype(int)
    assert np.abs(part - wanted[500:700, 600:900]).max() <= 1


KINDS = {
    "uint8": lambda unit: (unit * 255).astype(np.uint8),
    "uint16": lambda unit: (unit * 40_000 + 900).astype(np.uint16),
    "int32": lambda unit: (unit * 3_000_000 - 1_000_000).astype(np.int32),
    "float32": lambda unit: (unit * 7 - 2).astype(np.float32),
    "float64": lambda unit: unit * 1e-6,
    "bool": lambda unit: unit > 0.4,
}


@pytest.mark.parametrize("is_stack", [False, True], ids=["image", "stack"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_panel_and_a_script_give_the_same_colors(
    make_napari_viewer, panel_of, settle, colorizer, kind, is_stack
):
    plane = KINDS[kind](data.astronaut()[100:180, 150:250, 1] / 255)
    viewer = make_napari_viewer()
    source = dask.array.from_array(np.stack([plane, plane[::-1]])) if is_stack else plane
    layer = viewer.add_image(source)
    viewer.dims.set_current_step(0, 0)
    panel = panel_of(viewer)
    settle(panel.controller)

    shown = panel.controller.result_layer
    wanted = colorizer(plane, contrast_limits=tuple(layer.contrast_limits)).pixels
    found = shown.data[0] if is_stack else shown.data
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"bool"}))  # black and white have no hue
def test_every_dtype_is_displayed_in_color(make_napari_viewer, panel_of, settle, kind):
    plane = KINDS[kind](data.astronaut()[:256, 128:384, 1] / 255)
    viewer = make_napari_viewer(show=True)
    viewer.add_image(plane)
    panel = panel_of(viewer)
    settle(panel.controller)

    canvas = viewer.screenshot(canvas_only=True, flash=False)
    top, start = canvas.shape[0] // 2 - 40, canvas.shape[1] // 2 - 40
    middle = canvas[top : top + 80, start : start + 80, :3].astype(int)

    assert np.ptp(middle, axis=-1).mean() > 5
