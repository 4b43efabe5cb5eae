"""Time of a network on a GPU, and its share of the peak performance of the device.

    python benchmarks/gpu.py --device cuda --network deep --render-factors 10 21 35

The peaks are measured in the same run and, for float32, without TF32, as the networks are: a
product of large matrices for arithmetic, a copy of a large tensor for memory. Bytes are counted per
layer as read and written. Fused layers need fewer, so the share of the memory bandwidth is an upper
bound for them.
"""

from __future__ import annotations

import argparse
import copy
import statistics

import torch
from machine import describe_machine, in_turn, spread
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from variants import BUILD, MAKERS, prepared

from napari_colorize.runtime.devices import exact_float32

SIDE = 8192  # of the matrices; 2**26 numbers each
VARIANTS = (
    "as DeOldify",
    "float32, direct",
    "bfloat16",
)  # Winograd's algorithm is used on CPUs only


@exact_float32()
def main() -> None:
    """Print a table: render factor by variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", choices=list(BUILD), default="deep")
    parser.add_argument("--render-factors", type=int, nargs="+", default=[10, 21, 35])
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    original = BUILD[arguments.network]()
    networks = {name: MAKERS[name](copy.deepcopy(original)).to(device) for name in VARIANTS}
    print(describe_machine(), end="\n\n")
    print("| render factor | variant | time | TFLOP/s | of the peak | GB/s | of the peak |")
    print("|---|---|---|---|---|---|---|")
    ceilings = {name: peaks(next(each.parameters())) for name, each in networks.items()}
    for render_factor in arguments.render_factors:
        runs = {name: prepared(each, name, render_factor) for name, each in networks.items()}
        with torch.inference_mode():
            seconds = in_turn(runs, arguments.rounds)
        for name, times in seconds.items():
            rates = [
                amount / statistics.median(times) for amount in work(networks[name], runs[name])
            ]
            shares = [rate / peak for rate, peak in zip(rates, ceilings[name], strict=True)]
            print(
                f"| {render_factor} | {name} | {spread(times)} | {rates[0] / 1e12:.1f} | "
                f"{shares[0]:.0%} | {rates[1] / 1e9:.0f} | {shares[1]:.0%} |",
                flush=True,
            )


def peaks(like: Tensor) -> tuple[float, float]:
    """Operations and bytes per second of a matrix product and of a copy."""
    a = torch.randn(SIDE, SIDE, device=like.device, dtype=like.dtype)
    b = torch.empty_like(a)
    seconds = in_turn({"product": lambda: a @ a, "copy": lambda: b.copy_(a)}, 10)
    product, copying = (min(times) for times in seconds.values())
    return 2 * SIDE**3 / product, 2 * a.numel() * a.element_size() / copying


def work(network: nn.Module, run: object) -> tuple[float, float]:
    """Floating-point operations of one run, and bytes that the layers read and write."""
    moved = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        tensors = [*module.parameters(recurse=False), inputs[0], output]
        moved += sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    assert callable(run)
    leaves = [module for module in network.modules() if not any(module.children())]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        run()
    for handle in handles:
        handle.remove()
    return counter.get_total_flops(), moved


if __name__ == "__main__":
    main()
