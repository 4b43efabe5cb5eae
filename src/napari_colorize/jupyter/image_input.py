"""Sources of a box: images and stacks are read, videos are opened lazily, arrays are checked."""

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


def check_image(source: Any, rgb: bool | None) -> None:
    """Raise `ImageError` if a source cannot be displayed; reads no lazy data."""
    import numpy as np

    from napari_colorize.imaging.planes import check_has_planes, to_numpy  # imports torch

    # The values are checked as `to_numpy` does: those of an array without reading it.
    dtype, shape = getattr(source, "dtype", None), getattr(source, "shape", None)
    if shape is None or (isinstance(dtype, np.dtype) and dtype.kind not in "biuf"):
        source = to_numpy(source)
    check_has_planes(source, rgb)


def is_voila() -> bool:
    """Whether the kernel was started by Voila, which sets the variable of the CGI standard."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
