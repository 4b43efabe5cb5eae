"""Training images: reading, checks, validation split, cache and random crops.

`prepare` reads a source (`sources`, `decode`), checks every image (`checks`), splits them into
training and validation images (`split`) and caches them (`cache`). `Crops` (`crops`) makes batches.
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
    """Yield names and contents of the image files in a folder or tar shard."""
    for item in read_source(source).items:
        if isinstance(item.color, (Path, Member)):
            content = item.color
            yield item.name, content.read_bytes() if isinstance(content, Path) else content.read()


def is_validation(content: bytes, share: float = VALIDATION_SHARE) -> bool:
    """Whether a file's image belongs to the validation split of a large set.

    This does not hold for groups, near-duplicates and small sets; see `validation_split`.
    """
    return hash_position(hashlib.sha256(content).hexdigest()) < share
