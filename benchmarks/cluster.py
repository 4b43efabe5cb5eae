"""Reliability of a cluster run: colorize a folder of images while the driver is killed repeatedly.

    python benchmarks/cluster.py --images 5000 --kills 2 --workers 2

The driver is a separate process. With two kills it is ended by SIGKILL after a third and two thirds
of the results, and started again with the same arguments. Then every result is decoded, and the
manifest must contain each image once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from machine import describe_machine
from PIL import Image

from napari_colorize.batch.dask_cluster import ClusterBatch
from napari_colorize.batch.manifest import NAME, read_manifest
from napari_colorize.batch.naming import plan_batch
from napari_colorize.batch.runner import BatchRunner
from napari_colorize.model_spec import ModelSpec
from napari_colorize.settings import ColorizeSettings

SIDE = 48
POLL_SECONDS = 0.05  # between two counts of the results


def main() -> None:
    """Create the images, colorize them with interruptions, check the results and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--drive", type=Path, help="run as the driver, in this folder")
    arguments = parser.parse_args()
    if arguments.drive:
        drive(arguments.drive, arguments.workers)
        return
    print(describe_machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_images(folder / "in", arguments.images)
        print("| run | ended by | results then | seconds | images per second |")
        print("|---|---|---|---|---|")
        seconds = 0.0
        for kill in range(arguments.kills + 1):
            is_last = kill == arguments.kills
            until = arguments.images * (kill + 1) // (arguments.kills + 1)
            seconds += run(folder, arguments.workers, kill + 1, None if is_last else until)
        print(f"\n{arguments.images} images in {seconds:.1f} s, {arguments.kills} kills.")
        check(folder, arguments.images)


def save_images(folder: Path, count: int) -> None:
    """Write smoothed gray noise in sub-folders of a thousand images."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(random.integers(0, 256, (6, 6), dtype=np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)


def run(folder: Path, workers: int, number: int, kill_at: int | None) -> float:
    """Run the driver until it ends or is killed, print a row and return the seconds."""
    before, start = count_results(folder), time.perf_counter()
    command = [sys.executable, __file__, "--drive", str(folder), "--workers", str(workers)]
    driver = subprocess.Popen(command)
    while driver.poll() is None:
        if kill_at is not None and count_results(folder) >= kill_at:
            workers_of_driver = psutil.Process(driver.pid).children(recursive=True)
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            seconds = time.perf_counter() - start
            # Workers end without a driver. Wait for it, so that runs do not overlap.
            _, alive = psutil.wait_procs(workers_of_driver, timeout=60)
            if alive:
                raise SystemExit(
                    f"{len(alive)} workers were still running a minute after the driver was killed."
                )
            return print_row(folder, number, "SIGKILL", before, seconds)
        time.sleep(POLL_SECONDS)
    if driver.returncode:
        raise SystemExit(f"The driver failed with exit code {driver.returncode}.")
    return print_row(folder, number, "completion", before, time.perf_counter() - start)


def print_row(folder: Path, number: int, ended_by: str, before: int, seconds: float) -> float:
    """Print a row and return the seconds."""
    results = count_results(folder)
    rate = (results - before) / seconds
    print(f"| {number} | {ended_by} | {results} | {seconds:.1f} | {rate:.0f} |", flush=True)
    return seconds


def count_results(folder: Path) -> int:
    """Return the number of results."""
    return sum(1 for _ in (folder / "out").glob("*/[!.]*.png"))


def drive(folder: Path, workers: int) -> None:
    """Colorize the remaining images, as `napari-colorize image --dask` does."""
    inputs, out = [str(folder / "in")], str(folder / "out")
    pending = plan_batch(inputs, out).jobs
    missing = {job.source for job in pending}
    finished = [
        job for job in plan_batch(inputs, out, overwrite=True).jobs if job.source not in missing
    ]
    batch = ClusterBatch(
        address=f"local:{workers}",
        make=partial(batch_runner, ModelSpec.from_model("embedded")),
        manifest=folder / "out",
    )
    for _ in batch.run(pending, finished):
        pass


def batch_runner(model: ModelSpec) -> BatchRunner:
    """Create the batch runner of a worker."""
    return BatchRunner(colorizer=model.load(), settings=ColorizeSettings())


def check(folder: Path, count: int) -> None:
    """Check that every result is complete and the manifest has each image once."""
    for path in (folder / "in").glob("*/*.png"):
        result = Image.open(folder / "out" / path.relative_to(folder / "in"))
        assert result.size == (SIDE, SIDE), path
        assert result.mode == "RGB", path
        result.load()
    lines = (folder / "out" / NAME).read_text().splitlines()
    sources = Counter(json.loads(line)["source"] for line in lines)
    entries = read_manifest(folder / "out").values()
    recovered = sum(entry.seconds is None for entry in entries)
    assert len(sources) == count, f"{len(sources)} of {count} are in the manifest"
    assert set(sources.values()) == {1}, "an image is in the manifest more than once"
    assert not any(entry.error for entry in entries)
    print(
        f"All {count} results are complete and in the manifest. {recovered} of them were written "
        "by a killed run that had not recorded them yet."
    )


if __name__ == "__main__":
    main()
