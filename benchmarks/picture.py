"""Milliseconds around the network: a 12-megapixel photograph in and out, a new saturation.

    python benchmarks/picture.py --rounds 7

The network is replaced by one that costs nothing, so what is timed is ours: reading the array,
shrinking it for the network, enlarging chrominance, joining, writing the array.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from machine import describe_machine, in_turn, spread
from torch import Tensor, nn

from napari_colorize.colorizer import Colorizer
from napari_colorize.zoo import CATALOGUE


class Nothing(nn.Module):
    """Chrominance that does not depend on the picture."""

    def forward(self, gray: Tensor, self_attention: bool = True) -> Tensor:
        """U and V of no meaning, of the size that the embedded network gives."""
        height, width = gray.shape[-2:]
        ramp = torch.linspace(-0.2, 0.2, width // 4).expand(len(gray), 2, height // 4, -1)
        return ramp.contiguous()


def main() -> None:
    """Print a table of operations and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    colorizer = Colorizer(Nothing(), CATALOGUE["embedded"], torch.device("cpu"), torch.float32)
    random = np.random.default_rng(0)
    big = random.integers(0, 256, (3000, 4000), dtype=np.uint8)
    small = colorizer(random.integers(0, 256, (1000, 1000), dtype=np.uint8))
    deep = colorizer((big[:1000, :1000] / 255).astype(np.float32))
    seconds = in_turn(
        {
            "12 megapixels gray uint8, all but the network": lambda: colorizer(big).pixels,
            "12 megapixels gray uint16": lambda: colorizer(big.astype(np.uint16)).pixels,
            "12 megapixels gray float32": lambda: colorizer(big.astype(np.float32) / 255).pixels,
            "12 megapixels RGB uint8": lambda: colorizer(np.dstack([big] * 3)).pixels,
            "1 megapixel uint8, new saturation": lambda: small.with_(saturation=1.5).pixels,
            "1 megapixel float32, new saturation": lambda: deep.with_(saturation=1.5).pixels,
        },
        rounds,
    )
    print(describe_machine())
    print("| what | time |\n|---|---|")
    for name, times in seconds.items():
        print(f"| {name} | {spread(times)} |")


if __name__ == "__main__":
    main()
