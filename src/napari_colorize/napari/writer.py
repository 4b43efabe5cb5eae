"""npe2 writer: an image stack as a video file.

The frames of the layer are encoded one by one. The colors of a video that is open are not stored in
the layer, but computed when they are displayed: `video_export` computes and writes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_colorize.errors import ColorizeError, OutputError
from napari_colorize.napari.reader import FRAME_RATE, PATH

if TYPE_CHECKING:
    from napari_colorize.array_types import AnyArray, Limits
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.video.encoder_options import Encoding

DEFAULT_FRAME_RATE = Fraction(24)  # frames per second of stacks without a rate
LARGEST_DENOMINATOR = 1001  # 24000/1001 is the NTSC rate that is written as 23.976


def write_video(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write an image layer as a video.

    The colors of a video that is open are computed and written in the background; the file appears
    when it is complete.

    Parameters
    ----------
    path : str
        Target; the suffix determines the container.
    data : array, shape (T, Y, X) or (T, Y, X, 3 or 4), or a list of such
        Frames of any real dtype; lazy ones are read frame by frame.
    attributes : mapping
        Attributes of the layer from napari: `rgb`, `contrast_limits`, `metadata`.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    OutputError
        If the layer has no time axis, is not colorized completely, or cannot be written.
    """
    stack = data[0] if attributes.get("multiscale") else data
    with output_errors():
        controller = _controller_of(stack)
        if controller is not None and _is_video(controller):
            from napari_colorize.napari.video_export import export_video

            export_video(controller, path, overwrite=True)
        else:
            _check_not_source(attributes, path)
            check_complete(stack)
            frames = _FrameStack.from_layer(stack, attributes, _frame_rate(attributes, controller))
            encode(frames, Path(path))
    return [path]


@contextmanager
def output_errors() -> Iterator[None]:
    """Turn every error of this package into an `OutputError`.

    Some are ValueErrors, which napari reports as a missing writer.
    """
    try:
        yield
    except OutputError:
        raise
    except ColorizeError as error:
        raise OutputError(str(error)) from error


@dataclass(frozen=True, eq=False)
class _FrameStack:
    """Frames `(Y, X)`, or with 3 or 4 channels, and how they are displayed."""

    array: Any
    rgb: bool
    limits: Limits
    rate: Fraction
    record: dict[str, object]

    @classmethod
    def from_layer(cls, array: Any, attributes: Mapping[str, Any], rate: Fraction) -> _FrameStack:
        from napari_colorize.napari.layers import METADATA

        rgb, metadata = bool(attributes.get("rgb")), attributes.get("metadata", {})
        axes = len(array.shape) - (3 if rgb else 2)
        if axes != 1:
            raise OutputError(
                f"A video needs exactly one axis, time, before height and width; this layer has "
                f"{axes}. Save it as .tif, or save one of its stacks."
            )
        low, high = map(float, attributes.get("contrast_limits", (0, 1)))
        return cls(array, rgb, (low, high), rate, dict(metadata.get(METADATA, {})))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.array.shape[1:3]
        return int(height), int(width)

    @property
    def depth(self) -> int:
        """Bits per sample in the video."""
        return 8 if np.dtype(self.array.dtype) in (np.uint8, np.bool_) else 10

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def __iter__(self) -> Iterator[AnyArray]:
        """Frames `(Y, X, 3)`, uint8 or uint16 with the full range from black to white."""
        for index in range(len(self)):
            frame = np.asarray(self.array[index])
            scaled = _to_full_range(frame[..., :3] if self.rgb else frame, self.limits)
            yield scaled if self.rgb else np.repeat(scaled[..., None], 3, axis=-1)


def encode(frames: _FrameStack, target: Path) -> None:
    """Encode frames, or raise `OutputError`; the file appears when it is complete."""
    from napari.utils import progress
    from napari.utils.notifications import show_info

    from napari_colorize.runtime.atomic import write_errors
    from napari_colorize.video.encoder import VideoWriter
    from napari_colorize.video.frames import Frame
    from napari_colorize.video.resume import ResumeState

    encoding = _encoding(frames, target)
    with write_errors(target), TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        writer = VideoWriter(target, encoding, ResumeState(Path(folder), {}), overwrite=True)
        try:
            bar = progress(frames, total=len(frames), desc=f"Writing {target.name}")
            for index, rgb in enumerate(bar):
                writer.write(Frame(image=rgb, position=index, time=index, duration=1), rgb)
        except BaseException:
            with suppress(ColorizeError):  # the first error is the one to report
                writer.pause()
            raise
        notes = writer.finish(frames.record)
    if notes:
        show_info(" ".join(notes))


def _encoding(frames: _FrameStack, target: Path) -> Encoding:
    from napari_colorize.video.encoder_options import CONTAINERS, encoding_for
    from napari_colorize.video.probe import image_format

    suffix = target.suffix.lower()
    if suffix not in CONTAINERS:
        raise OutputError(
            f"{target.name}: {suffix} is not a supported video container. "
            f"Choose one of {', '.join(CONTAINERS)}."
        )
    return encoding_for(image_format(frames.size, frames.rate, frames.depth), suffix)


def _to_full_range(values: AnyArray, limits: Limits) -> AnyArray:
    """Map the limits to the full range of uint8 or uint16; values outside are clipped."""
    from napari_colorize.io.image_record import fill_range

    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        low, high = limits
        unit = (np.nan_to_num(values.astype(np.float64)) - low) / (high - low)
        return np.rint(unit.clip(0, 1) * 65535).astype(np.uint16)
    if values.dtype in (np.uint8, np.uint16) and limits == (0, np.iinfo(values.dtype).max):
        return values
    return fill_range(values, limits)


def _controller_of(stack: Any) -> ColorizeController | None:
    """The controller of the current viewer if it displays these colors, else None."""
    from napari import current_viewer

    from napari_colorize.napari.controller import existing_controller

    viewer = current_viewer()
    controller = None if viewer is None else existing_controller(viewer)
    if controller is None or controller.colors is None:
        return None
    colors = controller.colors.data[0] if controller.colors.multiscale else controller.colors.data
    return controller if colors is stack else None


def _is_video(controller: ColorizeController) -> bool:
    from napari_colorize.video.lazy_frames import VideoFrames

    return controller.layer is not None and isinstance(controller.layer.data, VideoFrames)


def _check_not_source(attributes: Mapping[str, Any], path: str) -> None:
    """Refuse to overwrite a video that is open: its frames are read while it is displayed."""
    source = attributes.get("metadata", {}).get(PATH)
    if source is not None and os.path.realpath(source) == os.path.realpath(path):
        raise OutputError(f"{path} is the video that is open: choose another name.")


def check_complete(stack: Any) -> None:
    """Raise `OutputError` for colors that are not computed: they would be written in gray."""
    from napari_colorize.display.lazy_array import LazyArray

    if not isinstance(stack, LazyArray):
        return
    controller = _controller_of(stack)
    if controller is None or controller.colors is None:
        raise OutputError(
            "These colors are computed when they are displayed: choose their source layer in the "
            "Colorize panel, then save them again."
        )
    if not controller.colors.all_current():
        raise OutputError(
            "Some planes are not colorized yet: colorize the whole stack, then save it again."
        )


def _frame_rate(attributes: Mapping[str, Any], controller: ColorizeController | None) -> Fraction:
    """Frame rate of the layer or of its source; the default if neither has one."""
    own = attributes.get("metadata", {})
    source = {} if controller is None or controller.layer is None else controller.layer.metadata
    rate = own.get(FRAME_RATE, source.get(FRAME_RATE))
    if not isinstance(rate, (int, float)) or not 0 < rate < float("inf"):
        return DEFAULT_FRAME_RATE
    return Fraction(rate).limit_denominator(LARGEST_DENOMINATOR)
