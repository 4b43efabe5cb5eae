"""Time and accuracy of color hints.

    python benchmarks/hints.py --rounds 5

A photograph of a cat, colorized with the embedded model, gets two hints, one in an eye and one on
the nose, and then forty hints in random positions, the largest system to solve. The time is that of
the whole image after a new hint, without the network.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial

import numpy as np
from machine import describe_machine, in_turn, spread
from numpy.typing import NDArray
from skimage.color import rgb2yuv
from skimage.data import chelsea
from skimage.transform import resize

from napari_colorize.colorizer import Colorizer
from napari_colorize.imaging.color import to_uint8
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints
from napari_colorize.result import Colorized

MEGAPIXELS = 0.25, 1, 4
SCENE = 300, 451  # size of the photograph; the positions below refer to it
EYE, NOSE = (118, 146), (237, 265)
CENTERS, MIN_DISTANCE = (
    ((116, 172), (240, 262)),
    80,
)  # of eye and nose, and the distance in pixels beyond which pixels belong to neither
GREEN, RED = (0.1, 0.8, 0.2), (0.9, 0.2, 0.2)


def main() -> None:
    """Print a table of times and a table of errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")  # warning: the input has colors
    colorizer = Colorizer.from_pretrained("embedded", device="cpu")
    plain = {size: colorizer(photograph(size)) for size in MEGAPIXELS}
    hints = {size: two_hints(plain[size].pixels.shape[:2]) for size in MEGAPIXELS}
    runs = {}
    for size in MEGAPIXELS:
        many = forty_hints(plain[size].pixels.shape[:2])
        runs[f"{size} megapixels, no hints"] = partial(recompose, plain[size], None)
        runs[f"{size} megapixels, 2 hints"] = partial(recompose, plain[size], hints[size])
        runs[f"{size} megapixels, 40 hints"] = partial(recompose, plain[size], many)
    seconds = in_turn(runs, rounds)
    print(describe_machine(), end="\n\n")
    print("| what | time |\n|---|---|")
    for name, times in seconds.items():
        print(f"| {name} | {spread(times)} |")
    print(
        "\n| 2 hints | error at hints, levels | change elsewhere, levels: mean, 99.9 %, largest |"
    )
    print("|---|---|---|")
    for size in MEGAPIXELS:
        print(f"| {size} megapixels | {accuracy(plain[size], hints[size])} |")


def photograph(megapixels: float) -> NDArray[np.uint8]:
    """The photograph at a size in megapixels."""
    scale = (megapixels * 1e6 / (SCENE[0] * SCENE[1])) ** 0.5
    size = round(SCENE[0] * scale), round(SCENE[1] * scale)
    return to_uint8(resize(chelsea(), size, order=3))


def two_hints(size: tuple[int, int]) -> Hints:
    """Two hints of 5 pixels: in the eye and on the nose."""
    positions = np.array([EYE, NOSE]) * size[0] / SCENE[0]
    return Hints.from_points(positions, [GREEN, RED], 5, size)


def forty_hints(size: tuple[int, int]) -> Hints:
    """Forty hints of random colors in random positions."""
    random = np.random.default_rng(0)
    return Hints.from_points(random.random((40, 2)) * size, random.random((40, 3)), 5, size)


def recompose(plain: Colorized, hints: Hints | None) -> NDArray[np.uint8]:
    """Compose the image after a hint, without cached results."""
    return plain.with_(guides=Guides(hints=hints), shadows=0.0).pixels


def accuracy(plain: Colorized, hints: Hints) -> str:
    """Return the error at hinted pixels and the change in the rest of the image."""
    before, after = plain.pixels.astype(float), recompose(plain, hints).astype(float)
    gray = rgb2yuv(before / 255)[..., 0]
    expected = gray[..., None] + (
        hints.rgb - rgb2yuv(hints.rgb)[..., :1]
    )  # chroma of the hint, luminance of the image
    inside = (hints.mask[..., None] & (expected >= 0) & (expected <= 1)).all(axis=-1)
    error = np.abs(after - 255 * expected)[inside].max(initial=0)
    change = np.abs(after - before)[outside_mask(gray.shape)]
    high = np.percentile(change, 99.9)
    return (
        f"{error:.2f} ({inside.sum()} of {hints.mask.sum()} pixels with the color in gamut) | "
        f"{change.mean():.3f}, {high:.0f}, {change.max():.0f}"
    )


def outside_mask(size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of pixels that belong to neither the eye nor the nose."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    scale = size[0] / SCENE[0]
    far = [
        np.hypot(rows / scale - row, columns / scale - column) > MIN_DISTANCE
        for row, column in CENTERS
    ]
    return np.logical_and(*far)


if __name__ == "__main__":
    main()
