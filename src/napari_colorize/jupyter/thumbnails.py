"""Images for the notebook widgets: chroma histogram, thumbnails, PNG encoding."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from napari_colorize.analysis.colormaps import Colormap

if TYPE_CHECKING:
    from napari_colorize.array_types import AnyArray, UInt8Array
    from napari_colorize.result import Colorized

MAX_SIDE = 512  # pixels of a map that is sent to the browser, which enlarges it
SMALLEST_RANGE = 1e-30  # avoids a division by zero for constant images
HISTOGRAM_BINS = 96  # per side
HISTOGRAM_LUMINANCE = 0.6  # of the colors of the cells
AXIS_BRIGHTNESS = 0.25  # of the lines U = 0 and V = 0
U_LIMIT, V_LIMIT = 0.436, 0.615  # largest U and V of RGB colors, Rec. 601


def css_gradient(colormap: Colormap) -> str:
    """A colormap as a CSS background, from left to right."""
    return f"linear-gradient(to right, {', '.join(f'rgb{color}' for color in colormap)})"


def chroma_histogram(result: Colorized) -> UInt8Array | None:
    """Two-dimensional histogram of predicted chroma, U to the right and V upward.

    Each cell has its own color, which is brighter for a higher count.

    Returns
    -------
    ndarray of uint8, shape (HISTOGRAM_BINS, HISTOGRAM_BINS, 3), or None
        None for fidelities other than "exact", which do not keep chroma.
    """
    from skimage.color import yuv2rgb

    from napari_colorize.imaging.color import to_uint8

    if result.chroma is None:
        return None
    uv = (result.chroma.uv.float() * (result.settings.saturation or 0)).cpu().numpy()
    limits = (-U_LIMIT, U_LIMIT), (-V_LIMIT, V_LIMIT)
    u, v = (uv[..., axis].ravel().clip(*limits[axis]) for axis in (0, 1))
    counts, *_ = np.histogram2d(v, u, HISTOGRAM_BINS, range=limits[::-1])
    brightness = np.log1p(counts[::-1]) / np.log1p(counts.max())
    rows, columns = (
        np.linspace(low, high, HISTOGRAM_BINS) for low, high in (limits[1][::-1], limits[0])
    )
    luminance = np.full((HISTOGRAM_BINS, HISTOGRAM_BINS), HISTOGRAM_LUMINANCE)
    yuv = np.stack([luminance, *np.broadcast_arrays(columns[None], rows[:, None])], -1)
    rgb = yuv2rgb(yuv).clip(0, 1) * brightness[..., None] ** 0.5
    middle = HISTOGRAM_BINS // 2
    rgb[middle, :] = np.maximum(rgb[middle, :], AXIS_BRIGHTNESS)
    rgb[:, middle] = np.maximum(rgb[:, middle], AXIS_BRIGHTNESS)
    return to_uint8(rgb)


def thumbnail(result: Colorized, side: int) -> UInt8Array:
    """A result reduced to at most `side` pixels a side, without alpha."""
    from PIL import Image

    from napari_colorize.result import pixels_to_uint8

    small = Image.fromarray(
        np.ascontiguousarray(pixels_to_uint8(result.pixels, result.plane)[..., :3])
    )
    small.thumbnail((side, side))
    return np.asarray(small)


def preview(rgb: AnyArray, side: int) -> UInt8Array:
    """An image in color, of any dtype, reduced to at most `side` pixels a side.

    Shape (Y, X, 3 or more); channels beyond the third are ignored.
    """
    from PIL import Image

    from napari_colorize.imaging.color import to_uint8
    from napari_colorize.imaging.intensity_range import image_range

    step = max(1, max(rgb.shape[:2]) // (2 * side))
    low, high = image_range(rgb[..., :3]).limits
    some = np.nan_to_num(rgb[::step, ::step, :3].astype(np.float32))
    unit = ((some - low) / max(high - low, SMALLEST_RANGE)).clip(0, 1)
    small = Image.fromarray(to_uint8(unit))
    small.thumbnail((side, side))
    return np.asarray(small)


def as_png(pixels: UInt8Array) -> bytes:
    """Encode pixels as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
