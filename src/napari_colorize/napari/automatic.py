"""Which image layers are colorized without a click: grayscale photographs, also those in RGB.

Most scans of black-and-white photographs are RGB files, gray or toned (sepia, cyanotype), with the
noise of the scanner and of JPEG. `has_one_tone` recognizes them: their color is a function of
luminance, of one hue, and light areas are pale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_colorize.napari.layers import largest, middle_planes, plane_of, smallest

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image

    from napari_colorize.array_types import AnyArray, Float64Array, PlaneIndex

SAMPLES = 256  # pixels of a side that are evaluated
LEVELS = 16  # of luminance, in which the colors are compared
# Chroma (Rec. 601 U and V of values in [0, 1]). Of 60 historical scans 58 stay below these limits,
# of 200 photographs in color 3.
SPREAD_95, SPREAD_99 = 0.045, 0.07  # percentiles of the distance from the tone of the same level
PALE = 0.03  # tones with less chroma have no hue
SAME_HUE = 0.5  # cosine of the largest difference of two hues
PAPER = 0.3  # chroma of light areas, as a share of their luminance
# That of skimage.color, whose import takes 0.2 s in the thread of the window.
RGB_TO_YUV = np.array([[0.299, 0.587, 0.114], [-0.147, -0.289, 0.436], [0.615, -0.515, -0.1]])

# By layer: the values that were evaluated, and whether they are in color.
_evaluated: WeakKeyDictionary[Image, tuple[Any, PlaneIndex, bool]] = WeakKeyDictionary()


def reason_to_wait(layer: Image, dims: Dims) -> str:
    """Why a layer is not colorized before the user asks for it; "" if there is no reason.

    `layer` can be colorized; `dims` tell which of its planes is displayed.
    """
    if layer.blending == "additive" and not layer.rgb:
        return (
            f"{layer.name!r} is a channel of a composite (additive blending). Models are trained "
            "on photographs: press Colorize to predict colors anyway."
        )
    if not layer.rgb and not is_gray_colormap(layer):
        return (
            f"{layer.name!r} has the colormap {layer.colormap.name!r}. Models are trained on "
            "photographs: press Colorize to predict colors anyway."
        )
    if layer.rgb and has_colors(layer, dims):
        return (
            f"{layer.name!r} has colors. Press Colorize anyway to replace them by predicted ones."
        )
    return ""


def is_gray_colormap(layer: Image) -> bool:
    """Whether the layer is displayed from black to white without any color."""
    values = np.linspace(0, 1, 5)
    colors = np.asarray(layer.colormap.map(values))[:, :3]
    return bool(np.allclose(colors, values[:, None], atol=0.02))


def has_colors(layer: Image, dims: Dims) -> bool:
    """Whether the displayed plane of an RGB layer has colors, that is, more than one tone.

    A black or white frame of a film in memory says nothing about the others, so the middle one is
    evaluated too.
    """
    data, plane = largest(layer), plane_of(layer, dims)
    known = _evaluated.get(layer)
    if known is not None and known[0] is data and known[1] == plane:
        return known[2]
    stack = smallest(layer)
    planes = {plane, *middle_planes(layer, stack)}
    try:
        found = not all(has_one_tone(_samples(stack, index)) for index in planes)
    except Exception:  # noqa: BLE001 (of a lazy array: reported when the layer is colorized)
        return False
    _evaluated[layer] = data, plane, found
    return found


def has_one_tone(rgb: Float64Array) -> bool:
    """Whether pixels `(N, 3)` in [0, 1] are gray or toned, like those of a toned photograph."""
    rgb = rgb[np.isfinite(rgb).all(axis=1)]
    if not len(rgb):
        return False  # nothing is known about it
    y, u, v = RGB_TO_YUV @ rgb.T
    levels = np.minimum((y * LEVELS).astype(int), LEVELS - 1)
    spread, tones = np.zeros(len(y)), []
    for level in np.unique(levels):
        same = levels == level
        tone = np.median(u[same]), np.median(v[same])
        spread[same] = np.hypot(u[same] - tone[0], v[same] - tone[1])
        tones.append(tone)
    if np.quantile(spread, 0.95) > SPREAD_95 or np.quantile(spread, 0.99) > SPREAD_99:
        return False
    light = y >= np.quantile(y, 0.9)
    if np.median(np.hypot(u[light], v[light])) > PAPER * max(np.median(y[light]), PALE):
        return False
    chroma = np.hypot(*np.transpose(tones))
    hues = (np.array(tones) / np.maximum(chroma, PALE)[:, None])[chroma > PALE]
    return bool((hues @ hues.T > SAME_HUE).all())


def some_pixels(height: int, width: int) -> tuple[slice, slice]:
    """Index of about `SAMPLES` rows and columns of a plane."""
    rows, columns = (slice(None, None, max(1, side // SAMPLES)) for side in (height, width))
    return rows, columns


def _samples(stack: Any, plane: PlaneIndex) -> Float64Array:
    """Some opaque pixels `(N, 3)` of an RGB plane, in [0, 1]."""
    height, width = stack.shape[len(plane) : len(plane) + 2]
    some: AnyArray = np.asarray(stack[plane][some_pixels(height, width)])
    pixels = some.reshape(-1, stack.shape[-1])
    if pixels.shape[1] == 4:
        pixels = pixels[pixels[:, 3] > 0]
    rgb = pixels[:, :3].astype(np.float64)
    # The largest value, not that of the dtype: 12-bit data in uint16 would all be nearly black.
    white = 255.0 if pixels.dtype == np.uint8 else np.nanmax(rgb, initial=0, where=np.isfinite(rgb))
    return rgb / (white or 1.0)
