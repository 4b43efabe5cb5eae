"""Seconds of the networks: computed as DeOldify does, and as we do.

    python benchmarks/network.py --network deep --render-factors 10 21 35 --rounds 3

All variants (see `variants.py`) run in turn in one process; ratios are medians over rounds. The
weights are random: their values take no time.
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
from variants import BUILD, MAKERS, USUAL, prepared

from napari_colorize.colorizer import Colorizer, choose_dtype
from napari_colorize.zoo import CATALOGUE

CHECKPOINTS = {"deep": "deoldify-artistic", "wide": "deoldify-stable", "compact": "embedded"}
CPU = torch.device("cpu")


def main() -> None:
    """Print a table: render factor by variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=list(CHECKPOINTS), default="deep")
    parser.add_argument("--render-factors", type=int, nargs="+", default=[10, 21, 35])
    parser.add_argument("--variants", nargs="+", choices=list(MAKERS), default=USUAL)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    original = BUILD[arguments.network]()
    networks = {name: MAKERS[name](copy.deepcopy(original)) for name in arguments.variants}
    print(describe_machine(), end="\n\n")
    print("| network | render factor | " + " | ".join(networks) + " | whole image, auto |")
    print("|---" * (3 + len(networks)) + "|")
    colorizer = as_users_have_it(arguments.network, networks)
    for render_factor in arguments.render_factors:
        runs = {name: prepared(each, name, render_factor) for name, each in networks.items()}
        runs["whole image"] = whole_picture(colorizer, render_factor)
        with torch.inference_mode():
            seconds = in_turn(runs, arguments.rounds)
        row = [arguments.network, str(render_factor), *cells(seconds)]
        print(f"| {' | '.join(row)} |", flush=True)


def as_users_have_it(name: str, networks: dict[str, nn.Module]) -> Colorizer:
    """A Colorizer at precision "auto", or in float32 if that is all there is."""
    dtype = choose_dtype("auto", CPU)
    best = networks.get(str(dtype).removeprefix("torch.")) or networks["float32"]
    dtype = next(best.parameters()).dtype
    return Colorizer(best, CATALOGUE[CHECKPOINTS[name]], CPU, dtype)


def whole_picture(colorizer: Colorizer, render_factor: int) -> Callable[[], object]:
    """A photograph of 512 x 512 pixels, from array to array."""
    gray = skimage.data.astronaut()[..., 1]

    def run() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an untrained network no colors are expected
            return colorizer(gray, render_factor=render_factor).pixels

    return run


def cells(seconds: dict[str, list[float]]) -> list[str]:
    """Times, and how many times as quick as the first each of the others is."""
    slow, *others = seconds.values()
    return [spread(slow), *(f"{spread(quick)}; x {ratio(slow, quick)}" for quick in others)]


if __name__ == "__main__":
    main()
