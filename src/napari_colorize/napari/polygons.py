"""Outlines to pixels: which lie within a polygon or on its outline, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

CORNERS_OF_AN_ELLIPSE = 128
DIGITS = 6  # of a place in pixels that count: so near to an outline is on it


def outline_of(corners: Array, kind: str) -> Array:
    """Corners of a shape; of an ellipse, which is said by the four around it, many along it."""
    if kind != "ellipse":
        return corners
    middle = corners.mean(axis=0)
    across, along = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, CORNERS_OF_AN_ELLIPSE, endpoint=False)[:, None]
    return middle + np.cos(angle) * across + np.sin(angle) * along


def fill(pixels: Array, outline: Array, value: Any = True) -> None:
    """Set the pixels whose centres lie within an outline or on it.

    Parameters
    ----------
    pixels : array, shape (Y, X)
        Changed in place.
    outline : array, shape (N, 2)
        Rows and columns of its corners; it may reach beyond the pixels.
    value : Any
        What they are set to.
    """
    outline = np.round(outline, DIGITS)
    for is_below in (False, True):  # a corner belongs to the edge below it, or to the one above
        rows, columns = _crossings(outline, pixels.shape[0], is_below)
        order = np.lexsort((columns, rows))
        rows = rows[order]
        columns = np.round(columns[order], DIGITS)
        starts = np.ceil(columns[::2]).clip(0).astype(int)
        stops = (np.floor(columns[1::2]) + 1).clip(0).astype(int)
        spans = zip(rows[::2].tolist(), starts.tolist(), stops.tolist(), strict=True)
        for row, start, stop in spans:
            pixels[row, start:stop] = value


def _crossings(outline: Array, height: int, is_below: bool) -> tuple[Array, Array]:
    """Where rows of pixels cross the edges of an outline: row numbers, and places along them."""
    ends = np.roll(outline, -1, axis=0)
    upper = np.where((outline[:, 0] <= ends[:, 0])[:, None], outline, ends)
    lower = np.where((outline[:, 0] <= ends[:, 0])[:, None], ends, outline)
    whole = (lambda edge: np.floor(edge) + 1) if is_below else np.ceil
    first, stop = (whole(end[:, 0]).clip(0, height).astype(int) for end in (upper, lower))
    counts = stop - first
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[edge]
    slope = (lower[:, 1] - upper[:, 1])[edge] / (lower[:, 0] - upper[:, 0])[edge]
    return rows, upper[edge, 1] + (rows - upper[edge, 0]) * slope
