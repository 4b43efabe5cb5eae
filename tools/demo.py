"""`make demo`: convert photographs to gray, colorize them with the command line, compare.

Uses the photographs of scikit-image, which have free licenses. Results are written to `demo/`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import skimage.data
from napari_colorize_training.evaluation.metrics import to_gray
from PIL import Image

from napari_colorize.batch.contact_sheet import contact_sheet

FOLDER = Path(__file__).parents[1] / "demo"
PHOTOGRAPHS = ("camera", "astronaut", "rocket", "chelsea", "coffee")


def main() -> None:
    """Write gray images, colorize them, and write a contact sheet with the originals."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "gray").mkdir(parents=True)
    truths = {name: getattr(skimage.data, name)() for name in PHOTOGRAPHS}
    for name, truth in truths.items():
        Image.fromarray(to_gray(truth)).save(FOLDER / "gray" / f"{name}.png")
    for name in PHOTOGRAPHS:
        colorize(FOLDER / "gray" / f"{name}.png", FOLDER / f"{name}.png")
    Image.fromarray(sheet(truths)).save(FOLDER / "sheet.jpg", quality=90)
    print(f"Contact sheet (gray, predicted, original):  {(FOLDER / 'sheet.jpg').resolve()}")


def colorize(source: Path, target: Path) -> None:
    """Run the command line on one image and print its run time."""
    command = [Path(sys.executable).with_name("napari-colorize"), "image", source, "-o", target]
    start = time.perf_counter()
    subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    print(f"{target.resolve()}  {time.perf_counter() - start:.1f} s including the start of Python")


def sheet(truths: dict[str, np.ndarray]) -> np.ndarray:
    """Contact sheet with one row per photograph: gray, predicted, original."""
    images, labels = [], []
    for name, truth in truths.items():
        predicted = np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"))
        original = truth if truth.ndim == 3 else np.full_like(predicted, 250)
        images += [to_gray(truth), predicted, original]
        labels += [
            f"{name}, gray",
            "predicted",
            "truth" if truth.ndim == 3 else "no color original",
        ]
    return contact_sheet(images, labels, columns=3, cell=400)


if __name__ == "__main__":
    main()
