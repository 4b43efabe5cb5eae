"""A cluster of two processes, and what its workers are asked; they import this file by its name."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

PATIENCE = 60  # seconds that a test waits before it fails


@contextmanager
def two_processes() -> Iterator[Any]:
    """A client of two worker processes of one thread each; none of them is left at the end."""
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
    """How often the process that runs this has loaded a model."""
    from napari_colorize import model_spec

    return model_spec._load.cache_info().misses


def embedded_batch() -> Any:
    """What workers do with picture files."""
    from napari_colorize.batch.runner import BatchRunner
    from napari_colorize.model_spec import ModelSpec
    from napari_colorize.settings import ColorizeSettings

    model = ModelSpec.from_model("embedded", device="cpu")
    return BatchRunner(colorizer=model.load(), settings=ColorizeSettings(render_factor=1))


class Gate:
    """Planes of gray noise to be read one by one; a process gets two, and more if a file is there.

    Parameters
    ----------
    key : Path
        The file.
    planes : int
        How many there are.
    """

    dtype, ndim = "uint8", 3
    reads = 0  # of this process

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
    """A plane of 8 bits."""
    import numpy as np

    return np.random.default_rng(seed).integers(0, 256, (32, 48), dtype=np.uint8)
