"""`make demo`: photographs made gray, colorized by the command line, beside their truth.

Uses scikit-image's bundled photographs, whose licenses are free. Everything lands in `demo/`.
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
    """Write grays, colorize them as a user would, and lay them out with the truth."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "gray").mkdir(parents=True)
    truths = {name: getattr(skimage.data, name)() for name in PHOTOGRAPHS}
    for name, truth in truths.items():
        Image.fromarray(to_gray(truth)).save(FOLDER / "gray" / f"{name}.png")
    for name in PHOTOGRAPHS:
        colorize(FOLDER / "gray" / f"{name}.png", FOLDER / f"{name}.png")
    Image.fromarray(sheet(truths)).save(FOLDER / "sheet.jpg", quality=90)
    print(f"Gray, predicted, truth side by side: {(FOLDER / 'sheet.jpg').resolve()}")


def colorize(source: Path, target: Path) -> None:
    """Run the command that users run, and say how long it took as a whole."""
    command = [Path(sys.executable).with_name("napari-colorize"), "image", source, "-o", target]
    start = time.perf_counter()
    subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    print(f"{target.resolve()}  {time.perf_counter() - start:.1f} s, start of Python included")


def sheet(truths: dict[str, np.ndarray]) -> np.ndarray:
    """One row a photograph: gray, predicted, and the truth where there is one."""
    pictures, labels = [], []
    for name, truth in truths.items():
        predicted = np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"))
        real = truth if truth.ndim == 3 else np.full_like(predicted, 250)
        pictures += [to_gray(truth), predicted, real]
        labels += [f"{name}, gray", "predicted", "truth" if truth.ndim == 3 else "no color known"]
    return contact_sheet(pictures, labels, columns=3, cell=400)


if __name__ == "__main__":
    main()
