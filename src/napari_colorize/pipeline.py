"""What happens to a picture: `predict` (slow, once) and `compose` (quick, as often as wanted).

`predict` shows the network a small gray picture and keeps U and V of what comes out, at the
network's size. `compose` enlarges them, scales them by saturation and joins them with the gray at
full size, or at a part of it (`Window`). Only here is gray turned into what a network takes
(`network_input`), and what it gives into colours (`to_rgb`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_colorize.color import (
    add_offset,
    chroma_to_offset,
    gray_to_l,
    lab_to_rgb,
    rgb_to_yuv,
    yuv_to_rgb,
)
from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD, Architecture, Fit
from napari_colorize.planes import Array, Plane, empty_pixels, to_pixels

PIXELS_PER_RENDER_FACTOR = 16
WIDEST = 4.0  # pictures are shown to a network at most this much wider than high
STRIP_ON_CPU = 2**16  # pixels composed at a time: all of it fits into a processor's cache
STRIP_ON_DEVICE = 2**25  # enough to keep a GPU busy, and bounded


@dataclass(frozen=True, eq=False)
class Chroma:
    """What a network said about the colours of one picture, at the size it was asked.

    Parameters
    ----------
    uv : Tensor, shape (h, w, 2)
        float32 U and V as `skimage.color.rgb2yuv` scales them.
    model : str
        Name of the checkpoint.
    render_factor : int
        At which it was asked (smaller than wanted if memory ran out).
    self_attention : bool
        Whether the layer was on.
    """

    uv: Tensor
    model: str
    render_factor: int
    self_attention: bool

    def mean(self) -> float:
        """Mean length of (U, V): 0 is gray, vivid photographs have 0.1."""
        return float(torch.linalg.vector_norm(self.uv, dim=-1).mean())


def render_size(
    height: int, width: int, render_factor: int, *, fit: Fit = "square", multiple: int = 16
) -> tuple[int, int]:
    """Height and width of what the network sees.

    A square of 16 x render_factor pixels a side, or a rectangle of the picture's proportions (up
    to 4 : 1) and about the square's area; sides are multiples of `multiple`.
    """
    side = PIXELS_PER_RENDER_FACTOR * render_factor
    if fit == "square":
        up = math.ceil(side / multiple) * multiple
        return up, up
    ratio = min(max(width / height, 1 / WIDEST), WIDEST) ** 0.5
    rows, columns = (max(1, round(length / multiple)) for length in (side / ratio, side * ratio))
    return rows * multiple, columns * multiple


@torch.inference_mode()
def predict(
    network: nn.Module,
    architecture: Architecture,
    grays: Iterable[Tensor],
    size: tuple[int, int],
    *,
    self_attention: bool = True,
) -> Tensor:
    """Chrominance of gray planes, as the network sees them.

    Parameters
    ----------
    network : nn.Module
        On the planes' device. It casts its input to what its weights are.
    architecture : Architecture
        What it takes and gives.
    grays : iterable of Tensor, shape (Y, X)
        N planes, float32 in [0, 1]. NaN is shown to the network as black.
    size : tuple of int
        Of the network's input, from `render_size`.
    self_attention : bool
        False replaces the layer by identity.

    Returns
    -------
    Tensor, shape (N, h, w, 2)
        float32 U and V; h and w are `size` or less, as the network has it.
    """
    gray = torch.cat([resize(_without_nan(plane)[None, None], size) for plane in grays])
    x = network_input(architecture, gray).contiguous(memory_format=torch.channels_last)
    y = network(x, self_attention=self_attention).float()
    if architecture.output_space == "uv":
        return y.movedim(1, -1).contiguous()
    rgb = to_rgb(architecture, y, gray).clamp(0, 1)
    return rgb_to_yuv(rgb.movedim(1, -1))[..., 1:].contiguous()


def network_input(architecture: Architecture, gray: Tensor) -> Tensor:
    """What a network takes, from gray `(N, 1, H, W)` in [0, 1]; differentiable.

    Returns
    -------
    Tensor, shape (N, 1, H, W) or (N, 3, H, W)
        The gray, its CIELAB L (0 to 100), or the gray three times, normalised or not.
    """
    if architecture.input_space == "L":
        return gray_to_l(gray)
    x = gray.expand(-1, 3, -1, -1) if architecture.input_space == "rgb" else gray
    if architecture.normalized:
        x = (x - _per_channel(IMAGENET_MEAN, x)) / _per_channel(IMAGENET_STD, x)
    return x


def to_rgb(architecture: Architecture, output: Tensor, gray: Tensor) -> Tensor:
    """What a network gives, as a picture; differentiable.

    Parameters
    ----------
    architecture : Architecture
        Whose output it is.
    output : Tensor, shape (N, 2, h, w) or (N, 3, h, w)
        U and V or CIELAB a and b, which are joined with the gray's Y or L, or RGB.
    gray : Tensor, shape (N, 1, H, W)
        What the network was shown, in [0, 1]; brought to the output's size by means over areas.

    Returns
    -------
    Tensor, shape (N, 3, h, w)
        RGB of the gray's dtype, beyond [0, 1] where it has no such colour.
    """
    output = output.to(gray.dtype)
    if architecture.output_space == "rgb":
        if not architecture.normalized:
            return output
        return output * _per_channel(IMAGENET_STD, output) + _per_channel(IMAGENET_MEAN, output)
    small = resize(gray, (output.shape[-2], output.shape[-1]))
    if architecture.output_space == "ab":
        lab = torch.cat([gray_to_l(small), output], dim=1)
        return lab_to_rgb(lab.movedim(1, -1)).movedim(-1, 1)
    return yuv_to_rgb(torch.cat([small, output], dim=1).movedim(1, -1)).movedim(-1, 1)


def _without_nan(gray: Tensor) -> Tensor:
    """The plane itself if it has none: a copy of a large one is worth avoiding."""
    return torch.nan_to_num(gray, nan=0.0) if bool(gray.sum().isnan()) else gray


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures `(N, C, H, W)` at another size: means over areas down, bilinear up."""
    smaller = min(size[0], x.shape[-2]), min(size[1], x.shape[-1])
    if smaller != tuple(x.shape[-2:]):
        x = F.interpolate(x, smaller, mode="area")
    if smaller != size:
        x = F.interpolate(x, size, mode="bilinear", align_corners=False)
    return x


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


@torch.inference_mode()
def compose(plane: Plane, uv: Tensor, saturation: float, window: Window | None = None) -> Array:
    """Join a plane's gray with chrominance: the picture, in the plane's dtype.

    Parameters
    ----------
    plane : Plane
        Gray at full size, on the device where the work is done.
    uv : Tensor, shape (h, w, 2)
        U and V at any size; enlarged bilinearly.
    saturation : float
        Factor on U and V, 0 to 4.
    window : Window, optional
        If the plane is only a part of the picture that `uv` is of: what comes out is that part
        of the composition of the whole.

    Returns
    -------
    ndarray, shape (Y, X, 3) or (Y, X, 4)
        With alpha if the image had it; integers span the limits, floats [0, 1].
    """
    pixels = empty_pixels(plane)
    for rows, rgb in _strips(plane, uv, saturation, window):
        pixels[rows, :, :3] = to_pixels(rgb, plane)
    return pixels


def _strips(
    plane: Plane, uv: Tensor, saturation: float, window: Window | None
) -> Iterator[tuple[slice, Tensor]]:
    """RGB of a few rows at a time, `(3, rows, X)`: memory stays bounded, and in the cache."""
    gray = plane.gray
    height, width = gray.shape
    offset = chroma_to_offset(uv.movedim(-1, 0).to(gray.device))
    if window is None:  # of all columns torch's own way is the quicker one
        window = Window(range(height), range(width), (0, height), (0, width))
        size = offset.shape[1], width
        offset = F.interpolate(offset[None], size, mode="bilinear", align_corners=False)[0]
    else:
        offset = _enlarged(offset, 2, window.columns, window.width)
    strip = STRIP_ON_CPU if gray.device.type == "cpu" else STRIP_ON_DEVICE
    step = max(1, strip // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        around = _enlarged(offset, 1, window.rows[rows], window.height)
        yield rows, add_offset(gray[rows], around, saturation, *plane.bounds)


def _enlarged(planes: Tensor, axis: int, places: range, span: tuple[float, float]) -> Tensor:
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


def _per_channel(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)
