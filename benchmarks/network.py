"""Time of the networks: computed as DeOldify does, and with the optimizations of this package.

    python benchmarks/network.py --network deep --render-factors 10 21 35 --rounds 3

All variants (see `variants.py`) run alternately in one process. Ratios are medians over rounds. The
weights are random, which does not change the time.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable

import skimage.data
import torch
from machine import describe_machine, in_turn, ratio, spread
from torch import nn
from variants import BUILD, DEFAULT_VARIANTS, MAKERS, prepared

from napari_colorize.colorizer import Colorizer
from napari_colorize.runtime.devices import choose_dtype
from napari_colorize.zoo import CATALOGUE

CHECKPOINTS = {"deep": "deoldify-artistic", "wide": "deoldify-stable", "compact": "embedded"}
CPU = torch.device("cpu")


def main() -> None:
    """Print a table: render factor by variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=list(CHECKPOINTS), default="deep")
    parser.add_argument("--render-factors", type=int, nargs="+", default=[10, 21, 35])
    parser.add_argument("--variants", nargs="+", choices=list(MAKERS), default=DEFAULT_VARIANTS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    original = BUILD[arguments.network]()
    networks = {name: MAKERS[name](copy.deepcopy(original)) for name in arguments.variants}
    print(describe_machine(), end="\n\n")
    print("| network | render factor | " + " | ".join(networks) + " | whole image, auto |")
    print("|---" * (3 + len(networks)) + "|")
    colorizer = auto_colorizer(arguments.network, networks)
    for render_factor in arguments.render_factors:
        runs = {name: prepared(each, name, render_factor) for name, each in networks.items()}
        runs["whole image"] = whole_image(colorizer, render_factor)
        with torch.inference_mode():
            seconds = in_turn(runs, arguments.rounds)
        row = [arguments.network, str(render_factor), *cells(seconds)]
        print(f"| {' | '.join(row)} |", flush=True)


def auto_colorizer(name: str, networks: dict[str, nn.Module]) -> Colorizer:
    """Create a Colorizer at precision "auto", or in float32 if bfloat16 is no chosen variant."""
    dtype = choose_dtype("auto", CPU)
    best = networks.get(str(dtype).removeprefix("torch.")) or networks["float32"]
    dtype = next(best.parameters()).dtype
    return Colorizer(best, CATALOGUE[CHECKPOINTS[name]], CPU, dtype)


def whole_image(colorizer: Colorizer, render_factor: int) -> Callable[[], object]:
    """Return a function that colorizes a photograph of 512 x 512 pixels."""
    gray = skimage.data.astronaut()[..., 1]

    def run() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an untrained network may give no colors
            return colorizer(gray, render_factor=render_factor).pixels

    return run


def cells(seconds: dict[str, list[float]]) -> list[str]:
    """Format times, and the speed-up of each variant over the first."""
    slow, *others = seconds.values()
    return [spread(slow), *(f"{spread(fast)}; x {ratio(slow, fast)}" for fast in others)]


if __name__ == "__main__":
    main()
