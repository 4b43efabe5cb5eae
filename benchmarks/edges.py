"""Loss of reduced chrominance: bilinear against edge-aware enlarging.

    python benchmarks/edges.py ../shared/data/heldout-dev.tar

The true chrominance of photographs is reduced by area means to the input size of a network (with
the aspect ratio of the image, as for the embedded model), or to a quarter of its height and width,
the output size of that model. Then the image is composed again. The second table shows the time of
edge-aware enlarging, without the network.
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
from PIL import Image
from torch import Tensor

from napari_colorize.array_types import UInt8Array
from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize.imaging.planes import Plane, to_plane
from napari_colorize.imaging.resample import resize_map
from napari_colorize.pipeline import compose, render_size
from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers
from napari_colorize.refine.edges import follow_edges

Losses = tuple[tuple[float, float], tuple[float, float]]

RENDER_FACTORS = 8, 16, 24, 32
SIZES = {"input of the network": 1, "output of the embedded model": 4}
LARGE, SMALL = (3000, 4000), (1000, 1000)
OUTPUT_SIZE = 48, 64  # output of the embedded model at render factor 12 and aspect ratio 4 : 3


def main() -> None:
    """Print a table of losses and a table of times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path, help="a tar file of images")
    parser.add_argument("--limit", type=int, help="number of images")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # color images are converted to gray on purpose
    print(describe_machine(), end="\n\n")
    table_of_losses(list(photographs(options.photographs))[: options.limit])
    print()
    table_of_times(options.rounds)


def photographs(tar: Path) -> Iterator[UInt8Array]:
    """Yield the RGB images of a tar file, sorted by name."""
    with tarfile.open(tar) as opened:
        for member in sorted(opened.getmembers(), key=lambda member: member.name):
            stored = opened.extractfile(member)
            if stored is not None:
                yield np.asarray(Image.open(io.BytesIO(stored.read())).convert("RGB"))


def table_of_losses(images: list[UInt8Array]) -> None:
    """Print means over the photographs whose chrominance is reduced."""
    print("| size of chrominance | render factor | reduced | PSNR | CIEDE2000 | better in |")
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
            print(f"| {name} | {render_factor} | {share} | {cells(lossy)} |", flush=True)


def cells(losses: list[Losses]) -> str:
    """Return three cells: PSNR, CIEDE2000, and the share of improved images."""
    if not losses:
        return "no loss | no loss | "
    numbers = np.array(losses)  # (photographs, bilinear or edge-aware, PSNR or CIEDE2000)
    (decibels, error), (new_decibels, new_error) = numbers.mean(axis=0)
    gained = ((numbers[:, 1] - numbers[:, 0]) * (1, -1) > 0).mean(axis=0)
    return (
        f"{decibels:.2f} to {new_decibels:.2f} dB ({new_decibels - decibels:+.2f}) | "
        f"{error:.3f} to {new_error:.3f} ({new_error / error - 1:+.1%}) | "
        f"{gained[0]:.0%} by PSNR, {gained[1]:.0%} by CIEDE2000"
    )


def small_size(rgb: UInt8Array, render_factor: int, divisor: int) -> tuple[int, int]:
    """Height and width of the reduced chrominance, at most those of the image."""
    height, width = rgb.shape[:2]
    rows, columns = render_size(height, width, render_factor, fit="aspect")
    return min(rows // divisor, height), min(columns // divisor, width)


def losses(rgb: UInt8Array, size: tuple[int, int]) -> Losses:
    """PSNR and CIEDE2000 of the image composed bilinearly and edge-aware."""
    plane = to_plane(rgb)
    uv = resize_map(rgb_to_yuv(torch.from_numpy(rgb) / 255)[..., 1:], size)
    bilinear, edges = (
        compose(plane, layers, 1.0)
        for layers in (ChromaLayers(ChromaField(uv)), edge_aware(plane, uv))
    )
    return (psnr(rgb, bilinear), ciede2000(rgb, bilinear)), (
        psnr(rgb, edges),
        ciede2000(rgb, edges),
    )


def edge_aware(plane: Plane, uv: Tensor) -> ChromaLayers:
    """Chrominance as an edge-aware field."""
    slope, offset = follow_edges(plane.gray, uv)
    return ChromaLayers(ChromaField(offset, slope))


def table_of_times(rounds: int) -> None:
    """Print the time to compose an image, and to compose it again with a new saturation."""
    uv = torch.rand(*OUTPUT_SIZE, 2, generator=torch.Generator().manual_seed(0)) * 0.2
    random = np.random.default_rng(0)
    large, small = (
        to_plane(random.integers(0, 256, size, dtype=np.uint8)) for size in (LARGE, SMALL)
    )
    bilinear, prepared = ChromaLayers(ChromaField(uv)), edge_aware(small, uv)
    runs: dict[str, Callable[[], object]] = {
        "12 megapixels, bilinear": lambda: compose(large, bilinear, 1.0),
        "12 megapixels, edge-aware": lambda: compose(large, edge_aware(large, uv), 1.0),
        "12 megapixels, slopes only": partial(edge_aware, large, uv),
        "1 megapixel, a new saturation, bilinear": lambda: compose(small, bilinear, 1.5),
        "1 megapixel, a new saturation, edge-aware": lambda: compose(small, prepared, 1.5),
    }
    print("| what | time |\n|---|---|")
    for name, times in in_turn(runs, rounds).items():
        print(f"| {name} | {spread(times)} |")


if __name__ == "__main__":
    main()
