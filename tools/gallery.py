"""Images for docs/how-to/guide-colors.md: `python tools/gallery.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image

import napari_colorize as nc
from napari_colorize.analysis.colormaps import LARGEST_ERROR, VIRIDIS, apply_colormap
from napari_colorize.analysis.disagreement import disagreement
from napari_colorize.batch.contact_sheet import contact_sheet, fit
from napari_colorize.imaging.color import rgb_to_yuv
from napari_colorize.imaging.planes import to_plane
from napari_colorize.imaging.resample import resize_map
from napari_colorize.pipeline import compose
from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers
from napari_colorize.refine.edges import follow_edges

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CELL = 300
Bytes = NDArray[np.uint8]
Cell = tuple[str, Bytes]


def main() -> None:
    """Write all images into docs/images."""
    colorizer = nc.Colorizer.from_pretrained("embedded")
    cat, astronaut = gray(skimage.data.chelsea()), gray(skimage.data.astronaut())
    save("stacks-edges", edges(skimage.data.astronaut()))
    save("stacks-hints", hints(colorizer, cat))
    save("stacks-reference", reference(colorizer, astronaut))
    save("stacks-disagreement", doubt(colorizer, astronaut))
    save("stacks-damping", taming(colorizer, astronaut))


def gray(image: Bytes) -> Bytes:
    """Its Rec. 601 luminance."""
    return np.asarray(Image.fromarray(image).convert("L"))


def edges(truth: Bytes) -> list[Cell]:
    """True colors kept at 32 x 32 pixels and brought back, enlarged and along edges."""
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


def hints(colorizer: nc.Colorizer, image: Bytes) -> list[Cell]:
    """Dots of color, and what they do."""
    green, rose = (0.35, 0.55, 0.2), (0.75, 0.45, 0.42)
    dots = [(112, 168), (132, 318), (243, 262)]
    given = nc.Hints.from_points(dots, [green, green, rose], 12, image.shape[:2])
    result = colorizer(image)
    shown = as_rgb(image)
    shown[given.mask] = np.rint(given.rgb[given.mask] * 255).astype(np.uint8)
    return [
        ("three dots", shown),
        ("predicted", result.pixels),
        ("with --hints", result.with_(guides=nc.Guides(hints=given)).pixels),
    ]


def reference(colorizer: nc.Colorizer, image: Bytes) -> list[Cell]:
    """The palette of another image, in two ways."""
    palette = skimage.data.chelsea()
    result = colorizer(image)
    guided = result.with_(guides=nc.Guides(reference=nc.Reference(palette)))
    return [
        ("predicted", result.pixels),
        ("--reference", palette),
        ("statistics", guided.pixels),
        ("patches", guided.with_(reference_method="patches").pixels),
    ]


def doubt(colorizer: nc.Colorizer, image: Bytes) -> list[Cell]:
    """Where the colors are a guess, asked in three ways."""
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


def taming(colorizer: nc.Colorizer, image: Bytes) -> list[Cell]:
    """Colors damped in the dark and in a range of hues, and kept to a mask."""
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


def as_rgb(image: Bytes) -> Bytes:
    """Gray as R, G and B, to be drawn on."""
    return np.repeat(image[..., None], 3, axis=-1)


def save(name: str, cells: list[Cell]) -> None:
    """A row of images with their names."""
    sheet = contact_sheet(
        [fit(picture, CELL) for _, picture in cells],
        [label for label, _ in cells],
        columns=len(cells),
        cell=CELL,
    )
    path = IMAGES / f"{name}.jpg"
    Image.fromarray(sheet).save(path, quality=88)
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
