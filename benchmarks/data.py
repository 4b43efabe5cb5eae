"""Images per second of the training data pipeline: cache, crops and augmentation.

    python benchmarks/data.py ../shared/data/photos --rounds 7

The cache is written to a temporary folder unless `--cache` is given. Batches are prepared while the
network computes, so a slower network never waits for data.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import torch
from machine import describe_machine, in_turn
from napari_colorize_training.data.augment import PHOTOGRAPHS, augment
from napari_colorize_training.data.cache import ImageCache, prepare
from napari_colorize_training.data.crops import Crops
from napari_colorize_training.data.degrade import OLD_PHOTOGRAPH, TONE_AND_GRAIN, degrade

BATCH = 64
SIDES = 64, 128, 160
THREADS = 1, 2


def main() -> None:
    """Print a table of images per second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with folder(options.cache) as cache:
        start = time.perf_counter()
        report = prepare(options.data, cache)
        seconds = time.perf_counter() - start
        photographs = ImageCache(cache, validation=False)
        for image in photographs:  # read once, so that the first row does not measure the disk
            image.rgb.max()
        size = (cache / "pixels").stat().st_size / 1e6
        runs = dict(crop_runs(photographs)) | dict(device_runs(photographs, options.device))
        times = in_turn(runs, options.rounds)
    print(describe_machine(), end="\n\n")
    print(f"{report.sentence()} Cache: {seconds:.1f} s, {size:.0f} MB.\n")
    print("| what | images per second |\n|---|---|")
    for name, seconds_each in times.items():
        rates = sorted(BATCH / each for each in seconds_each)
        middle = statistics.median(rates)
        print(f"| {name} | {middle:.0f} ({rates[0]:.0f} to {rates[-1]:.0f}) |")


def crop_runs(photographs: ImageCache) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield functions that draw a new batch of random crops."""
    for side in SIDES:
        for threads in THREADS:
            crops = Crops(
                photographs, side=side, batch=BATCH, crop_scale=(0.65, 1.0), seed=0, threads=threads
            )
            name = f"crops of {side} px, {threads} thread{'s' * (threads > 1)}"
            yield name, partial(next_batch, crops, count())


def next_batch(crops: Crops, steps: Iterator[int]) -> object:
    """Return a new batch at each call."""
    return crops.at(next(steps))


def device_runs(photographs: ImageCache, device: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield functions that augment or degrade a batch on the device."""
    crops = Crops(photographs, side=128, batch=BATCH, crop_scale=(0.65, 1.0), seed=0)
    rgb = crops.at(0).to(device).floats()
    gray = rgb.mean(dim=1, keepdim=True)
    random = torch.Generator(device)
    where = f"of 128 px on {device}"
    yield f"augment photographs {where}", partial(augment, rgb, None, PHOTOGRAPHS, random)
    for name, plan in {"tone and grain": TONE_AND_GRAIN, "old photograph": OLD_PHOTOGRAPH}.items():
        yield f"degrade ({name}) {where}", partial(degrade, rgb, gray, plan, random)


@contextmanager
def folder(chosen: Path | None) -> Iterator[Path]:
    """Yield the chosen folder, or a temporary one."""
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


if __name__ == "__main__":
    main()
