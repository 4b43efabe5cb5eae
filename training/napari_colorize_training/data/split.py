"""Which pictures validate: by hash, within groups, and the same however the folder grows.

A picture's place in [0, 1) follows from its content alone, a group's from its name alone; those
below the validation share are held back. Adding pictures therefore moves none of them. Only where
chance leaves validation less than half of its share, as it may in small sets, do the next in order
step in; these may have to leave again as the set grows.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize_training.data.sources import Item

PREFIX = "prefix:"


def hash_position(text: str) -> float:
    """A number in [0, 1) that is a matter of the text alone."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def grouping(group: str | None, items: Sequence[Item]) -> Callable[[Item], str | None]:
    """How to tell a picture's group: slide, bag, film; None if it stands alone.

    Parameters
    ----------
    group : str or None
        `"folder"` (name of the parent folder), `"prefix:SEP"` (what stands before SEP in the file
        name), a column of the source, or a regular expression with one group in parentheses that
        is searched in the file name, then in the whole path. None: the column `group` if there
        is one.
    items : sequence of Item
        Of the source.

    Raises
    ------
    SettingsError
        If `group` is none of these.
    """
    columns = {name for item in items for name in item.columns}
    if group is None:
        return lambda item: item.columns.get("group") or None
    if group == "folder":
        return lambda item: PurePosixPath(item.name).parent.name or None
    if group.startswith(PREFIX) and len(group) > len(PREFIX):
        return lambda item: PurePosixPath(item.name).stem.split(group[len(PREFIX) :])[0]
    if group in columns:
        return lambda item: item.columns.get(group) or None
    pattern = _pattern(group)
    return lambda item: _found(pattern, item.name)


def validation_split(
    digests: Sequence[str],
    groups: Sequence[str | None],
    alike: Sequence[tuple[int, int]],
    share: float,
) -> list[bool]:
    """Which pictures validate.

    Parameters
    ----------
    digests : sequence of str
        One for each picture, of its content.
    groups : sequence of str or None
        A group is never on both sides.
    alike : sequence of pairs
        Places of near-duplicates: these stay together if they have no group. (If they have, a
        slide's blank tiles would tie all slides together.)
    share : float
        Of the pictures (or groups) that are to validate, in (0, 1).

    Raises
    ------
    ImageError
        If all pictures are of one group.
    """
    names = [
        f"group {group}" if group else digest for digest, group in zip(digests, groups, strict=True)
    ]
    if len(set(groups)) == 1 and groups[0]:
        raise ImageError(
            f"All pictures belong to one group, {groups[0]!r}: nothing could be held back to "
            "validate on. Give pictures of two groups, or group them otherwise."
        )
    units = _tied(names, [pair for pair in alike if not any(groups[number] for number in pair)])
    if len(set(units)) == 1:  # frames of one scene, say: better a poor validation than none
        units = names if len(set(names)) > 1 else [f"{name} {i}" for i, name in enumerate(names)]
    places: dict[str, float] = {}
    for unit, name in zip(units, names, strict=True):
        # The lowest of all: one that joins may bring training pictures over, never the reverse.
        places[unit] = min(hash_position(name), places.get(unit, 1.0))
    order = sorted(places, key=lambda unit: (places[unit], unit))
    count = sum(value < share for value in places.values())
    count = max(count, math.ceil(share * len(order) / 2))
    chosen = set(order[: min(count, len(order) - 1)])
    return [unit in chosen for unit in units]


def _tied(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """One name for all that are tied to each other, directly or through others."""
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
            f"The group is 'folder', 'prefix:SEP', a column of the CSV or a regular expression "
            f"with one part in parentheses, such as '^(slide\\d+)_'; got {group!r}."
        )
    return pattern


def _found(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.search(PurePosixPath(name).name) or pattern.search(name)
    return match[1] if match else None
