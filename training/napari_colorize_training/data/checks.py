"""What is looked at before the first step of training, and the report of what was done about it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_colorize.runtime.atomic import new_file

SMALLEST = 32  # px, of the short side: less shows no object whose colour could be learned
LEAST_COLOR = 0.01  # mean of max(R, G, B) - min(R, G, B): what JPEG makes of gray stays below
ALIKE = 2  # bits of 64 in which the hashes of near-duplicates differ at most
FLAT = 2.0  # levels; what varies less has a hash of noise
BANDS = (0x1FFFFF, 0x1FFFFF << 21, 0x3FFFFF << 42)  # 21 + 21 + 22 bits

UNREADABLE, COLORLESS, TINY, DUPLICATED, SIMILAR, MISPAIRED = (
    *("unreadable", "gray", "tiny"),
    *("duplicated", "nearly the same", "mis-paired"),
)
Array = NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one picture, and what was done."""

    name: str
    problem: str
    reason: str
    action: str

    def __str__(self) -> str:
        return f"{self.name}: {self.problem} ({self.reason}); {self.action}."


@dataclass(frozen=True)
class Report:
    """What was found in a source.

    Parameters
    ----------
    title : str
        The source, as errors and reports call it.
    found, training, validation : int
        Pictures in the source, and how many are used on which side.
    groups : int
        How many groups they form; 0 if they are not grouped.
    paired, deep : bool
        Whether the source brings its own grays, and more than 8 bits.
    problems : tuple of Problem
        In the order in which they were found.
    """

    title: str
    found: int
    training: int
    validation: int
    groups: int = 0
    paired: bool = False
    deep: bool = False
    problems: tuple[Problem, ...] = field(default_factory=tuple)

    @property
    def used(self) -> int:
        """Pictures that are used on either side."""
        return self.training + self.validation

    def sentence(self) -> str:
        """All in one line."""
        groups = f" in {self.groups} groups" * bool(self.groups)
        kinds = ("with grays of their own" * self.paired, "of 16 bits" * self.deep)
        said = " ".join(["", *filter(None, kinds)])
        return (
            f"{self.used} of {self.found} pictures{said} are used{groups}: {self.training} to "
            f"train on, {self.validation} to validate on{summary(self.problems)}."
        )

    def text(self) -> str:
        """The sentence, then a line for each problem."""
        return "\n".join([self.sentence(), *map(str, self.problems)]) + "\n"

    def save(self, folder: Path) -> None:
        """Write `report.json` and `report.txt`."""
        with new_file(folder / "report.json", overwrite=True) as part:
            part.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        with new_file(folder / "report.txt", overwrite=True) as part:
            part.write_text(self.text(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Report:
        """Read what `save` has written."""
        told = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        problems = tuple(Problem(**problem) for problem in told.pop("problems"))
        return cls(**told, problems=problems)


def summary(problems: Sequence[Problem]) -> str:
    """What was left out and why, as the end of a sentence; empty if nothing was."""
    counts = Counter(problem.problem for problem in problems if problem.action == "left out")
    parts = ", ".join(f"{count} {problem}" for problem, count in counts.items())
    return f"; left out: {parts}" if parts else ""


def is_tiny(pixels: Array) -> bool:
    """Whether a picture is too small to learn from."""
    return min(pixels.shape[:2]) < SMALLEST


def is_colorless(rgb: Array, white: float) -> bool:
    """Whether `(Y, X, 3)`, white at `white`, has next to no colour anywhere.

    Toned photographs have: a sepia print is a picture in colour to this test.
    """
    spread = rgb.max(axis=-1).astype(np.float32) - rgb.min(axis=-1)
    return float(spread.mean()) < LEAST_COLOR * white


def fingerprint(*arrays: Array | None) -> str:
    """The same for the same pixels only."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def difference_hash(rgb: NDArray[np.uint8]) -> int | None:
    """64 bits that say where an 8 x 9 thumbnail grows brighter to the right; None if it is flat.

    N. Krawetz' dHash: pictures that were scaled, saved again or slightly changed differ in few.
    """
    small = Image.fromarray(rgb).convert("L").resize((9, 8), Image.Resampling.BOX)
    values = np.asarray(small, np.int16)
    if values.std() < FLAT:
        return None
    return int.from_bytes(np.packbits(values[:, 1:] > values[:, :-1]).tobytes(), "big")


def nearly_the_same(hashes: Sequence[int | None]) -> list[tuple[int, int]]:
    """Pairs of places whose hashes differ in `ALIKE` bits at most.

    Two changed bits leave one of three bands as it was, so only hashes that share a band are
    compared: that stays quick where all pairs would not.
    """
    pairs: set[tuple[int, int]] = set()
    for band in BANDS:
        shared: dict[int, list[int]] = {}
        for place, value in enumerate(hashes):
            if value is not None:
                shared.setdefault(value & band, []).append(place)
        for places in shared.values():
            pairs.update(_close_pairs(places, hashes) if len(places) > 1 else ())
    return sorted(pairs)


def _close_pairs(places: list[int], hashes: Sequence[int | None]) -> list[tuple[int, int]]:
    values = np.array([hashes[place] for place in places], np.uint64)
    if len(values) < 8:  # too few to be worth a matrix
        found = combinations(range(len(places)), 2)
        close = [(i, j) for i, j in found if int(values[i] ^ values[j]).bit_count() <= ALIKE]
    else:
        close = []
        for i in range(len(values) - 1):
            bits = np.bitwise_count(values[i] ^ values[i + 1 :])
            close += [(i, i + 1 + int(j)) for j in np.flatnonzero(bits <= ALIKE)]
    return [(places[i], places[j]) for i, j in close]
