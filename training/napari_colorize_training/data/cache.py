"""Training pictures, decoded once, shrunk once, then read at random from one flat file.

`prepare` reads a source, checks every picture, divides them into two sides and writes `pixels`
(all pictures one after another), `report.json`, `report.txt` and, last of all, `index.json`: only
with it is a cache complete. `Photographs` maps the pixels into memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from math import isclose
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.errors import ImageError, SettingsError
from napari_colorize.runtime.atomic import new_file, remove_abandoned, write_errors
from napari_colorize_training.data.checks import (
    COLORLESS,
    DUPLICATED,
    MISPAIRED,
    SIMILAR,
    SMALLEST,
    TINY,
    UNREADABLE,
    Problem,
    Report,
    difference_hash,
    fingerprint,
    is_colorless,
    is_tiny,
    nearly_the_same,
    summary,
)
from napari_colorize_training.data.decode import (
    decode,
    digest_of,
    shrink,
    shrunk_size,
    to_color,
    to_gray,
)
from napari_colorize_training.data.sources import (
    Content,
    ImageSource,
    Item,
    Limits,
    Member,
    read_source,
)
from napari_colorize_training.data.split import grouping, validation_split

SIDE = 160  # px, of the short side in the cache
VALIDATION_SHARE = 0.02
FORMAT = 2  # of the cache; one of another format is built anew
THREADS = min(16, os.cpu_count() or 1)
AHEAD = 4  # pictures decoded in advance, for each thread
SAME_PROPORTIONS = 0.02  # relative; scans of one plate may differ by a line or two
ALIGNED = 8  # bytes
Array = NDArray[Any]
Progress = Callable[[int, int], None]
"""Called with the number of pictures read so far and of all."""


@dataclass(frozen=True)
class CachedImage:
    """One picture of the cache.

    Parameters
    ----------
    rgb : ndarray, shape (Y, X, 3)
        uint8 or uint16.
    gray : ndarray, shape (Y, X), optional
        uint8, uint16 or float32, if the source brought it.
    limits, gray_limits : tuple of float
        Values of `rgb` and of `gray` that are black and white.
    name, group : str
        Where it came from; the group is None if it stands alone.
    """

    rgb: Array
    gray: Array | None
    limits: Limits
    name: str
    group: str | None = None
    gray_limits: Limits = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """A line of the index: where a picture lies and how its bytes are read."""

    name: str
    group: str | None
    start: int
    height: int
    width: int
    dtype: str
    limits: Limits
    gray_dtype: str | None
    gray_limits: Limits
    validation: bool = False


class ImageCache:
    """The cached pictures of one side of the split."""

    def __init__(self, cache: Path, *, validation: bool) -> None:
        pictures = _read_index(cache)["pictures"]
        entries = [CacheEntry(**picture) for picture in pictures]
        # "c": torch wants arrays that could be written to; what is written stays in memory.
        self._pixels = np.memmap(cache / "pixels", np.uint8, mode="c")
        self._entries = [entry for entry in entries if entry.validation == validation]
        self.deep = any(entry.dtype != "uint8" for entry in entries)
        self.paired = any(entry.gray_dtype for entry in entries)

    @property
    def short_side(self) -> int:
        """Median short side, px: crops need not be larger."""
        return int(np.median([min(entry.height, entry.width) for entry in self._entries]))

    @property
    def names(self) -> list[str]:
        """Of the pictures, in order."""
        return [entry.name for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> CachedImage:
        entry = self._entries[index]
        shape = (entry.height, entry.width)
        rgb = self._array(entry.start, entry.dtype, (*shape, 3))
        gray = None
        if entry.gray_dtype:
            gray = self._array(_aligned(entry.start + rgb.nbytes), entry.gray_dtype, shape)
        low, high = entry.limits
        black, white = entry.gray_limits
        return CachedImage(rgb, gray, (low, high), entry.name, entry.group, (black, white))

    def __iter__(self) -> Iterator[CachedImage]:
        return (self[index] for index in range(len(self)))

    def _array(self, start: int, dtype: str, shape: tuple[int, ...]) -> Array:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.asarray(self._pixels[start : start + size]).view(dtype).reshape(shape)


def prepare(
    data: Any,
    cache: Path,
    *,
    group: str | None = None,
    side: int = SIDE,
    validation_share: float = VALIDATION_SHARE,
    progress: Progress | None = None,
) -> Report:
    """Read a source, check every picture and write the cache, unless it is there and unchanged.

    Parameters
    ----------
    data : path, sequence, mapping, array or layer
        See `sources.read_source`.
    cache : Path
        A folder; made if missing. A cache of another source is replaced, whole or not at all.
    group : str, optional
        What must not be divided between the sides: see `split.grouping`.
    side : int
        Short side in the cache, px: larger than any crop that will be drawn.
    validation_share : float
        Share of the pictures that are held back, in (0, 1).
    progress : callable, optional
        Told after each picture how many are read, and of how many.

    Returns
    -------
    Report
        What was found and done; `report.txt` in the cache says the same.

    Raises
    ------
    FileNotFoundError
        If there is no picture.
    ImageError
        If fewer than two can be used, or all are of one group.
    SettingsError
        If `group`, `side` or `validation_share` makes no sense.
    OutputError
        If the cache cannot be written.
    """
    if side < SMALLEST or not 0 < validation_share < 1:
        raise SettingsError(
            f"Cached pictures have a side of {SMALLEST} px at least and a validation share "
            f"between 0 and 1; got {side} px and {validation_share}."
        )
    source = read_source(data)
    group_of = grouping(group, source.items)
    _refuse_nothing(source)
    passport = _cache_key(source, group, side, validation_share)
    if _is_current(cache, passport):
        return Report.load(cache)
    with write_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    remove_abandoned(cache)
    index = cache / "index.json"
    with new_file(cache / "pixels", overwrite=True) as part:
        found = _Found(source.title, len(source.items), [*source.problems])
        with write_errors(cache / "pixels"), part.open("wb") as file:
            found.write(file, _read_all(source.items, side), group_of, progress)
        entries, report = found.divided(validation_share)
        with write_errors(index):
            index.unlink(missing_ok=True)  # it must never stand beside pixels of another
    report.save(cache)
    with new_file(index, overwrite=True) as part:
        pictures = [asdict(entry) for entry in entries]
        part.write_text(json.dumps({"passport": passport, "pictures": pictures}))
    return report


@dataclass(frozen=True)
class _Checked:
    """A picture that passed its checks, ready to be written."""

    rgb: Array
    gray: Array | None
    limits: Limits
    gray_limits: Limits
    digest: str  # of the content
    pixels: str  # fingerprint of what is cached
    outline: int | None  # difference hash


class _Found:
    """What is known about a source while it is read."""

    def __init__(self, title: str, total: int, problems: list[Problem]) -> None:
        self.title, self.problems = title, problems
        self.total, self.missing = total, len(problems)
        self.entries: list[CacheEntry] = []
        self.digests: list[str] = []
        self.outlines: list[int | None] = []
        self._first: dict[str, str] = {}  # fingerprint of pixels -> name

    def write(
        self,
        file: IO[bytes],
        pictures: Iterator[tuple[Item, _Checked | Problem]],
        group_of: Callable[[Item], str | None],
        progress: Progress | None,
    ) -> None:
        """Write the pixels of all pictures that are new and pass."""
        for number, (item, picture) in enumerate(pictures, 1):
            if isinstance(picture, Problem):
                self.problems.append(picture)
            elif (first := self._first.setdefault(picture.pixels, item.name)) is not item.name:
                reason = f"the same pixels as {first}"
                self.problems.append(Problem(item.name, DUPLICATED, reason, "left out"))
            else:
                self._add(file, item, picture, group_of(item))
            if progress is not None:
                progress(number, self.total)

    def _add(self, file: IO[bytes], item: Item, picture: _Checked, group: str | None) -> None:
        start = file.tell()
        for array in (picture.rgb, picture.gray):
            if array is not None:
                file.write(np.ascontiguousarray(array).data)
                file.write(bytes(_aligned(file.tell()) - file.tell()))
        height, width = picture.rgb.shape[:2]
        self.entries.append(
            CacheEntry(
                name=item.name,
                group=group,
                start=start,
                height=height,
                width=width,
                dtype=picture.rgb.dtype.name,
                limits=picture.limits,
                gray_dtype=None if picture.gray is None else picture.gray.dtype.name,
                gray_limits=picture.gray_limits,
            )
        )
        self.digests.append(picture.digest)
        self.outlines.append(picture.outline)

    def divided(self, share: float) -> tuple[list[CacheEntry], Report]:
        """The entries that stay, each with its side, and the report."""
        self._refuse_too_few()
        groups = [entry.group for entry in self.entries]
        alike = nearly_the_same(self.outlines)
        validates = validation_split(self.digests, groups, alike, share)
        leaks = self._leaks(alike, validates)
        entries = [
            replace(entry, validation=side)
            for number, (entry, side) in enumerate(zip(self.entries, validates, strict=True))
            if number not in leaks
        ]
        validation = sum(entry.validation for entry in entries)
        report = Report(
            title=self.title,
            found=self.total + self.missing,
            training=len(entries) - validation,
            validation=validation,
            groups=len({group for group in groups if group}),
            paired=any(entry.gray_dtype for entry in entries),
            deep=any(entry.dtype != "uint8" for entry in entries),
            problems=tuple(self.problems),
        )
        return entries, report

    def _leaks(self, alike: Sequence[tuple[int, int]], validates: Sequence[bool]) -> set[int]:
        """Training pictures of which validation has a near-duplicate; reports all of these."""
        leaks: set[int] = set()
        training = validates.count(False)
        for first, second in alike:
            divided = validates[first] != validates[second]
            learned = first if not validates[first] else second
            # Without groups they are divided only where there is nothing else to validate on.
            grouped = self.entries[first].group or self.entries[second].group
            leaves = divided and grouped and (learned in leaks or len(leaks) + 1 < training)
            if leaves:
                leaks.add(learned)
            told, other = (learned, first + second - learned) if divided else (second, first)
            done = "left out" if leaves else "kept" if divided else "kept on the same side"
            reason = f"as {self.entries[other].name}"
            self.problems.append(Problem(self.entries[told].name, SIMILAR, reason, done))
        return leaks

    def _refuse_too_few(self) -> None:
        count = len(self.entries)
        if count >= 2:
            return
        left_out = summary(self.problems)
        if count == 0 and all(problem.problem == UNREADABLE for problem in self.problems):
            raise FileNotFoundError(
                f"{self.title} holds no photographs that can be read{left_out}."
            )
        if count == 0:
            raise ImageError(
                f"{self.title} holds no picture to learn colours from{left_out}. Give photographs "
                f"in colour, {SMALLEST} px or more on the short side."
            )
        raise ImageError(
            f"{self.title} holds one photograph only{left_out}. Give two at least: one is held "
            "back to validate on."
        )


def _refuse_nothing(source: ImageSource) -> None:
    if not source.items:
        raise FileNotFoundError(
            f"{source.title} holds no photographs that can be read{summary(source.problems)}."
        )


def _read_all(items: Sequence[Item], side: int) -> Iterator[tuple[Item, _Checked | Problem]]:
    """Every item, decoded and checked by several threads, in order, a few in advance."""
    waiting: deque[tuple[Item, Future[_Checked | Problem]]] = deque()
    left = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            # A pool's map would decode all of them before the first is written.
            for item in islice(left, AHEAD * THREADS - len(waiting)):
                waiting.append((item, pool.submit(partial(_read, side=side), item)))
            if not waiting:
                return
            item, future = waiting.popleft()
            yield item, future.result()


def _read(item: Item, *, side: int) -> _Checked | Problem:
    try:
        color = decode(item.color, side)
        gray = None if item.gray is None else decode(item.gray, side)
    except ImageError as error:
        return Problem(item.name, UNREADABLE, str(error).rstrip("."), "left out")
    problem = _problem(color.pixels, None if gray is None else gray.pixels)
    if problem is None:
        rgb, limits = to_color(color)
        size = shrunk_size(rgb.shape, side)
        rgb = shrink(rgb, size)
        if is_colorless(rgb, limits[1] - limits[0]):
            problem = COLORLESS, "its colours hardly differ from gray"
    if problem is not None:
        return Problem(item.name, *problem, "left out")
    plane, gray_limits = (None, (0.0, 1.0)) if gray is None else to_gray(gray, item.limits)
    plane = None if plane is None else shrink(plane, size)
    return _Checked(
        rgb=rgb,
        gray=plane,
        limits=(float(limits[0]), float(limits[1])),
        gray_limits=gray_limits,
        digest=color.digest,
        pixels=fingerprint(rgb, plane),
        outline=difference_hash(_to_bytes(rgb, limits)),
    )


def _problem(color: Array, gray: Array | None) -> tuple[str, str] | None:
    """What is wrong with a picture's shape, and how so; None if nothing is."""
    height, width = color.shape[:2]
    if is_tiny(color):
        return TINY, f"{width} x {height} px, {SMALLEST} are the least"
    if color.ndim == 2:
        return COLORLESS, "it has one channel"
    if gray is not None:
        other = gray.shape[1] / gray.shape[0]
        if not isclose(width / height, other, rel_tol=SAME_PROPORTIONS):
            sizes = f"{width} x {height} px in colour, {gray.shape[1]} x {gray.shape[0]} in gray"
            return MISPAIRED, f"other proportions: {sizes}"
    return None


def _to_bytes(rgb: Array, limits: Limits) -> NDArray[np.uint8]:
    if rgb.dtype == np.uint8:
        return rgb
    low, high = limits
    return ((rgb - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)


def _cache_key(
    source: ImageSource, group: str | None, side: int, share: float
) -> dict[str, object]:
    """What a cache was made from and how: if any of it changes, the cache is stale."""
    listing = [
        (item.name, _stamp(item.color), _stamp(item.gray), dict(item.columns), item.limits)
        for item in source.items
    ]
    problems = [str(problem) for problem in source.problems]
    text = json.dumps([listing, problems])
    return {
        "format": FORMAT,
        "title": source.title,
        "listing": hashlib.sha256(text.encode()).hexdigest(),
        "group": group,
        "side": side,
        "validation_share": share,
    }


def _stamp(content: Content | None) -> object:
    """Changes when the content does; files are not opened for it."""
    if content is None:
        return None
    if isinstance(content, Member):
        return [content.offset, content.size, _stamp(content.shard)]
    if isinstance(content, Path):
        try:
            status = content.stat()
        except OSError:  # a row of a CSV that leads nowhere
            return None
        return [status.st_size, status.st_mtime_ns]
    return digest_of(np.asarray(content))


def _is_current(cache: Path, passport: dict[str, object]) -> bool:
    try:
        return _read_index(cache)["passport"] == passport
    except (OSError, ValueError, KeyError):
        return False


def _read_index(cache: Path) -> dict[str, Any]:
    content = json.loads((cache / "index.json").read_text())
    return content if isinstance(content, dict) else {}  # a list: a cache of an early version


def _aligned(position: int) -> int:
    """The next place where an array of any dtype may begin."""
    return -(-position // ALIGNED) * ALIGNED
