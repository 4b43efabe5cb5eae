"""Peak memory of one picture beyond the loaded network, a fresh process per number.

    python benchmarks/memory.py --network deep --render-factor 45

Reads the largest resident size that the kernel has seen (Linux, macOS), so no sampling misses it.
"as DeOldify" is the stand-in of `network.py`: unfolded, all of attention at once, float32,
contiguous.
"""

from __future__ import annotations

import argparse
import copy
import resource
import subprocess
import sys

import torch
from machine import describe_machine
from network import prepared

from napari_colorize.networks.deoldify import DEEP, WIDE, DeOldify
from napari_colorize.networks.fuse import fuse

VARIANTS = ("as DeOldify", "float32", "bfloat16")
UNIT = 1024 if sys.platform == "linux" else 1  # ru_maxrss: KiB on Linux, bytes on macOS


def main() -> None:
    """Print a table, or, told a variant, one number of bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=["deep", "wide"], default="deep")
    parser.add_argument("--render-factor", type=int, default=45)
    parser.add_argument("--variant", choices=VARIANTS)
    arguments = parser.parse_args()
    if arguments.variant:
        print(growth(arguments.network, arguments.variant, arguments.render_factor))
        return
    print(describe_machine())
    print("| network | render factor | variant | growth, GB | share |\n|---|---|---|---|---|")
    first = None
    for variant in VARIANTS:
        command = [sys.executable, __file__, "--variant", variant, "--network", arguments.network]
        command += ["--render-factor", str(arguments.render_factor)]
        grown = int(subprocess.check_output(command, text=True))
        first = first or grown
        print(
            f"| {arguments.network} | {arguments.render_factor} | {variant} | {grown / 1e9:.2f} | "
            f"{grown / first:.2f} |",
            flush=True,
        )


def growth(name: str, variant: str, render_factor: int) -> int:
    """Bytes by which the process grew while the network ran once."""
    network = DeOldify(DEEP if name == "deep" else WIDE).eval().requires_grad_(False)
    if variant != "as DeOldify":
        network = fuse(network).to(memory_format=torch.channels_last)
        network = copy.deepcopy(network).to(getattr(torch, variant))
    run = prepared(network, variant, render_factor)
    with torch.inference_mode():
        prepared(network, variant, 2)()  # what torch sets up at its first run is not the picture's
        before = peak()
        run()
    return peak() - before


def peak() -> int:
    """The largest resident size so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


if __name__ == "__main__":
    main()
