"""Time of everything except the network: a 12-megapixel image, and a new saturation.

    python benchmarks/picture.py --rounds 7

The network is replaced by one without computation. The time consists of reading the array, reducing
it for the network, enlarging the chrominance, composing, and writing the array.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from machine import describe_machine, in_turn, spread
from torch import Tensor, nn

from napari_colorize.colorizer import Colorizer
from napari_colorize.result import Colorized
from napari_colorize.zoo import CATALOGUE


class ConstantNetwork(nn.Module):
    """Network whose output does not depend on the image."""

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """Return a ramp of U and V at the output size of the embedded network."""
        height, width = gray.shape[-2:]
        ramp = torch.linspace(-0.2, 0.2, width // 4).expand(len(gray), 2, height // 4, -1)
        return ramp.contiguous()


def main() -> None:
    """Print a table of operations and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    colorizer = Colorizer(
        ConstantNetwork(), CATALOGUE["embedded"], torch.device("cpu"), torch.float32
    )
    random = np.random.default_rng(0)
    gray = random.integers(0, 256, (3000, 4000), dtype=np.uint8)
    big = {
        "gray uint8": gray,
        "gray uint16": gray.astype(np.uint16) * 257,
        "gray float32": (gray / 255).astype(np.float32),
        "RGB uint8": np.dstack([gray] * 3),
    }
    small = {name: colorizer(image[:1000, :1000]) for name, image in big.items()}
    runs: dict[str, Callable[[], object]] = {}
    for name, image in big.items():
        runs[f"12 megapixels, {name}: all but the network"] = partial(colorize, colorizer, image)
    for name, colorized in small.items():
        runs[f"1 megapixel, {name}: a new saturation"] = partial(recompose, colorized)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warning: the input has colors
        seconds = in_turn(runs, rounds)
    print(describe_machine(), end="\n\n")
    print("| what | time |\n|---|---|")
    for name, times in seconds.items():
        print(f"| {name} | {spread(times)} |")


def colorize(colorizer: Colorizer, image: np.ndarray) -> np.ndarray:
    """Colorize an array."""
    return colorizer(image).pixels


def recompose(colorized: Colorized) -> np.ndarray:
    """Recompose with a new saturation."""
    return colorized.with_(saturation=1.5).pixels


if __name__ == "__main__":
    main()
