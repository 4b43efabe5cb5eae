"""What a picture file holds: pixels, and what should travel with them into the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["inch", "cm", "none"]


@dataclass(frozen=True)
class Resolution:
    """Pixels per unit of length, horizontally (`x`) and vertically (`y`)."""

    x: float
    y: float
    unit: Unit = "inch"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What travels from a source file into the result; ready to be written beside RGB pixels.

    Parameters
    ----------
    icc : bytes or None
        ICC profile of an RGB image. A gray profile has become an RGB profile of the same tone
        curve when it arrives here; profiles of other spaces were applied and are gone.
    exif : bytes or None
        EXIF block (camera, date, artist, also GPS: it is the user's own file) without orientation,
        which has been applied, and without the embedded thumbnail, which would still be gray.
    resolution : Resolution or None
        Pixels per unit of length.
    axes : str
        One letter for each leading axis of a stack (`"TZ"`), `""` for a single picture.
    spacing : dict
        Physical size of a pixel, in OME's words: `PhysicalSizeX`, `PhysicalSizeXUnit`, ...,
        `TimeIncrement`, `TimeIncrementUnit`.
    durations : tuple of int
        Milliseconds that each frame of an animation is shown.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    resolution: Resolution | None = None
    axes: str = ""
    spacing: dict[str, float | str] = field(default_factory=dict)
    durations: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageRecord:
    """A picture or a stack of them, as read from a file.

    Parameters
    ----------
    array : NDArray
        `(Y, X)`, `(Y, X, 3|4)`, or a stack `(..., Y, X)`, `(..., Y, X, 3|4)`; upright (EXIF
        orientation applied), black is low, dtype as in the file, alpha not premultiplied.
    is_stack : bool
        There are axes before Y and X.
    rgb : bool
        The last axis holds RGB or RGBA.
    contrast_limits : (float, float) or None
        Values of black and white if the file says so (a DICOM window), in units of `array`.
    metadata : Metadata
        For `write_picture`.
    notes : tuple of str
        Sentences on what was interpreted or left out.
    """

    array: NDArray[Any]
    is_stack: bool
    rgb: bool
    contrast_limits: tuple[float, float] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()


def fill_range(rgb: NDArray[Any], limits: tuple[float, float]) -> NDArray[Any]:
    """Whole numbers that span `limits` to all that 8 or 16 bits can say.

    A result lies within the contrast limits of its source. For a window of Hounsfield units, or
    12 bits in a type of 16, other programs would show that as black: they know no limits.

    Parameters
    ----------
    rgb : NDArray, shape (..., 3)
        Between the limits; floats are in [0, 1] already and come back as they are.
    limits : (float, float)
        `Picture.contrast_limits`.

    Returns
    -------
    NDArray, shape (..., 3)
        uint8 if it came so, else uint16; black is 0 and white the largest value.
    """
    if rgb.dtype.kind == "f":
        return rgb
    dtype, white = (np.uint8, 255) if rgb.dtype == np.uint8 else (np.uint16, 65535)
    low, high = limits
    scaled = (rgb - np.float64(low)) * (white / (high - low))
    return np.clip(np.rint(scaled), 0, white).astype(dtype)
