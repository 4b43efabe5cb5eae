"""Batches of random square crops, determined by seed and step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_colorize.array_types import AnyArray, Float32Array, IndexArray, Limits
from napari_colorize.imaging.color import yuv_from_rgb
from napari_colorize_training.data.cache import CachedImage, Images

PREFETCH = 3  # batches that are prepared while one is trained
PREFETCH_THREADS = 2


@dataclass(frozen=True)
class CropBatch:
    """Crops as they are copied to the device; further processing takes place there."""

    # Shape (N, 3, S, S): uint8, or float32 in [0, 1] if the data set has more than 8 bits
    rgb: Tensor
    gray: Tensor | None  # shape (N, 1, S, S): float32 in [0, 1]; None: it is computed from `rgb`
    # Shape (N,): int64, one for each crop: random changes with these seeds do not depend on the
    # number of processes
    seeds: Tensor

    def __len__(self) -> int:
        return len(self.rgb)

    def to(self, device: torch.device | str) -> CropBatch:
        """Return a copy on a device; seeds stay on the CPU, where generators are seeded."""
        gray = None if self.gray is None else self.gray.to(device, non_blocking=True)
        return replace(self, rgb=self.rgb.to(device, non_blocking=True), gray=gray)

    def pin(self) -> CropBatch:
        """Return a copy in pinned memory, for asynchronous copies to a GPU."""
        gray = None if self.gray is None else self.gray.pin_memory()
        return replace(self, rgb=self.rgb.pin_memory(), gray=gray)

    def floats(self) -> Tensor:
        """Return RGB as float32 in [0, 1]."""
        return self.rgb.float() / 255 if self.rgb.dtype == torch.uint8 else self.rgb

    def generators(self, device: torch.device | str = "cpu") -> list[torch.Generator]:
        """Return a random generator for each crop."""
        return [torch.Generator(device).manual_seed(seed) for seed in self.seeds.tolist()]


@dataclass(frozen=True)
class _CropPosition:
    """Random position of a crop, chosen before the image is read."""

    index: int
    size: float  # share of the short side
    top: float  # in [0, 1), as a share of the free space
    left: float
    flipped: bool
    seed: int


class Crops:
    """Batches of random square crops, randomly flipped, resized to one side.

    The crops of a step depend only on seed and step, so that a resumed run gets the same images as
    one that was not interrupted, and several processes together get those of a single one.

    Parameters
    ----------
    images : Images
        Images to crop; each is used once in an epoch.
    side : int
        Side of the resized crops, px.
    batch : int
        Crops per step, of all processes together.
    crop_scale : tuple of float
        Smallest and largest side of a crop, as a share of the image's short side.
    seed : int
        Seed of all random numbers.
    rank, ranks : int
        Number of this process, and of all; each gets a contiguous part of the batch.
    horizontal_flip : bool
        Flip half of the crops left to right.
    squeeze : bool
        Reshape whole images to squares instead of cropping.
    threads : int
        Threads that read and resize the crops of a batch.
    """

    def __init__(
        self,
        images: Images,
        *,
        side: int,
        batch: int,
        crop_scale: tuple[float, float],
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        horizontal_flip: bool = True,
        squeeze: bool = False,
        threads: int = 1,
    ) -> None:
        if not len(images):
            raise ValueError("There are no images to crop.")
        if not 0 <= rank < ranks <= batch:
            raise ValueError(
                f"{ranks} processes cannot share a batch of {batch}; use at least {ranks} images."
            )
        self._images = images
        self._side, self._batch, self._crop_scale, self._seed = side, batch, crop_scale, seed
        self._part = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
        self._flip, self._squeeze = horizontal_flip, squeeze
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def at(self, step: int) -> CropBatch:
        """Return the batch of a step, or this process's part of it."""
        part = list(self._positions(step))[self._part]
        # Reads are independent of each other, and resizing releases the GIL.
        cropped = self._pool.map(self._crop, part) if self._pool else map(self._crop, part)
        colors, grays = zip(*cropped, strict=True)
        gray = torch.stack(grays) if self._images.paired else None
        return CropBatch(
            torch.stack(colors), gray, torch.tensor([position.seed for position in part])
        )

    def _positions(self, step: int) -> Iterator[_CropPosition]:
        random = np.random.default_rng([self._seed, 1, step])
        numbers = random.random(
            (self._batch, 4)
        )  # for all processes, to use the same random numbers in each
        seeds = random.integers(2**63 - 1, size=self._batch)
        for index, (size, top, left, flipped), seed in zip(
            self._indices(step), numbers, seeds, strict=True
        ):
            low, high = self._crop_scale
            share = low + (high - low) * size
            yield _CropPosition(
                int(index), share, top, left, self._flip and flipped < 0.5, int(seed)
            )

    def _indices(self, step: int) -> IndexArray:
        count = len(self._images)
        epoch, start = divmod(step * self._batch, count)
        epochs = math.ceil((start + self._batch) / count)  # a batch may be larger than the set
        chosen = np.concatenate([self._order(epoch + offset) for offset in range(epochs)])
        return chosen[start : start + self._batch]

    @lru_cache(maxsize=2)  # noqa: B019 - one object per stage, which lives as long as its run
    def _order(self, epoch: int) -> IndexArray:
        random = np.random.default_rng([self._seed, 0, epoch])
        return random.permutation(len(self._images))

    def _crop(self, position: _CropPosition) -> tuple[Tensor, Tensor | None]:
        image = self._images[position.index]
        window = np.s_[:, :] if self._squeeze else self._window(image, position)
        rgb = self._color(image, window)
        gray = self._gray(image, window, rgb) if self._images.paired else None
        if position.flipped:
            return rgb.flip(-1), None if gray is None else gray.flip(-1)
        return rgb, gray

    def _window(self, image: CachedImage, position: _CropPosition) -> tuple[slice, slice]:
        height, width = image.rgb.shape[:2]
        size = round(min(height, width) * position.size)
        size = max(size, min(self._side, height, width))
        top = int(position.top * (height - size + 1))
        left = int(position.left * (width - size + 1))
        return slice(top, top + size), slice(left, left + size)

    def _color(self, image: CachedImage, window: tuple[slice, slice]) -> Tensor:
        pixels = image.rgb[window]
        if self._images.deep:
            pixels = _unit(pixels, image.limits)
        return _resize(torch.from_numpy(pixels).movedim(-1, 0), self._side)

    def _gray(self, image: CachedImage, window: tuple[slice, slice], rgb: Tensor) -> Tensor:
        if image.gray is not None:
            given = _unit(image.gray[window], image.gray_limits)
            return _resize(torch.from_numpy(given).unsqueeze(0), self._side)
        unit = rgb.float() / 255 if rgb.dtype == torch.uint8 else rgb
        return torch.tensordot(yuv_from_rgb()[:1].to(unit), unit, dims=1)


def prefetch(crops: Crops, start: int, stop: int) -> Iterator[tuple[int, CropBatch, float]]:
    """Yield steps `start` to `stop`, their batches, and the seconds that each was waited for."""
    pending: list[Future[CropBatch]] = []
    with ThreadPoolExecutor(PREFETCH_THREADS) as pool:
        for step in range(start, stop):
            until = min(step + PREFETCH, stop)
            pending += [pool.submit(crops.at, n) for n in range(step + len(pending), until)]
            began = time.monotonic()
            batch = pending.pop(0).result()
            yield step, batch, time.monotonic() - began


def _unit(values: AnyArray, limits: Limits) -> Float32Array:
    """Scale values to float32 with the limits at 0 and 1, clipped."""
    low, high = limits
    unit = (values.astype(np.float32) - np.float32(low)) / np.float32((high - low) or 1)
    return np.nan_to_num(unit.clip(0, 1), nan=0.0)


def _resize(pixels: Tensor, side: int) -> Tensor:
    """Resize `(C, S, S)` as Pillow's bilinear filter does, in a third of its time."""
    if pixels.shape[1:] == (side, side):
        return pixels
    resized: Tensor = F.interpolate(
        pixels.unsqueeze(0), (side, side), mode="bilinear", antialias=True
    )
    return resized[0]
