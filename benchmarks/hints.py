"""Seconds that hints take, how exact they are, and what they change that they should not.

    python benchmarks/hints.py --rounds 5

A photograph (a cat, enlarged) with the embedded model's colors is given two dots, one in an eye
and one on the nose; then forty dots all over, which is the most that can be to solve. Timed is what
a person waits for after a stroke: the whole image again, without the network.
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
from napari_colorize.refine.guides import Guides
from napari_colorize.refine.hints import Hints
from napari_colorize.result import Colorized

MEGAPIXELS = 0.25, 1, 4
SCENE = 300, 451  # the photograph's own size, which the places below are of
EYE, NOSE = (118, 146), (237, 265)
MIDDLES, AWAY = ((116, 172), (240, 262)), 80  # of eye and nose; what is farther belongs to neither
GREEN, RED = (0.1, 0.8, 0.2), (0.9, 0.2, 0.2)


def main() -> None:
    """Print a table of sizes, times and errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")  # the cat had colors
    colorizer = Colorizer.from_pretrained("embedded", device="cpu")
    plain = {size: colorizer(photograph(size)) for size in MEGAPIXELS}
    hints = {size: few(plain[size].pixels.shape[:2]) for size in MEGAPIXELS}
    runs = {}
    for size in MEGAPIXELS:
        many = all_over(plain[size].pixels.shape[:2])
        runs[f"{size} megapixels, no hints"] = partial(again, plain[size], None)
        runs[f"{size} megapixels, 2 dots"] = partial(again, plain[size], hints[size])
        runs[f"{size} megapixels, 40 dots all over"] = partial(again, plain[size], many)
    seconds = in_turn(runs, rounds)
    print(describe_machine(), end="\n\n")
    print("| what | time |\n|---|---|")
    for name, times in seconds.items():
        print(f"| {name} | {spread(times)} |")
    print(
        "\n| 2 dots | error at the dots, levels | change elsewhere, levels: mean, 99.9 %, largest |"
    )
    print("|---|---|---|")
    for size in MEGAPIXELS:
        print(f"| {size} megapixels | {exactness(plain[size], hints[size])} |")


def photograph(megapixels: float) -> NDArray[np.uint8]:
    """The cat at a size."""
    scale = (megapixels * 1e6 / (SCENE[0] * SCENE[1])) ** 0.5
    size = round(SCENE[0] * scale), round(SCENE[1] * scale)
    return (resize(chelsea(), size, order=3) * 255).round().astype(np.uint8)


def few(size: tuple[int, int]) -> Hints:
    """A dot of 5 pixels in the eye and one on the nose."""
    places = np.array([EYE, NOSE]) * size[0] / SCENE[0]
    return Hints.from_points(places, [GREEN, RED], 5, size)


def all_over(size: tuple[int, int]) -> Hints:
    """Forty dots of any color anywhere."""
    random = np.random.default_rng(0)
    return Hints.from_points(random.random((40, 2)) * size, random.random((40, 3)), 5, size)


def again(plain: Colorized, hints: Hints | None) -> NDArray[np.uint8]:
    """The image after a stroke. Nothing is kept from the last time."""
    return plain.with_(guides=Guides(hints=hints), shadows=0.0).pixels


def exactness(plain: Colorized, hints: Hints) -> str:
    """How far hinted pixels are from their colors, and what became of the rest of the image."""
    before, after = plain.pixels.astype(float), again(plain, hints).astype(float)
    gray = rgb2yuv(before / 255)[..., 0]
    wanted = gray[..., None] + (hints.rgb - rgb2yuv(hints.rgb)[..., :1])  # their hue, its luminance
    inside = (hints.mask[..., None] & (wanted >= 0) & (wanted <= 1)).all(axis=-1)
    error = np.abs(after - 255 * wanted)[inside].max(initial=0)
    change = np.abs(after - before)[elsewhere(gray.shape)]
    high = np.percentile(change, 99.9)
    return (
        f"{error:.2f} ({inside.sum()} of {hints.mask.sum()} pixels have room for the color) | "
        f"{change.mean():.3f}, {high:.0f}, {change.max():.0f}"
    )


def elsewhere(size: tuple[int, int]) -> NDArray[np.bool_]:
    """What belongs to neither eye nor nose."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    scale = size[0] / SCENE[0]
    far = [np.hypot(rows / scale - row, columns / scale - column) > AWAY for row, column in MIDDLES]
    return np.logical_and(*far)


if __name__ == "__main__":
    main()
