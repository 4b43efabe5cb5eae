"""Resampling of images and small maps, as a whole or for a window of a larger image.

`resize` and `resize_map` resample whole arrays. `resize_axis` resamples one axis of a small map at
some pixels of a large image, so that an image of any size is composed in row blocks and windows
(`Window`) with bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A part of a larger image, in pixels of that image.

    Parameters
    ----------
    rows, columns : range
        Indices of the pixels; a step above 1 selects every n-th pixel.
    height, width : tuple of float
        Start and end of the area that the chroma covers; (0, Y) and (0, X) for the whole image.
    """

    rows: range
    columns: range
    height: tuple[float, float]
    width: tuple[float, float]


def full_window(height: int, width: int) -> Window:
    """The window that covers a whole image."""
    return Window(range(height), range(width), (0, height), (0, width))


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images `(N, C, H, W)`: area means to reduce, bilinear interpolation to enlarge."""
    smaller = min(size[0], x.shape[-2]), min(size[1], x.shape[-1])
    x = area_mean(x, smaller)
    if smaller != size:
        x = F.interpolate(x, size, mode="bilinear", align_corners=False)
    return x


def area_mean(x: Tensor, size: Sequence[int]) -> Tensor:
    """Reduce images `(N, C, H, W)` to `size` by means over areas, as `F.adaptive_avg_pool2d` does.

    MPS pools only if the sides divide (PyTorch issue 96056). There the means are matrix products,
    equal within 1e-6 of the largest value.
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    if _pools_any_size(x.device):
        return F.adaptive_avg_pool2d(x, (size[0], size[1]))
    rows, columns = (
        _area_weights(length, count).to(x) for length, count in zip(x.shape[-2:], size, strict=True)
    )
    return rows @ x @ columns.T


def _pools_any_size(device: torch.device) -> bool:
    """Whether the device pools where sides do not divide. Costs some microseconds."""
    try:
        F.adaptive_avg_pool2d(torch.zeros(1, 1, 3, 3, device=device), (2, 2))
    except RuntimeError:
        return False
    return True


def _area_weights(length: int, count: int) -> Tensor:
    """Matrix `(count, length)` that takes means over `count` overlapping parts of an axis."""
    parts, positions = torch.arange(count)[:, None], torch.arange(length)
    first, end = parts * length // count, -(-(parts + 1) * length // count)
    return ((positions >= first) & (positions < end)) / (end - first)


def resize_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map `(h, w, C)` or `(h, w)` as `resize` does."""
    if tuple(values.shape[:2]) == size:
        return values
    if values.ndim == 2:
        return resize(values[None, None], size)[0, 0]
    return resize(values.movedim(-1, 0)[None], size)[0].movedim(0, -1)


def resize_axis(maps: Tensor, axis: int, pixels: range, span: tuple[float, float]) -> Tensor:
    """Interpolate one axis of small maps linearly at pixels of a large image.

    Parameters
    ----------
    maps : Tensor, shape (C, h, w)
        Maps whose axis covers `span`.
    axis : {1, 2}
        The axis that is interpolated.
    pixels : range
        Indices of pixels in the large image.
    span : tuple of float
        Start and end of the maps in the large image, in pixels.

    Returns
    -------
    Tensor
        The maps with `len(pixels)` entries along the axis.
    """
    last = maps.shape[axis] - 1
    position = torch.arange(
        pixels.start, pixels.stop, pixels.step, device=maps.device, dtype=torch.float32
    )
    scale = (last + 1) / (span[1] - span[0])
    # Pixel centers are at half-integers, as in `F.interpolate(align_corners=False)`.
    position = ((position + (0.5 - span[0])) * scale - 0.5).clamp_(0, last)
    before = position.floor()
    weight = (position - before)[:, None] if axis == 1 else position - before
    first = before.long()
    second = (first + 1).clamp_max_(last)
    return torch.lerp(maps.index_select(axis, first), maps.index_select(axis, second), weight)


def nearest_indices(length: int, pixels: range, span: tuple[float, float]) -> Tensor:
    """Indices, along an axis of `length` entries that covers `span`, nearest to some pixels."""
    position = torch.arange(pixels.start, pixels.stop, pixels.step, dtype=torch.float64)
    scale = length / (span[1] - span[0])
    return ((position + (0.5 - span[0])) * scale).floor().long().clamp_(0, length - 1)
