"""What a browser gets of a result: numbers as bytes, at the size at which it shows them.

Gray in 16 bits, the small maps of a `Tint` in 16 bits with their units, pixels of strokes, what a
mask leaves as it was; and the finished pixels. Larger pictures than `MOST` are shown smaller.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from napari_colorize.imaging.planes import Plane
    from napari_colorize.refine.chroma_field import ChromaField, FixedPixels
    from napari_colorize.result import Colorized

MOST = 2**21  # pixels that a browser composes in well under a sixtieth of a second
LONGEST = 2**13  # pixels of a side that every browser's canvas can have
FINEST = 2**15 - 1  # steps of a map from 0 to its largest value

Size = tuple[int, int]


def shown_size(height: int, width: int) -> Size:
    """Height and width at which a picture is sent."""
    share = min(1.0, math.sqrt(MOST / (height * width)), LONGEST / max(height, width))
    return max(1, int(height * share)), max(1, int(width * share))


def gray_of(plane: Plane, size: Size) -> bytes:
    """Gray as whole numbers from 0 to 65535."""
    from napari_colorize.imaging.resample import resize_map

    return as_uint16(resize_map(plane.gray, size)).tobytes()


def as_uint16(gray: Tensor) -> NDArray[np.uint16]:
    """Gray in [0, 1] as whole numbers from 0 to 65535; what is no number is black."""
    scaled = (gray.nan_to_num(nan=0.0) * 65535).round().clamp(0, 65535)
    numbers: NDArray[np.uint16] = scaled.cpu().numpy().astype(np.uint16)
    return numbers


def field_of(field: ChromaField | None, size: Size) -> dict[str, Any]:
    """The maps of a field, no larger than the picture: U, V of the offset, then of the slope.

    Each two are int16 of a unit of their own, in `scales`. Empty if there is no field.
    """
    from napari_colorize.imaging.resample import resize_map

    if field is None:
        return {}
    small = min(size[0], field.offset.shape[0]), min(size[1], field.offset.shape[1])
    given = [field.offset] if field.slope is None else [field.offset, field.slope]
    maps, scales = [], []
    for values in given:
        numbers = resize_map(values, small).movedim(-1, 0).float().cpu().numpy()
        scales.append(float(np.abs(numbers).max() / FINEST) or 1.0)
        maps.append(np.rint(numbers / scales[-1]).astype(np.int16).tobytes())
    return {"size": list(small), "maps": b"".join(maps), "scales": scales}


def strokes_of(strokes: FixedPixels | None, size: Size) -> dict[str, bytes]:
    """Where strokes are (uint32), and their U, V and share of the pixel (float32), one by one.

    Empty if there are none. In a picture that is shown smaller, several fall into one pixel.
    """
    if strokes is None or not len(strokes.rows):
        return {}
    rows, columns = (
        np.arange(whole) * length // whole for whole, length in zip(strokes.size, size, strict=True)
    )
    places = rows[strokes.rows.cpu().numpy()] * size[1] + columns[strokes.columns.cpu().numpy()]
    at, which, counts = np.unique(places, return_inverse=True, return_counts=True)
    given = strokes.uv.cpu().numpy().astype(np.float64)
    u, v = (np.bincount(which, given[:, axis]) / counts for axis in (0, 1))
    covered = np.bincount(rows)[at // size[1]] * np.bincount(columns)[at % size[1]]
    values = np.stack([u, v, counts / covered]).astype(np.float32)
    return {"at": at.astype(np.uint32).tobytes(), "values": values.tobytes()}


def kept_of(plane: Plane, mask: NDArray[np.bool_] | None, size: Size) -> bytes:
    """The image's own pixels as RGBA, opaque where a mask leaves them; empty without a mask."""
    import torch

    from napari_colorize.imaging.resample import resize_map
    from napari_colorize.pipeline import compose
    from napari_colorize.refine.chroma_field import ChromaField, ChromaLayers
    from napari_colorize.result import pixels_to_uint8

    if mask is None:
        return b""
    nowhere = ChromaLayers(ChromaField(torch.zeros(1, 1, 2)), mask=np.zeros((1, 1), bool))
    own = shrunk(pixels_to_uint8(compose(plane, nowhere, 0.0), plane)[..., :3], size)
    share = resize_map(torch.from_numpy(~mask).float(), size)
    return np.dstack([own, (share * 255).round().to(torch.uint8).numpy()]).tobytes()


def pixels_of(result: Colorized) -> NDArray[np.uint8]:
    """The finished picture `(Y, X, 3)` at the size at which it is sent; alpha is left out."""
    from napari_colorize.result import pixels_to_uint8

    shown = pixels_to_uint8(result.pixels, result.plane)[..., :3]
    return shrunk(shown, shown_size(*shown.shape[:2]))


def shrunk(rgb: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A picture `(Y, X, 3)` at a size that is no larger."""
    import torch

    from napari_colorize.imaging.resample import resize

    rgb = np.ascontiguousarray(rgb)
    if size == rgb.shape[:2]:
        return rgb
    planes = torch.from_numpy(rgb).movedim(-1, 0)[None].float()
    small = resize(planes, size)[0].movedim(0, -1).round()
    return small.to(torch.uint8).contiguous().numpy()
