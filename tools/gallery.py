"""Write the images of docs/gallery.md from the second on: `python tools/gallery.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

import napari_colorize as nc
from napari_colorize.analysis.colormaps import LARGEST_ERROR, VIRIDIS, apply_colormap
from napari_colorize.analysis.disagreement import disagreement
from napari_colorize.array_types import UInt8Array
from napari_colorize.batch.contact_sheet import contact_sheet, fit
from napari_colorize.imaging.color import rgb_to_yuv, to_uint8
from napari_colorize.imaging.planes import to_plane
from napari_colorize.imaging.resample import resize_map
from napari_colorize.pipeline import compose
from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers
from napari_colorize.refine.edges import follow_edges

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CELL = 300
Cell = tuple[str, UInt8Array]


def main() -> None:
    """Write all images to docs/images."""
    colorizer = nc.Colorizer.from_pretrained("embedded")
    cat, astronaut = gray(skimage.data.chelsea()), gray(skimage.data.astronaut())
    save("stacks-edges", edges(skimage.data.astronaut()))
    save("stacks-hints", hints(colorizer, cat))
    save("stacks-reference", reference(colorizer, astronaut))
    save("stacks-disagreement", reliability(colorizer, astronaut))
    save("stacks-damping", damping(colorizer, astronaut))


def gray(image: UInt8Array) -> UInt8Array:
    """Rec. 601 luminance of an RGB image."""
    return np.asarray(Image.fromarray(image).convert("L"))


def edges(truth: UInt8Array) -> list[Cell]:
    """True colors reduced to 32 x 32 pixels, enlarged bilinearly and edge-aware."""
    part = np.s_[150:400, 0:250]
    yuv = rgb_to_yuv(torch.from_numpy(truth / np.float32(255)))
    small = resize_map(yuv[..., 1:], (32, 32))
    plane = to_plane(truth)
    slope, offset = follow_edges(plane.gray, small)
    return [
        ("truth", truth[part]),
        ("its colors at 32 px, --no-edges", compose(plane, small, 1.0)[part]),
        ("--edges", compose(plane, ChromaLayers(ChromaField(offset, slope)), 1.0)[part]),
    ]


def hints(colorizer: nc.Colorizer, image: UInt8Array) -> list[Cell]:
    """Color hints and their effect."""
    green, rose = (0.35, 0.55, 0.2), (0.75, 0.45, 0.42)
    points = [(112, 168), (132, 318), (243, 262)]
    painted = nc.Hints.from_points(points, [green, green, rose], 12, image.shape[:2])
    result = colorizer(image)
    shown = as_rgb(image)
    shown[painted.mask] = to_uint8(painted.rgb[painted.mask])
    return [
        ("three hints", shown),
        ("predicted", result.pixels),
        ("with --hints", result.with_(guides=nc.Guides(hints=painted)).pixels),
    ]


def reference(colorizer: nc.Colorizer, image: UInt8Array) -> list[Cell]:
    """Palette of a reference image, transferred with both methods."""
    palette = skimage.data.chelsea()
    result = colorizer(image)
    guided = result.with_(guides=nc.Guides(reference=nc.Reference(palette)))
    return [
        ("predicted", result.pixels),
        ("--reference", palette),
        ("statistics", guided.pixels),
        ("patches", guided.with_(reference_method="patches").pixels),
    ]


def reliability(colorizer: nc.Colorizer, image: UInt8Array) -> list[Cell]:
    """Three maps of the reliability of the predicted colors."""
    result = colorizer(image)
    marked = result.pixels.copy()
    marked[result.uncolored()] = (255, 0, 255)
    spread = disagreement(colorizer, image).map
    return [
        ("predicted", result.pixels),
        ("--map disagreement", apply_colormap(spread / LARGEST_ERROR, VIRIDIS)),
        ("--map error", apply_colormap(colorizer.expected_error(result) / LARGEST_ERROR, VIRIDIS)),
        ("--map uncolored", marked),
    ]


def damping(colorizer: nc.Colorizer, image: UInt8Array) -> list[Cell]:
    """Damping of shadows and of a range of hues, and a mask."""
    result = colorizer(image, saturation=1.6)
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    mask = (rows - 120) ** 2 + (columns - 225) ** 2 < 105**2
    return [
        ("saturation 1.6", result.pixels),
        ("--shadows 0.4", result.with_(shadows=0.4).pixels),
        (
            "--hue-damping 1, 330 to 60",
            result.with_(hue_damping=1.0, hue_from=330.0, hue_to=60.0).pixels,
        ),
        ("--mask", result.with_(guides=nc.Guides(mask=mask)).pixels),
    ]


def as_rgb(image: UInt8Array) -> UInt8Array:
    """Gray image repeated to R, G and B."""
    return np.repeat(image[..., None], 3, axis=-1)


def save(name: str, cells: list[Cell], cell: int = CELL, columns: int | None = None) -> None:
    """Write labeled images, each at most `cell` pixels wide and high, in one row by default."""
    sheet = contact_sheet(
        [fit(image, cell) for _, image in cells],
        [label for label, _ in cells],
        columns=columns or len(cells),
        cell=cell,
    )
    path = IMAGES / f"{name}.jpg"
    Image.fromarray(sheet).save(path, quality=88)
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
