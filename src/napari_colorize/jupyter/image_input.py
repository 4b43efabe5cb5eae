"""What a path in a box holds: a picture or stack, which is read, or a film, which is lazy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_colorize.io.formats import VIDEO_SUFFIXES


@dataclass(frozen=True, eq=False)
class LoadedInput:
    """An array, whether its last axis holds colours, and its values of black and white if told."""

    array: Any
    rgb: bool | None
    contrast_limits: tuple[float, float] | None


def open_path(path: str | os.PathLike[str]) -> LoadedInput:
    """Open a file by its path.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        from napari_colorize.video.lazy_frames import open_video

        frames = open_video(path)
        return LoadedInput(frames, frames.rgb, None)
    from napari_colorize.io.images import read_image

    picture = read_image(path)
    return LoadedInput(picture.array, picture.rgb, picture.contrast_limits)
