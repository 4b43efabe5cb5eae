"""Does disagreement tell where colors are wrong? Rank correlation with the true error.

    python benchmarks/disagreement.py ../shared/data/heldout-dev.tar --limit 20
    python benchmarks/disagreement.py ../shared/data/heldout-dev.tar --others MODEL...

Photographs are shown as gray and colored. Spearman's correlation between a map and the CIEDE2000
of every pixel to the true colors is 1 where the map orders all pixels rightly, and 0 where it
knows nothing. "Within an image" is the mean over images, with the least and the largest;
"together" takes pixels of all images at once, so it also counts which images are hard.
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
from numpy.typing import NDArray
from scipy.stats import spearmanr
from skimage.color import deltaE_ciede2000

from napari_colorize.analysis.disagreement import disagreement
from napari_colorize.colorizer import Colorizer

EVERY = 4  # pixel in both directions; neighbors are much alike
CONFIDENCE = "own confidence"
BOTH = "own confidence times disagreement (mirror and render factors)"
USUAL = "mirror and render factors"
Floats = NDArray[np.float32]


def main() -> None:
    """Print a table of correlations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--others", nargs="*", default=[])
    options = parser.parse_args()
    colorizer = Colorizer.from_pretrained(options.model)
    others = [Colorizer.from_pretrained(name) for name in options.others]
    maps: dict[str, list[Floats]] = defaultdict(list)
    errors: list[Floats] = []
    for truth in islice(read_images(options.pictures), options.limit):
        gray = to_gray(truth)
        true = deltaE_ciede2000(to_lab(truth), to_lab(colorizer(gray).pixels))
        errors.append(thinned(true))
        for name, told in maps_of(colorizer, gray, others).items():
            maps[name].append(thinned(told))
    print(describe_machine(), end="\n\n")
    names = ", ".join(Path(each).stem for each in options.others)
    print(f"{options.model}, {len(errors)} images{f'; other models: {names}' if names else ''}\n")
    print("| map | mean of the map | within an image | together |\n|---|---|---|---|")
    print(f"| true error | {np.mean([each.mean() for each in errors]):.2f} | 1 | 1 |")
    for name, told in maps.items():
        print(row(name, told, errors))


def maps_of(colorizer: Colorizer, gray: Any, others: list[Colorizer]) -> dict[str, Floats]:
    """All maps of an image, `(Y, X)`, by what they compare."""
    usual = disagreement(colorizer, gray)
    found = {
        "mirror": disagreement(colorizer, gray, render_factors=()).map,
        "render factors": disagreement(colorizer, gray, flips=False).map,
        USUAL: usual.map,
    }
    if others:
        found["other models"] = disagreement(
            colorizer, gray, others=others, flips=False, render_factors=()
        ).map
        found["all of these"] = disagreement(colorizer, gray, others=others).map
    if usual.expected_error is not None:
        found[CONFIDENCE] = usual.expected_error
        found[BOTH] = np.sqrt(usual.expected_error * usual.map)
    return found


def thinned(values: Floats) -> Floats:
    """Some of a map's pixels."""
    return np.asarray(values, np.float32)[::EVERY, ::EVERY].ravel()


def row(name: str, told: list[Floats], errors: list[Floats]) -> str:
    """A line of the table."""
    within = [spearmanr(one, error).statistic for one, error in zip(told, errors, strict=True)]
    together = spearmanr(np.concatenate(told), np.concatenate(errors)).statistic
    return (
        f"| {name} | {np.mean([each.mean() for each in told]):.2f} | {np.mean(within):.2f} "
        f"({min(within):.2f} to {max(within):.2f}) | {together:.2f} |"
    )


if __name__ == "__main__":
    main()
