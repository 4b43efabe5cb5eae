"""What happens to a picture: `predict` (slow, once) and `compose` (quick, as often as wanted).

`predict` shows the network a small gray picture and keeps U and V of what comes out, at the
network's size. `compose` enlarges them, scales them by saturation and joins them with the gray at
full size, or at a part of it (`Window`). Only here is gray turned into what a network takes
(`network_input`), and what it gives into colours (`to_rgb`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from napari_colorize.imaging.color import (
    TINY,
    add_offset,
    gray_to_l,
    lab_to_rgb,
    rgb_to_lab,
    rgb_to_yuv,
    yuv_to_rgb,
)
from napari_colorize.imaging.planes import Array, Plane, empty_pixels, to_pixels
from napari_colorize.imaging.resample import Window, full_window, resize, resize_map
from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD, Architecture, Fit
from napari_colorize.refine.chroma_field import ChromaLayers, ChromaWindow, as_chroma_layers

if TYPE_CHECKING:
    from napari_colorize.refine.hints import Hints

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
    steadied : Tensor, shape (h, w, 2), optional
        The same held steady along time, see `refine.temporal`; None for a picture by itself.
    temporal_smoothing : float
        How much that was; 0 for a picture by itself.
    errors : Tensor, shape (h, w), optional
        How far off the truth the model expects its colours to be, in CIEDE2000, if that was asked.
    """

    uv: Tensor
    model: str
    render_factor: int
    self_attention: bool
    smoothed_uv: Tensor | None = None
    temporal_smoothing: float = 0.0
    errors: Tensor | None = None

    def to(self, device: torch.device | str) -> Chroma:
        """The same on a device."""
        steadied = None if self.smoothed_uv is None else self.smoothed_uv.to(device)
        errors = None if self.errors is None else self.errors.to(device)
        return replace(self, uv=self.uv.to(device), smoothed_uv=steadied, errors=errors)

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
    hints: Hints | None = None,
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
    hints : Hints, optional
        Of all planes, shown to a network that takes any.

    Returns
    -------
    Tensor, shape (N, h, w, 2)
        float32 U and V; h and w are `size` or less, as the network has it.
    """
    gray = torch.cat([resize(_without_nan(plane)[None, None], size) for plane in grays])
    x = network_input(architecture, gray).contiguous(memory_format=torch.channels_last)
    options = {}
    if hints is not None and architecture.takes_hints:
        options["hints"] = network_hints(hints, x)
    y = network(x, self_attention=self_attention, **options).float()
    if architecture.output_space == "uv":
        return y.movedim(1, -1).contiguous()
    rgb = to_rgb(architecture, y, gray).clamp(0, 1)
    return rgb_to_yuv(rgb.movedim(1, -1))[..., 1:].contiguous()


def network_hints(hints: Hints, x: Tensor) -> tuple[Tensor, Tensor]:
    """Hints as a network takes them, at the size of its input `x` and on its device.

    Returns
    -------
    Tensor, shape (N, 2, H, W)
        CIELAB a and b, mean of those given within a pixel; 0 where there are none.
    Tensor, shape (N, 1, H, W)
        1 where there are any, else 0.
    """
    size = x.shape[-2], x.shape[-1]
    mask = torch.from_numpy(hints.mask).float()
    ab = rgb_to_lab(torch.from_numpy(hints.rgb).float())[..., 1:]
    ab = torch.where(mask[..., None] > 0, ab, 0.0)  # elsewhere they may be anything
    share = resize_map(mask, size)
    mean = resize_map(ab, size) / share.clamp_min(TINY)[..., None]
    mean[share == 0] = 0
    planes = mean.movedim(-1, 0)[None], (share > 0).float()[None, None]
    colors, given = (plane.expand(len(x), -1, -1, -1).to(x) for plane in planes)
    return colors, given


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


@torch.inference_mode()
def compose(
    plane: Plane, colors: Tensor | ChromaLayers, saturation: float, window: Window | None = None
) -> Array:
    """Join a plane's gray with chrominance: the picture, in the plane's dtype.

    Parameters
    ----------
    plane : Plane
        Gray at full size, on the device where the work is done.
    colors : Tensor, shape (h, w, 2), or Tint
        U and V at any size, enlarged bilinearly; or all that `refine` made of them.
    saturation : float
        Factor on predicted U and V, 0 to 4.
    window : Window, optional
        If the plane is only a part of the picture that the colours are of: what comes out is that
        part of the composition of the whole.

    Returns
    -------
    ndarray, shape (Y, X, 3) or (Y, X, 4)
        With alpha if the image had it; integers span the limits, floats [0, 1].
    """
    pixels = empty_pixels(plane)
    tint = as_chroma_layers(colors).to(plane.gray.device)
    tinted = ChromaWindow(tint, window or full_window(*plane.gray.shape), saturation)
    for rows, rgb in _strips(plane, tinted):
        pixels[rows, :, :3] = to_pixels(rgb, plane)
        outside = tinted.outside(rows)
        if outside is not None:
            pixels[rows, :, :3][outside] = _as_it_was(plane, rows)[outside]
    return pixels


def _strips(plane: Plane, tinted: ChromaWindow) -> Iterator[tuple[slice, Tensor]]:
    """RGB of a few rows at a time, `(3, rows, X)`: memory stays bounded, and in the cache."""
    height, width = plane.gray.shape
    strip = STRIP_ON_CPU if plane.gray.device.type == "cpu" else STRIP_ON_DEVICE
    step = max(1, strip // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        gray = plane.gray[rows]
        offset, saturation = tinted.offset(rows, gray)
        yield rows, add_offset(gray, offset, saturation, *plane.bounds)


def _as_it_was(plane: Plane, rows: slice) -> Array:
    """The image's own pixels `(rows, X, 3)`: its colours, or its gray."""
    if plane.colors is None:
        return to_pixels(plane.gray[rows].expand(3, -1, -1), plane)
    colors = plane.colors[rows]
    colors = colors if colors.ndim == 3 else np.repeat(colors[..., None], 3, axis=-1)
    if plane.dtype.kind == "b":
        return colors * np.uint8(255)
    if plane.dtype.kind != "f":
        return colors
    low, high = plane.limits
    unit: Array = np.clip((colors - low) / ((high - low) or 1), 0, 1).astype(plane.dtype)
    return unit


def _per_channel(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)
