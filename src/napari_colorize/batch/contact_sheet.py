"""Contact sheets: labeled images in a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_colorize.array_types import UInt8Array

BACKGROUND = (250, 250, 250)
TEXT_COLOR = (20, 20, 20)
MARGIN = 12  # pixels around every image
LABEL_HEIGHT = 0.1  # height of a label as a fraction of the cell size
MIN_FONT_SIZE = 9  # pixels; smaller text is not legible


def contact_sheet(
    images: Sequence[UInt8Array],
    labels: Sequence[str],
    *,
    columns: int | None = None,
    cell: int = 480,
) -> UInt8Array:
    """Images in a grid, row by row, each scaled to `cell` pixels below its label.

    Parameters
    ----------
    images : sequence of ndarray, uint8, shape (Y, X), (Y, X, 3) or (Y, X, 4)
        Gray, RGB or RGBA of any size; the background shows through transparent pixels.
    labels : sequence of str
        One line for each image; the font is reduced for long labels.
    columns : int, optional
        Images per row. Default: as many as give a square grid.
    cell : int
        Longer side of each image on the sheet in pixels.

    Returns
    -------
    ndarray, uint8, shape (Y, X, 3)
        The sheet.
    """
    if not images:
        raise ValueError("A contact sheet needs at least one image.")
    if len(images) != len(labels):
        raise ValueError(f"Every image needs a label, got {len(images)} and {len(labels)}.")
    columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    tiles = [_tile(*pair, cell) for pair in zip(images, labels, strict=True)]
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) + MARGIN for row in rows]

    size = (MARGIN + columns * (cell + MARGIN), MARGIN + sum(heights))
    sheet = Image.new("RGB", size, BACKGROUND)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (MARGIN + column * (cell + MARGIN), top))
        top += height
    return np.array(sheet)


def fit(image: UInt8Array, cell: int) -> UInt8Array:
    """The image scaled so that its longer side has `cell` pixels."""
    return np.array(_scaled(image, cell))


def _tile(array: UInt8Array, label: str, cell: int) -> Image.Image:
    """One image below its label, with the width of a cell."""
    image = _scaled(array, cell)
    label_height = round(cell * LABEL_HEIGHT)
    tile = Image.new("RGB", (cell, label_height + image.height), BACKGROUND)
    transparency = image if image.mode == "RGBA" else None
    tile.paste(image, ((cell - image.width) // 2, label_height), transparency)
    _draw_label(ImageDraw.Draw(tile), label, cell, label_height)
    return tile


def _scaled(array: UInt8Array, cell: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(array))
    factor = cell / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _draw_label(draw: ImageDraw.ImageDraw, label: str, width: int, height: int) -> None:
    """Draw a label centered in a rectangle, in the largest font that fits."""
    # Pillow's built-in font needs no font file.
    size = round(height * 0.6)
    font = ImageFont.load_default(size)
    while draw.textlength(label, font) > width and size > MIN_FONT_SIZE:
        size -= 1
        font = ImageFont.load_default(size)
    # Vertical position by font size, not by outline, so that labels of a row share a baseline.
    position = ((width - draw.textlength(label, font)) / 2, height / 2 - size * 0.6)
    draw.text(position, label, TEXT_COLOR, font)
