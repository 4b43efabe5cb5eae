"""Contact sheets: pictures side by side in a grid, each under its label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAPER = (250, 250, 250)
INK = (20, 20, 20)
MARGIN = 12  # pixels around every picture
STRIP = 0.1  # height of a label in cells
SMALLEST_TEXT = 9  # pixels; below this a label is no longer read but guessed


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]],
    labels: Sequence[str],
    *,
    columns: int | None = None,
    cell: int = 480,
) -> NDArray[np.uint8]:
    """Pictures in a grid, row by row, each scaled to `cell` pixels under its label.

    Parameters
    ----------
    pictures : sequence of ndarray, uint8, shape (Y, X), (Y, X, 3) or (Y, X, 4)
        Gray, RGB or RGBA of any size; where one is transparent the paper shows.
    labels : sequence of str
        One line for each picture; a long one is set in smaller letters.
    columns : int, optional
        Pictures in a row. Default: as many as make a square of them.
    cell : int
        Longer side of each picture on the sheet.

    Returns
    -------
    ndarray, uint8, shape (Y, X, 3)
        The sheet.
    """
    if not pictures or len(pictures) != len(labels):
        raise ValueError(f"Every picture needs a label, got {len(pictures)} and {len(labels)}.")
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    tiles = [_tile(*pair, cell) for pair in zip(pictures, labels, strict=True)]
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) + MARGIN for row in rows]

    size = (MARGIN + columns * (cell + MARGIN), MARGIN + sum(heights))
    sheet = Image.new("RGB", size, PAPER)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (MARGIN + column * (cell + MARGIN), top))
        top += height
    return np.array(sheet)


def fit(picture: NDArray[np.uint8], cell: int) -> NDArray[np.uint8]:
    """The picture with its longer side at `cell` pixels and its proportions kept."""
    return np.array(_scaled(picture, cell))


def _tile(picture: NDArray[np.uint8], label: str, cell: int) -> Image.Image:
    """One picture under its label, as wide as a cell and as high as it needs to be."""
    image = _scaled(picture, cell)
    strip = round(cell * STRIP)
    tile = Image.new("RGB", (cell, strip + image.height), PAPER)
    transparency = image if image.mode == "RGBA" else None
    tile.paste(image, ((cell - image.width) // 2, strip), transparency)
    _write(ImageDraw.Draw(tile), label, cell, strip)
    return tile


def _scaled(picture: NDArray[np.uint8], cell: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(picture))
    factor = cell / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _write(draw: ImageDraw.ImageDraw, label: str, width: int, height: int) -> None:
    """The label in the middle of its strip, as large as fits."""
    # Pillow's own font: it is everywhere, and needs no file.
    size = round(height * 0.6)
    font = ImageFont.load_default(size)
    while draw.textlength(label, font) > width and size > SMALLEST_TEXT:
        size -= 1
        font = ImageFont.load_default(size)
    # Placed by the letters' size, not by their outline: labels of a row share a baseline.
    draw.text(
        ((width - draw.textlength(label, font)) / 2, height / 2 - size * 0.6), label, INK, font
    )
