"""Films in napari: a layer whose frames are decoded when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_colorize.errors import ImageError

if TYPE_CHECKING:
    from napari.types import LayerData

    from napari_colorize.video.lazy_frames import VideoFrames
    from napari_colorize.video.probe import VideoInfo

AXES = ("t", "y", "x")

# In the metadata of a layer.
PATH, RATE, NOTES = "path", "frame_rate", "notes"

OnePath = str | PathLike[str]


def get_reader(path: OnePath | Sequence[OnePath]) -> Callable[..., list[LayerData]] | None:
    """The function that opens a film, or several, or None if it is not called like one.

    npe2 names the argument `path` when it asks. No film is looked at before it is opened.
    """
    from napari_colorize.io.formats import VIDEO_SUFFIXES

    suffixes = {Path(each).suffix.lower() for each in _as_list(path)}
    return read_videos if suffixes and suffixes <= VIDEO_SUFFIXES else None


def read_videos(paths: OnePath | Sequence[OnePath]) -> list[LayerData]:
    """One layer of a film: `(t, y, x)`, or `(t, y, x, 3)` if it has colours.

    All of the file is read once, but only a few frames of it are decoded.

    Raises
    ------
    ImageError
        If it cannot be read, if PyAV is missing, or if several are to be one stack.
    """
    from napari_colorize.video.lazy_frames import open_video

    files = _as_list(paths)
    if len(files) != 1:
        raise ImageError("Films do not make a stack: open them one by one.")
    frames = open_video(files[0])
    return [(frames, looks_of(frames), "image")]


def looks_of(frames: VideoFrames) -> dict[str, Any]:
    """Name, colours, limits and placement of the layer that shows a film.

    Limits are those of its type: napari would decode frames to find others.
    """
    film = frames.film
    white = 255 if frames.dtype.itemsize == 1 else 65535
    return {
        "name": film.path.stem,
        "rgb": frames.rgb,
        "contrast_limits": (0, white),
        "scale": (1.0, *_pixel_size(film)),
        "axis_labels": AXES,
        "metadata": {
            PATH: str(film.path),
            RATE: float(film.rate),
            NOTES: film.notes,
        },
    }


def _pixel_size(film: VideoInfo) -> tuple[float, float]:
    """Height and width of a pixel as it is seen; the narrower side is 1."""
    ratio = float(film.pixel_ratio)
    height, width = (1.0, ratio) if ratio >= 1 else (1 / ratio, 1.0)
    return (width, height) if film.turns % 2 else (height, width)


def _as_list(paths: OnePath | Sequence[OnePath]) -> list[OnePath]:
    return [paths] if isinstance(paths, (str, PathLike)) else list(paths)
