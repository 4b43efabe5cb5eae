"""Pictures of numbers: where attention looks, how sure a model is, which colours there are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_colorize.session.words import LARGEST_ERROR

if TYPE_CHECKING:
    from napari_colorize.result import Colorized

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# matplotlib's viridis and inferno (CC0) at five places, evenly from 0 to 1.
VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
INFERNO = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
Ramp = tuple[tuple[int, int, int], ...]

GAMMA = 0.5  # of attention: a few weights are large, and the many small ones matter too
SIDE = 512  # pixels of a map that a browser gets, at most; it enlarges them smoothly
BINS = 96  # of the histogram, a side
U_LIMIT, V_LIMIT = 0.436, 0.615  # of U and V in RGB, Rec. 601


def attention_map(weights: Floats) -> Bytes:
    """Weights of a picture's parts as `(h, w, 4)`."""
    return colored((weights / weights.max()) ** GAMMA, INFERNO)


def error_map(errors: Floats) -> Bytes:
    """Errors of pixels as `(h, w, 4)`."""
    step = -(-max(errors.shape) // SIDE)
    return colored(errors[::step, ::step] / LARGEST_ERROR, VIRIDIS)


def colored(values: Floats, ramp: Ramp) -> Bytes:
    """Values in [0, 1] as opaque colours `(h, w, 4)` of a ramp."""
    places = np.linspace(0, 1, len(ramp))
    unit = np.nan_to_num(values).clip(0, 1)
    channels = [np.interp(unit, places, channel) for channel in zip(*ramp, strict=True)]
    return np.rint(np.stack([*channels, np.full(unit.shape, 255.0)], -1)).astype(np.uint8)


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

    from napari_colorize.result import as_bytes

    small = Image.fromarray(np.ascontiguousarray(as_bytes(result.pixels, result.plane)[..., :3]))
    small.thumbnail((side, side))
    return np.asarray(small)


def as_png(pixels: Bytes) -> bytes:
    """Pixels as the bytes of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
