"""Opening a path given to a box: images and stacks are read, videos are opened lazily."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.io.formats import VIDEO_SUFFIXES


@dataclass(frozen=True, eq=False)
class LoadedInput:
    """Content of a file.

    Parameters
    ----------
    array : array
        Image, stack or lazy video frames.
    rgb : bool or None
        Whether the last axis holds colors; None if the file does not specify it.
    declared_range : IntensityRange or None
        Values of black and white, if the file declares them.
    """

    array: Any
    rgb: bool | None
    declared_range: IntensityRange | None = None


def open_path(path: str | os.PathLike[str]) -> LoadedInput:
    """Open an image, stack or video file.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        from napari_colorize.video.lazy_frames import open_video

        frames = open_video(path)
        return LoadedInput(frames, frames.rgb)
    from napari_colorize.io.images import read_image

    image = read_image(path)
    return LoadedInput(image.array, image.rgb, image.declared_range)
