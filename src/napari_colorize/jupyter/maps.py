"""Pictures of numbers: where attention looks, how sure a model is, which colours there are."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.analysis.colormaps import INFERNO, LARGEST_ERROR, VIRIDIS, Ramp
from napari_colorize.analysis.colormaps import colored as opaque

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

GAMMA = 0.5  # of attention: a few weights are large, and the many small ones matter too
SIDE = 512  # pixels of a map that a browser gets, at most; it enlarges them smoothly
TINY = 1e-30  # of a picture of one value
PALE = (255, 0, 200, 255)  # of no photograph's colours
BINS = 96  # of the histogram, a side
U_LIMIT, V_LIMIT = 0.436, 0.615  # of U and V in RGB, Rec. 601


def attention_map(weights: Floats) -> Bytes:
    """Weights of a picture's parts as `(h, w, 4)`."""
    return colored((weights / weights.max()) ** GAMMA, INFERNO)


def error_map(errors: Floats) -> Bytes:
    """Errors of pixels as `(h, w, 4)`."""
    step = -(-max(errors.shape) // SIDE)
    return colored(errors[::step, ::step] / LARGEST_ERROR, VIRIDIS)


def uncolored_map(result: Colorized) -> tuple[Bytes, float]:
    """Where a picture got next to no colour, as `(h, w, 4)`, and the share of it that is so."""
    import torch

    from napari_colorize.refine.damping import uncolored
    from napari_colorize.result import pixels_to_uint8

    step = -(-max(result.pixels.shape[:2]) // SIDE)
    some = result.pixels[::step, ::step]
    shown = pixels_to_uint8(some, replace(result.plane, alpha=None))[..., :3]
    pale = uncolored(torch.from_numpy(shown / np.float32(255))).numpy()
    lit = np.zeros((*pale.shape, 4), np.uint8)
    lit[pale] = PALE
    return lit, float(pale.mean())


def colored(values: Floats, ramp: Ramp) -> Bytes:
    """Values in [0, 1] as opaque colours `(h, w, 4)` of a ramp."""
    return np.dstack([opaque(values, ramp), np.full(values.shape, 255, np.uint8)])


def gradient(ramp: Ramp) -> str:
    """The ramp as a background of CSS, from left to right."""
    return f"linear-gradient(to right, {', '.join(f'rgb{color}' for color in ramp)})"


def chroma_histogram(result: Colorized) -> Bytes | None:
    """How often which U (to the right) and V (upward) is predicted: `(BINS, BINS, 3)`.

    Each cell has its own colour, the brighter the more often it occurs; None of a fidelity, which
    keeps no chrominance.
    """
    from skimage.color import yuv2rgb

    if result.chroma is None:
        return None
    uv = (result.chroma.uv.float() * (result.settings.saturation or 0)).cpu().numpy()
    limits = (-U_LIMIT, U_LIMIT), (-V_LIMIT, V_LIMIT)
    u, v = (uv[..., axis].ravel().clip(*limits[axis]) for axis in (0, 1))
    counts, *_ = np.histogram2d(v, u, BINS, range=limits[::-1])
    light = np.log1p(counts[::-1]) / np.log1p(counts.max())
    rows, columns = (np.linspace(low, high, BINS) for low, high in (limits[1][::-1], limits[0]))
    yuv = np.stack(
        [np.full((BINS, BINS), 0.6), *np.broadcast_arrays(columns[None], rows[:, None])], -1
    )
    shown = yuv2rgb(yuv).clip(0, 1) * light[..., None] ** 0.5
    middle = BINS // 2
    shown[middle, :] = np.maximum(shown[middle, :], 0.25)  # axes: no U, no V
    shown[:, middle] = np.maximum(shown[:, middle], 0.25)
    return np.rint(shown * 255).astype(np.uint8)


def thumbnail(result: Colorized, side: int) -> Bytes:
    """A small picture of a result, alpha left out."""
    from PIL import Image

    from napari_colorize.result import pixels_to_uint8

    small = Image.fromarray(
        np.ascontiguousarray(pixels_to_uint8(result.pixels, result.plane)[..., :3])
    )
    small.thumbnail((side, side))
    return np.asarray(small)


def preview(rgb: NDArray[Any], side: int) -> Bytes:
    """A small picture of one in colour of any dtype `(Y, X, 3 or more)`."""
    from PIL import Image

    from napari_colorize.imaging.planes import default_limits

    step = max(1, max(rgb.shape[:2]) // (2 * side))
    low, high = default_limits(rgb[..., :3])[0]
    some = np.nan_to_num(rgb[::step, ::step, :3].astype(np.float32))
    unit = ((some - low) / max(high - low, TINY)).clip(0, 1)
    small = Image.fromarray(np.rint(unit * 255).astype(np.uint8))
    small.thumbnail((side, side))
    return np.asarray(small)


def as_png(pixels: Bytes) -> bytes:
    """Pixels as the bytes of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
