"""Encoding of results for the browser: arrays as bytes, at display size.

Gray as uint16, small chroma maps as int16 with a scale each, fixed pixels (strokes), pixels
outside the mask, and finished RGB pixels. Images of more than `MAX_PIXELS` are reduced.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.array_types import UInt8Array

if TYPE_CHECKING:
    from torch import Tensor

    from napari_colorize.imaging.planes import Plane
    from napari_colorize.refine.chroma_field import ChromaField, FixedPixels

# A browser composes this many in well under 1/60 s, and a kernel in little more than a megapixel.
MAX_PIXELS = 3 * 2**19
MAX_SIDE = 2**13  # px, supported by the canvas of every browser
INT16_MAX = 2**15 - 1

Size = tuple[int, int]


def display_size(height: int, width: int) -> Size:
    """Height and width at which an image is sent to the browser."""
    scale = min(1.0, math.sqrt(MAX_PIXELS / (height * width)), MAX_SIDE / max(height, width))
    return max(1, int(height * scale)), max(1, int(width * scale))


def as_uint16(gray: Tensor) -> NDArray[np.uint16]:
    """Gray in [0, 1] as integers from 0 to 65535; NaN becomes 0."""
    scaled = (gray.nan_to_num(nan=0.0) * 65535).round().clamp(0, 65535)
    numbers: NDArray[np.uint16] = scaled.cpu().numpy().astype(np.uint16)
    return numbers


def pack_field(field: ChromaField | None, size: Size) -> dict[str, Any]:
    """Maps of a chroma field, no larger than `size`; empty if there is no field.

    `maps` has U and V of the offset, then U and V of the slope if there is one, as int16.
    `scales` has one unit for each pair.
    """
    from napari_colorize.imaging.resample import resize_map

    if field is None:
        return {}
    small = min(size[0], field.offset.shape[0]), min(size[1], field.offset.shape[1])
    pairs = [field.offset] if field.slope is None else [field.offset, field.slope]
    maps, scales = [], []
    for values in pairs:
        numbers = resize_map(values, small).movedim(-1, 0).float().cpu().numpy()
        scales.append(float(np.abs(numbers).max() / INT16_MAX) or 1.0)
        maps.append(np.rint(numbers / scales[-1]).astype(np.int16).tobytes())
    return {"size": list(small), "maps": b"".join(maps), "scales": scales}


def pack_fixed_pixels(strokes: FixedPixels | None, size: Size) -> dict[str, bytes]:
    """Positions (uint32) of pixels with a fixed chroma, and their U, V and coverage (float32).

    Several full-size pixels may fall into one display pixel: U and V are their mean, and coverage
    is the fraction of the display pixel that they fill. Empty if there are none.
    """
    if strokes is None or not len(strokes.rows):
        return {}
    rows, columns = (
        np.arange(full) * length // full for full, length in zip(strokes.size, size, strict=True)
    )
    flat = rows[strokes.rows.cpu().numpy()] * size[1] + columns[strokes.columns.cpu().numpy()]
    at, which, counts = np.unique(flat, return_inverse=True, return_counts=True)
    uv = strokes.uv.cpu().numpy().astype(np.float64)
    u, v = (np.bincount(which, uv[:, axis]) / counts for axis in (0, 1))
    pixels_per_cell = np.bincount(rows)[at // size[1]] * np.bincount(columns)[at % size[1]]
    values = np.stack([u, v, counts / pixels_per_cell]).astype(np.float32)
    return {"at": at.astype(np.uint32).tobytes(), "values": values.tobytes()}


def pack_outside_mask(plane: Plane, mask: NDArray[np.bool_] | None, size: Size) -> bytes:
    """The image's own pixels as RGBA, opaque outside the mask; empty without a mask."""
    import torch

    from napari_colorize.imaging.color import to_uint8
    from napari_colorize.imaging.resample import resize_map
    from napari_colorize.pipeline import compose
    from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers
    from napari_colorize.result import pixels_to_uint8

    if mask is None:
        return b""
    # An all-false mask makes `compose` return the pixels of the input everywhere.
    no_chroma = ChromaLayers(ChromaField(torch.zeros(1, 1, 2)), mask=np.zeros((1, 1), bool))
    original = downsample(pixels_to_uint8(compose(plane, no_chroma, 0.0), plane)[..., :3], size)
    alpha = resize_map(torch.from_numpy(~mask).float(), size)
    return np.dstack([original, to_uint8(alpha).numpy()]).tobytes()


def downsample(rgb: UInt8Array, size: Size) -> UInt8Array:
    """Resize an image `(Y, X, 3)` to a size that is not larger."""
    import torch

    from napari_colorize.imaging.resample import resize

    rgb = np.ascontiguousarray(rgb)
    if size == rgb.shape[:2]:
        return rgb
    planes = torch.from_numpy(rgb).movedim(-1, 0)[None].float()
    small = resize(planes, size)[0].movedim(0, -1).round()
    return small.to(torch.uint8).contiguous().numpy()
