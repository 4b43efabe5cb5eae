"""npe2 readers: DICOM files and videos as image layers.

A DICOM layer has the window and the pixel spacing of its file. A video layer decodes a frame when
it is displayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.errors import ImageError

if TYPE_CHECKING:
    from napari.types import LayerData

    from napari_colorize.io.image_record import ImageRecord
    from napari_colorize.video.lazy_frames import VideoFrames
    from napari_colorize.video.probe import VideoInfo

MM_PER_UNIT = {"cm": 10.0, "inch": 25.4}
VIDEO_AXES = ("t", "y", "x")

# Keys of a video layer's metadata.
PATH, FRAME_RATE, NOTES = "path", "frame_rate", "notes"

OnePath = str | PathLike[str]
Reader = Callable[..., "list[LayerData]"]


def get_dicom_reader(path: OnePath | Sequence[OnePath]) -> Reader | None:
    """Return `read_dicom` if all paths have a DICOM suffix, else None.

    The argument must be called `path`: npe2 passes it by name.
    """
    from napari_colorize.io.formats import DICOM_SUFFIXES

    return read_dicom if _all_have_suffix(path, DICOM_SUFFIXES) else None


def get_video_reader(path: OnePath | Sequence[OnePath]) -> Reader | None:
    """Return `read_video` if all paths have the suffix of a video, else None.

    The argument must be called `path`: npe2 passes it by name. No file is opened.
    """
    from napari_colorize.io.formats import VIDEO_SUFFIXES

    return read_video if _all_have_suffix(path, VIDEO_SUFFIXES) else None


def read_dicom(paths: OnePath | Sequence[OnePath]) -> list[LayerData]:
    """Read one DICOM file, or several of the same size as one stack ("open as stack").

    The slices of a series are sorted by instance number.

    Raises
    ------
    ImageError
        If a file cannot be read, or the files differ in size.
    """
    from napari_colorize.io.dicom import in_series_order
    from napari_colorize.io.images import read_image

    files = in_series_order([Path(path) for path in _as_list(paths)])
    images = [read_image(file) for file in files]
    return [(_stacked(images), _dicom_attributes(images, files[0].stem), "image")]


def read_video(paths: OnePath | Sequence[OnePath]) -> list[LayerData]:
    """Open one video as a layer `(t, y, x)`, or `(t, y, x, 3)` if it is in color.

    The whole file is read once to find its frames, but only a few frames are decoded.

    Raises
    ------
    ImageError
        If the file cannot be read, PyAV is not installed, or there are several paths.
    """
    from napari_colorize.video.lazy_frames import open_video

    files = _as_list(paths)
    if len(files) != 1:
        raise ImageError("Several videos cannot be one stack: open them one by one.")
    frames = open_video(files[0])
    return [(frames, _video_attributes(frames), "image")]


def _all_have_suffix(path: OnePath | Sequence[OnePath], suffixes: frozenset[str]) -> bool:
    found = {Path(each).suffix.lower() for each in _as_list(path)}
    return bool(found) and found <= suffixes


def _as_list(paths: OnePath | Sequence[OnePath]) -> list[OnePath]:
    return [paths] if isinstance(paths, (str, PathLike)) else list(paths)


def _stacked(images: Sequence[ImageRecord]) -> Any:
    first = images[0].array
    if len(images) == 1:
        return first
    if any(image.array.shape != first.shape for image in images):
        raise ImageError("These DICOM files differ in size: open them one by one, not as a stack.")
    return np.stack([image.array for image in images])


def _dicom_attributes(images: Sequence[ImageRecord], name: str) -> dict[str, Any]:
    """Attributes of a DICOM layer, taken from the first file; the limits include those of all."""
    first = images[0]
    is_stack = len(images) > 1 or first.is_stack
    axes = first.array.ndim + (len(images) > 1) - first.rgb
    attributes: dict[str, Any] = {
        "name": name,
        "rgb": first.rgb,
        "metadata": {NOTES: first.notes},
    }
    limits = [image.contrast_limits for image in images if image.contrast_limits is not None]
    if limits:
        lows, highs = zip(*limits, strict=True)
        attributes["contrast_limits"] = (min(lows), max(highs))
    if is_stack:
        letter = (first.metadata.axes or "Z").lower()
        labels = [f"{letter}{axis}" for axis in range(axes - 3)] + [letter, "y", "x"]
        attributes["axis_labels"] = tuple(labels)
    return attributes | _spacing(first, axes)


def _spacing(image: ImageRecord, axes: int) -> dict[str, Any]:
    """Scale and units of a layer with so many axes; empty if the file has no pixel spacing."""
    resolution = image.metadata.resolution
    if resolution is None or resolution.unit not in MM_PER_UNIT:
        return {}
    mm = MM_PER_UNIT[resolution.unit]
    depth = image.metadata.spacing.get("PhysicalSizeZ")
    first = [(1.0, "pixel")] * (axes - 2)
    if depth is not None and first:
        first[-1] = (float(depth), "mm")
    scale, units = zip(*first, (mm / resolution.y, "mm"), (mm / resolution.x, "mm"), strict=True)
    return {"scale": scale, "units": units}


def _video_attributes(frames: VideoFrames) -> dict[str, Any]:
    """Attributes of a video layer.

    Contrast limits are those of the dtype. napari would decode frames to find others.
    """
    video = frames.video
    white = 255 if frames.dtype.itemsize == 1 else 65535
    return {
        "name": video.path.stem,
        "rgb": frames.rgb,
        "contrast_limits": (0, white),
        "scale": (1.0, *_pixel_size(video)),
        "axis_labels": VIDEO_AXES,
        "metadata": {
            PATH: str(video.path),
            FRAME_RATE: float(video.rate),
            NOTES: video.notes,
        },
    }


def _pixel_size(video: VideoInfo) -> tuple[float, float]:
    """Height and width of a displayed pixel; the shorter side is 1."""
    ratio = float(video.pixel_ratio)
    height, width = (1.0, ratio) if ratio >= 1 else (1 / ratio, 1.0)
    return (width, height) if video.quarter_turns % 2 else (height, width)
