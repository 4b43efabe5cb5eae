"""DICOM in napari: what `media.dicom` reads, as a layer with its window and pixel spacing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.errors import ImageError

if TYPE_CHECKING:
    from napari.types import LayerData

    from napari_colorize.io.image_record import ImageRecord

MM_PER_UNIT = {"cm": 10.0, "inch": 25.4}

OnePath = str | PathLike[str]


def get_reader(path: OnePath | Sequence[OnePath]) -> Callable[..., list[LayerData]] | None:
    """The function that reads a file, or several, or None if it is not called like DICOM.

    npe2 names the argument `path` when it asks.
    """
    from napari_colorize.io.formats import DICOM_SUFFIXES

    suffixes = {Path(each).suffix.lower() for each in _as_list(path)}
    return read_layers if suffixes and suffixes <= DICOM_SUFFIXES else None


def read_layers(paths: OnePath | Sequence[OnePath]) -> list[LayerData]:
    """One layer of one file, or of several (napari's "open as stack") of the same size.

    Raises
    ------
    ImageError
        If a file cannot be read, or the files do not make a stack.
    """
    from napari_colorize.io.images import read_image

    files = [Path(path) for path in _as_list(paths)]
    pictures = [read_image(file) for file in files]
    return [(_joined(pictures), _looks(pictures, files[0].stem), "image")]


def _as_list(paths: OnePath | Sequence[OnePath]) -> list[OnePath]:
    return [paths] if isinstance(paths, (str, PathLike)) else list(paths)


def _joined(pictures: Sequence[ImageRecord]) -> Any:
    first = pictures[0].array
    if len(pictures) == 1:
        return first
    if any(picture.array.shape != first.shape for picture in pictures):
        raise ImageError("These DICOM files differ in size: open them one by one, not as a stack.")
    return np.stack([picture.array for picture in pictures])


def _looks(pictures: Sequence[ImageRecord], name: str) -> dict[str, Any]:
    """Name, colours, limits and placement of the layer: the first file speaks for all."""
    first = pictures[0]
    leading = len(pictures) > 1 or first.is_stack
    axes = first.array.ndim + (len(pictures) > 1) - first.rgb
    looks: dict[str, Any] = {"name": name, "rgb": first.rgb, "metadata": {"notes": first.notes}}
    if first.contrast_limits is not None:
        looks["contrast_limits"] = first.contrast_limits
    if leading:
        letter = (first.metadata.axes or "Z").lower()
        names = [f"{letter}{place}" for place in range(axes - 3)] + [letter, "y", "x"]
        looks["axis_labels"] = tuple(names)
    return looks | _spacing(first, axes)


def _spacing(picture: ImageRecord, axes: int) -> dict[str, Any]:
    resolution = picture.metadata.resolution
    if resolution is None or resolution.unit not in MM_PER_UNIT:
        return {}
    mm = MM_PER_UNIT[resolution.unit]
    leading = axes - 2
    return {
        "scale": (*[1.0] * leading, mm / resolution.y, mm / resolution.x),
        "units": (*["pixel"] * leading, "mm", "mm"),
    }
