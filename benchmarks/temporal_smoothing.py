"""How much steadier videos become along time, what that does to their colors, and what it costs.

    python benchmarks/temporal_smoothing.py ../shared/data/heldout-dev.tar

Videos of photographs whose true colors and true motion are known (`sequences.py`) are made gray and
colorized frame by frame, and again held steady; both include the network and composing. Entries are
the figure frame by frame, the figure held steady, and the second as a share of the first; the time
is that share of the quickest rounds.

The first table is of the colors alone, for CDC and the warping error: every pixel's luminance is
replaced by middle gray. The video's own luminance stays what it is, and its grain, exposure and new
sights outweigh what any colorizer does: the second table shows the images as they are, with gray
video and the truth to compare with. CDC is measured within scenes (across a cut colors must jump),
the warping error along the true motion; both by the definitions of `metrics.py`.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from machine import describe_machine, in_turn
from napari_colorize_training.evaluation.metrics import (
    ColorConsistency,
    Pixels,
    ciede2000,
    colorfulness,
    to_gray,
    warping_error,
)
from sequences import Frame, sequences
from skimage.color import rgb2yuv, yuv2rgb

from napari_colorize.colorizer import Colorizer

MIDDLE_GRAY = 0.5

Film = list[Pixels]


def main() -> None:
    """Print two tables: sequence by measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path, help="a tar file of images")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--temporal-smoothing", type=float, default=0.85)
    parser.add_argument("--dissolve", type=int, default=0, help="frames of it, instead of a cut")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # some photographs have almost no color
    colorizer = Colorizer.from_pretrained(options.model)
    print(describe_machine(), end="\n\n")
    rows, others = [], []
    for name, frames in sequences(options.photographs, options.seed, dissolve=options.dissolve):
        alone, steady, slower = both(colorizer, frames, options.temporal_smoothing, options.rounds)
        rows.append([name, *of_colors(frames, alone, steady), f"{slower:.2f}"])
        others.append([name, *of_pictures(frames, alone, steady)])
    heads = ["CDC", "truth's", "warping error", "truth's", "colorfulness", "CIEDE2000", "time"]
    print_table("colors", heads, rows)
    heads = ["CDC", "gray video's", "truth's", "warping error", "gray video's", "truth's"]
    print_table("pictures", heads, others)


def both(
    colorizer: Colorizer, frames: list[Frame], temporal_smoothing: float, rounds: int
) -> tuple[Film, Film, float]:
    """The video frame by frame, held steady, and how many times as long that takes."""
    grays = [to_gray(frame.rgb) for frame in frames]
    videos: dict[float, Film] = {}

    def run(strength: float) -> None:
        videos[strength] = [
            each.pixels for each in colorizer.stream(grays, temporal_smoothing=strength)
        ]

    seconds = in_turn(
        {"alone": partial(run, 0.0), "steady": partial(run, temporal_smoothing)}, rounds
    )
    return videos[0.0], videos[temporal_smoothing], min(seconds["steady"]) / min(seconds["alone"])


def of_colors(frames: list[Frame], alone: Film, steady: Film) -> list[str]:
    """Two measures of the colors alone, colorfulness, and the difference to the truth."""
    videos = alone, steady, [frame.rgb for frame in frames]
    *colors, truth = ([without_luminance(picture) for picture in video] for video in videos)
    return [
        compared(jumps(frames, video) for video in colors),
        f"{jumps(frames, truth):.2e}",
        compared(changes(frames, video) for video in colors),
        f"{changes(frames, truth):.2e}",
        compared(mean(colorfulness(picture) for picture in video) for video in (alone, steady)),
        compared(
            mean(ciede2000(frame.rgb, each) for frame, each in zip(frames, video, strict=True))
            for video in (alone, steady)
        ),
    ]


def of_pictures(frames: list[Frame], alone: Film, steady: Film) -> list[str]:
    """The same two measures of whole images, and of what no colorizer can change."""
    truth = [frame.rgb for frame in frames]
    gray = [np.dstack([to_gray(rgb)] * 3) for rgb in truth]
    entries = []
    for measure in (jumps, changes):
        entries += [compared(measure(frames, video) for video in (alone, steady))]
        entries += [f"{measure(frames, video):.2e}" for video in (gray, truth)]
    return entries


def without_luminance(rgb: Pixels) -> Pixels:
    """The colors alone, on middle gray."""
    yuv = rgb2yuv(rgb)
    yuv[..., 0] = MIDDLE_GRAY
    levels: Pixels = np.rint(yuv2rgb(yuv).clip(0, 1) * 255).astype(np.uint8)
    return levels


def jumps(frames: list[Frame], video: Film) -> float:
    """CDC within scenes, their mean."""
    scenes: list[ColorConsistency] = []
    for frame, picture in zip(frames, video, strict=True):
        if frame.is_cut or not scenes:
            scenes.append(ColorConsistency())
        scenes[-1].add(picture)
    return mean(scene.value() for scene in scenes)


def changes(frames: list[Frame], video: Film) -> float:
    """Warping error along the true motion, mean over neighbors of one scene."""
    return mean(
        warping_error(video[place - 1], video[place], frame.motion)
        for place, frame in enumerate(frames)
        if frame.motion is not None
    )


def mean(values: Iterable[float]) -> float:
    """In Python's own float."""
    return float(np.mean(list(values)))


def compared(figures: Iterable[float]) -> str:
    """Before, after, and how much of it is left."""
    before, after = figures
    if before < 1:
        return f"{before:.2e} {after:.2e} ({after / before:.2f})"
    return f"{before:.1f} {after:.1f} ({after / before:.3f})"


def print_table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """In Markdown."""
    print("|", " | ".join([title, *heads]), "|")
    print("|---" * (1 + len(heads)) + "|")
    for row in rows:
        print("|", " | ".join(row), "|")
    print()


if __name__ == "__main__":
    main()
