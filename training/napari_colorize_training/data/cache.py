"""Image cache: images are decoded and reduced once, then read at random from one flat file.

`prepare` reads a source, checks every image, splits them into training and validation, and writes
`pixels` (all images, concatenated), `report.json`, `report.txt` and, last, `index.json`. A cache
without it is incomplete. `ImageCache` maps the pixels into memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from abc import abstractmethod
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

from napari_colorize.array_types import AnyArray, Limits, UInt8Array
from napari_colorize.errors import ImageError, OutputError, SettingsError
from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.runtime.atomic import new_file, remove_abandoned, write_errors
from napari_colorize.settings import RangeRule
from napari_colorize_training.data.checks import (
    COLORLESS,
    DISAGREEING,
    DUPLICATED,
    HAS_RECORD,
    MAX_DIFFERENCE,
    MIN_SIDE,
    MISPAIRED,
    OTHER_RANGE,
    PREDICTED,
    SIMILAR,
    TINY,
    UNREADABLE,
    Problem,
    Report,
    difference_hash,
    fingerprint,
    is_colorless,
    is_tiny,
    near_duplicates,
    summary,
)
from napari_colorize_training.data.decode import (
    Decoded,
    brightness_difference,
    decode,
    digest_of,
    range_at_use,
    ranges_of,
    shrink,
    shrunk_size,
    to_color,
    to_gray,
)
from napari_colorize_training.data.sources import (
    Content,
    ImageSource,
    Item,
    Member,
    read_source,
)
from napari_colorize_training.data.split import grouping, validation_split

SIDE = 160  # px, short side of cached images
VALIDATION_SHARE = 0.02
FORMAT = 4  # version of the cache; caches of other versions are rebuilt
THREADS = min(16, os.cpu_count() or 1)
SAMPLE = 16  # images from which properties of all are estimated
PREFETCH = 4  # images that are decoded in advance, per thread
SAME_PROPORTIONS = 0.02  # relative tolerance; scans of one plate may differ by some rows
ALIGNMENT = 8  # bytes
RENAMED_INDEX_KEYS = {"passport": "key", "pictures": "images"}  # of earlier versions
ReadProgress = Callable[[int, int], None]
"""Called with the number of images read and in total."""


@dataclass(frozen=True)
class CachedImage:
    """An image of the cache."""

    rgb: AnyArray  # shape (Y, X, 3): uint8 or uint16
    # Shape (Y, X): uint8, uint16 or float32; None if the source has no gray images
    gray: AnyArray | None
    limits: Limits  # values of black and white in `rgb`
    name: str  # in the source
    group: str | None = None
    gray_limits: Limits = (0.0, 1.0)  # values of black and white in `gray`


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """Entry of the index: position and format of an image in `pixels`."""

    name: str
    digest: str
    group: str | None
    start: int
    height: int
    width: int
    dtype: str
    limits: Limits
    gray_dtype: str | None
    gray_limits: Limits
    validation: bool = False


class Images(Sequence[CachedImage]):
    """Images of the training or validation split: an `ImageCache` or an `ImageStream`.

    Attributes
    ----------
    side : int
        Upper limit of the images' short sides, px.
    deep : bool
        Whether images have more than 8 bits; otherwise all are uint8.
    paired : bool
        Whether the source has gray images.
    """

    side: int
    paired: bool
    deep: bool

    @property
    @abstractmethod
    def short_side(self) -> int:
        """Median short side of the images, px."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of the images, in order."""

    @property
    @abstractmethod
    def digests(self) -> list[str]:
        """Hashes of the contents of the color images, in order; see `decode.content_digest`."""


class ImageCache(Images):
    """Images in a cache, see `prepare`."""

    def __init__(self, cache: Path, *, validation: bool) -> None:
        index = _read_index(cache)
        images, self.side = index["images"], int(index["key"]["side"])
        entries = [CacheEntry(**image) for image in images]
        # Mode "c" (copy on write): torch warns of arrays that are not writable.
        self._pixels = np.memmap(cache / "pixels", np.uint8, mode="c")
        self._entries = [entry for entry in entries if entry.validation == validation]
        self.deep = any(entry.dtype != "uint8" for entry in entries)
        self.paired = any(entry.gray_dtype for entry in entries)

    @property
    def short_side(self) -> int:
        """Median short side of the images, px."""
        return int(np.median([min(entry.height, entry.width) for entry in self._entries]))

    @property
    def names(self) -> list[str]:
        """Names of the images, in order."""
        return [entry.name for entry in self._entries]

    @property
    def digests(self) -> list[str]:
        """Hashes of the contents of the color images, in order; see `decode.content_digest`."""
        return [entry.digest for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> CachedImage:  # type: ignore[override]
        entry = self._entries[index]
        shape = (entry.height, entry.width)
        rgb = self._array(entry.start, entry.dtype, (*shape, 3))
        gray = None
        if entry.gray_dtype:
            gray = self._array(_aligned(entry.start + rgb.nbytes), entry.gray_dtype, shape)
        low, high = entry.limits
        black, white = entry.gray_limits
        return CachedImage(rgb, gray, (low, high), entry.name, entry.group, (black, white))

    def _array(self, start: int, dtype: str, shape: tuple[int, ...]) -> AnyArray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.asarray(self._pixels[start : start + size]).view(dtype).reshape(shape)


def prepare(
    data: Any,
    cache: Path,
    *,
    group: str | None = None,
    side: int = SIDE,
    validation_share: float = VALIDATION_SHARE,
    contrast_limits: RangeRule = "auto",
    progress: ReadProgress | None = None,
    note: Callable[[str], None] | None = None,
) -> Report:
    """Read a source, check every image and write the cache, unless it is up to date.

    Parameters
    ----------
    data : path, sequence, mapping, array or layer
        See `sources.read_source`.
    cache : Path
        Folder, created if missing. A cache of another source is replaced atomically.
    group : str, optional
        Option for groups, which are not split; see `split.grouping`.
    side : int
        Short side of cached images, px; the upper limit of crop sizes.
    validation_share : float
        Share of the images in the validation split, in (0, 1).
    contrast_limits : {"auto", "dtype", "data", "percentile"}
        Rule for the intensity range of each image, as the setting of the Colorizer.
    progress : callable, optional
        Called after each image with the number of images read and in total.
    note : callable, optional
        Called with a sentence on the space and time that a new cache takes.

    Returns
    -------
    Report
        Numbers of images, and problems; also written to `report.txt` in the cache.

    Raises
    ------
    FileNotFoundError
        If the source has no images.
    ImageError
        If fewer than two images are usable, or all belong to one group.
    SettingsError
        If `group`, `side` or `validation_share` is invalid.
    OutputError
        If the cache cannot be written.
    """
    if side < MIN_SIDE or not 0 < validation_share < 1:
        raise SettingsError(
            f"The cache needs a side of at least {MIN_SIDE} px and a validation share between 0 "
            f"and 1; got {side} px and {validation_share}."
        )
    source = read_source(data)
    group_of = grouping(group, source.items)
    _require_images(source)
    key = _cache_key(source, group, side, validation_share, contrast_limits)
    if _is_current(cache, key):
        return Report.load(cache)
    with write_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    remove_abandoned(cache)
    size, seconds = estimate(source.items, side, contrast_limits)
    free = shutil.disk_usage(cache).free
    if size > free:
        raise OutputError(
            f"The cache of {len(source.items)} images at {side} px needs about {_bytes(size)}, but "
            f"{cache} has {_bytes(free)} left: choose another folder (--cache), a smaller side "
            "(--side), or read the files in every step (--no-cache)."
        )
    if note is not None:
        note(
            f"Decoding {len(source.items)} images to a cache of {side} px, about {_bytes(size)}, "
            f"takes about {_duration(seconds)}."
        )
    index = cache / "index.json"
    with new_file(cache / "pixels", overwrite=True) as part:
        writer = _CacheWriter(source.title, len(source.items), [*source.problems])
        with write_errors(cache / "pixels"), part.open("wb") as file:
            images = _read_all(source.items, side, contrast_limits)
            writer.write(file, images, group_of, progress)
        entries, report = writer.split(validation_share)
        with write_errors(index):
            index.unlink(
                missing_ok=True
            )  # an index must never exist beside the pixels of another cache
    report.save(cache)
    with new_file(index, overwrite=True) as part:
        listing = [asdict(entry) for entry in entries]
        part.write_text(json.dumps({"key": key, "images": listing}))
    return report


def estimate(items: Sequence[Item], side: int, rule: RangeRule) -> tuple[int, float]:
    """Estimate bytes and seconds of a cache from some of the images."""
    chosen = {round(index) for index in np.linspace(0, len(items) - 1, min(SAMPLE, len(items)))}
    began = time.monotonic()
    images = [read_item(items[index], side=side, rule=rule) for index in sorted(chosen)]
    seconds = (time.monotonic() - began) / len(chosen)
    sizes = [
        image.rgb.nbytes + (0 if image.gray is None else image.gray.nbytes)
        for image in images
        if isinstance(image, CheckedImage)
    ]
    return round(sum(sizes) / len(chosen) * len(items)), seconds * len(items) / THREADS


def _bytes(size: float) -> str:
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    scale, unit = next((pair for pair in units if size >= pair[0]), units[-1])
    return f"{size / scale:.2g} {unit}" if size < 100 * scale else f"{size / scale:.0f} {unit}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class CheckedImage:
    """An image that passed the checks, ready to be written."""

    rgb: AnyArray
    gray: AnyArray | None
    limits: Limits
    gray_limits: Limits
    digest: str  # of the content
    fingerprint: str  # of the cached pixels
    difference_hash: int | None
    note: Problem | None = None  # of an image that is used


class _CacheWriter:
    """Writes the images of a source, and collects their entries and problems."""

    def __init__(self, title: str, total: int, problems: list[Problem]) -> None:
        self.title, self.problems = title, problems
        self.total, self.missing = total, len(problems)
        self.entries: list[CacheEntry] = []
        self.hashes: list[int | None] = []
        self._first: dict[str, str] = {}  # fingerprint of pixels -> name

    def write(
        self,
        file: IO[bytes],
        images: Iterator[tuple[Item, CheckedImage | Problem]],
        group_of: Callable[[Item], str | None],
        progress: ReadProgress | None,
    ) -> None:
        """Write the pixels of all images without problems and duplicates."""
        for number, (item, image) in enumerate(images, 1):
            if isinstance(image, Problem):
                self.problems.append(image)
            elif (first := self._first.setdefault(image.fingerprint, item.name)) is not item.name:
                reason = f"same pixels as {first}"
                self.problems.append(Problem(item.name, DUPLICATED, reason, "left out"))
            else:
                self._add(file, item, image, group_of(item))
                self.problems.extend([image.note] if image.note else [])
            if progress is not None:
                progress(number, self.total)

    def _add(self, file: IO[bytes], item: Item, image: CheckedImage, group: str | None) -> None:
        start = file.tell()
        for array in (image.rgb, image.gray):
            if array is not None:
                file.write(np.ascontiguousarray(array).data)
                file.write(bytes(_aligned(file.tell()) - file.tell()))
        height, width = image.rgb.shape[:2]
        self.entries.append(
            CacheEntry(
                name=item.name,
                digest=image.digest,
                group=group,
                start=start,
                height=height,
                width=width,
                dtype=image.rgb.dtype.name,
                limits=image.limits,
                gray_dtype=None if image.gray is None else image.gray.dtype.name,
                gray_limits=image.gray_limits,
            )
        )
        self.hashes.append(image.difference_hash)

    def split(self, share: float) -> tuple[list[CacheEntry], Report]:
        """Return the entries that are used, assigned to the splits, and the report."""
        self._require_two()
        groups = [entry.group for entry in self.entries]
        digests = [entry.digest for entry in self.entries]
        alike = near_duplicates(self.hashes)
        split = validation_split(digests, groups, alike, share)
        leaks = self._leaks(alike, split)
        entries = [
            replace(entry, validation=is_validation)
            for number, (entry, is_validation) in enumerate(zip(self.entries, split, strict=True))
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

    def _leaks(self, alike: Sequence[tuple[int, int]], split: Sequence[bool]) -> set[int]:
        """Return training images with a near-duplicate in validation; record all pairs."""
        leaks: set[int] = set()
        training = split.count(False)
        for first, second in alike:
            separated = split[first] != split[second]
            trained = first if not split[first] else second
            # Without groups they are separated only if nothing else is left for validation.
            grouped = self.entries[first].group or self.entries[second].group
            leak = separated and grouped and (trained in leaks or len(leaks) + 1 < training)
            if leak:
                leaks.add(trained)
            index, other = (trained, first + second - trained) if separated else (second, first)
            action = "left out" if leak else "kept" if separated else "kept in the same split"
            reason = f"as {self.entries[other].name}"
            self.problems.append(Problem(self.entries[index].name, SIMILAR, reason, action))
        return leaks

    def _require_two(self) -> None:
        count = len(self.entries)
        if count >= 2:
            return
        left_out = summary(self.problems)
        disagreeing = [each for each in self.problems if each.problem == DISAGREEING]
        if disagreeing:
            raise ImageError(
                f"{self.title} has {count} usable images{left_out}. {disagreeing[0]} Check that "
                "the pairs belong together, and their contrast limits."
            )
        if count == 0 and all(problem.problem == UNREADABLE for problem in self.problems):
            raise FileNotFoundError(f"{self.title} has no readable images{left_out}.")
        if count == 0:
            raise ImageError(
                f"{self.title} has no images to train on{left_out}. Give color images of at least "
                f"{MIN_SIDE} px on the short side."
            )
        raise ImageError(
            f"{self.title} has only one usable image{left_out}. Give at least two: one is used for "
            "validation."
        )


def _require_images(source: ImageSource) -> None:
    if not source.items:
        raise FileNotFoundError(f"{source.title} has no readable images{summary(source.problems)}.")


def _read_all(
    items: Sequence[Item], side: int, rule: RangeRule
) -> Iterator[tuple[Item, CheckedImage | Problem]]:
    """Yield every item in order, decoded and checked by several threads, a few in advance."""
    waiting: deque[tuple[Item, Future[CheckedImage | Problem]]] = deque()
    remaining = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            # `Executor.map` would decode all of them before the first is written.
            for item in islice(remaining, PREFETCH * THREADS - len(waiting)):
                waiting.append((item, pool.submit(partial(read_item, side=side, rule=rule), item)))
            if not waiting:
                return
            item, future = waiting.popleft()
            yield item, future.result()


def read_item(item: Item, *, side: int, rule: RangeRule) -> CheckedImage | Problem:
    """Decode, reduce and check one image."""
    try:
        color = decode(item.color, side)
        gray = None if item.gray is None else decode(item.gray, side)
    except ImageError as error:
        return Problem(item.name, UNREADABLE, str(error).rstrip("."), "left out")
    problem = _problem(color, None if gray is None else gray.pixels)
    if problem is None:
        found, found_gray = ranges_of(color, gray, item.limits, rule)
        rgb, limits = to_color(color, found)
        size = shrunk_size(rgb.shape, side)
        rgb = shrink(rgb, size)
        if is_colorless(rgb, limits[1] - limits[0]):
            problem = COLORLESS, "its colors hardly differ from gray"
    if problem is not None:
        return Problem(item.name, *problem, "left out")
    plane, gray_limits = (None, (0.0, 1.0)) if gray is None else to_gray(gray, found_gray)
    if plane is not None:
        plane = shrink(plane, size)
        difference = brightness_difference(plane, gray_limits, rgb, limits)
        if difference > MAX_DIFFERENCE:
            reason = f"gray and the luminance of its colors differ by {difference:.2f} of the range"
            return Problem(item.name, DISAGREEING, reason, "left out")
    return CheckedImage(
        rgb=rgb,
        gray=plane,
        limits=(float(limits[0]), float(limits[1])),
        gray_limits=gray_limits,
        digest=color.digest,
        fingerprint=fingerprint(rgb, plane),
        difference_hash=difference_hash(to_bytes(rgb, limits)),
        note=_range_note(item, found_gray or found, range_at_use(color, gray, rule)),
    )


def _range_note(item: Item, trained: IntensityRange, used: IntensityRange) -> Problem | None:
    """Return a note if the Colorizer reads a gray image with other limits than training does."""
    if item.limits is not None or used.limits == trained.limits:  # a layer keeps its limits
        return None
    limits = [f"{low:g} and {high:g}" for low, high in (used.limits, trained.limits)]
    reason = f"black and white are {limits[0]}, in training {limits[1]}"
    return Problem(item.name, OTHER_RANGE, reason, "kept")


def _problem(color: Decoded, gray: AnyArray | None) -> tuple[str, str] | None:
    """Return kind and reason of a problem with an image's origin or shape, or None."""
    if color.predicted:
        return PREDICTED, HAS_RECORD
    height, width = color.pixels.shape[:2]
    if is_tiny(color.pixels):
        return TINY, f"{width} x {height} px; the minimum is {MIN_SIDE}"
    if color.pixels.ndim == 2:
        return COLORLESS, "it has one channel"
    if gray is not None:
        other = gray.shape[1] / gray.shape[0]
        if not isclose(width / height, other, rel_tol=SAME_PROPORTIONS):
            sizes = f"{width} x {height} px in color, {gray.shape[1]} x {gray.shape[0]} in gray"
            return MISPAIRED, f"different aspect ratios: {sizes}"
    return None


def to_bytes(rgb: AnyArray, limits: Limits) -> UInt8Array:
    """Map values from `limits` to 0 and 255; uint8 stays as it is."""
    if rgb.dtype == np.uint8:
        return rgb
    low, high = limits
    return ((rgb - low) * (255 / ((high - low) or 1))).clip(0, 255).astype(np.uint8)


def _cache_key(
    source: ImageSource, group: str | None, side: int, share: float, rule: RangeRule
) -> dict[str, object]:
    """Return what a cache was made from, and its options; if it changes, the cache is stale."""
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
        "contrast_limits": rule,
    }


def _stamp(content: Content | None) -> object:
    """Return a value that changes with the content; files are not opened."""
    if content is None:
        return None
    if isinstance(content, Member):
        return [content.offset, content.size, _stamp(content.shard)]
    if isinstance(content, Path):
        try:
            status = content.stat()
        except OSError:  # a row of a CSV with a path that does not exist
            return None
        return [status.st_size, status.st_mtime_ns]
    return digest_of(np.asarray(content))


def _is_current(cache: Path, key: dict[str, object]) -> bool:
    try:
        return _read_index(cache)["key"] == key
    except (OSError, ValueError, KeyError):
        return False


def _read_index(cache: Path) -> dict[str, Any]:
    content = json.loads((cache / "index.json").read_text())
    if not isinstance(content, dict):  # a list: a cache of an early version
        return {}
    return {RENAMED_INDEX_KEYS.get(key, str(key)): value for key, value in content.items()}


def _aligned(position: int) -> int:
    """Return the next position that is aligned for arrays of any dtype."""
    return -(-position // ALIGNMENT) * ALIGNMENT
