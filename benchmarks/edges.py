"""What is lost when colors are made small and brought back: enlarged bilinearly, along edges.

    python benchmarks/edges.py ../shared/data/heldout-dev.tar

Photographs become gray and their true chrominance, which is shrunk by means over areas to the size
that a network is shown (proportions kept, as the embedded model has it), or to a quarter of its
height and width, the size at which that model answers. Then the image is composed again. The
second table tells what following edges costs; the network is left out.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import describe_machine, in_turn, spread
from napari_colorize_training.evaluation.metrics import ciede2000, psnr
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize.imaging.planes import Plane, to_plane
from napari_colorize.imaging.resample import resize_map
from napari_colorize.pipeline import compose, render_size
from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers
from napari_colorize.refine.edges import follow_edges

Pixels = NDArray[np.uint8]
Losses = tuple[tuple[float, float], tuple[float, float]]

RENDER_FACTORS = 8, 16, 24, 32
SIZES = {"the network's input": 1, "the embedded model's answer": 4}
LARGE, SMALL = (3000, 4000), (1000, 1000)
ANSWER = 48, 64  # rows and columns that the embedded model gives at render factor 12, 3 : 4


def main() -> None:
    """Print two tables: what is lost, and what it costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path, help="a tar file of images")
    parser.add_argument("--limit", type=int, help="only so many of them")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # color images made gray is what is wanted
    print(describe_machine(), end="\n\n")
    table_of_losses(list(photographs(options.photographs))[: options.limit])
    print()
    table_of_times(options.rounds)


def photographs(tar: Path) -> Iterator[Pixels]:
    """RGB images of a tar file, by name."""
    with tarfile.open(tar) as opened:
        for member in sorted(opened.getmembers(), key=lambda member: member.name):
            stored = opened.extractfile(member)
            if stored is not None:
                yield np.asarray(Image.open(io.BytesIO(stored.read())).convert("RGB"))


def table_of_losses(images: list[Pixels]) -> None:
    """Means over the photographs whose chrominance is made smaller at all."""
    print(
        "| chrominance as large as | render factor | made smaller | PSNR | CIEDE2000 | better in |"
    )
    print("|---" * 6 + "|")
    for name, divisor in SIZES.items():
        for render_factor in RENDER_FACTORS:
            sizes = [small_size(rgb, render_factor, divisor) for rgb in images]
            lossy = [
                losses(rgb, size)
                for rgb, size in zip(images, sizes, strict=True)
                if size != rgb.shape[:2]
            ]
            share = f"{len(lossy)} of {len(images)}"
            print(f"| {name} | {render_factor} | {share} | {compared(lossy)} |", flush=True)


def compared(losses: list[Losses]) -> str:
    """Three cells of the table; PSNR is better where it is larger, CIEDE2000 where smaller."""
    if not losses:
        return "nothing is lost | nothing is lost | "
    numbers = np.array(losses)  # (photographs, bilinear or along edges, PSNR or CIEDE2000)
    (decibels, error), (new_decibels, new_error) = numbers.mean(axis=0)
    gained = ((numbers[:, 1] - numbers[:, 0]) * (1, -1) > 0).mean(axis=0)
    return (
        f"{decibels:.2f} to {new_decibels:.2f} dB ({new_decibels - decibels:+.2f}) | "
        f"{error:.3f} to {new_error:.3f} ({new_error / error - 1:+.1%}) | "
        f"{gained[0]:.0%} by PSNR, {gained[1]:.0%} by CIEDE2000"
    )


def small_size(rgb: Pixels, render_factor: int, divisor: int) -> tuple[int, int]:
    """Height and width of the chrominance, nowhere more than the image's."""
    height, width = rgb.shape[:2]
    rows, columns = render_size(height, width, render_factor, fit="aspect")
    return min(rows // divisor, height), min(columns // divisor, width)


def losses(rgb: Pixels, size: tuple[int, int]) -> Losses:
    """PSNR and CIEDE2000 of the image composed bilinearly, and along edges."""
    plane = to_plane(rgb)
    uv = resize_map(rgb_to_yuv(torch.from_numpy(rgb) / 255)[..., 1:], size)
    bilinear, edges = (
        compose(plane, tint, 1.0) for tint in (ChromaLayers(ChromaField(uv)), along(plane, uv))
    )
    return (psnr(rgb, bilinear), ciede2000(rgb, bilinear)), (
        psnr(rgb, edges),
        ciede2000(rgb, edges),
    )


def along(plane: Plane, uv: Tensor) -> ChromaLayers:
    """Small chrominance as it follows the plane's edges."""
    slope, offset = follow_edges(plane.gray, uv)
    return ChromaLayers(ChromaField(offset, slope))


def table_of_times(rounds: int) -> None:
    """An image composed for the first time, and again for a new saturation."""
    uv = torch.rand(*ANSWER, 2, generator=torch.Generator().manual_seed(0)) * 0.2
    random = np.random.default_rng(0)
    large, small = (
        to_plane(random.integers(0, 256, size, dtype=np.uint8)) for size in (LARGE, SMALL)
    )
    bilinear, known = ChromaLayers(ChromaField(uv)), along(small, uv)
    runs: dict[str, Callable[[], object]] = {
        "12 megapixels, bilinear": lambda: compose(large, bilinear, 1.0),
        "12 megapixels, along edges": lambda: compose(large, along(large, uv), 1.0),
        "12 megapixels, finding slopes alone": partial(along, large, uv),
        "1 megapixel, a new saturation, bilinear": lambda: compose(small, bilinear, 1.5),
        "1 megapixel, a new saturation, along edges": lambda: compose(small, known, 1.5),
    }
    print("| what | time |\n|---|---|")
    for name, times in in_turn(runs, rounds).items():
        print(f"| {name} | {spread(times)} |")


if __name__ == "__main__":
    main()
