"""Batches of random square crops, a matter of seed and step alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_colorize.imaging.color import yuv_from_rgb
from napari_colorize_training.data.cache import CachedImage, ImageCache
from napari_colorize_training.data.sources import Limits

Array = NDArray[Any]


@dataclass(frozen=True)
class CropBatch:
    """Crops that go to the device as they are; what follows is done there.

    Parameters
    ----------
    rgb : Tensor, shape (N, 3, S, S)
        uint8, or float32 in [0, 1] if the set has more than 8 bits.
    gray : Tensor, shape (N, 1, S, S), optional
        float32 in [0, 1]; None if it is to be derived from `rgb`.
    seeds : Tensor, shape (N,)
        int64, one for each crop: random changes seeded with these are the same in one process
        and in several.
    """

    rgb: Tensor
    gray: Tensor | None
    seeds: Tensor

    def __len__(self) -> int:
        return len(self.rgb)

    def to(self, device: torch.device | str) -> CropBatch:
        """The same on a device; seeds stay, for random generators are seeded here."""
        gray = None if self.gray is None else self.gray.to(device, non_blocking=True)
        return replace(self, rgb=self.rgb.to(device, non_blocking=True), gray=gray)

    def pin(self) -> CropBatch:
        """The same in memory that a GPU can copy from while it computes."""
        gray = None if self.gray is None else self.gray.pin_memory()
        return replace(self, rgb=self.rgb.pin_memory(), gray=gray)

    def floats(self) -> Tensor:
        """RGB as float32 in [0, 1]."""
        return self.rgb.float() / 255 if self.rgb.dtype == torch.uint8 else self.rgb

    def generators(self, device: torch.device | str = "cpu") -> list[torch.Generator]:
        """A random generator for each crop."""
        return [torch.Generator(device).manual_seed(seed) for seed in self.seeds.tolist()]


@dataclass(frozen=True)
class _Place:
    """Where in a picture a crop lies: chosen at random, before any pixel is read."""

    index: int
    size: float  # share of the short side
    top: float  # in [0, 1), of the room there is
    left: float
    mirrored: bool
    seed: int


class Crops:
    """Batches of random square crops, mirrored at random, shrunk to one side.

    Which crops come at which step follows from the seed and the step alone, so a run that is
    resumed sees the same pictures as one that was never interrupted; and several processes draw
    together what one would draw.

    Parameters
    ----------
    photographs : Photographs
        To draw from. Each comes once in an epoch.
    side : int
        px, of a crop in the batch.
    batch : int
        Crops in a step, of all processes together.
    shrink : tuple of float
        Smallest and largest side of a crop, as a share of the picture's short side.
    seed : int
        Of all that is random.
    rank, ranks : int
        This process, and how many there are: it gets its contiguous part of the batch.
    mirror : bool
        Whether half of the crops are mirrored.
    threads : int
        That read and resize one batch.
    """

    def __init__(
        self,
        photographs: ImageCache,
        *,
        side: int,
        batch: int,
        shrink: tuple[float, float],
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        mirror: bool = True,
        threads: int = 1,
    ) -> None:
        if not len(photographs):
            raise ValueError("There are no photographs to draw crops from.")
        if not 0 <= rank < ranks <= batch:
            raise ValueError(
                f"{ranks} processes cannot share a batch of {batch}: give a batch of {ranks} at "
                "least."
            )
        self._photographs = photographs
        self._side, self._batch, self._shrink, self._seed = side, batch, shrink, seed
        self._part = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
        self._mirror = mirror
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def at(self, step: int) -> CropBatch:
        """The batch of this step, or this process's part of it."""
        places = list(self._places(step))[self._part]
        # Random reads are independent of each other, and Pillow lets other threads run.
        cropped = self._pool.map(self._crop, places) if self._pool else map(self._crop, places)
        colors, grays = zip(*cropped, strict=True)
        gray = torch.stack(grays) if self._photographs.paired else None
        return CropBatch(torch.stack(colors), gray, torch.tensor([place.seed for place in places]))

    def _places(self, step: int) -> Iterator[_Place]:
        random = np.random.default_rng([self._seed, 1, step])
        numbers = random.random((self._batch, 4))  # for all processes, whichever this one is
        seeds = random.integers(2**63 - 1, size=self._batch)
        for index, (size, top, left, mirrored), seed in zip(
            self._chosen(step), numbers, seeds, strict=True
        ):
            low, high = self._shrink
            share = low + (high - low) * size
            yield _Place(int(index), share, top, left, self._mirror and mirrored < 0.5, int(seed))

    def _chosen(self, step: int) -> NDArray[np.int64]:
        count = len(self._photographs)
        epoch, place = divmod(step * self._batch, count)
        epochs = math.ceil((place + self._batch) / count)  # a batch may be larger than the set
        chosen = np.concatenate([self._order(epoch + later) for later in range(epochs)])
        return chosen[place : place + self._batch]

    @lru_cache(maxsize=2)  # noqa: B019 - of one object that lives as long as its run
    def _order(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self._seed, 0, epoch])
        return random.permutation(len(self._photographs))

    def _crop(self, place: _Place) -> tuple[Tensor, Tensor | None]:
        picture = self._photographs[place.index]
        height, width = picture.rgb.shape[:2]
        size = round(min(height, width) * place.size)
        size = max(size, min(self._side, height, width))
        top = int(place.top * (height - size + 1))
        left = int(place.left * (width - size + 1))
        window = np.s_[top : top + size, left : left + size]
        rgb = self._color(picture, window)
        gray = self._gray(picture, window, rgb) if self._photographs.paired else None
        if place.mirrored:
            return rgb.flip(-1), None if gray is None else gray.flip(-1)
        return rgb, gray

    def _color(self, picture: CachedImage, window: tuple[slice, slice]) -> Tensor:
        pixels = picture.rgb[window]
        if self._photographs.deep:
            pixels = _unit(pixels, picture.limits)
        return _resize(torch.from_numpy(pixels).movedim(-1, 0), self._side)

    def _gray(self, picture: CachedImage, window: tuple[slice, slice], rgb: Tensor) -> Tensor:
        if picture.gray is not None:
            given = _unit(picture.gray[window], picture.gray_limits)
            return _resize(torch.from_numpy(given).unsqueeze(0), self._side)
        unit = rgb.float() / 255 if rgb.dtype == torch.uint8 else rgb
        return torch.tensordot(yuv_from_rgb()[:1].to(unit), unit, dims=1)


def _unit(values: Array, limits: Limits) -> NDArray[np.float32]:
    """Values as float32 with 0 and 1 at the limits; what lies beyond is clipped."""
    low, high = limits
    unit = (values.astype(np.float32) - np.float32(low)) / np.float32((high - low) or 1)
    return np.nan_to_num(unit.clip(0, 1), nan=0.0)


def _resize(pixels: Tensor, side: int) -> Tensor:
    """`(C, S, S)` to another side, as Pillow's bilinear filter does but three times as quick."""
    if pixels.shape[1:] == (side, side):
        return pixels
    resized: Tensor = F.interpolate(
        pixels.unsqueeze(0), (side, side), mode="bilinear", antialias=True
    )
    return resized[0]
