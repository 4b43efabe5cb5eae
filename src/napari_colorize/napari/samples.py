"""Pictures to try the plugin on: scikit-image's bundled photographs made gray. No download.

Gray is Rec. 601 luminance, what a monochrome camera would have been closest to and what the
network expects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.types import LayerData

FRAMES = 24
FRAME_SHAPE = (240, 320)
_WHITE_16 = 65535


def astronaut() -> list[LayerData]:
    """A portrait."""
    return [_layer("astronaut", _as_bytes(_luminance("astronaut")))]


def cat() -> list[LayerData]:
    """An animal."""
    return [_layer("cat", _as_bytes(_luminance("chelsea")))]


def coffee() -> list[LayerData]:
    """A still life."""
    return [_layer("coffee", _as_bytes(_luminance("coffee")))]


def rocket() -> list[LayerData]:
    """A launch in the dark."""
    return [_layer("rocket", _as_bytes(_luminance("rocket")))]


def video() -> list[LayerData]:
    """A stack (t, y, x): the view glides over a photograph from corner to corner."""
    still = _as_bytes(_luminance("rocket"))
    height, width = FRAME_SHAPE
    down = np.linspace(0, still.shape[0] - height, FRAMES).round().astype(int)
    across = np.linspace(0, still.shape[1] - width, FRAMES).round().astype(int)
    frames = [still[y : y + height, x : x + width] for y, x in zip(down, across, strict=True)]
    return [_layer("film", np.stack(frames), axis_labels=("t", "y", "x"))]


def deep_16bit() -> list[LayerData]:
    """16 bits: the luminance of 8-bit colours has steps much finer than 8 bits hold."""
    gray = np.rint(_luminance("retina") * _WHITE_16).astype(np.uint16)
    return [_layer("retina, 16 bits", gray, contrast_limits=(0, _WHITE_16))]


def _luminance(photograph: str) -> NDArray[np.float64]:
    """Rec. 601 luminance in [0, 1] of one of scikit-image's photographs."""
    from skimage import data
    from skimage.color import rgb2yuv

    luminance: NDArray[np.float64] = rgb2yuv(getattr(data, photograph)())[..., 0]
    return luminance.clip(0, 1)


def _as_bytes(gray: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(gray * 255).astype(np.uint8)


def _layer(name: str, gray: NDArray[Any], **more: Any) -> LayerData:
    return gray, {"name": name, **more}, "image"
