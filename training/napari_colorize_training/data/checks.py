"""Checks of training images, and the report of their results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from napari_colorize.array_types import AnyArray, UInt8Array
from napari_colorize.runtime.atomic import new_file

MIN_SIDE = 32  # px, short side; smaller images show no recognizable objects
MIN_COLOR = 0.01  # mean of max(R, G, B) - min(R, G, B); JPEG noise of gray images is below
MAX_BITS = 2  # of 64, by which the hashes of near-duplicates differ at most
FLAT = 2.0  # standard deviation in levels; below it the hash would be noise
NAMED = 3  # images of each problem that are named in a summary
BIT_RANGES = (0x1FFFFF, 0x1FFFFF << 21, 0x3FFFFF << 42)  # 21 + 21 + 22 bits

MAX_DIFFERENCE = 0.2  # mean difference of gray and the luminance of its colors, of the range
UNREADABLE, COLORLESS, TINY, DUPLICATED, SIMILAR, MISPAIRED, DISAGREEING = (
    *("unreadable", "gray", "tiny"),
    *("duplicated", "nearly the same", "mis-paired", "of another brightness in gray"),
)
PREDICTED = "predicted by this program"
HAS_RECORD = "its metadata have a provenance record"  # reason of PREDICTED
OTHER_RANGE = "of another intensity range in gray alone"


@dataclass(frozen=True)
class Problem:
    """A problem with one image, and what was done about it."""

    name: str
    problem: str
    reason: str
    action: str

    def __str__(self) -> str:
        return f"{self.name}: {self.problem} ({self.reason}); {self.action}."


@dataclass(frozen=True)
class Report:
    """Numbers of images in a source, and their problems."""

    title: str  # name of the source in messages
    # Numbers of images in the source, and in both splits
    found: int
    training: int
    validation: int
    groups: int = 0  # number of groups; 0 without groups
    # Whether the source has gray images, and whether it has more than 8 bits
    paired: bool = False
    deep: bool = False
    # In the order in which they were found
    problems: tuple[Problem, ...] = field(default_factory=tuple)

    @property
    def used(self) -> int:
        """Number of images in both splits."""
        return self.training + self.validation

    def sentence(self) -> str:
        """Return a summary in one sentence."""
        groups = f" in {self.groups} groups" * bool(self.groups)
        kind = " with gray images" * self.paired
        depth = " They are stored with 16 bits." * self.deep
        return (
            f"{self.used} of {self.found} images{kind} are used{groups}: {self.training} for "
            f"training, {self.validation} for validation{summary(self.problems)}.{depth}"
            f"{self._range_note()}"
        )

    def _range_note(self) -> str:
        """Return a sentence on images that the Colorizer reads with other limits, or ""."""
        found = [each for each in self.problems if each.problem == OTHER_RANGE]
        if not found:
            return ""
        return (
            f" {len(found)} of them are {OTHER_RANGE}: {found[0].reason}. Choose the limits of the "
            "training when such images are colorized."
        )

    def text(self) -> str:
        """Return the summary, and a line for each problem."""
        return "\n".join([self.sentence(), *map(str, self.problems)]) + "\n"

    def save(self, folder: Path) -> None:
        """Write `report.json` and `report.txt`."""
        with new_file(folder / "report.json", overwrite=True) as part:
            part.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        with new_file(folder / "report.txt", overwrite=True) as part:
            part.write_text(self.text(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Report:
        """Read the files of `save`."""
        values = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        problems = tuple(Problem(**problem) for problem in values.pop("problems"))
        return cls(**values, problems=problems)


def summary(problems: Sequence[Problem], *, named: int = 0) -> str:
    """Return numbers of images that were left out, as the end of a sentence, or "".

    At most `named` images of each problem are named.
    """
    names: dict[str, list[str]] = {}
    for each in problems:
        if each.action == "left out":
            names.setdefault(each.problem, []).append(each.name)
    parts = ", ".join(
        f"{len(found)} {problem}{_first(found, named)}" for problem, found in names.items()
    )
    return f"; left out: {parts}" if parts else ""


def _first(names: Sequence[str], count: int) -> str:
    """Return the first names in parentheses."""
    if not count:
        return ""
    others = len(names) - count
    return f" ({', '.join(names[:count])}{f' and {others} more' * (others > 0)})"


def is_tiny(pixels: AnyArray) -> bool:
    """Whether an image is too small for training."""
    return min(pixels.shape[:2]) < MIN_SIDE


def is_colorless(rgb: AnyArray, white: float) -> bool:
    """Whether an image `(Y, X, 3)` with white at `white` has almost no color.

    A toned photograph, such as a sepia print, counts as an image with color.
    """
    spread = rgb.max(axis=-1).astype(np.float32) - rgb.min(axis=-1)
    return float(spread.mean()) < MIN_COLOR * white


def fingerprint(*arrays: AnyArray | None) -> str:
    """Return a hash of values, shape and dtype of arrays."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def difference_hash(rgb: UInt8Array) -> int | None:
    """Return the dHash of an image (N. Krawetz), 64 bits; None if the image is flat.

    Each bit is whether a pixel of an 8 x 9 thumbnail is brighter than its left neighbor. Images
    that were scaled, saved again or slightly changed differ in a few bits.
    """
    small = Image.fromarray(rgb).convert("L").resize((9, 8), Image.Resampling.BOX)
    values = np.asarray(small, np.int16)
    if values.std() < FLAT:
        return None
    return int.from_bytes(np.packbits(values[:, 1:] > values[:, :-1]).tobytes(), "big")


def near_duplicates(hashes: Sequence[int | None]) -> list[tuple[int, int]]:
    """Return pairs of indices whose hashes differ in at most `MAX_BITS` bits.

    Two different bits leave at least one of three bit ranges equal, so that only hashes with an
    equal range are compared; this avoids comparing all pairs.
    """
    pairs: set[tuple[int, int]] = set()
    for bits in BIT_RANGES:
        shared: dict[int, list[int]] = {}
        for index, value in enumerate(hashes):
            if value is not None:
                shared.setdefault(value & bits, []).append(index)
        for indices in shared.values():
            pairs.update(_close_pairs(indices, hashes) if len(indices) > 1 else ())
    return sorted(pairs)


def _close_pairs(indices: list[int], hashes: Sequence[int | None]) -> list[tuple[int, int]]:
    values = np.array([hashes[index] for index in indices], np.uint64)
    if len(values) < 8:  # faster than NumPy for few values
        found = combinations(range(len(indices)), 2)
        close = [(i, j) for i, j in found if int(values[i] ^ values[j]).bit_count() <= MAX_BITS]
    else:
        close = []
        for i in range(len(values) - 1):
            bits = np.bitwise_count(values[i] ^ values[i + 1 :])
            close += [(i, i + 1 + int(j)) for j in np.flatnonzero(bits <= MAX_BITS)]
    return [(indices[i], indices[j]) for i, j in close]
