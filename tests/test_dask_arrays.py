"""Lazy colorization of dask arrays, compared with `iter_planes` of the whole stack."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_cluster import PATIENCE, Gate, loads, noise, two_processes
from stand_ins import TintNetwork, colorizer_of

from napari_colorize import model_spec, zoo
from napari_colorize.colorizer import Colorizer
from napari_colorize.dask_arrays import colorize_lazily
from napari_colorize.errors import ImageError, SettingsError, UnknownModelError
from napari_colorize.model_spec import ModelSpec
from napari_colorize.provenance import STATEMENT
from napari_colorize.refine.guides import Guides

da = pytest.importorskip("dask.array")
pytestmark = pytest.mark.filterwarnings("ignore::napari_colorize.errors.ColorizeWarning")

QUICK = {"render_factor": 2, "precision": "float32", "device": "cpu"}
STACKS = [  # dtype, shape, chunks
    ("uint8", (5, 20, 30), (2, 20, 30)),
    ("uint8", (20, 30), (7, 11)),
    ("uint16", (3, 20, 30, 3), (1, 10, 30, 1)),
    ("int32", (5, 20, 30), (1, 20, 30)),
    ("float32", (2, 4, 20, 30), (1, 3, 9, 9)),
    ("float64", (3, 20, 30, 4), (2, 20, 30, 4)),
    ("bool", (2, 20, 30), (1, 20, 30)),
    (">i2", (3, 20, 30, 1), (1, 20, 30, 1)),
]


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer.from_pretrained("embedded", precision="float32", device="cpu")


def stack_of(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random planes; the first has a smaller range than the others."""
    planes = np.random.default_rng(0).random(shape)
    if dtype == "bool":
        return planes > 0.5
    planes[0] /= 9
    planes *= 100 if np.dtype(dtype).itemsize < 8 else 1e9
    return planes.astype(dtype)


def by_planes(colorizer: Colorizer, stack: np.ndarray, **settings: Any) -> np.ndarray:
    """Expected colors of a stack."""
    planes = dict(colorizer.iter_planes(stack, **{"render_factor": 2} | settings))
    first = next(iter(planes.values())).pixels
    leading = tuple(np.max(list(planes), axis=0) + 1) if next(iter(planes)) else ()
    pixels = np.empty((*leading, *first.shape), first.dtype)
    for index, colorized in planes.items():
        pixels[index] = colorized.pixels
    return pixels


def assert_same(colors: np.ndarray, expected: np.ndarray) -> None:
    """Integers are equal; floats differ by rounding in batches of other lengths."""
    assert (colors.dtype, colors.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(colors, expected, atol=1e-5)
    else:
        np.testing.assert_array_equal(colors, expected)


@pytest.mark.parametrize(("dtype", "shape", "chunks"), STACKS)
def test_chunks_equal_the_planes_of_iter_planes(
    colorizer: Colorizer, dtype: str, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> None:
    stack = stack_of(dtype, shape)
    array = da.from_array(stack, chunks=chunks)

    colors = colorize_lazily(array, **QUICK).rgb

    assert_same(colors.compute(), by_planes(colorizer, stack))
    leading = colors.ndim - 3
    assert colors.dtype == colors.compute().dtype
    assert colors.chunks[:leading] == array.chunks[:leading]
    assert colors.numblocks[leading:] == (1, 1, 1)


def test_nothing_is_read_or_loaded_before_compute() -> None:
    reads = []

    def read(block: np.ndarray) -> np.ndarray:
        reads.append(1)
        return block + 1

    model_spec._load.cache_clear()
    array = da.zeros((4, 20, 30), chunks=(1, 20, 30), dtype="int32")
    colors = colorize_lazily(array.map_blocks(read, dtype="int32"), **QUICK).rgb
    reads.clear()  # without the reads of dask for the metadata

    colors[2, :5].compute(scheduler="synchronous")

    assert len(reads) == 4 + 1  # the whole stack for its limits, one plane for its colors
    assert loads() == 1
    model_spec._load.cache_clear()
    colorize_lazily(array, **QUICK)
    assert loads() == 0


@pytest.mark.parametrize("value", [np.nan, 0.5, 7.0])
def test_stacks_of_one_value_are_as_in_iter_planes(colorizer: Colorizer, value: float) -> None:
    stack = np.full((3, 20, 30), value, np.float32)
    stack[1] = np.nan
    colors = colorize_lazily(da.from_array(stack, chunks=(1, 20, 30)), **QUICK).rgb.compute()
    assert_same(colors, by_planes(colorizer, stack))


def test_infinite_values_do_not_become_limits(colorizer: Colorizer) -> None:
    stack = stack_of("float32", (3, 20, 30))
    stack[0, 0, 0], stack[1, 0, 0], stack[2, 0, 0] = np.inf, -np.inf, np.nan
    colors = colorize_lazily(da.from_array(stack, chunks=(1, 20, 30)), **QUICK).rgb.compute()
    assert_same(colors, by_planes(colorizer, stack))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_a_stack_that_is_read_for_its_limits_does_not_stay_in_memory(scheduler: str) -> None:
    alive, most, lock = [0], [0], threading.Lock()

    def count(change: int) -> None:
        with lock:
            alive[0] += change
            most[0] = max(most[0], alive[0])

    def read(block_id: tuple[int, ...] = (0,)) -> np.ndarray:
        block = np.full((1, 16, 16), block_id[0], np.float32)
        count(1)
        weakref.finalize(block, count, -1)
        return block

    chunks, meta = ((1,) * 24, (16,), (16,)), np.empty((0, 0, 0), np.float32)
    array = da.map_blocks(read, chunks=chunks, dtype="float32", meta=meta)
    colors = colorize_lazily(array, **QUICK).rgb

    colors.max().compute(scheduler=scheduler, num_workers=2)

    assert most[0] < 12  # a few per thread


def test_explicit_limits_are_used(colorizer: Colorizer) -> None:
    stack = stack_of("int32", (2, 20, 30))
    lazy = colorize_lazily(
        da.from_array(stack, chunks=(1, 20, 30)), contrast_limits=(10, 60), **QUICK
    )
    assert lazy.settings.contrast_limits == (10, 60)
    assert_same(lazy.rgb.compute(), by_planes(colorizer, stack, contrast_limits=(10, 60)))


def test_settings_guides_and_a_second_model_reach_the_chunks(
    colorizer: Colorizer, tmp_path: Path
) -> None:
    second = shutil.copy(zoo.local_path(zoo.CATALOGUE["embedded"]), tmp_path / "b.safetensors")
    mask = np.zeros((20, 30), bool)
    mask[5:15, 5:20] = True
    options = {"saturation": 2.0, "gamma": 1.5, "guides": Guides(mask=mask), "blend": 0.2}
    stack = stack_of("uint8", (3, 20, 30))

    colors = colorize_lazily(
        da.from_array(stack, chunks=(1, 20, 30)), blend_with=second, **options, **QUICK
    ).rgb.compute()

    other = Colorizer.from_pretrained(second, precision="float32", device="cpu")
    assert_same(colors, by_planes(colorizer, stack, blend_with=other, **options))
    plain = by_planes(colorizer, stack, **{**options, "guides": None})
    assert (colors != plain).any()


def test_temporal_smoothing_needs_one_chunk_along_time(
    colorizer: Colorizer,
) -> None:
    stack = stack_of("uint8", (2, 6, 20, 30))
    whole = da.from_array(stack, chunks=(1, 6, 20, 30))
    options = {"temporal_smoothing": 0.8, "time_axis": 1}

    colors = colorize_lazily(whole, **options, **QUICK).rgb.compute()

    assert_same(colors, by_planes(colorizer, stack, **options))
    with pytest.raises(ImageError, match=r"array\.rechunk\(\{1: -1\}\)"):
        colorize_lazily(whole.rechunk((1, 2, 20, 30)), **options, **QUICK)
    colorize_lazily(whole.rechunk((1, 2, 20, 30)), **QUICK)


def test_the_graph_is_small_and_deterministic() -> None:
    import cloudpickle

    array = da.zeros((30, 20, 30), chunks=(1, 20, 30), dtype="int16")
    lazy, again = colorize_lazily(array, **QUICK), colorize_lazily(array, **QUICK)
    assert len(cloudpickle.dumps(dict(lazy.rgb.__dask_graph__()))) < 200_000  # weights: millions
    assert lazy.rgb.name == again.rgb.name
    assert lazy.rgb.name != colorize_lazily(array, gamma=2, **QUICK).rgb.name


def test_the_provenance_is_available_before_compute(colorizer: Colorizer) -> None:
    array = da.zeros((2, 20, 30), chunks=(1, 20, 30), dtype="uint8")
    record: Any = colorize_lazily(array, colorizer, saturation=2).provenance
    assert record["statement"] == STATEMENT
    assert record["weights_sha256"] == colorizer.checkpoint.sha256
    assert (record["settings"]["saturation"], record["precision"]) == (2, "float32")
    assert colorize_lazily(array, provenance=False).provenance == {}


@pytest.mark.parametrize(
    ("array", "options", "error", "sentence"),
    [
        (da.zeros((0, 20, 30)), {}, ImageError, "no planes"),
        (da.zeros(20), {}, ImageError, "at least two axes"),
        (da.zeros((20, 30), dtype="complex64"), {}, ImageError, "real numbers"),
        (da.zeros((20, 30)), {"rgb": True}, ImageError, "(Y, X, 3 or 4)"),
        (da.zeros((20, 30)), {"saturation": 9}, SettingsError, "saturation"),
        (da.zeros((20, 30)), {"model": "nobody"}, UnknownModelError, "nobody"),
        (da.zeros((20, 30)), {"model": colorizer_of(TintNetwork())}, UnknownModelError, "tint"),
    ],
)
def test_invalid_arguments_raise_before_compute(
    array: Any, options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        colorize_lazily(array, **options)
    assert sentence in str(caught.value)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("distributed")
    with two_processes() as client:
        yield client


def test_two_processes_load_the_model_once_each(colorizer: Colorizer, cluster: Any) -> None:
    stack = stack_of("float32", (12, 20, 30))
    lazy = colorize_lazily(da.from_array(stack, chunks=(1, 20, 30)), **QUICK)

    colors = cluster.compute(lazy.rgb).result(PATIENCE)
    cluster.run(
        ModelSpec.from_model("embedded", precision="float32", device="cpu").load
    )  # on a worker without chunks

    assert_same(colors, by_planes(colorizer, stack))
    assert list(cluster.run(loads).values()) == [1, 1]


@pytest.mark.slow
def test_the_result_is_correct_after_a_worker_is_killed(
    colorizer: Colorizer, cluster: Any, tmp_path: Path
) -> None:
    from distributed import wait

    key = tmp_path / "key"
    array = da.from_array(Gate(key, 12), chunks=(1, 32, 48), asarray=False)
    colors = cluster.persist(colorize_lazily(array, **QUICK).rgb)
    chunks = cluster.futures_of(colors)
    with cluster.as_current():
        wait(chunks, PATIENCE, return_when="FIRST_COMPLETED")
    holder = next(addresses[0] for addresses in cluster.who_has(chunks).values() if addresses)

    victim = cluster.run(os.getpid)[holder]  # its chunks are lost with it
    os.kill(victim, signal.SIGKILL)
    key.touch()

    result = cluster.compute(colors).result(PATIENCE)
    stack = np.stack([noise(number) for number in range(12)])
    assert_same(result, by_planes(colorizer, stack))
    assert victim not in cluster.run(os.getpid).values()


@pytest.mark.parametrize("rule", [None, "data", "percentile", "dtype"])
@pytest.mark.parametrize("chunks", [(1, 20, 30), (2, 7, 30)])
def test_each_rule_gives_the_range_of_the_whole_stack(colorizer, rule, chunks) -> None:
    levels = np.random.default_rng(0).integers(0, 16, (3, 20, 30))
    stack = (levels * np.array([1, 200, 9])[:, None, None]).astype(np.uint16)

    lazy = colorize_lazily(
        da.from_array(stack, chunks=chunks), colorizer, contrast_limits=rule, **QUICK
    )

    # Batches of other lengths differ by rounding.
    expected = by_planes(colorizer, stack, contrast_limits=rule)
    np.testing.assert_allclose(lazy.rgb.compute(), expected, atol=1)


def test_a_lazy_record_has_the_range_if_it_is_known(colorizer: Colorizer) -> None:
    array = da.zeros((2, 20, 30), dtype=np.uint16)

    chosen = colorize_lazily(array, colorizer, contrast_limits="dtype", **QUICK)
    found = colorize_lazily(array, colorizer, **QUICK)

    assert chosen.provenance["intensity_range"]["limits"] == [0, 65535]
    assert found.provenance["intensity_range"]["limits"] is None
