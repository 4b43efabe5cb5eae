"""Opening of a path given to a box: images and stacks are read, videos are opened lazily."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.io.formats import VIDEO_SUFFIXES


def open_path(path: str | os.PathLike[str]) -> tuple[Any, bool | None, IntensityRange | None]:
    """Array, whether its last axis holds colors, and declared values of black and white.

    Raises `ImageError` if the file cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        from napari_colorize.video.lazy_frames import open_video

        frames = open_video(path)
        return frames, frames.rgb, None
    from napari_colorize.io.images import read_image

    image = read_image(path)
    return image.array, image.rgb, image.declared_range
