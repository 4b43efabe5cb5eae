"""Write the images of docs/explanation/settings.md: `python tools/setting_figures.py`.

They show the effects that the IPOL review of DeOldify shows (Salmona, Bouza, Delon 2022), with
another network and other photographs.
"""

from __future__ import annotations

import warnings

import numpy as np
import skimage.data
from gallery import Cell, as_rgb, gray, save

import napari_colorize as nc
from napari_colorize.array_types import UInt8Array

CELL = 240


def main() -> None:
    """Write all images to docs/images."""
    warnings.simplefilter("ignore", nc.ColorizeWarning)
    colorizer = nc.Colorizer.from_pretrained("embedded")
    names = "astronaut", "camera", "chelsea", "rocket"
    photographs = {name: getattr(skimage.data, name)() for name in names}
    grays = {name: image if image.ndim == 2 else gray(image) for name, image in photographs.items()}
    figures = {
        "attention": attention(colorizer, grays["rocket"]),
        "render-factor": render_factors(colorizer, grays["astronaut"], (4, 8, 12, 16, 24)),
        "no-truth": render_factors(colorizer, grays["camera"], (8, 16, 24)),
        "edges": at_edges(colorizer, grays["camera"]),
        "saturation": saturations(colorizer, grays["chelsea"]),
        "skin": skin(colorizer, photographs["astronaut"]),
        "background": like_background(colorizer, photographs["chelsea"]),
    }
    for name, cells in figures.items():
        save(f"settings-{name}", cells, CELL, columns=2 if len(cells) == 4 else 3)


def attention(colorizer: nc.Colorizer, image: UInt8Array) -> list[Cell]:
    """Self-attention on and off."""
    on, off = (colorizer(image, self_attention=enabled).pixels for enabled in (True, False))
    return [("gray", as_rgb(image)), ("self-attention on", on), ("off", off)]


def render_factors(
    colorizer: nc.Colorizer, image: UInt8Array, factors: tuple[int, ...]
) -> list[Cell]:
    """Render factors."""
    results = [(str(each), colorizer(image, render_factor=each).pixels) for each in factors]
    return [("gray", as_rgb(image)), *results]


def at_edges(colorizer: nc.Colorizer, image: UInt8Array) -> list[Cell]:
    """A part with strong edges: two render factors, without edge alignment and with it."""
    part = np.s_[120:260, 240:380]
    cells = [("gray", as_rgb(image[part]))]
    for factor, edges in ((8, False), (24, False), (8, True), (24, True)):
        result = colorizer(image, render_factor=factor, saturation=2, edges=edges)
        cells.append((f"{factor}, {'--edges' if edges else '--no-edges'}", result.pixels[part]))
    return cells


def saturations(colorizer: nc.Colorizer, image: UInt8Array) -> list[Cell]:
    """Saturations of one prediction."""
    result = colorizer(image)
    return [
        (f"saturation {each:g}", result.with_(saturation=each).pixels) for each in (0.5, 1, 1.5, 2)
    ]


def skin(colorizer: nc.Colorizer, truth: UInt8Array) -> list[Cell]:
    """Skin that is recognized within the whole image, but not alone."""
    part = np.s_[125:190, 185:265]
    image = gray(truth)
    whole = colorizer(image).pixels[part]
    alone = [
        (f"alone, {each}", colorizer(image[part], render_factor=each).pixels) for each in (12, 24)
    ]
    return [("truth", truth[part]), ("of the whole, 12", whole), *alone]


def like_background(colorizer: nc.Colorizer, truth: UInt8Array) -> list[Cell]:
    """A small thing that takes the color of what surrounds it."""
    part = np.s_[60:220, 130:270]
    image = gray(truth)
    results = [(str(each), colorizer(image, render_factor=each).pixels[part]) for each in (12, 24)]
    return [("truth", truth[part]), ("gray", as_rgb(image)[part]), *results]


if __name__ == "__main__":
    main()
