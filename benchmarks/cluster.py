"""A folder of small images on a local cluster, its driver killed on the way; what came of it.

    python benchmarks/cluster.py --images 5000 --kills 2 --workers 2

The driver is a process of its own. It is ended by SIGKILL when a third and two thirds of the
results are there (for two kills), and started again with the same words. At the end every result
is decoded, and the manifest is read: each image must be in it once.
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
LOOK = 0.05  # seconds between two looks at how far the driver is


def main() -> None:
    """Make the images, colorize them with interruptions, check and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--drive", type=Path, help="be the driver, in this folder")
    arguments = parser.parse_args()
    if arguments.drive:
        drive(arguments.drive, arguments.workers)
        return
    print(describe_machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_pictures(folder / "in", arguments.pictures)
        print("| run | ended by | results then | seconds | images per second |")
        print("|---|---|---|---|---|")
        seconds = 0.0
        for kill in range(arguments.kills + 1):
            is_last = kill == arguments.kills
            until = arguments.pictures * (kill + 1) // (arguments.kills + 1)
            seconds += run(folder, arguments.workers, kill + 1, None if is_last else until)
        print(f"\n{arguments.images} images in {seconds:.1f} s, {arguments.kills} kills.")
        check(folder, arguments.pictures)


def save_pictures(folder: Path, count: int) -> None:
    """Gray noise, smooth enough to look like something, in sub-folders of a thousand."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(random.integers(0, 256, (6, 6), dtype=np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)


def run(folder: Path, workers: int, number: int, kill_at: int | None) -> float:
    """One start of the driver, to its end or to a kill; prints a row, gives its seconds."""
    before, start = count_results(folder), time.perf_counter()
    command = [sys.executable, __file__, "--drive", str(folder), "--workers", str(workers)]
    driver = subprocess.Popen(command)
    while driver.poll() is None:
        if kill_at is not None and count_results(folder) >= kill_at:
            family = psutil.Process(driver.pid).children(recursive=True)
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            seconds = time.perf_counter() - start
            # Workers whose driver is gone end by themselves; the next ones shall be alone.
            _, alive = psutil.wait_procs(family, timeout=60)
            if alive:
                raise SystemExit(f"{len(alive)} workers outlived their driver by a minute.")
            return told(folder, number, "SIGKILL", before, seconds)
        time.sleep(LOOK)
    if driver.returncode:
        raise SystemExit(f"The driver ended with {driver.returncode}.")
    return told(folder, number, "itself", before, time.perf_counter() - start)


def told(folder: Path, number: int, ended_by: str, before: int, seconds: float) -> float:
    """Print a row."""
    there = count_results(folder)
    rate = (there - before) / seconds
    print(f"| {number} | {ended_by} | {there} | {seconds:.1f} | {rate:.0f} |", flush=True)
    return seconds


def count_results(folder: Path) -> int:
    """How many are there now."""
    return sum(1 for _ in (folder / "out").glob("*/[!.]*.png"))


def drive(folder: Path, workers: int) -> None:
    """Colorize what is not colorized yet, as `napari-colorize image --dask` does."""
    inputs, out = [str(folder / "in")], str(folder / "out")
    todo = plan_batch(inputs, out).jobs
    missing = {job.source for job in todo}
    kept = [
        job for job in plan_batch(inputs, out, overwrite=True).jobs if job.source not in missing
    ]
    batch = ClusterBatch(
        address=f"local:{workers}",
        make=partial(batch_of, ModelSpec.from_model("embedded")),
        manifest=folder / "out",
    )
    for _ in batch.run(todo, kept):
        pass


def batch_of(model: ModelSpec) -> BatchRunner:
    """What a worker does with images."""
    return BatchRunner(colorizer=model.load(), settings=ColorizeSettings())


def check(folder: Path, count: int) -> None:
    """Every result whole, every image in the manifest once."""
    for path in (folder / "in").glob("*/*.png"):
        result = Image.open(folder / "out" / path.relative_to(folder / "in"))
        assert result.size == (SIDE, SIDE), path
        assert result.mode == "RGB", path
        result.load()
    lines = (folder / "out" / NAME).read_text().splitlines()
    sources = Counter(json.loads(line)["source"] for line in lines)
    entries = read_manifest(folder / "out").values()
    found = sum(entry.seconds is None for entry in entries)
    assert len(sources) == count, f"{len(sources)} of {count} are in the manifest"
    assert set(sources.values()) == {1}, "an image is in the manifest more than once"
    assert not any(entry.error for entry in entries)
    print(
        f"All {count} results are whole; the manifest has a line for each, {found} of them for "
        "results that a killed run had finished and could not note."
    )


if __name__ == "__main__":
    main()
