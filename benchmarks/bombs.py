"""Peak memory and time of small files that unfold to gigabytes, each read by a new process (Linux).

    python benchmarks/bombs.py

The last row is an honest stack of 0.64 GB, of which a few planes are read. Baseline: a process that
reads an image of one pixel.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from hostile_files import BOMBS, write_stack

SECONDS = 180
READ = """
import resource, sys, time
import torch
from napari_colorize.io.images import read_image
begin = time.perf_counter()
try:
    array = read_image(sys.argv[1]).array
    found = "read " + " x ".join(map(str, array.shape))
    if array.ndim > 2:
        [array[number].max() for number in (0, len(array) // 2, len(array) - 1)]
except Exception as error:
    found = f"{type(error).__name__}: {error}"
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(f"{peak / 1e9:.2f} | {time.perf_counter() - begin:.1f} | {found}")
"""


def main() -> None:
    """Print a table."""
    print("| file | bytes | peak, GB | seconds | outcome |\n|---|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "baseline.png": lambda path: Image.new("L", (1, 1)).save(path),
            **BOMBS,
            "stack.tif": lambda path: write_stack(path, 40, 4000),
        }
        for name, write in files.items():
            path = Path(folder, name)
            write(path)
            try:
                row = subprocess.run(
                    [sys.executable, "-c", READ, path],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    timeout=SECONDS,
                    check=False,
                ).stdout.strip()
            except subprocess.TimeoutExpired:
                row = f"? | > {SECONDS} | stopped"
            print(f"| {name} | {path.stat().st_size:,} | {row or '? | ? | killed'} |", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
