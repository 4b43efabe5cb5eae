"""Photographs for training: decoded once, shrunk once, then read at random from a flat file.

`build_cache` reads folders and tar shards and writes two files: the pixels of all pictures one
after another, and an index of their names and sizes. `Photographs` maps the pixels into memory;
`Crops` draws square crops from them. Training and validation are told apart by the name's hash, so
a picture stays on its side when others are added; only in a small set one may have to change, for
neither side is left empty.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from napari_colorize.atomic import new_file, remove_abandoned
from napari_colorize.errors import ImageError

SHORT_SIDE = 160  # px, of pictures in the cache: larger than any crop we train on
VALIDATION_SHARE = 0.02
SUFFIXES = {".avif", ".webp", ".jpg", ".jpeg", ".png"}
SHARD = ".tar"
AHEAD = 8  # files that are read before the first of them is decoded

Pixels = NDArray[np.uint8]


def build_cache(source: Path, cache: Path) -> None:
    """Decode all pictures under `source` (folder or tar shards) into `cache`, unless it is there.

    A cache of another source, or of one that has changed since, is replaced.

    Raises
    ------
    FileNotFoundError
        If there is no picture.
    ImageError
        If there is only one: nothing would be left to validate on.
    """
    index, passport = cache / "index.json", _passport(source)
    if _passport_in(index) == passport:
        return
    remove_abandoned(cache)
    with new_file(cache / "pixels", overwrite=True) as part:
        entries = _write_pixels(source, part)
        if not entries:
            raise FileNotFoundError(f"{source} holds no photographs that can be read.")
        if len(entries) < 2:
            raise ImageError(
                f"{source} holds one photograph only. Give two at least: one is held back to "
                "validate on."
            )
        index.unlink(missing_ok=True)  # an index must never stand beside pixels of another
    with new_file(index, overwrite=True) as part:
        part.write_text(json.dumps(passport | {"pictures": entries}))


def files_in(source: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the pictures in a folder, a tar shard, or a folder of shards."""
    for path in _paths_in(source):
        if path.suffix.lower() == SHARD:
            yield from _files_in_shard(path)
        else:
            yield path.name, path.read_bytes()


def pictures_in(source: Path) -> Iterator[tuple[str, Pixels]]:
    """Names and shrunk pixels of what `files_in` finds; files that are no pictures are left out."""
    with ThreadPoolExecutor(2) as pool:
        # A pool's map would read all files before the first is decoded.
        ahead: deque[Future[tuple[str, Pixels | None]]] = deque()
        files = files_in(source)
        while True:
            ahead.extend(pool.submit(_decode, file) for file in islice(files, AHEAD - len(ahead)))
            if not ahead:
                return
            name, picture = ahead.popleft().result()
            if picture is not None:
                yield name, picture


def _paths_in(source: Path) -> list[Path]:
    paths = sorted(source.rglob("*")) if source.is_dir() else [source]
    return [path for path in paths if path.suffix.lower() in {SHARD, *SUFFIXES} and path.is_file()]


def _files_in_shard(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as shard:
        for member in shard:
            name = Path(member.name)
            if member.isfile() and name.suffix.lower() in SUFFIXES:
                file = shard.extractfile(member)
                assert file is not None  # only what is no file has no content
                yield name.name, file.read()


def _passport(source: Path) -> dict[str, object]:
    """What a cache was made from: if any of it changes, the cache is stale."""
    source = source.resolve()
    listing = [(str(path), path.stat().st_size) for path in _paths_in(source)]
    return {
        "source": str(source),
        "short_side": SHORT_SIDE,
        "listing": hashlib.sha256(json.dumps(listing).encode()).hexdigest(),
    }


def _passport_in(index: Path) -> dict[str, object] | None:
    if not index.is_file():
        return None
    content = json.loads(index.read_text())
    if not isinstance(content, dict):  # a cache of an earlier version: pictures only
        return None
    return {key: value for key, value in content.items() if key != "pictures"}


def _write_pixels(source: Path, path: Path) -> list[tuple[str, int, int]]:
    """Write the pixels one after another; returns names, heights and widths."""
    entries = []
    with path.open("wb") as file:
        for name, picture in pictures_in(source):
            entries.append((name, *picture.shape[:2]))
            file.write(picture.tobytes())
    return entries


def _decode(file: tuple[str, bytes]) -> tuple[str, Pixels | None]:
    name, content = file
    try:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return name, None  # Pillow says in all these ways that a file is damaged
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return name, np.asarray(picture)


class Photographs:
    """The cached pictures of one side of the split, as uint8 RGB arrays `(Y, X, 3)`."""

    def __init__(self, cache: Path, *, validation: bool) -> None:
        entries = json.loads((cache / "index.json").read_text())["pictures"]
        held_back = _held_back([name for name, _, _ in entries])
        ends = np.cumsum([height * width * 3 for _, height, width in entries])
        starts = [0, *ends[:-1].tolist()]
        self._pixels = np.memmap(cache / "pixels", np.uint8, mode="r")
        self._entries = [
            (start, height, width)
            for number, (start, (_, height, width)) in enumerate(zip(starts, entries, strict=True))
            if (number in held_back) == validation
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Pixels:
        start, height, width = self._entries[index]
        flat = self._pixels[start : start + height * width * 3]
        return np.asarray(flat).reshape(height, width, 3)


def is_validation(name: str) -> bool:
    """Whether a picture of this name is for validation: a matter of its hash alone."""
    return _place(name) < VALIDATION_SHARE


def _held_back(names: Sequence[str]) -> set[int]:
    """Which of the names are for validation: by `is_validation`, but not none and not all."""
    count = sum(is_validation(name) for name in names)
    count = min(max(count, 1), len(names) - 1)
    return set(sorted(range(len(names)), key=lambda number: _place(names[number]))[:count])


def _place(name: str) -> float:
    """A number in [0, 1) that is a matter of the name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


class Crops:
    """Batches of random square crops, mirrored at random, shrunk to one side.

    Which crops come at which step follows from the seed and the step alone, so a run that is
    resumed sees the same pictures as one that was never interrupted.
    """

    def __init__(
        self,
        photographs: Photographs,
        *,
        side: int,
        batch: int,
        shrink: tuple[float, float],
        seed: int,
    ) -> None:
        if not len(photographs):
            raise ValueError("There are no photographs to draw crops from.")
        self._photographs = photographs
        self._side, self._batch, self._shrink, self._seed = side, batch, shrink, seed

    def at(self, step: int) -> Pixels:
        """The batch of this step, uint8 `(N, side, side, 3)`."""
        count = len(self._photographs)
        epoch, place = divmod(step * self._batch, count)
        epochs = math.ceil((place + self._batch) / count)  # a batch may be larger than the set
        chosen = np.concatenate([self._order(epoch + later) for later in range(epochs)])
        chosen = chosen[place : place + self._batch]
        random = np.random.default_rng([self._seed, 1, step])
        return np.stack([self._crop(self._photographs[index], random) for index in chosen])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self._seed, 0, epoch])
        return random.permutation(len(self._photographs))

    def _crop(self, picture: Pixels, random: np.random.Generator) -> Pixels:
        height, width = picture.shape[:2]
        size = round(min(height, width) * random.uniform(*self._shrink))
        size = max(size, min(self._side, height, width))
        top, left = random.integers(height - size + 1), random.integers(width - size + 1)
        crop = Image.fromarray(picture[top : top + size, left : left + size])
        crop = crop.resize((self._side, self._side), Image.Resampling.BILINEAR)
        pixels = np.asarray(crop)
        return pixels[:, ::-1] if random.random() < 0.5 else pixels
