"""Intensity range of a sequence; separate ranges for each frame would cause flicker."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.imaging.intensity_range import (
    IntensityRange,
    dtype_limits,
    known_range,
    range_of_images,
)
from napari_colorize.settings import ContrastLimits
from napari_colorize.video.frames import FrameSource, ResumePoint


def video_range(dtype: np.dtype[Any]) -> IntensityRange:
    """Range of decoded video frames, which span their dtype whatever the largest value is."""
    return IntensityRange(dtype_limits(dtype), "range of the video")


def sequence_range(source: FrameSource, asked: ContrastLimits) -> IntensityRange:
    """Range that all frames of a source share; they are read once if it depends on the data.

    Parameters
    ----------
    source : FrameSource
        The sequence.
    asked : tuple of float, str or None
        Contrast limits or rule, see `imaging.intensity_range.find_range`.
    """
    info = source.info
    known = known_range(info.dtype, asked, info.declared_range)
    if isinstance(known, IntensityRange):
        return known
    # A copy: a source counts the damaged packets of the frames that it has read.
    images = _images(copy.copy(source), info.rgb)
    return range_of_images(images, info.total or 1, asked, info.declared_range)


def _images(source: FrameSource, rgb: bool) -> Iterator[AnyArray]:
    from napari_colorize.imaging.planes import to_numpy  # imports torch

    for frames in source.series(ResumePoint(), 0):
        for frame in frames:
            image = to_numpy(frame.image)
            yield image[..., :3] if rgb else image
