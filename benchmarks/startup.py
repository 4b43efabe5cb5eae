"""Seconds from Enter to image: the command line against `import torch` alone.

    python benchmarks/startup.py --rounds 5

Both are whole processes, one after the other in every round.
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
    """Print what each command takes, and by how much ours takes longer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        Image.fromarray(skimage.data.astronaut()[..., 1]).save(photo)
        tool = Path(sys.executable).with_name("napari-colorize")
        torch = command(sys.executable, "-c", "import torch")
        ours = command(tool, "image", photo, "-o", Path(folder) / "out.jpg", "--overwrite", "-q")
        seconds = in_turn(
            {
                "import torch": torch,
                "napari-colorize image": ours,
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
    """A process to run, its output kept to itself."""
    return lambda: subprocess.run([str(word) for word in words], check=True, capture_output=True)


if __name__ == "__main__":
    main()
