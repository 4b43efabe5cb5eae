"""Peak memory of one image in addition to the loaded network, with a new process per measurement.

    python benchmarks/memory.py --networks deep wide ipol compact --render-factors 45

The high-water mark of the Linux kernel is read, so no peak is missed. It is reset directly before
the image, after memory freed during loading was returned. "as DeOldify" is explained in
`variants.py`.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
from pathlib import Path

import torch
from machine import describe_machine
from variants import BUILD, DEFAULT_VARIANTS, MAKERS, prepared

HIGH_WATER_MARK = "5"  # value for /proc/PID/clear_refs, see proc(5)
SMALL = 2  # render factor of a first run, which allocates what torch keeps


def main() -> None:
    """Print a table, or, with `--only`, the bytes of one variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=list(BUILD), default=["deep"])
    parser.add_argument("--render-factors", type=int, nargs="+", default=[45])
    parser.add_argument("--variants", nargs="+", choices=list(MAKERS), default=DEFAULT_VARIANTS)
    parser.add_argument("--only", choices=list(MAKERS), help="print bytes, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        print(*measure(arguments.networks[0], arguments.only, arguments.render_factors[0]))
        return
    print(describe_machine(), end="\n\n")
    print(
        "| network | render factor | variant | loaded, GB | growth, GB | share | bytes per pixel |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in arguments.networks:
        for render_factor in arguments.render_factors:
            rows(name, render_factor, arguments.variants)


def rows(name: str, render_factor: int, variants: list[str]) -> None:
    """Measure variants of one network at one render factor."""
    first = None
    for variant in variants:
        command = [sys.executable, __file__, "--only", variant, "--networks", name]
        command += ["--render-factors", str(render_factor)]
        loaded, growth = map(int, subprocess.check_output(command, text=True).split())
        first = first or growth
        print(
            f"| {name} | {render_factor} | {variant} | {loaded / 1e9:.2f} | {growth / 1e9:.2f} | "
            f"{growth / first:.2f} | {growth / (16 * render_factor) ** 2:.0f} |",
            flush=True,
        )


def measure(name: str, variant: str, render_factor: int) -> tuple[int, int]:
    """Return the resident bytes with the network loaded, and the additional bytes at the peak."""
    network = MAKERS[variant](BUILD[name]())
    with torch.inference_mode():
        prepared(network, variant, SMALL)()
        run = prepared(network, variant, render_factor)
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text(HIGH_WATER_MARK)
        before = resident("VmRSS")
        run()
    return before, resident("VmHWM") - before


def resident(entry: str) -> int:
    """Return an entry of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(entry))


if __name__ == "__main__":
    main()
