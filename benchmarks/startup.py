"""Run time of the command line, compared with `import torch`.

    python benchmarks/startup.py --rounds 5

Every measurement is a whole process. The commands alternate in every round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import skimage.data
from machine import describe_machine, in_turn, spread
from PIL import Image


def main() -> None:
    """Print the time of each command, and the difference to `import torch`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        Image.fromarray(skimage.data.astronaut()[..., 1]).save(photo)
        tool = Path(sys.executable).with_name("napari-colorize")
        torch = command(sys.executable, "-c", "import torch")
        colorize = command(
            tool, "image", photo, "-o", Path(folder) / "out.jpg", "--overwrite", "-q"
        )
        seconds = in_turn(
            {
                "import torch": torch,
                "napari-colorize image": colorize,
                "napari-colorize models": command(tool, "models"),
                "napari-colorize --help": command(tool, "--help"),
            },
            rounds,
        )
    print(describe_machine())
    for name, times in seconds.items():
        print(f"{name}: {spread(times)}")
    extra = [
        one - other
        for one, other in zip(
            seconds["napari-colorize image"], seconds["import torch"], strict=True
        )
    ]
    print(f"image beyond import torch: {spread(extra)}")


def command(*words: object) -> Callable[[], object]:
    """Return a function that runs a process and captures its output."""
    return lambda: subprocess.run([str(word) for word in words], check=True, capture_output=True)


if __name__ == "__main__":
    main()
