"""How far the images of precision "bfloat16" are from those of "float32".

    python benchmarks/precision.py --model embedded deoldify-artistic --render-factors 10 21

Photographs of scikit-image, 8 bits, in gray levels over R, G and B. "auto" takes bfloat16 only
where the hardware has it, on the understanding that the mean stays within 1 and 99.9 % of the
values within 6.
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
    """Print a table: model and render factor by difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["embedded"], help="names or files")
    parser.add_argument("--render-factors", type=int, nargs="+", default=[10, 21])
    arguments = parser.parse_args()
    print(describe_machine(), end="\n\n")
    print("| model | render factor | mean | 99.9 % within | largest |\n|---|---|---|---|---|")
    for model in arguments.model:
        exact = Colorizer.from_pretrained(model, precision="float32", device="cpu")
        quick = Colorizer.from_pretrained(model, precision="bfloat16", device="cpu")
        for render_factor in arguments.render_factors:
            d = difference(exact, quick, render_factor)
            print(
                f"| {Path(model).name} | {render_factor} | {d.mean():.2f} | "
                f"{np.quantile(d, 0.999):.0f} | {d.max()} |",
                flush=True,
            )


def difference(exact: Colorizer, quick: Colorizer, render_factor: int) -> np.ndarray:
    """Absolute differences of all images, in one row."""
    differences = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # color photographs are made gray on purpose
        for name in PHOTOGRAPHS:
            image = getattr(skimage.data, name)()
            one, other = (each(image, render_factor=render_factor).rgb for each in (exact, quick))
            differences.append(np.abs(one.astype(int) - other).ravel())
    return np.concatenate(differences)


if __name__ == "__main__":
    main()
