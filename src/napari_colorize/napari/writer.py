"""A stack of a viewer as a film; napari asks for it when a layer is saved under a film's name.

What a layer holds is encoded frame by frame. Colours of a film that come as they are looked at are
held by no layer: `saving` makes and writes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_colorize.errors import ColorizeError, OutputError
from napari_colorize.napari.video_reader import PATH, RATE

if TYPE_CHECKING:
    from napari_colorize.napari.controller import ColorizeController
    from napari_colorize.video.encoding import Encoding

RATE_OF_A_STACK = Fraction(24)  # frames a second, where nothing says
LARGEST_DENOMINATOR = 1001  # 24000/1001 is the rate of most films that are called 23.976

Pixels = NDArray[Any]


def write_video(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a layer as a film.

    Colours of a film that is open are made and written in the background: the file appears when
    it is whole.

    Parameters
    ----------
    path : str
        Its suffix tells the container.
    data : array, shape (T, Y, X) or (T, Y, X, 3 or 4), or a list of such
        Of any real dtype; lazy ones are asked frame by frame.
    attributes : mapping
        Of the layer, as napari gives them: `rgb`, `contrast_limits`, `metadata`.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    OutputError
        If the layer is no film, is not colorized yet, or cannot be written.
    """
    stack = data[0] if attributes.get("multiscale") else data
    try:
        controller = _desk_that_shows(stack)
        if controller is not None and _is_film(controller):
            from napari_colorize.napari.video_export import export_video

            export_video(controller, path, overwrite=True)
        else:
            _refuse_itself(attributes, path)
            _refuse_unfinished(stack, controller)
            encode(_Stack.of(stack, attributes, _rate(attributes, controller)), Path(path))
    except OutputError:
        raise
    except ColorizeError as error:  # napari takes a ValueError to mean that there is no writer
        raise OutputError(str(error)) from error
    return [path]


@dataclass(frozen=True, eq=False)
class _Stack:
    """What becomes a film: frames `(Y, X)`, or with 3 or 4 channels, and how they are seen."""

    array: Any
    rgb: bool
    limits: tuple[float, float]
    rate: Fraction
    record: dict[str, object]

    @classmethod
    def of(cls, array: Any, attributes: Mapping[str, Any], rate: Fraction) -> _Stack:
        from napari_colorize.napari.layers import METADATA

        rgb, metadata = bool(attributes.get("rgb")), attributes.get("metadata", {})
        axes = len(array.shape) - (3 if rgb else 2)
        if axes != 1:
            raise OutputError(
                f"A film is a stack with one axis, time, before height and width; this layer has "
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
        """Bits of a sample in the film."""
        return 8 if np.dtype(self.array.dtype) in (np.uint8, np.bool_) else 10

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def __iter__(self) -> Iterator[Pixels]:
        """Frames `(Y, X, 3)`, uint8 or uint16 from black to white."""
        for place in range(len(self)):
            frame = np.asarray(self.array[place])
            seen = _from_black_to_white(frame[..., :3] if self.rgb else frame, self.limits)
            yield seen if self.rgb else np.repeat(seen[..., None], 3, axis=-1)


def encode(stack: _Stack, target: Path) -> None:
    """Write frame after frame; the file appears whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be encoded, or not be written there.
    """
    from napari.utils import progress
    from napari.utils.notifications import show_info

    from napari_colorize.runtime.atomic import write_errors
    from napari_colorize.video.encoder import VideoWriter
    from napari_colorize.video.frames import Frame
    from napari_colorize.video.resume import ResumeState

    coding = _coding(stack, target)
    with write_errors(target), TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        writer = VideoWriter(target, coding, ResumeState(Path(folder), {}), overwrite=True)
        try:
            frames = progress(stack, total=len(stack), desc=f"Writing {target.name}")
            for place, rgb in enumerate(frames):
                writer.write(Frame(image=rgb, place=place, time=place, duration=1), rgb)
        except BaseException:
            with suppress(ColorizeError):  # the first error is the one to tell
                writer.pause()
            raise
        notes = writer.finish(stack.record)
    if notes:
        show_info(" ".join(notes))


def _coding(stack: _Stack, target: Path) -> Encoding:
    from napari_colorize.video.encoding import CONTAINERS, encoding_for
    from napari_colorize.video.ycbcr import standard_format

    suffix = target.suffix.lower()
    if suffix not in CONTAINERS:
        raise OutputError(
            f"{target.name}: no film is written as {suffix}. Choose {', '.join(CONTAINERS)}."
        )
    height, width = stack.size
    return encoding_for(
        suffix,
        height=height,
        width=width,
        time_base=1 / stack.rate,
        rate=stack.rate,
        tones=standard_format(height, width, stack.depth),
    )


def _from_black_to_white(values: Pixels, limits: tuple[float, float]) -> Pixels:
    """As uint8 or uint16 that span their type; what is beyond the limits is black or white."""
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


def _desk_that_shows(stack: Any) -> ColorizeController | None:
    """The desk whose colours these are, if they are any desk's."""
    from napari import current_viewer

    from napari_colorize.napari.controller import existing_controller

    viewer = current_viewer()
    controller = None if viewer is None else existing_controller(viewer)
    if controller is None or controller.colors is None:
        return None
    shown = controller.colors.data[0] if controller.colors.multiscale else controller.colors.data
    return controller if shown is stack else None


def _is_film(controller: ColorizeController) -> bool:
    from napari_colorize.video.lazy_frames import VideoFrames

    return controller.layer is not None and isinstance(controller.layer.data, VideoFrames)


def _refuse_itself(attributes: Mapping[str, Any], path: str) -> None:
    """A film that is open is read while it is shown."""
    own = attributes.get("metadata", {}).get(PATH)
    if own is not None and os.path.realpath(own) == os.path.realpath(path):
        raise OutputError(f"{path} is the film itself. Choose another name.")


def _refuse_unfinished(stack: Any, controller: ColorizeController | None) -> None:
    """Frames without colours would be written in gray."""
    from napari_colorize.display.lazy_array import LazyArray

    if not isinstance(stack, LazyArray):
        return
    if controller is None or controller.colors is None:
        raise OutputError(
            "These colours come as they are looked at: choose the layer they are made from in the "
            "Colorize panel, then save them again."
        )
    if not controller.colors.all_current():
        raise OutputError(
            "Not all planes have colours yet: colorize the whole stack, then save it again."
        )


def _rate(attributes: Mapping[str, Any], controller: ColorizeController | None) -> Fraction:
    """Of the film that the frames come from, if a layer says."""
    own = attributes.get("metadata", {})
    source = {} if controller is None or controller.layer is None else controller.layer.metadata
    said = own.get(RATE, source.get(RATE))
    if not isinstance(said, (int, float)) or not 0 < said < float("inf"):
        return RATE_OF_A_STACK
    return Fraction(said).limit_denominator(LARGEST_DENOMINATOR)
