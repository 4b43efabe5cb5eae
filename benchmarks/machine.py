"""What every benchmark says first: on which machine, with which versions, how busy."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch


def describe_machine() -> str:
    """One line: processor, cores, instructions that matter, versions, load."""
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if "model name" in line), name)
    asks = {"AMX": "_is_amx_tile_supported", "AVX512-BF16": "_is_avx512_bf16_supported"}
    has = [name for name, ask in asks.items() if getattr(torch.cpu, ask, lambda: False)()]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{name}, {os.cpu_count()} cores ({', '.join(has) or 'no bfloat16'}){gpu}; "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}"
    )


def in_turn(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant, warm, one after the other in every round."""
    for run in variants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(seconds: list[float]) -> str:
    """Median and range, in the unit that reads best."""
    unit, factor = ("s", 1.0) if statistics.median(seconds) >= 0.5 else ("ms", 1e3)
    low, middle, high = (
        factor * value for value in (min(seconds), statistics.median(seconds), max(seconds))
    )
    return f"{middle:.3g} {unit} ({low:.3g} to {high:.3g})"


def ratio(slow: list[float], quick: list[float]) -> str:
    """How many times as quick, round by round: median and range."""
    ratios = [one / other for one, other in zip(slow, quick, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
