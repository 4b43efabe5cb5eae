"""Time of the embedded network in PyTorch and in ONNX Runtime, and the color error of int8.

    python benchmarks/engines.py --threads 2 --rounds 15 --compile

Every variant has the same weights and input; DDColor tiny has random weights and stands for a
small published network. Ratios are formed round by round. With one thread, times are processor
time, which other programs influence less. int8 is quantized statically, convolutions only, with
ranges from the photographs that are then tested, which favors it.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import skimage.data
import torch
from machine import describe_machine, in_turn, ratio, spread
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor
from variants import BUILD, in_float32

from napari_colorize.colorizer import Colorizer
from napari_colorize.imaging.planes import to_plane
from napari_colorize.imaging.resample import resize
from napari_colorize.onnx_export import export_onnx
from napari_colorize.pipeline import compose

PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket")
Network = Callable[[Tensor], Tensor]  # gray (1, 1, H, W) to U and V (1, 2, h, w)


class Photographs(CalibrationDataReader):
    """Gray photographs of one size, from which the ranges of int8 are taken."""

    def __init__(self, side: int) -> None:
        self._images = iter([{"gray": gray.numpy()} for gray in photographs(side)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None."""
        return next(self._images, None)


def main() -> None:
    """Print a table: side by variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[192, 320], help="multiples of 32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which is slow")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.WARNING)  # advice of the quantizer
    warnings.simplefilter("ignore")  # of the exporter, and about images without colors
    clock = time.process_time if options.threads == 1 else time.perf_counter
    print(f"{describe_machine()}, ONNX Runtime {onnxruntime.__version__}", end="\n\n")
    print("| side, px | variant | time | times as fast as float32 | CIEDE2000 to float32 |")
    print("|---|---|---|---|---|")
    for side in options.sides:
        with tempfile.TemporaryDirectory() as folder:
            networks = make_networks(side, options.threads, Path(folder), compiled=options.compile)
        first, *_ = photographs(side)
        with torch.inference_mode():
            errors = color_errors(networks, side)
            runs = {name: partial(run, first) for name, run in networks.items()}
            seconds = in_turn(runs, options.rounds, clock)
        base = seconds["torch, float32"]
        for name, found in seconds.items():
            row = [str(side), name, spread(found), ratio(base, found), errors.get(name, "")]
            print(f"| {' | '.join(row)} |", flush=True)


def make_networks(side: int, threads: int, folder: Path, *, compiled: bool) -> dict[str, Network]:
    """The variants by name."""
    networks: dict[str, Network] = {}
    for precision in ("float32", "bfloat16"):
        loaded = Colorizer.from_pretrained("embedded", device="cpu", precision=precision)
        networks[f"torch, {precision}"] = with_torch(loaded.network, loaded.dtype)
        if compiled and precision == "float32":
            networks["torch.compile, float32"] = with_torch(torch.compile(loaded.network))
    path, quantized = folder / "float32.onnx", folder / "int8.onnx"
    export_onnx("embedded", path, render_factor=side // 16)
    quantize_static(
        path,
        quantized,
        Photographs(side),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv"],
    )
    networks["ONNX Runtime, float32"] = with_onnx_runtime(path, threads)
    networks["ONNX Runtime, int8"] = with_onnx_runtime(quantized, threads)
    ddcolor = in_float32(BUILD["ddcolor-tiny"]())
    networks["DDColor tiny, torch, float32"] = with_torch(ddcolor, channels=3)
    return networks


def with_torch(network: Any, dtype: torch.dtype = torch.float32, channels: int = 1) -> Network:
    """A network in PyTorch."""

    def run(gray: Tensor) -> Tensor:
        x = gray.to(dtype).expand(-1, channels, -1, -1)
        output: Tensor = network(x.contiguous(memory_format=torch.channels_last))
        return output.float()

    return run


def with_onnx_runtime(path: Path, threads: int) -> Network:
    """An exported network in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Waiting threads sleep, as those of torch do with OMP_WAIT_POLICY=PASSIVE.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda gray: torch.from_numpy(session.run(["uv"], {"gray": gray.numpy()})[0])


def photographs(side: int) -> Iterator[Tensor]:
    """Gray photographs (1, 1, side, side)."""
    for name in PHOTOGRAPHS:
        image = getattr(skimage.data, name)()
        gray = image if image.ndim == 2 else image @ np.array([0.299, 0.587, 0.114])
        yield resize(torch.from_numpy(gray / 255).float()[None, None], (side, side))


def color_errors(networks: dict[str, Network], side: int) -> dict[str, str]:
    """Mean and 99.9th percentile of CIEDE2000 to the first network, of networks like it."""
    found: dict[str, list[np.ndarray]] = {}
    for gray in photographs(side):
        plane = to_plane(gray[0, 0], limits=(0, 1))
        labs = {
            name: rgb2lab(compose(plane, run(gray)[0].movedim(0, -1), 1.0))
            for name, run in networks.items()
            if not name.startswith("DDColor")
        }
        first = next(iter(labs.values()))
        for name, lab in labs.items():
            found.setdefault(name, []).append(deltaE_ciede2000(first, lab).ravel())
    joined = {name: np.concatenate(each) for name, each in found.items()}
    return {
        name: f"{each.mean():.2f} ({np.quantile(each, 0.999):.2f} for 99.9 %)"
        for name, each in joined.items()
    }


if __name__ == "__main__":
    main()
