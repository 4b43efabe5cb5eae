"""A Jupyter box with a very large image: time of a slider step, and memory of repeated cells.

    python benchmarks/jupyter_large.py

A step lasts from the change of saturation to the exact pixels that are sent to the browser. A cell
that is run again makes another box with a new array; the earlier one is not closed.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from pathlib import Path

import numpy as np
from machine import describe_machine

from napari_colorize.array_types import UInt8Array
from napari_colorize.jupyter import ColorizeBox

SIZES = (1000, 1000), (6000, 8000)
SATURATIONS = (1.25, 1.5, 1.75, 2.0, 2.25)
CELLS = 10
SECONDS = 900.0  # limit of each wait


def image_of(size: tuple[int, int], seed: int = 0) -> UInt8Array:
    """Random blocks of 10 x 10 pixels."""
    blocks = np.random.default_rng(seed).integers(
        0, 256, (size[0] // 10, size[1] // 10), dtype=np.uint8
    )
    return np.kron(blocks, np.ones((10, 10), np.uint8))


def seconds_of_a_step(box: ColorizeBox) -> float:
    """Median time from a change of saturation to the exact pixels of the shown size."""
    seconds = []
    for saturation in SATURATIONS:
        began = time.perf_counter()
        box.set_settings(saturation=saturation)
        box.wait(SECONDS)
        box.view.shown.pixels(box.result)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def resident_megabytes() -> float:
    """Memory of this process (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def main() -> None:
    """Print the times and the memory."""
    print(describe_machine())
    for size in SIZES:
        box = ColorizeBox(image_of(size))
        box.wait(SECONDS)
        print(
            f"{size[0] * size[1] / 1e6:.0f} MP: {1000 * seconds_of_a_step(box):.0f} ms per step",
            flush=True,
        )
        box.close()
    for number in range(1, CELLS + 1):
        box = ColorizeBox(image_of(SIZES[-1], number))
        box.wait(SECONDS)
        gc.collect()
        print(
            f"cell {number}: {resident_megabytes():.0f} MB, {threading.active_count()} threads",
            flush=True,
        )


if __name__ == "__main__":
    main()
