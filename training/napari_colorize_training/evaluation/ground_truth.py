"""Pictures whose colours are known, at full size: what models are measured on.

They come from the same sources as training pictures, and the same split tells which of them
training holds back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.errors import ImageError
from napari_colorize_training.data.cache import VALIDATION_SHARE
from napari_colorize_training.data.checks import is_colorless
from napari_colorize_training.data.decode import Array, decode, to_color, to_gray
from napari_colorize_training.data.sources import Content, ImageSource, Item, Limits, read_source
from napari_colorize_training.data.split import grouping, validation_split

Pixels = NDArray[np.uint8]

FULL_SIZE = 2**16  # px: no picture is decoded smaller than it is
TIFF = {".tif", ".tiff"}


@dataclass(frozen=True, eq=False)
class GroundTruthImage:
    """A picture in colour, and its gray if the source brought one.

    Parameters
    ----------
    name, group : str
        Where it came from; the group is empty if it stands alone.
    rgb : ndarray, uint8, shape (Y, X, 3), optional
        None if the picture cannot be read, or has no colours.
    gray : ndarray, uint8, shape (Y, X), optional
        None: it is to be derived from the colours.
    """

    name: str
    group: str
    rgb: Pixels | None
    gray: Pixels | None = None


@dataclass(frozen=True)
class GroundTruthSet:
    """What a source holds, nothing decoded yet; iterating reads one picture at a time."""

    title: str
    items: list[Item]
    groups: list[str]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[GroundTruthImage]:
        for item, group in zip(self.items, self.groups, strict=True):
            yield _read(item, group)


def find_ground_truth(
    data: Any,
    *,
    validation: bool = False,
    group: str | None = None,
    frames: bool = False,
    limit: int | None = None,
) -> GroundTruthSet:
    """List the pictures of a source.

    Parameters
    ----------
    data : path, sequence, mapping, array or layer
        See `sources.read_source`; a TIFF of many pages is a stack.
    validation : bool
        Only pictures that training on this source with this `group` holds back.
    group : str, optional
        See `split.grouping`.
    frames : bool
        In the order of the numbers in their names: frame 2 before frame 10.
    limit : int, optional
        No more than the first so many.

    Raises
    ------
    FileNotFoundError
        If there are none.
    ImageError, SettingsError
        If this is no source, or `group` makes no sense.
    """
    source = _source(data)
    items = source.items
    if not items:
        raise FileNotFoundError(f"{source.title} holds no pictures to measure on.")
    group_of = grouping(group, items)
    groups = [group_of(item) for item in items]
    chosen = list(range(len(items)))
    if validation and len(items) > 1:
        # Near-duplicates are not looked for: with them, training holds back more, never less.
        kept = validation_split([_digest(item) for item in items], groups, [], VALIDATION_SHARE)
        chosen = [number for number in chosen if kept[number]]
    if frames:
        chosen.sort(key=lambda number: _natural(items[number].name))
    chosen = chosen[:limit]
    return GroundTruthSet(
        source.title,
        [items[number] for number in chosen],
        [groups[number] or "" for number in chosen],
    )


def read_images(source: Any, *, validation: bool = False) -> Iterator[Pixels]:
    """The pictures of a source in colour, uint8 `(Y, X, 3)`; what has none is left out."""
    for truth in find_ground_truth(source, validation=validation):
        if truth.rgb is not None:
            yield truth.rgb


def _source(data: Any) -> ImageSource:
    if isinstance(data, (str, Path)) and Path(data).suffix.lower() in TIFF and Path(data).is_file():
        from napari_colorize.io.images import read_image

        picture = read_image(Path(data))
        if picture.is_stack:
            return replace(read_source(picture.array), title=str(data))
    return read_source(data)


def _read(item: Item, group: str) -> GroundTruthImage:
    try:
        color = decode(item.color, FULL_SIZE)
        gray = None if item.gray is None else to_gray(decode(item.gray, FULL_SIZE), item.limits)
    except ImageError:
        return GroundTruthImage(item.name, group, None)
    if color.pixels.ndim == 2:
        return GroundTruthImage(item.name, group, None)
    rgb = _as_bytes(*to_color(color))
    if is_colorless(rgb, 255):
        return GroundTruthImage(item.name, group, None)
    return GroundTruthImage(item.name, group, rgb, None if gray is None else _as_bytes(*gray))


def _as_bytes(pixels: Array, limits: Limits) -> Pixels:
    """Pixels with black and white at their limits, in 8 bits."""
    low, high = limits
    if pixels.dtype == np.uint8 and (low, high) == (0, 255):
        return pixels
    unit = (pixels.astype(np.float64) - low) / ((high - low) or 1.0)
    rounded: Pixels = np.rint(np.nan_to_num(unit).clip(0, 1) * 255).astype(np.uint8)
    return rounded


def _digest(item: Item) -> str:
    """As training's split has it; one that cannot be read is in no split."""
    try:
        return _digest_of(item.color)
    except OSError:
        return item.name


def _digest_of(content: Content) -> str:
    import hashlib

    from napari_colorize_training.data.decode import digest_of
    from napari_colorize_training.data.sources import Member

    if isinstance(content, Path):
        return hashlib.sha256(content.read_bytes()).hexdigest()
    if isinstance(content, Member):
        return hashlib.sha256(content.read()).hexdigest()
    return digest_of(np.asarray(content))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers within names by their value."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
