"""Seconds of DeOldify's networks: computed as DeOldify does, and as we do.

    python benchmarks/network.py --network deep --render-factors 10 21 35 --rounds 3

The stand-in for DeOldify's own way is the same network with the same weights, its norms unfolded,
attention over all positions at once, float32, contiguous. All variants run in turn in one process;
the table gives the median ratio of rounds. The weights are random: their values take no time.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import skimage.data
import torch
from machine import describe_machine, in_turn, ratio, spread
from torch import nn

from napari_colorize.colorizer import Colorizer
from napari_colorize.devices import choose_dtype
from napari_colorize.networks import layers
from napari_colorize.networks.deoldify import DEEP, WIDE, DeOldify
from napari_colorize.networks.fuse import fuse
from napari_colorize.zoo import CATALOGUE

CPU = torch.device("cpu")
CHECKPOINTS = {"deep": "deoldify-artistic", "wide": "deoldify-stable"}


def main() -> None:
    """Print a table: render factor by variant."""
    arguments = parse()
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    original = DeOldify(DEEP if arguments.network == "deep" else WIDE).eval().requires_grad_(False)
    fused = fuse(copy.deepcopy(original)).to(memory_format=torch.channels_last)
    variants = {"as DeOldify": original.to(device), "float32": fused.to(device)}
    dtype = choose_dtype("auto", device)
    if dtype != torch.float32:
        variants[str(dtype).removeprefix("torch.")] = copy.deepcopy(fused).to(dtype)
    print(describe_machine())
    print("| network | render factor | " + " | ".join(variants) + " | whole picture |")
    print("|---" * (3 + len(variants)) + "|")
    for render_factor in arguments.render_factors:
        row(arguments, render_factor, variants)


def row(arguments: argparse.Namespace, render_factor: int, variants: dict[str, nn.Module]) -> None:
    """Time all variants at one size; the last variant also colorizes a whole picture."""
    last = list(variants.values())[-1]
    dtype = next(last.parameters()).dtype
    device = next(last.parameters()).device
    checkpoint = CATALOGUE[CHECKPOINTS[arguments.network]]
    colorizer = Colorizer(last, checkpoint, device, dtype)
    gray = skimage.data.astronaut()[..., 1]
    runs: dict[str, Callable[[], object]] = {
        name: prepared(network, name, render_factor) for name, network in variants.items()
    }
    runs["whole picture"] = lambda: colorizer(gray, render_factor=render_factor).pixels
    with torch.inference_mode():
        seconds = in_turn(runs, arguments.rounds)
    slow = seconds["as DeOldify"]
    cells = [
        spread(times) + ("" if times is slow else f", x {ratio(slow, times)}")
        for times in seconds.values()
    ]
    print(f"| {arguments.network} | {render_factor} | {' | '.join(cells)} |", flush=True)


def prepared(network: nn.Module, name: str, render_factor: int) -> Callable[[], object]:
    """One pass of a network on a picture of its type and layout."""
    weight = next(network.parameters())
    side = 16 * render_factor
    x = torch.randn(1, 3, side, side, device=weight.device, dtype=weight.dtype)
    if name != "as DeOldify":
        x = x.contiguous(memory_format=torch.channels_last)
        return lambda: network(x)

    def as_deoldify() -> object:
        block, layers.BLOCK_NUMBERS = layers.BLOCK_NUMBERS, 2**62  # all positions at once
        try:
            return network(x)
        finally:
            layers.BLOCK_NUMBERS = block

    return as_deoldify


def parse() -> argparse.Namespace:
    """Which network, at which sizes, how often."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=["deep", "wide"], default="deep")
    parser.add_argument("--render-factors", type=int, nargs="+", default=[10, 21, 35])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
