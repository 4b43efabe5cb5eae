"""Difference between images at precision "bfloat16" and "float32".

    python benchmarks/precision.py --model embedded deoldify-artistic --render-factors 10 21

Photographs of scikit-image, 8 bits; differences in levels over R, G and B. "auto" uses bfloat16
only where the hardware supports it. The limits are a mean of 1 and a 99.9th percentile of 6.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import skimage.data
from machine import describe_machine

from napari_colorize.colorizer import Colorizer

PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket")


def main() -> None:
    """Print a table of differences by model and render factor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["embedded"], help="names or files")
    parser.add_argument("--render-factors", type=int, nargs="+", default=[10, 21])
    arguments = parser.parse_args()
    print(describe_machine(), end="\n\n")
    print("| model | render factor | mean | 99.9 % within | largest |\n|---|---|---|---|---|")
    for model in arguments.model:
        exact = Colorizer.from_pretrained(model, precision="float32", device="cpu")
        low = Colorizer.from_pretrained(model, precision="bfloat16", device="cpu")
        for render_factor in arguments.render_factors:
            d = difference(exact, low, render_factor)
            print(
                f"| {Path(model).name} | {render_factor} | {d.mean():.2f} | "
                f"{np.quantile(d, 0.999):.0f} | {d.max()} |",
                flush=True,
            )


def difference(exact: Colorizer, low: Colorizer, render_factor: int) -> np.ndarray:
    """Return the absolute differences of all images in one array."""
    differences = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # color photographs are converted to gray on purpose
        for name in PHOTOGRAPHS:
            image = getattr(skimage.data, name)()
            one, other = (each(image, render_factor=render_factor).rgb for each in (exact, low))
            differences.append(np.abs(one.astype(int) - other).ravel())
    return np.concatenate(differences)


if __name__ == "__main__":
    main()
