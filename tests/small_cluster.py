"""A dask cluster of two processes, and functions for its workers, which import this module."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

PATIENCE = 60  # seconds after which a waiting test fails


@contextmanager
def two_processes() -> Iterator[Any]:
    """Context manager: client of two worker processes with one thread each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
        yield client
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert not alive


def loads() -> int:
    """Number of models that the current process has loaded."""
    from napari_colorize import model_spec

    return model_spec._load.cache_info().misses


def embedded_batch() -> Any:
    """Batch of image files for a worker."""
    from napari_colorize.batch.runner import BatchRunner
    from napari_colorize.model_spec import ModelSpec
    from napari_colorize.settings import ColorizeSettings

    model = ModelSpec.from_model("embedded", device="cpu")
    return BatchRunner(colorizer=model.load(), settings=ColorizeSettings(render_factor=1))


class Gate:
    """Stack of gray noise of which each process can read two planes until a file exists.

    Parameters
    ----------
    key : Path
        File that permits further reads.
    planes : int
        Number of planes.
    """

    dtype, ndim = "uint8", 3
    reads = 0  # by the current process

    def __init__(self, key: Path, planes: int) -> None:
        self.key, self.shape = key, (planes, 32, 48)

    def __getitem__(self, index: Any) -> Any:
        import numpy as np

        end = time.monotonic() + PATIENCE
        while Gate.reads >= 2 and not self.key.exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        Gate.reads += 1
        return np.stack([noise(number) for number in range(*index[0].indices(self.shape[0]))])


def noise(seed: int) -> Any:
    """Plane of 8-bit noise."""
    import numpy as np

    return np.random.default_rng(seed).integers(0, 256, (32, 48), dtype=np.uint8)
