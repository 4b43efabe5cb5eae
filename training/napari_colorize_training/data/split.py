"""Validation split by hash, which respects groups and is stable when images are added.

The content of an image, or the name of its group, is hashed to a position in [0, 1). Those below
the validation share form the validation split, so that adding images moves none of the others. If
fewer than half of the share, or fewer than `MIN_IMAGES` images, are selected, as may happen in
small sets, the next in order are added; these may return to training when the set grows.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import PurePosixPath

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize_training.data.sources import Item

PREFIX = "prefix:"
MIN_IMAGES = 8  # for validation, if they are at most `MAX_SMALL_SHARE` of all
MAX_SMALL_SHARE = 0.2


def hash_position(text: str) -> float:
    """Hash a text to a number in [0, 1)."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def grouping(group: str | None, items: Sequence[Item]) -> Callable[[Item], str | None]:
    """Return a function from an image to the name of its group, or to None.

    Parameters
    ----------
    group : str or None
        `"folder"` (name of the parent folder), `"prefix:SEP"` (the file name up to SEP), a column
        of the source, or a regular expression with one group in parentheses that is searched in
        the file name, then in the whole path. None: the column `group`, if there is one.
    items : sequence of Item
        Images of the source.

    Raises
    ------
    SettingsError
        If `group` is none of these, or if no image has a group by it.
    """
    if group is None:
        return lambda item: item.columns.get("group") or None
    found = _grouping(group, items)
    if items and not any(found(item) for item in items):
        raise SettingsError(
            f"No image belongs to a group by {group!r}: for example {items[0].name} does not. "
            "Give another group option, or none."
        )
    return found


def _grouping(group: str, items: Sequence[Item]) -> Callable[[Item], str | None]:
    columns = {name for item in items for name in item.columns}
    if group == "folder":
        return lambda item: PurePosixPath(item.name).parent.name or None
    if group.startswith(PREFIX) and len(group) > len(PREFIX):
        return lambda item: PurePosixPath(item.name).stem.split(group[len(PREFIX) :])[0]
    if group in columns:
        return lambda item: item.columns.get(group) or None
    pattern = _pattern(group)
    return lambda item: _search(pattern, item.name)


def validation_split(
    digests: Sequence[str],
    groups: Sequence[str | None],
    alike: Sequence[tuple[int, int]],
    share: float,
) -> list[bool]:
    """Return for each image whether it belongs to the validation split.

    Parameters
    ----------
    digests : sequence of str
        Hash of the content of each image.
    groups : sequence of str or None
        Group of each image; a group is never split.
    alike : sequence of pairs
        Indices of near-duplicates. They stay together if they have no group. (Otherwise the
        blank tiles of slides would tie all slides together.)
    share : float
        Share of the images (or groups) in the validation split, in (0, 1). It has at least 8
        images if these are at most a fifth of all.

    Raises
    ------
    ImageError
        If all images belong to one group.
    """
    names = [
        f"group {group}" if group else digest for digest, group in zip(digests, groups, strict=True)
    ]
    if len(set(groups)) == 1 and groups[0]:
        raise ImageError(
            f"All images belong to one group, {groups[0]!r}, which cannot be split into training "
            "and validation. Give images of two groups, or another group option."
        )
    units = _connected(
        names, [pair for pair in alike if not any(groups[number] for number in pair)]
    )
    if len(set(units)) == 1:  # such as frames of one scene: split them nevertheless
        units = names if len(set(names)) > 1 else [f"{name} {i}" for i, name in enumerate(names)]
    positions: dict[str, float] = {}
    for unit, name in zip(units, names, strict=True):
        # The lowest of all: an added image may move others to validation, but never to training.
        positions[unit] = min(hash_position(name), positions.get(unit, 1.0))
    order = sorted(positions, key=lambda unit: (positions[unit], unit))
    count = sum(value < share for value in positions.values())
    count = max(count, math.ceil(share * len(order) / 2))
    sizes = Counter(units)
    images = list(accumulate(sizes[unit] for unit in order))
    needed = min(MIN_IMAGES, int(MAX_SMALL_SHARE * len(units)))
    count = max(count, 1 + sum(number < needed for number in images))
    chosen = set(order[: min(count, len(order) - 1)])
    return [unit in chosen for unit in units]


def _connected(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Return one name for all members of each connected component (union-find)."""
    root = list(range(len(names)))

    def find(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    for first, second in pairs:
        root[find(second)] = find(first)
    return [names[find(number)] for number in range(len(names))]


def _pattern(group: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(group)
    except re.error:
        pattern = None
    if pattern is None or pattern.groups != 1:
        raise SettingsError(
            f"group must be 'folder', 'prefix:SEP', a column of the CSV, or a regular expression "
            f"with one part in parentheses, such as '^(slide\\d+)_'; got {group!r}."
        )
    return pattern


def _search(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.search(PurePosixPath(name).name) or pattern.search(name)
    return match[1] if match else None
