"""Images that are decoded whenever they are used, for data sets that are too large for a cache.

`prepare_stream` splits the images and writes an index without decoding them; `ImageStream` has the
interface of `ImageCache` and reads files and members of tar shards at random.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.settings import RangeRule
from napari_colorize_training.data.cache import (
    SAMPLE,
    CachedImage,
    CheckedImage,
    ImageCache,
    Images,
    read_item,
    to_bytes,
)
from napari_colorize_training.data.checks import Report
from napari_colorize_training.data.decode import content_digest
from napari_colorize_training.data.sources import Content, Item, Member, read_source
from napari_colorize_training.data.split import grouping, validation_split

INDEX = "stream.json"


@dataclass(frozen=True)
class _Entry:
    item: Item
    group: str | None


class ImageStream(Images):
    """Images that are decoded on every access, see `prepare_stream`.

    An image that cannot be used is replaced by the next one in order that can.
    """

    def __init__(self, cache: Path, *, validation: bool) -> None:
        index = json.loads((cache / INDEX).read_text())
        self.side: int = index["side"]
        self._rule: RangeRule = index["contrast_limits"]
        self._entries = [
            _Entry(
                Item(name, _content(color), _content(gray), limits=limits and tuple(limits)), group
            )
            for name, color, gray, limits, group, is_validation in index["images"]
            if is_validation == validation
        ]
        self.paired = any(entry.item.gray is not None for entry in self._entries)

    @property
    def names(self) -> list[str]:
        """Names of the images, in order."""
        return [entry.item.name for entry in self._entries]

    @property
    def digests(self) -> list[str]:
        """Hashes of the contents of the color images, in order; reads all files."""
        return [content_digest(entry.item.color) for entry in self._entries]

    @property
    def short_side(self) -> int:
        """Median short side, px, of some of the images."""
        return int(np.median([min(image.rgb.shape[:2]) for image in self._sample]))

    @cached_property
    def deep(self) -> bool:  # type: ignore[override]
        """Whether some of the images have more than 8 bits; otherwise all are reduced to 8."""
        return any(image.rgb.dtype != np.uint8 for image in self._sample)

    @cached_property
    def _sample(self) -> list[CheckedImage]:
        """Some of the images, whose properties stand for all."""
        chosen = np.linspace(0, len(self) - 1, min(SAMPLE, len(self))).round().astype(int)
        return [self._usable(int(index))[1] for index in chosen]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> CachedImage:  # type: ignore[override]
        if not 0 <= index < len(self):  # ends an iteration
            raise IndexError(index)
        entry, image = self._usable(index)
        rgb, limits = image.rgb, image.limits
        if not self.deep:
            rgb, limits = to_bytes(rgb, limits), (0.0, 255.0)
        rgb = np.require(rgb, requirements="W")  # torch warns of arrays that are not writable
        return CachedImage(rgb, image.gray, limits, entry.item.name, entry.group, image.gray_limits)

    def _usable(self, index: int) -> tuple[_Entry, CheckedImage]:
        for offset in range(len(self)):
            entry = self._entries[(index + offset) % len(self)]
            image = read_item(entry.item, side=self.side, rule=self._rule)
            if isinstance(image, CheckedImage):
                return entry, image
        raise ImageError("None of the images can be used: they are gray, too small or unreadable.")


def open_images(cache: Path, *, validation: bool) -> ImageCache | ImageStream:
    """Open the images that `prepare` or `prepare_stream` has written to a folder."""
    kind = ImageStream if (cache / INDEX).is_file() else ImageCache
    return kind(cache, validation=validation)


def prepare_stream(
    data: Any,
    cache: Path,
    *,
    group: str | None = None,
    side: int,
    validation_share: float,
    contrast_limits: RangeRule = "auto",
) -> Report:
    """List the images of a source and split them, without reading them.

    Parameters are those of `prepare`. The split follows from names instead of contents, and images
    are neither checked nor compared.

    Raises
    ------
    SettingsError
        If the source has arrays, which are in memory anyway.
    """
    source = read_source(data)
    items = source.items
    if len(items) < 2:
        raise FileNotFoundError(f"{source.title} has fewer than two images.")
    if any(not isinstance(item.color, (Path, Member)) for item in items):
        raise SettingsError("Only files and tar shards are streamed; use a cache for arrays.")
    groups = [*map(grouping(group, items), items)]
    split = validation_split([item.name for item in items], groups, [], validation_share)
    images = [
        (
            item.name,
            _reference(item.color),
            _reference(item.gray),
            item.limits,
            group_name,
            is_validation,
        )
        for item, group_name, is_validation in zip(items, groups, split, strict=True)
    ]
    index = cache / INDEX
    with write_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    with new_file(index, overwrite=True) as part, write_errors(index):
        part.write_text(
            json.dumps({"side": side, "contrast_limits": contrast_limits, "images": images})
        )
    return Report(
        title=source.title,
        found=len(items) + len(source.problems),
        training=split.count(False),
        validation=split.count(True),
        groups=len({name for name in groups if name}),
        paired=any(item.gray is not None for item in items),
        problems=tuple(source.problems),
    )


def _reference(content: Content | None) -> list[Any] | None:
    if content is None:
        return None
    if isinstance(content, Member):
        return [str(content.shard.absolute()), content.name, content.offset, content.size]
    return [str(Path(content).absolute())]


def _content(reference: Sequence[Any] | None) -> Path | Member | None:
    if reference is None:
        return None
    path = Path(reference[0])
    return path if len(reference) == 1 else Member(path, *reference[1:])
