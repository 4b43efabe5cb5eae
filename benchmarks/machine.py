"""Shared parts of the benchmarks: description of the machine, alternating runs, medians."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


def describe_machine() -> str:
    """Return one line with processor, cores, relevant instructions, versions and load."""
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if "model name" in line), name)
    checks = {"AMX": "_is_amx_tile_supported", "AVX512-BF16": "_is_avx512_bf16_supported"}
    available = [
        name for name, check in checks.items() if getattr(torch.cpu, check, lambda: False)()
    ]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{name}, {os.cpu_count()} cores ({', '.join(available) or 'no bfloat16'}){gpu}; "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}"
    )


def in_turn(
    variants: dict[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each variant, after a warm-up run, alternating in every round."""
    for run in variants.values():
        run()
    synchronize()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = clock()
            run()
            synchronize()
            seconds[name].append(clock() - start)
    return seconds


def synchronize() -> None:
    """Wait until the GPU has finished, on any backend."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def spread(seconds: list[float]) -> str:
    """Format median and range in a suitable unit."""
    unit, factor = ("s", 1.0) if statistics.median(seconds) >= 0.5 else ("ms", 1e3)
    low, middle, high = (
        factor * value for value in (min(seconds), statistics.median(seconds), max(seconds))
    )
    return f"{middle:.3g} {unit} ({low:.3g} to {high:.3g})"


def ratio(slow: list[float], fast: list[float]) -> str:
    """Format the median and range of the speed-up per round."""
    ratios = [one / other for one, other in zip(slow, fast, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def print_rounds(
    script: str, description: str, measure: Callable[[], dict[str, float]], *, rounds: int
) -> None:
    """Print medians and spreads of what `measure` returns, seconds; each round is a new process.

    The script is run again with `--once` for a round. `rounds` is the default of `--rounds`.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--once", action="store_true", help="One round in this process, as JSON.")
    chosen = parser.parse_args()
    if chosen.once:
        print(json.dumps(measure()))
        return
    command = [sys.executable, script, "--once"]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
        for _ in range(chosen.rounds)
    ]
    print(describe_machine())
    for name in found[0]:
        print(f"{name}: {spread([each[name] for each in found])}")
