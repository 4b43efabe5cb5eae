"""Correlation of disagreement maps and expected-error maps with the true color error.

    python benchmarks/disagreement.py ../shared/data/heldout-dev.tar --limit 20
    python benchmarks/disagreement.py ../shared/data/heldout-dev.tar --others MODEL...

Photographs are converted to gray and colorized. The table shows Spearman's correlation between a
map and the CIEDE2000 error of every pixel. "Within an image" is the mean over images, with minimum
and maximum. "All images" uses the pixels of all images together, so it includes differences between
images.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from napari_colorize_training.evaluation.ground_truth import read_images
from napari_colorize_training.evaluation.metrics import to_gray, to_lab
from scipy.stats import spearmanr
from skimage.color import deltaE_ciede2000

from napari_colorize.analysis.disagreement import disagreement
from napari_colorize.array_types import Float32Array
from napari_colorize.colorizer import Colorizer

EVERY = 4  # subsampling step in pixels; neighboring pixels are similar
CONFIDENCE = "expected error"
BOTH = "expected error times disagreement (mirror and render factors)"
DEFAULT = "mirror and render factors"


def main() -> None:
    """Print a table of correlations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--others", nargs="*", default=[])
    options = parser.parse_args()
    colorizer = Colorizer.from_pretrained(options.model)
    others = [Colorizer.from_pretrained(name) for name in options.others]
    maps: dict[str, list[Float32Array]] = defaultdict(list)
    errors: list[Float32Array] = []
    for truth in islice(read_images(options.images), options.limit):
        gray = to_gray(truth)
        true = deltaE_ciede2000(to_lab(truth), to_lab(colorizer(gray).pixels))
        errors.append(subsampled(true))
        for name, values in maps_of(colorizer, gray, others).items():
            maps[name].append(subsampled(values))
    print(describe_machine(), end="\n\n")
    names = ", ".join(Path(each).stem for each in options.others)
    print(f"{options.model}, {len(errors)} images{f'; other models: {names}' if names else ''}\n")
    print("| map | mean of the map | within an image | all images |\n|---|---|---|---|")
    print(f"| true error | {np.mean([each.mean() for each in errors]):.2f} | 1 | 1 |")
    for name, values in maps.items():
        print(row(name, values, errors))


def maps_of(colorizer: Colorizer, gray: Any, others: list[Colorizer]) -> dict[str, Float32Array]:
    """Return all maps of an image, `(Y, X)`, by name."""
    default = disagreement(colorizer, gray)
    maps = {
        "mirror": disagreement(colorizer, gray, render_factors=()).map,
        "render factors": disagreement(colorizer, gray, flips=False).map,
        DEFAULT: default.map,
    }
    if others:
        maps["other models"] = disagreement(
            colorizer, gray, others=others, flips=False, render_factors=()
        ).map
        maps["all of these"] = disagreement(colorizer, gray, others=others).map
    if default.expected_error is not None:
        maps[CONFIDENCE] = default.expected_error
        maps[BOTH] = np.sqrt(default.expected_error * default.map)
    return maps


def subsampled(values: Float32Array) -> Float32Array:
    """Return every `EVERY`-th pixel of a map in both directions."""
    return np.asarray(values, np.float32)[::EVERY, ::EVERY].ravel()


def row(name: str, values: list[Float32Array], errors: list[Float32Array]) -> str:
    """Return a row of the table."""
    within = [spearmanr(one, error).statistic for one, error in zip(values, errors, strict=True)]
    overall = spearmanr(np.concatenate(values), np.concatenate(errors)).statistic
    return (
        f"| {name} | {np.mean([each.mean() for each in values]):.2f} | {np.mean(within):.2f} "
        f"({min(within):.2f} to {max(within):.2f}) | {overall:.2f} |"
    )


if __name__ == "__main__":
    main()
