"""Pictures and small maps at other sizes, whole or a part at a time.

`resize` is for whole pictures; `enlarged` brings one axis of a small map to some of the pixels of a
large picture, so that a picture of any size is made in strips and windows (`Window`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A part of a larger picture, in the picture's pixels.

    Parameters
    ----------
    rows, columns : range
        Which pixels; every second one, say, with a step of 2.
    height, width : tuple of float
        From where to where the chrominance reaches; (0, Y) and (0, X) if it is of all of it.
    """

    rows: range
    columns: range
    height: tuple[float, float]
    width: tuple[float, float]


def full_window(height: int, width: int) -> Window:
    """All of a picture."""
    return Window(range(height), range(width), (0, height), (0, width))


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures `(N, C, H, W)` at another size: means over areas down, bilinear up."""
    smaller = min(size[0], x.shape[-2]), min(size[1], x.shape[-1])
    if smaller != tuple(x.shape[-2:]):
        x = F.interpolate(x, smaller, mode="area")
    if smaller != size:
        x = F.interpolate(x, size, mode="bilinear", align_corners=False)
    return x


def resize_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """A map `(h, w, C)`, or `(h, w)`, at another size, as `resize` does it."""
    if tuple(values.shape[:2]) == size:
        return values
    if values.ndim == 2:
        return resize(values[None, None], size)[0, 0]
    return resize(values.movedim(-1, 0)[None], size)[0].movedim(0, -1)


def enlarged(planes: Tensor, axis: int, places: range, span: tuple[float, float]) -> Tensor:
    """Planes (C, h, w) with one axis enlarged bilinearly to reach over `span`; at some places."""
    last = planes.shape[axis] - 1
    place = torch.arange(
        places.start, places.stop, places.step, device=planes.device, dtype=torch.float32
    )
    scale = (last + 1) / (span[1] - span[0])
    place = ((place + (0.5 - span[0])) * scale - 0.5).clamp_(0, last)
    before = place.floor()
    share = (place - before)[:, None] if axis == 1 else place - before
    first = before.long()
    second = (first + 1).clamp_max_(last)
    return torch.lerp(planes.index_select(axis, first), planes.index_select(axis, second), share)


def nearest(length: int, places: range, span: tuple[float, float]) -> Tensor:
    """Of a map with `length` pixels along an axis that reaches over `span`: which are at places."""
    place = torch.arange(places.start, places.stop, places.step, dtype=torch.float64)
    scale = length / (span[1] - span[0])
    return ((place + (0.5 - span[0])) * scale).floor().long().clamp_(0, length - 1)
