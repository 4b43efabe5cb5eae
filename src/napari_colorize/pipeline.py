"""The two steps of a colorization: `predict` (slow, once) and `compose` (fast, repeatable).

`predict` runs the network on a reduced gray image and keeps U and V at network size. `compose`
enlarges them, scales them by saturation and joins them with the gray at full size, or in a window
of it. `network_input` converts gray to the input of a network, and `to_rgb` its output to colors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from napari_colorize.array_types import AnyArray
from napari_colorize.imaging.color import (
    TINY,
    add_offset,
    gray_to_l,
    lab_to_rgb,
    rgb_to_lab,
    rgb_to_yuv,
    yuv_to_rgb,
)
from napari_colorize.imaging.planes import Plane, empty_pixels, to_pixels
from napari_colorize.imaging.resample import Window, full_window, resize, resize_map
from napari_colorize.networks import IMAGENET_MEAN, IMAGENET_STD, Architecture, Fit
from napari_colorize.refine.chroma_field import ChromaLayers, ChromaWindow, as_chroma_layers

if TYPE_CHECKING:
    from napari_colorize.refine.hints import Hints

PIXELS_PER_RENDER_FACTOR = 16
MAX_ASPECT = 4.0  # largest ratio of the sides of a network input
BLOCK_ON_CPU = 2**16  # pixels composed at a time: the intermediate arrays fit into the CPU cache
BLOCK_ON_GPU = 2**25  # enough to occupy a GPU, with bounded memory


def render_size(
    height: int, width: int, render_factor: int, *, fit: Fit = "square", multiple: int = 16
) -> tuple[int, int]:
    """Height and width of the network input for an image of a given size.

    A square of 16 x render_factor pixels a side, or a rectangle of the image's aspect ratio (up to
    4 : 1) and about the same area. Sides are rounded to multiples of `multiple`.
    """
    side = PIXELS_PER_RENDER_FACTOR * render_factor
    if fit == "square":
        up = math.ceil(side / multiple) * multiple
        return up, up
    ratio = min(max(width / height, 1 / MAX_ASPECT), MAX_ASPECT) ** 0.5
    rows, columns = (max(1, round(length / multiple)) for length in (side / ratio, side * ratio))
    return rows * multiple, columns * multiple


def predict(
    network: nn.Module,
    architecture: Architecture,
    grays: Iterable[Tensor],
    size: tuple[int, int],
    *,
    self_attention: bool = True,
    hints: Hints | None = None,
) -> Tensor:
    """Predict the chroma of gray planes.

    Parameters
    ----------
    network : nn.Module
        Network on the device of the planes; it casts its input to the dtype of its weights.
    architecture : Architecture
        Input and output of the network.
    grays : iterable of Tensor, shape (Y, X)
        N planes, float32 in [0, 1]. NaN is replaced by black.
    size : tuple of int
        Height and width of the network input, from `render_size`.
    self_attention : bool
        False replaces the self-attention layer by identity.
    hints : Hints, optional
        Hints of all planes, for a network that takes hints as input.

    Returns
    -------
    Tensor, shape (N, h, w, 2)
        float32 U and V; h and w are those of the network output, at most `size`.
    """
    uv, _ = predict_and_judge(
        network, architecture, grays, size, self_attention=self_attention, hints=hints
    )
    return uv


@torch.inference_mode()
def predict_and_judge(
    network: nn.Module,
    architecture: Architecture,
    grays: Iterable[Tensor],
    size: tuple[int, int],
    *,
    self_attention: bool = True,
    hints: Hints | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Predict as `predict` does; also return how unlike photographs the planes are.

    The second tensor is float32 `(N,)`: above 0 for planes that are unlike the photographs of the
    training, 1 and more far from them. None for a network without a classifier.
    """
    gray = torch.cat([resize(_without_nan(plane)[None, None], size) for plane in grays])
    uv, unlikeness = run_network(
        network, architecture, gray, self_attention=self_attention, hints=hints
    )
    return uv.movedim(1, -1).contiguous(), unlikeness


def run_network(
    network: nn.Module,
    architecture: Architecture,
    gray: Tensor,
    *,
    self_attention: bool = True,
    hints: Hints | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Run a network on gray `(N, 1, H, W)` in [0, 1] of the size of its input.

    Returns float32 U and V `(N, 2, h, w)`, and how unlike photographs the images are, as
    `predict_and_judge` does.
    """
    x = network_input(architecture, gray).contiguous(memory_format=torch.channels_last)
    options = {}
    if hints is not None and architecture.takes_hints:
        options["hints"] = network_hints(hints, x)
    unlikeness = None
    if getattr(network, "photograph_classifier", None) is not None:
        y, unlikeness = network(x, self_attention=self_attention, with_unlikeness=True)
    else:
        y = network(x, self_attention=self_attention, **options)
    y = y.float()
    if architecture.output_space == "uv":
        return y, unlikeness
    rgb = to_rgb(architecture, y, gray).clamp(0, 1)
    return rgb_to_yuv(rgb.movedim(1, -1))[..., 1:].movedim(-1, 1), unlikeness


def network_hints(hints: Hints, x: Tensor) -> tuple[Tensor, Tensor]:
    """Convert hints to network input, at the size and on the device of the input `x`.

    Returns CIELAB a and b (N, 2, H, W), the mean of the hints inside each pixel, 0 where there are
    none; and a mask (N, 1, H, W), 1 where there are hints, else 0.
    """
    size = x.shape[-2], x.shape[-1]
    mask = torch.from_numpy(hints.mask).float()
    ab = rgb_to_lab(torch.from_numpy(hints.rgb).float())[..., 1:]
    ab = torch.where(mask[..., None] > 0, ab, 0.0)  # colors outside the mask are undefined
    coverage = resize_map(mask, size)
    mean = resize_map(ab, size) / coverage.clamp_min(TINY)[..., None]
    mean[coverage == 0] = 0
    planes = mean.movedim(-1, 0)[None], (coverage > 0).float()[None, None]
    colors, given = (plane.expand(len(x), -1, -1, -1).to(x) for plane in planes)
    return colors, given


def network_input(architecture: Architecture, gray: Tensor) -> Tensor:
    """Convert gray `(N, 1, H, W)` in [0, 1] to the input of a network; differentiable.

    That is gray, its CIELAB L from 0 to 100, or gray repeated to three channels; normalized by
    ImageNet's mean and standard deviation if the architecture requires it.
    """
    if architecture.input_space == "L":
        return gray_to_l(gray)
    x = gray.expand(-1, 3, -1, -1) if architecture.input_space == "rgb" else gray
    if architecture.normalized:
        x = (x - _per_channel(IMAGENET_MEAN, x)) / _per_channel(IMAGENET_STD, x)
    return x


def to_rgb(architecture: Architecture, output: Tensor, gray: Tensor) -> Tensor:
    """Convert the output of a network to RGB `(N, 3, h, w)`; differentiable.

    The output is U and V, or CIELAB a and b, `(N, 2, h, w)`, which are joined with Y or L of the
    gray; or RGB. `gray` `(N, 1, H, W)` is the network input in [0, 1], resized to the output by
    area means. Colors outside the gamut are outside [0, 1]. The dtype is that of `gray`.
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
    """Replace NaN by black; a plane without NaN is returned without a copy."""
    # The sum is NaN if any value is: one pass, without a mask of the size of the plane.
    return torch.nan_to_num(gray, nan=0.0) if bool(gray.sum().isnan()) else gray


@torch.inference_mode()
def compose(
    plane: Plane, colors: Tensor | ChromaLayers, saturation: float, window: Window | None = None
) -> AnyArray:
    """Join the gray of a plane with chroma to an image of the plane's dtype.

    Parameters
    ----------
    plane : Plane
        Gray at full size; its device is used for the computation.
    colors : Tensor, shape (h, w, 2), or ChromaLayers
        U and V at any size, resized bilinearly; or the result of `refine.apply.refine`.
    saturation : float
        Factor on predicted U and V, 0 to 4.
    window : Window, optional
        Position of the plane in the image that the colors cover, if it is only a part of it. The
        result is the same part of the composition of the whole image.

    Returns
    -------
    ndarray, shape (Y, X, 3) or (Y, X, 4)
        With alpha if the image has it. Integers span the contrast limits, floats [0, 1].
    """
    pixels = empty_pixels(plane)
    layers = as_chroma_layers(colors).to(plane.gray.device)
    chroma = ChromaWindow(layers, window or full_window(*plane.gray.shape), saturation)
    for rows, rgb in _row_blocks(plane, chroma):
        pixels[rows, :, :3] = to_pixels(rgb, plane)
        outside = chroma.outside(rows)
        if outside is not None:
            pixels[rows, :, :3][outside] = _original_pixels(plane, rows)[outside]
    return pixels


def _row_blocks(plane: Plane, chroma: ChromaWindow) -> Iterator[tuple[slice, Tensor]]:
    """RGB of a few rows at a time, `(3, rows, X)`, so that memory is bounded."""
    height, width = plane.gray.shape
    block = BLOCK_ON_CPU if plane.gray.device.type == "cpu" else BLOCK_ON_GPU
    step = max(1, block // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        gray = plane.gray[rows]
        offset, saturation = chroma.offset(rows, gray)
        yield rows, add_offset(gray, offset, saturation, *plane.bounds)


def _original_pixels(plane: Plane, rows: slice) -> AnyArray:
    """Colors or gray of the input image `(rows, X, 3)`, in the dtype and range of the result."""
    if plane.colors is None:
        return to_pixels(plane.gray[rows].expand(3, -1, -1), plane)
    colors = plane.colors[rows]
    colors = colors if colors.ndim == 3 else np.repeat(colors[..., None], 3, axis=-1)
    if plane.dtype.kind == "b":
        return colors * np.uint8(255)
    if plane.dtype.kind != "f":
        return colors
    low, high = plane.limits
    unit: AnyArray = np.clip((colors - low) / ((high - low) or 1), 0, 1).astype(plane.dtype)
    return unit


def _per_channel(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)
