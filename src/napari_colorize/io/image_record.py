"""Content of an image file: pixels, and the metadata that is copied into the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from napari_colorize.array_types import AnyArray, Limits
from napari_colorize.imaging.intensity_range import IntensityRange

Unit = Literal["inch", "cm", "none"]


@dataclass(frozen=True)
class Resolution:
    """Pixels per unit of length, horizontally (`x`) and vertically (`y`)."""

    x: float
    y: float
    unit: Unit = "inch"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Metadata that is copied from a source file into the result, valid for RGB pixels.

    Parameters
    ----------
    icc : bytes or None
        ICC profile of an RGB image. Gray profiles are already converted to RGB profiles with the
        same tone curve; profiles of other color spaces are already applied and removed.
    exif : bytes or None
        EXIF block (camera, date, artist, and also GPS, because it is the user's own file) without
        orientation, which is already applied, and without the thumbnail, which would be gray.
    resolution : Resolution or None
        Pixels per unit of length.
    axes : str
        One letter for each leading axis of a stack (`"TZ"`), `""` for a single image.
    spacing : dict
        Physical size of a pixel with OME's keys: `PhysicalSizeX`, `PhysicalSizeXUnit`, ...,
        `TimeIncrement`, `TimeIncrementUnit`.
    durations : tuple of int
        Display time of each frame of an animation in milliseconds.
    loop : int or None
        How often an animation is played, 0 for endlessly; None if the source is no animation.
    xmp : bytes or None
        XMP packet, with its orientation set to 1 because it is already applied.
    iptc : bytes or None
        IPTC-IIM data sets (captions, credits, keywords).
    comment : str
        Comment of the source (JPEG, GIF, JPEG 2000, PNG), without an earlier provenance record.
    texts : dict
        Other text fields of a PNG by keyword: "Title", "Source", ...
    """

    icc: bytes | None = None
    exif: bytes | None = None
    resolution: Resolution | None = None
    axes: str = ""
    spacing: dict[str, float | str] = field(default_factory=dict)
    durations: tuple[int, ...] = ()
    loop: int | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: str = ""
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageRecord:
    """An image or a stack of images, as read from a file.

    Parameters
    ----------
    array : NDArray
        `(Y, X)`, `(Y, X, 3|4)`, or a stack `(..., Y, X)`, `(..., Y, X, 3|4)`. EXIF orientation is
        applied, low values are black, the dtype is that of the file, alpha is not premultiplied.
        A TIFF stack of 268 MB or more stays in its file: it is memory-mapped, or a `TiffPages`,
        which decodes planes when it is indexed and becomes an array by `numpy.asarray`.
    is_stack : bool
        Whether there are axes before Y and X.
    rgb : bool
        Whether the last axis holds RGB or RGBA.
    declared_range : IntensityRange or None
        Values of black and white if the file declares them, in units of `array`, with the name of
        the declaration; made by `declared_range((low, high), "DICOM window")`.
    metadata : Metadata
        For `write_image`.
    notes : tuple of str
        One sentence for each thing that was interpreted or left out.
    """

    array: AnyArray
    is_stack: bool
    rgb: bool
    declared_range: IntensityRange | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()

    @property
    def contrast_limits(self) -> Limits | None:
        """Limits of `declared_range`."""
        return None if self.declared_range is None else self.declared_range.limits


def fill_range(rgb: AnyArray, limits: tuple[float, float]) -> AnyArray:
    """Integers between `limits` stretched to the full range of 8 or 16 bits; floats unchanged.

    A result lies within the contrast limits of its source. Programs that do not know these limits
    would display a window of Hounsfield units, or 12-bit data in 16 bits, as nearly black.

    Parameters
    ----------
    rgb : NDArray, shape (..., 3)
        Values between the limits; floats are already in [0, 1].
    limits : (float, float)
        See `ImageRecord.contrast_limits`.

    Returns
    -------
    NDArray, shape (..., 3)
        uint8 for uint8 input, otherwise uint16; black is 0, white is the largest value.
    """
    if rgb.dtype.kind == "f":
        return rgb
    dtype, white = (np.uint8, 255) if rgb.dtype == np.uint8 else (np.uint16, 65535)
    low, high = limits
    scaled = (rgb - np.float64(low)) * (white / (high - low or 1))  # equal: data of one value
    return np.clip(np.rint(scaled), 0, white).astype(dtype)
