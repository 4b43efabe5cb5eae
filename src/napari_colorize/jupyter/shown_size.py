"""Composition of a result at the size at which the browser displays it.

An image of 48 megapixels is displayed with about one. Its gray is reduced once; a change of
saturation then composes as many pixels as the browser displays, and `Colorized.pixels`, which is
composed on first access, is not needed. For a view that is zoomed in, a part of the image is
composed at full resolution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_colorize.array_types import UInt8Array
from napari_colorize.jupyter.browser_encoding import Size, display_size, downsample

if TYPE_CHECKING:
    from napari_colorize.array_types import AnyArray
    from napari_colorize.imaging.planes import Plane
    from napari_colorize.result import Colorized


@dataclass(frozen=True)
class Crop:
    """A rectangle of an image at the resolution at which it is displayed."""

    area: tuple[float, float, float, float]  # top, left, bottom, right: fractions of the image
    gray: UInt8Array  # shape (h, w)
    rgb: UInt8Array  # shape (h, w, 3)


class ShownSize:
    """Results at display size; keeps the last reduced plane and the last result. Any thread."""

    def __init__(self) -> None:
        # One tuple each, so that another thread reads an original and what was made of it together.
        self._plane: tuple[Plane, Plane] | None = None
        self._result: tuple[Colorized, Colorized] | None = None

    def forget(self) -> None:
        """Drop the plane and the result."""
        self._plane = self._result = None

    def plane(self, plane: Plane) -> Plane:
        """A plane with its gray at display size; alpha and colors are left out if it is reduced."""
        from napari_colorize.imaging.resample import resize_map

        last = self._plane
        if last is None or last[0] is not plane:
            gray, size = plane.gray, display_size(*plane.gray.shape)
            small = plane
            if size != tuple(gray.shape):
                small = replace(plane, gray=resize_map(gray, size), alpha=None, colors=None)
            last = self._plane = plane, small
        return last[1]

    def result(self, result: Colorized) -> Colorized:
        """A result whose `pixels` are composed at display size.

        Results with hinted pixels or a mask, whose edges are means of full-size pixels, and those
        of a fidelity are composed at full size; they are returned as they are.
        """
        last = self._result
        if last is None or last[0] is not result:
            last = self._result = result, self._reduced(result)
        return last[1]

    def _reduced(self, result: Colorized) -> Colorized:
        if result.chroma is None:
            return result
        layers = result.chroma_layers
        if layers.mask is not None or layers.fixed_pixels is not None:
            return result
        small = self.plane(result.plane)
        if small is result.plane:
            return result
        reduced = replace(result, plane=small)
        vars(reduced)["chroma_layers"] = layers  # those of the full size
        return reduced

    def pixels(self, result: Colorized) -> UInt8Array:
        """RGB pixels, uint8 `(Y, X, 3)`, at display size and without alpha."""
        from napari_colorize.result import pixels_to_uint8

        shown = self.result(result)
        rgb = pixels_to_uint8(shown.pixels, shown.plane)[..., :3]
        return downsample(rgb, display_size(*rgb.shape[:2]))


def crop_of(result: Colorized, area: tuple[float, float, float, float], limit: int) -> Crop:
    """Compose a rectangle of an image.

    Parameters
    ----------
    result : Colorized
        The result.
    area : tuple of float
        Top, left, bottom and right as fractions of the image; extended to whole pixels.
    limit : int
        Number of pixels above which the rectangle is reduced.
    """
    from napari_colorize.imaging.color import to_uint8
    from napari_colorize.imaging.resample import Window, resize_map
    from napari_colorize.pipeline import compose
    from napari_colorize.result import pixels_to_uint8

    height, width = result.plane.gray.shape
    top, bottom = _whole_pixels(area[0], area[2], height)
    left, right = _whole_pixels(area[1], area[3], width)
    part = np.s_[top:bottom, left:right]
    size = _limited((bottom - top, right - left), limit)
    gray = resize_map(result.plane.gray[part], size)
    if result.chroma is None:
        rgb = downsample(pixels_to_uint8(result.pixels, result.plane)[part][..., :3], size)
    else:
        colors = _resized(result.plane.colors, part, size)
        plane = replace(result.plane, gray=gray, alpha=None, colors=colors)
        down, across = size[0] / (bottom - top), size[1] / (right - left)
        window = Window(
            range(size[0]),
            range(size[1]),
            (-top * down, (height - top) * down),
            (-left * across, (width - left) * across),
        )
        saturation = result.settings.saturation
        assert saturation is not None
        pixels = compose(plane, result.chroma_layers, saturation, window)
        rgb = np.ascontiguousarray(pixels_to_uint8(pixels, plane)[..., :3])
    found = top / height, left / width, bottom / height, right / width
    return Crop(found, to_uint8(gray.nan_to_num(nan=0.0)).cpu().numpy(), rgb)


def _whole_pixels(start: float, end: float, length: int) -> tuple[int, int]:
    first = min(max(int(np.floor(start * length)), 0), length - 1)
    return first, max(min(int(np.ceil(end * length)), length), first + 1)


def _limited(size: Size, limit: int) -> Size:
    scale = min(1.0, (limit / (size[0] * size[1])) ** 0.5)
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def _resized(colors: AnyArray | None, part: tuple[slice, slice], size: Size) -> AnyArray | None:
    """A rectangle of the image's own colors, which are displayed outside a mask."""
    if colors is None or colors[part].shape[:2] == size:
        return None if colors is None else colors[part]
    import torch

    from napari_colorize.imaging.resample import resize

    values = torch.from_numpy(colors[part].astype(np.float32))
    planes = (values if values.ndim == 3 else values[..., None]).movedim(-1, 0)[None]
    small = resize(planes, size)[0].movedim(0, -1).numpy()
    small = small if colors.ndim == 3 else small[..., 0]
    return (small if colors.dtype.kind == "f" else np.rint(small)).astype(colors.dtype)
