"""Training pictures: the front door to what reads, checks, divides, caches and crops them.

`prepare` reads any source (`sources`, `decode`), checks every picture (`checks`), divides them
into training and validation (`split`) and caches them (`cache`); `Crops` (`crops`) draws batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from napari_colorize_training.data.cache import VALIDATION_SHARE, CachedImage, ImageCache, prepare
from napari_colorize_training.data.checks import Problem, Report
from napari_colorize_training.data.crops import CropBatch, Crops
from napari_colorize_training.data.sources import Item, Member, read_source
from napari_colorize_training.data.split import hash_position

__all__ = [
    "CachedImage",
    "CropBatch",
    "Crops",
    "ImageCache",
    "Item",
    "Problem",
    "Report",
    "files_in",
    "is_validation",
    "prepare",
    "read_source",
]


def files_in(source: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the picture files in a folder, a tar shard, or a folder of shards."""
    for item in read_source(source).items:
        if isinstance(item.color, (Path, Member)):
            content = item.color
            yield item.name, content.read_bytes() if isinstance(content, Path) else content.read()


def is_validation(content: bytes, share: float = VALIDATION_SHARE) -> bool:
    """Whether the picture in this file is held back, if it stands alone in a large set.

    Groups, near-duplicates and small sets are divided by `prepare` alone.
    """
    return hash_position(hashlib.sha256(content).hexdigest()) < share
