"""Photographs for training: decoded once, shrunk once, then read at random from a flat file.

`build_cache` reads folders and tar shards and writes two files: the pixels of all pictures one
after another, and an index of their names and sizes. `Photographs` maps the pixels into memory;
`Crops` draws square crops from them. Training and validation are told apart by the name's hash, so
a picture stays on its side when others are added.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHORT_SIDE = 160  # px, of pictures in the cache: larger than any crop we train on
VALIDATION_SHARE = 0.02
SUFFIXES = {".avif", ".webp", ".jpg", ".jpeg", ".png"}

Pixels = NDArray[np.uint8]


def build_cache(source: Path, cache: Path) -> None:
    """Decode all pictures under `source` (folder or tar shards) into `cache`, unless it is there.

    Raises
    ------
    FileNotFoundError
        If there is no picture.
    """
    index = cache / "index.json"
    if index.is_file():
        return
    cache.mkdir(parents=True, exist_ok=True)
    entries = []
    with (cache / "pixels.part").open("wb") as pixels, ThreadPoolExecutor(2) as pool:
        for name, picture in pool.map(_decode, files_in(source)):
            if picture is not None:
                entries.append([name, *picture.shape[:2]])
                pixels.write(picture.tobytes())
    if not entries:
        raise FileNotFoundError(f"{source} holds no photographs that can be read.")
    (cache / "pixels.part").replace(cache / "pixels")
    part = index.with_suffix(".part")
    part.write_text(json.dumps(entries))
    part.replace(index)


def files_in(source: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the pictures in a folder, a tar shard, or a folder of shards."""
    paths = sorted(source.rglob("*")) if source.is_dir() else [source]
    for path in paths:
        if path.suffix == ".tar":
            with tarfile.open(path) as shard:
                for member in shard:
                    file = shard.extractfile(member)
                    if file is not None and Path(member.name).suffix in SUFFIXES:
                        yield member.name, file.read()
        elif path.suffix.lower() in SUFFIXES:
            yield path.name, path.read_bytes()


def _decode(file: tuple[str, bytes]) -> tuple[str, Pixels | None]:
    name, content = file
    try:
        picture = Image.open(io.BytesIO(content)).convert("RGB")
    except OSError:
        return name, None
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return name, np.asarray(picture)


class Photographs:
    """The cached pictures of one side of the split, as uint8 RGB arrays `(Y, X, 3)`."""

    def __init__(self, cache: Path, *, validation: bool) -> None:
        entries = json.loads((cache / "index.json").read_text())
        ends = np.cumsum([height * width * 3 for _, height, width in entries])
        starts = [0, *ends[:-1].tolist()]
        self._pixels = np.memmap(cache / "pixels", np.uint8, mode="r")
        self._entries = [
            (start, height, width)
            for start, (name, height, width) in zip(starts, entries, strict=True)
            if is_validation(name) == validation
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Pixels:
        start, height, width = self._entries[index]
        flat = self._pixels[start : start + height * width * 3]
        return np.asarray(flat).reshape(height, width, 3)


def is_validation(name: str) -> bool:
    """Whether a picture of this name is for validation: a matter of its hash alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") < VALIDATION_SHARE * 2**32


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
        chosen = np.concatenate([self._order(epoch), self._order(epoch + 1)])
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
