"""Sample data without a download: photographs in grayscale, and scientific images.

The photographs are bundled with scikit-image. The scientific images show where predicted colors are
worth nothing. Gray is Rec. 601 luminance, the input that the networks expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.types import LayerData

    from napari_colorize.array_types import AnyArray, Float64Array, UInt8Array

VIDEO_FRAMES = 24
VIDEO_FRAME_SHAPE = (240, 320)
UINT16_MAX = 65535
UINT12_MAX = 4095
FLUORESCENCE_SHAPE = (256, 256)
FLUORESCENCE_COUNTS = 900  # photons of the brightest pixel


def astronaut() -> list[LayerData]:
    """A portrait, uint8."""
    return [_layer("astronaut", _as_uint8(_luminance("astronaut")))]


def cat() -> list[LayerData]:
    """A cat, uint8."""
    return [_layer("cat", _as_uint8(_luminance("chelsea")))]


def coffee() -> list[LayerData]:
    """A cup of coffee on a table, uint8."""
    return [_layer("coffee", _as_uint8(_luminance("coffee")))]


def rocket() -> list[LayerData]:
    """A rocket launch at night, uint8."""
    return [_layer("rocket", _as_uint8(_luminance("rocket")))]


def video() -> list[LayerData]:
    """A stack (t, y, x), uint8: the field of view moves diagonally across a photograph."""
    photograph = _as_uint8(_luminance("rocket"))
    height, width = VIDEO_FRAME_SHAPE
    rows = np.linspace(0, photograph.shape[0] - height, VIDEO_FRAMES).round().astype(int)
    columns = np.linspace(0, photograph.shape[1] - width, VIDEO_FRAMES).round().astype(int)
    frames = [photograph[y : y + height, x : x + width] for y, x in zip(rows, columns, strict=True)]
    return [_layer("video", np.stack(frames), axis_labels=("t", "y", "x"))]


def retina_16bit() -> list[LayerData]:
    """A retina, uint16: the luminance of 8-bit colors has more levels than 8 bits can hold.

    Its colors are guesses.
    """
    gray = np.rint(_luminance("retina") * UINT16_MAX).astype(np.uint16)
    return [_layer("retina, 16-bit", gray, contrast_limits=(0, UINT16_MAX))]


def cell() -> list[LayerData]:
    """A cell in a phase-contrast microscope, uint8. Its colors are guesses."""
    from skimage import data

    return [_layer("cell", data.cell())]


def fluorescence() -> list[LayerData]:
    """Two synthetic fluorescence channels, uint16, additive. Predicted colors are meaningless."""
    from skimage.filters import gaussian

    random = np.random.default_rng(0)
    channels = []
    for name, colormap, spots, width in (
        ("nuclei", "blue", 40, 9.0),
        ("granules", "green", 400, 2.0),
    ):
        image = np.zeros(FLUORESCENCE_SHAPE)
        rows, columns = (random.integers(0, side, spots) for side in FLUORESCENCE_SHAPE)
        image[rows, columns] = 1
        image = gaussian(image, width)
        noisy = random.poisson(FLUORESCENCE_COUNTS * image / image.max() + 20)
        attributes = {"colormap": colormap, "blending": "additive"}
        channels.append(_layer(name, noisy.astype(np.uint16), **attributes))
    return channels


def xray() -> list[LayerData]:
    """The Shepp-Logan phantom of computed tomography, 12 bits in uint16, with pixels of 0.5 mm.

    Its gray is density, to which no color belongs: predicted colors are meaningless.
    """
    from skimage import data

    density = np.rint(data.shepp_logan_phantom() * UINT12_MAX).astype(np.uint16)
    return [
        _layer(
            "X-ray phantom",
            density,
            contrast_limits=(0, UINT12_MAX),
            scale=(0.5, 0.5),
            units=("mm", "mm"),
        )
    ]


def _luminance(photograph: str) -> Float64Array:
    """Rec. 601 luminance in [0, 1] of one of scikit-image's photographs."""
    from skimage import data
    from skimage.color import rgb2yuv

    luminance: Float64Array = rgb2yuv(getattr(data, photograph)())[..., 0]
    return luminance.clip(0, 1)


def _as_uint8(gray: Float64Array) -> UInt8Array:
    return np.rint(gray * 255).astype(np.uint8)


def _layer(name: str, gray: AnyArray, **attributes: Any) -> LayerData:
    return gray, {"name": name, **attributes}, "image"
