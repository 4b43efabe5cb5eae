"""Time and error of DeOldify's largest convolution, computed with different algorithms.

    python benchmarks/convolution.py --side 336

The convolution has 303 input and output channels and 3x3 filters. Two of them take half of the time
of the deep network. Errors are relative to float64, for results with a standard deviation of about
0.6.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from machine import describe_machine, in_turn, ratio, spread
from torch import Tensor, nn

from napari_colorize.networks.winograd import WinogradConv2d

CHANNELS = 303
LEVELS = 255  # of an unsigned byte; signed weights have 127


def main() -> None:
    """Print a table of algorithms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=336)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1).requires_grad_(False)
    nn.init.normal_(conv.weight, std=(9 * CHANNELS) ** -0.5)
    conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(1, CHANNELS, arguments.side, arguments.side).relu_()
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        functions = algorithms(conv, x)
        exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1).float()
        seconds = in_turn(functions, arguments.rounds)
        print(describe_machine(), end="\n\n")
        print("| algorithm | time | speed-up | error, rms |\n|---|---|---|---|")
        for name, run in functions.items():
            error = (run().float() - exact).square().mean().sqrt()
            times = seconds[name]
            speedup = ratio(seconds["float32"], times)
            print(f"| {name} | {spread(times)} | {speedup} | {error:.1e} |")


def algorithms(conv: nn.Conv2d, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return functions by name of the algorithm."""
    assert conv.bias is not None
    winograd = WinogradConv2d(conv)
    weight, bias, small = conv.weight.bfloat16(), conv.bias.bfloat16(), x.bfloat16()
    plain = [1, 1], [1, 1], [1, 1], 1  # padding, stride, dilation, groups
    packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *plain, list(x.shape))
    return {
        "float32": lambda: F.conv2d(x, conv.weight, conv.bias, padding=1),
        "float32, F(4x4, 3x3)": lambda: winograd(x),
        "bfloat16": lambda: F.conv2d(small, weight, bias, padding=1),
        "bfloat16, reordered weight": lambda: torch.ops.mkldnn._convolution_pointwise(
            small, packed, bias, *plain, "none", [], ""
        ),
        "bfloat16 outside, float32 F(4x4, 3x3) inside": lambda: winograd(small),
        "int8, bfloat16 outside": in_int8(conv, x),
    }


def in_int8(conv: nn.Conv2d, x: Tensor) -> Callable[[], Tensor]:
    """Return an int8 convolution with one scale per filter and one for the range of the input."""
    assert conv.bias is not None
    scales = conv.weight.abs().amax((1, 2, 3)) / (LEVELS // 2)
    zeros = torch.zeros(CHANNELS, dtype=torch.int32)
    weight = (conv.weight / scales[:, None, None, None]).round().to(torch.int8)
    step = float(x.max()) / LEVELS
    plain = [1, 1], [1, 1], [1, 1], 1  # stride, padding, dilation, groups
    packed = torch.ops.onednn.qconv_prepack(weight, scales, step, 0, *plain, list(x.shape))
    small = x.bfloat16()

    def run() -> Tensor:
        quantized = (small / step).round_().clamp_(0, LEVELS).to(torch.uint8)
        out: Tensor = torch.ops.onednn.qconv2d_pointwise(
            *(quantized, step, 0, packed, scales, zeros, conv.bias, *plain),
            *(1.0, 0, torch.bfloat16, "none", [], ""),
        )
        return out

    return run


if __name__ == "__main__":
    main()
