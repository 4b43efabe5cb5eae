"""Ground truth: color images at full size, on which models are measured.

Sources and validation split are the same as in training.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray, Limits, UInt8Array
from napari_colorize.errors import ImageError
from napari_colorize.imaging.color import to_uint8
from napari_colorize.io.file_names import natural_key
from napari_colorize_training.data.cache import VALIDATION_SHARE
from napari_colorize_training.data.checks import (
    COLORLESS,
    HAS_RECORD,
    MISPAIRED,
    PREDICTED,
    UNREADABLE,
    Problem,
    is_colorless,
)
from napari_colorize_training.data.decode import (
    content_digest,
    decode,
    ranges_of,
    to_color,
    to_gray,
)
from napari_colorize_training.data.sources import ImageSource, Item, read_source
from napari_colorize_training.data.split import grouping, validation_split
from napari_colorize_training.models.export import DIGITS

FULL_SIZE = 2**16  # px; images are not reduced while decoding
TIFF = {".tif", ".tiff"}


@dataclass(frozen=True, eq=False)
class GroundTruthImage:
    """A color image, and its gray image if the source has one."""

    # Name in the source; the group is empty if the image has none
    name: str
    group: str
    rgb: UInt8Array | None  # shape (Y, X, 3): None if the image cannot be used
    gray: UInt8Array | None = None  # shape (Y, X): None if gray is computed from the colors
    problem: Problem | None = None  # why it cannot be used


@dataclass(frozen=True)
class GroundTruthSet:
    """The images of a source; iteration reads one image at a time."""

    title: str
    items: list[Item]
    groups: list[str]
    problems: list[Problem] = field(default_factory=list)  # found without decoding images

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[GroundTruthImage]:
        for item, group in zip(self.items, self.groups, strict=True):
            yield _read(item, group)


def find_ground_truth(
    data: Any,
    *,
    validation: bool | Collection[str] = False,
    group: str | None = None,
    frames: bool = False,
    limit: int | None = None,
) -> GroundTruthSet:
    """List the images of a source.

    Parameters
    ----------
    data : path, sequence, mapping, array or layer
        See `sources.read_source`; a TIFF of many pages is a stack.
    validation : bool or collection of str
        Only the validation split of a training with the default share and this `group`, or only
        the images of `export.recorded_validation`.
    group : str, optional
        See `split.grouping`.
    frames : bool
        Sort by the numbers in names: frame 2 before frame 10.
    limit : int, optional
        Largest number of images.

    Raises
    ------
    FileNotFoundError
        If there are none.
    ImageError, SettingsError
        If `data` is no source, or `group` is invalid.
    """
    source = _source(data)
    items = source.items
    if not items:
        raise FileNotFoundError(f"{source.title} has no images to measure on.")
    group_of = grouping(group, items)
    groups = [group_of(item) for item in items]
    chosen = list(range(len(items)))
    if not isinstance(validation, bool):
        chosen = [number for number in chosen if _digest(items[number])[:DIGITS] in validation]
    elif validation and len(items) > 1:
        # Near-duplicates are not detected; in training they can only add images to the split.
        in_split = validation_split([_digest(item) for item in items], groups, [], VALIDATION_SHARE)
        chosen = [number for number in chosen if in_split[number]]
    if frames:
        chosen.sort(key=lambda number: natural_key(items[number].name))
    chosen = chosen[:limit]
    return GroundTruthSet(
        source.title,
        [items[number] for number in chosen],
        [groups[number] or "" for number in chosen],
        source.problems,
    )


def read_images(source: Any, *, validation: bool = False) -> Iterator[UInt8Array]:
    """Yield the color images of a source, uint8 `(Y, X, 3)`; others are left out."""
    for truth in find_ground_truth(source, validation=validation):
        if truth.rgb is not None:
            yield truth.rgb


def _source(data: Any) -> ImageSource:
    if isinstance(data, (str, Path)) and Path(data).suffix.lower() in TIFF and Path(data).is_file():
        from napari_colorize.io.images import has_provenance, read_image

        image = read_image(Path(data))
        if image.is_stack:
            if has_provenance(Path(data)):
                raise ImageError(
                    f"{data} was {PREDICTED}, and its colors are no truth. Give color images."
                )
            return replace(read_source(image.array), title=str(data))
    return read_source(data)


def _read(item: Item, group: str) -> GroundTruthImage:
    try:
        color = decode(item.color, FULL_SIZE)
        partner = None if item.gray is None else decode(item.gray, FULL_SIZE)
    except ImageError as error:
        return _left_out(item, group, UNREADABLE, str(error).rstrip("."))
    if color.predicted:
        return _left_out(item, group, PREDICTED, HAS_RECORD)
    if color.pixels.ndim == 2:
        return _left_out(item, group, COLORLESS, "it has one channel")
    found, found_gray = ranges_of(color, partner, item.limits)
    rgb = _to_8_bits(*to_color(color, found))
    gray = None if partner is None else _to_8_bits(*to_gray(partner, found_gray))
    if is_colorless(rgb, 255):
        return _left_out(item, group, COLORLESS, "its colors hardly differ from gray")
    if gray is not None and gray.shape != rgb.shape[:2]:
        return _left_out(item, group, MISPAIRED, "gray and color differ in size")
    return GroundTruthImage(item.name, group, rgb, gray)


def _left_out(item: Item, group: str, problem: str, reason: str) -> GroundTruthImage:
    found = Problem(item.name, problem, reason, "left out")
    return GroundTruthImage(item.name, group, None, problem=found)


def _to_8_bits(pixels: AnyArray, limits: Limits) -> UInt8Array:
    """Convert pixels with these limits to 8 bits."""
    low, high = limits
    if pixels.dtype == np.uint8 and (low, high) == (0, 255):
        return pixels
    unit = (pixels.astype(np.float64) - low) / ((high - low) or 1.0)
    return to_uint8(np.nan_to_num(unit).clip(0, 1))


def _digest(item: Item) -> str:
    """Return the hash that the split uses; unreadable images are in no split."""
    try:
        return content_digest(item.color)
    except OSError:
        return item.name
