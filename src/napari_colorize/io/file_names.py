"""Names of image files: which files are recognized, and natural sort order."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Container, Iterable
from functools import cache
from pathlib import Path

from napari_colorize.errors import ImageError
from napari_colorize.io import dicom
from napari_colorize.io.formats import (
    OPTIONAL_READERS,
    VIDEO_SUFFIXES,
    readable_suffixes,
    suffix_of,
)

COLORIZED = "-colorized"
SWEEP = "-sweep"
DISAGREEMENT, ERROR, UNCOLORED = "-disagreement", "-error", "-uncolored"
# Suffixes of results other than colorized images. Image names may contain these words by chance.
OTHER_RESULTS = (SWEEP, DISAGREEMENT, ERROR, UNCOLORED)
MAX_SUFFIXES = 8  # suffixes of files that are left out and listed one by one


def is_image_name(name: str) -> bool:
    """Whether a name has an image suffix and is not hidden (macOS creates `._photo.jpg`)."""
    return not name.startswith(".") and bool(own_suffix(name))


def is_image(path: Path) -> bool:
    """Whether a file of a folder is an image: by its suffix, or by its content if it is DICOM.

    Files of patient CDs have names such as `IM0001` or `1.2.840.10008`. Their index, DICOMDIR,
    is no image.
    """
    if is_dicomdir(path):
        return False
    if is_image_name(path.name):
        return True
    is_unnamed = not path.suffix or path.suffix[1:].isdigit()
    return is_unnamed and not path.name.startswith(".") and dicom.has_image(path)


def is_dicomdir(path: Path) -> bool:
    """Whether a name is that of the index of a DICOM folder (DICOM PS3.10 8.6)."""
    return path.name.upper().startswith("DICOMDIR")  # also of copies such as DICOMDIR.dcm


def own_suffix(name: str | os.PathLike[str]) -> str:
    """An image's suffix as spelled in the name; none in names such as `IM.0001` or `1.2.840`."""
    name = os.path.basename(name)  # noqa: PTH119
    suffix = suffix_of(name)
    return name[len(name) - len(suffix) :] if suffix in _known_suffixes() else ""


def own_stem(path: Path) -> str:
    """An image's name without its suffix."""
    return path.name.removesuffix(own_suffix(path))


def stems_and_names(paths: Iterable[Path]) -> set[tuple[Path, str]]:
    """Folder and name of each image, with and without suffix, for `has_result_name`."""
    return {(path.parent, name) for path in paths for name in (own_stem(path), path.name)}


def has_result_name(
    path: Path, inputs: Container[tuple[Path, str]], *, named: bool = False
) -> bool:
    """Whether an image has the name of a result of an earlier run.

    A file `NAME-colorized` found in a folder is a result. A file `named` by the user, or a name
    such as `NAME-sweep`, is a result only if NAME is among the inputs, see `stems_and_names`.
    """
    stem = own_stem(path)
    if not named and stem.endswith(COLORIZED):
        return True
    return any(
        stem.endswith(ending) and (path.parent, stem.removesuffix(ending)) in inputs
        for ending in (COLORIZED, *OTHER_RESULTS)
    )


def ignored_results(count: int) -> str:
    """Say that results of earlier runs are no inputs, without a period."""
    return f"{count} result{'s' * (count != 1)} of earlier runs ignored"


def left_out_notes(suffixes: Iterable[str], *, can_be_named: bool = False) -> tuple[str, ...]:
    """Count the files of a folder that are not known as images, and say what can read them.

    Parameters
    ----------
    suffixes : iterable of str
        Suffix of each file in lower case, "" for files without one.
    can_be_named : bool
        Whether the files are read if their names are given: then the content decides.

    Returns
    -------
    tuple of str
        One note, or nothing if there are no such files.
    """
    given = list(suffixes)
    if not given:
        return ()
    # Numbered names such as IM.0001 would give as many suffixes as files.
    counts = Counter(
        "numbered" if suffix[1:].isdigit() else suffix or "without a suffix" for suffix in given
    )
    listed = counts.most_common(MAX_SUFFIXES)
    if others := len(given) - sum(count for _, count in listed):
        listed.append(("others", others))
    files = "1 file" if len(given) == 1 else f"{len(given)} files"
    known = set(given)
    kinds = ["without a suffix"] if "" in known else []
    if known - {""}:
        suffix = "a suffix that is" if len(given) == 1 else "suffixes that are"
        kinds.insert(0, f"with {suffix} not known as {'an image' if len(given) == 1 else 'images'}")
    sentences = [
        f"{files} {' or '.join(kinds)} {'was' if len(given) == 1 else 'were'} left out: "
        f"{', '.join(f'{kind} {count}' for kind, count in listed)}."
    ]
    if can_be_named and known - VIDEO_SUFFIXES - OPTIONAL_READERS.keys():
        sentences.append("Images among them are read if their names are given.")
    for package in {OPTIONAL_READERS[suffix] for suffix in known & OPTIONAL_READERS.keys()}:
        kinds = sorted(suffix for suffix in known if OPTIONAL_READERS.get(suffix) == package)
        sentences.append(f"To read {' and '.join(kinds)}: pip install {package}.")
    if known & VIDEO_SUFFIXES:
        sentences.append("Videos are colorized by `napari-colorize video`.")
    return (" ".join(sentences),)


def not_found(name: str | os.PathLike[str]) -> ImageError:
    """Error for an input that does not exist, also for an address on the web."""
    if re.match(r"(https?|ftp|s3|gs):/", str(name)):
        return ImageError(f"{name} is an address: download the file, and give its name.")
    return ImageError(f"{name} does not exist.")


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that orders numbers in names by value, so that 2 comes before 10."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdigit() else (1, part.lower()) for part in parts)


@cache
def _known_suffixes() -> frozenset[str]:
    return readable_suffixes()
