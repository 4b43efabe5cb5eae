"""Effect of temporal smoothing on flicker, colors and time.

    python benchmarks/temporal_smoothing.py ../shared/data/heldout-dev.tar

Videos with known colors and motion (`sequences.py`) are converted to gray and colorized frame by
frame and with temporal smoothing, including the network and composition. Cells contain the value
without smoothing, the value with smoothing, and their ratio. The time is the ratio of the fastest
rounds.

In the first table, CDC and the warping error are computed for the chrominance only: luminance is
replaced by middle gray. The luminance of the video is unchanged by colorization, and its grain,
exposure and new content dominate both measures. The second table shows the complete images, with
the gray video and the true video for comparison. CDC is computed within scenes, and the warping
error along the true motion, both as defined in `metrics.py`.
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
    ciede2000,
    colorfulness,
    to_gray,
    warping_error,
)
from sequences import Frame, sequences
from skimage.color import rgb2yuv, yuv2rgb

from napari_colorize.array_types import UInt8Array
from napari_colorize.colorizer import Colorizer
from napari_colorize.imaging.color import to_uint8

MIDDLE_GRAY = 0.5

Video = list[UInt8Array]


def main() -> None:
    """Print two tables: sequence by measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path, help="a tar file of images")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--temporal-smoothing", type=float, default=0.85)
    parser.add_argument(
        "--dissolve", type=int, default=0, help="frames of a dissolve instead of a cut"
    )
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # some photographs have almost no color
    colorizer = Colorizer.from_pretrained(options.model)
    print(describe_machine(), end="\n\n")
    rows, others = [], []
    for name, frames in sequences(options.photographs, options.seed, dissolve=options.dissolve):
        single, smoothed, slower = colorize_both(
            colorizer, frames, options.temporal_smoothing, options.rounds
        )
        rows.append([name, *of_colors(frames, single, smoothed), f"{slower:.2f}"])
        others.append([name, *of_images(frames, single, smoothed)])
    heads = ["CDC", "true", "warping error", "true", "colorfulness", "CIEDE2000", "time"]
    print_table("colors", heads, rows)
    heads = ["CDC", "gray", "true", "warping error", "gray", "true"]
    print_table("images", heads, others)


def colorize_both(
    colorizer: Colorizer, frames: list[Frame], temporal_smoothing: float, rounds: int
) -> tuple[Video, Video, float]:
    """Return the video without and with smoothing, and the ratio of their times."""
    grays = [to_gray(frame.rgb) for frame in frames]
    videos: dict[float, Video] = {}

    def run(strength: float) -> None:
        videos[strength] = [
            each.pixels for each in colorizer.stream(grays, temporal_smoothing=strength)
        ]

    seconds = in_turn(
        {"single": partial(run, 0.0), "smoothed": partial(run, temporal_smoothing)}, rounds
    )
    return (
        videos[0.0],
        videos[temporal_smoothing],
        min(seconds["smoothed"]) / min(seconds["single"]),
    )


def of_colors(frames: list[Frame], single: Video, smoothed: Video) -> list[str]:
    """Two measures of the chrominance only, colorfulness, and the difference to the truth."""
    videos = single, smoothed, [frame.rgb for frame in frames]
    *colors, truth = ([without_luminance(image) for image in video] for video in videos)
    return [
        compared(mean_cdc(frames, video) for video in colors),
        f"{mean_cdc(frames, truth):.2e}",
        compared(mean_warping_error(frames, video) for video in colors),
        f"{mean_warping_error(frames, truth):.2e}",
        compared(mean(colorfulness(image) for image in video) for video in (single, smoothed)),
        compared(
            mean(ciede2000(frame.rgb, each) for frame, each in zip(frames, video, strict=True))
            for video in (single, smoothed)
        ),
    ]


def of_images(frames: list[Frame], single: Video, smoothed: Video) -> list[str]:
    """The two measures of complete images, and of the gray and the true video."""
    truth = [frame.rgb for frame in frames]
    gray = [np.dstack([to_gray(rgb)] * 3) for rgb in truth]
    entries = []
    for measure in (mean_cdc, mean_warping_error):
        entries += [compared(measure(frames, video) for video in (single, smoothed))]
        entries += [f"{measure(frames, video):.2e}" for video in (gray, truth)]
    return entries


def without_luminance(rgb: UInt8Array) -> UInt8Array:
    """Replace luminance by middle gray."""
    yuv = rgb2yuv(rgb)
    yuv[..., 0] = MIDDLE_GRAY
    return to_uint8(yuv2rgb(yuv).clip(0, 1))


def mean_cdc(frames: list[Frame], video: Video) -> float:
    """Mean CDC within scenes."""
    scenes: list[ColorConsistency] = []
    for frame, image in zip(frames, video, strict=True):
        if frame.is_cut or not scenes:
            scenes.append(ColorConsistency())
        scenes[-1].add(image)
    return mean(scene.value() for scene in scenes)


def mean_warping_error(frames: list[Frame], video: Video) -> float:
    """Mean warping error along the true motion, within scenes."""
    return mean(
        warping_error(video[index - 1], video[index], frame.motion)
        for index, frame in enumerate(frames)
        if frame.motion is not None
    )


def mean(values: Iterable[float]) -> float:
    """Mean as a Python float."""
    return float(np.mean(list(values)))


def compared(figures: Iterable[float]) -> str:
    """Format the value without smoothing, with smoothing, and their ratio."""
    before, after = figures
    if before < 1:
        return f"{before:.2e} {after:.2e} ({after / before:.2f})"
    return f"{before:.1f} {after:.1f} ({after / before:.3f})"


def print_table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print("|", " | ".join([title, *heads]), "|")
    print("|---" * (1 + len(heads)) + "|")
    for row in rows:
        print("|", " | ".join(row), "|")
    print()


if __name__ == "__main__":
    main()
