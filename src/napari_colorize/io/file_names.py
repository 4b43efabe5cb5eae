"""Names of image files: suffixes that are recognized, and natural sort order."""

from __future__ import annotations

import os
import re
from functools import cache

from napari_colorize.io.formats import readable_suffixes, suffix_of


def is_image_name(name: str) -> bool:
    """Whether a name has an image suffix and is not hidden (macOS creates `._photo.jpg`)."""
    return not name.startswith(".") and bool(own_suffix(name))


def own_suffix(name: str | os.PathLike[str]) -> str:
    """An image's suffix as spelled in the name; none in names such as `IM.0001` or `1.2.840`."""
    name = os.path.basename(name)  # noqa: PTH119
    suffix = suffix_of(name)
    return name[len(name) - len(suffix) :] if suffix in _known_suffixes() else ""


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that orders numbers in names by value, so that 2 comes before 10."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdigit() else (1, part.lower()) for part in parts)


@cache
def _known_suffixes() -> frozenset[str]:
    return readable_suffixes()
