"""A video as a sink: frames are encoded into segments, which are finally muxed into one file."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import OutputError
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.video.encoder_options import Encoding
from napari_colorize.video.frames import Frame, Record, ResumePoint
from napari_colorize.video.muxing import Muxer
from napari_colorize.video.probe import VideoInfo
from napari_colorize.video.resume import ResumeState
from napari_colorize.video.segments import EncodedFrame, append, segment_path
from napari_colorize.video.ycbcr import rec601_luminance, to_codes, to_gray, to_planes

SEGMENT_SECONDS = 10
SEGMENT_FRAMES = 300  # limit for high frame rates


@dataclass
class VideoWriter:
    """Writes a video; see `frames.FrameSink`."""

    target: Path
    encoding: Encoding
    state: ResumeState  # progress, and the folder of the segments
    video: VideoInfo | None = None  # video whose audio, subtitles, chapters and rotation are copied
    # Start and end of the selected part in seconds
    span: tuple[Fraction | None, Fraction | None] = (None, None)
    # Whether the source's own luminance is written, because the settings leave gray unchanged
    keeps_luma: bool = True
    overwrite: bool = False  # `target` may be replaced
    _segment: _Segment | None = field(default=None, init=False)

    def write(self, frame: Frame, rgb: AnyArray) -> None:
        """Encode one frame."""
        if self._segment is not None and self._segment.is_long_enough(frame.time):
            self.pause()
        planes = self._planes(frame, rgb)
        if self._segment is None:
            self._segment = _Segment(self.encoding, self.state)
        try:
            self._segment.write(frame, planes)
        except BaseException:
            self._segment.drop()  # it lacks a frame
            self._segment = None
            raise

    def pause(self) -> None:
        """Complete the segment, so that a later run can continue after it."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def finish(self, record: Record) -> tuple[str, ...]:
        """Mux all segments with the streams that are copied."""
        self.pause()
        if not self.state.segments:
            raise OutputError(f"{self.target} was not written: the input has no frames.")
        muxer = Muxer(self.encoding, self.state, self.video, self.span, record)
        notes = muxer.write(self.target, overwrite=self.overwrite)
        self.state.remove()
        return (*self.encoding.notes, *notes)

    def _planes(self, frame: Frame, rgb: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
        quarter_turns = self.video.quarter_turns if self.video else 0
        stored_rgb = np.rot90(as_full_range_integers(rgb[..., :3]), -quarter_turns)
        return to_planes(
            stored_rgb,
            self._luma(frame, stored_rgb),
            self.encoding.ycbcr,
            halved=self.encoding.layout.halved,
        )

    def _luma(self, frame: Frame, stored_rgb: AnyArray) -> AnyArray:
        """Luminance to write, in code values of the result."""
        ycbcr = self.encoding.ycbcr
        if not self.keeps_luma:
            return to_codes(rec601_luminance(stored_rgb), ycbcr)
        if frame.luma is None or self.video is None:
            is_gray = frame.image.ndim == 2 and frame.image.dtype in (np.uint8, np.uint16)
            return to_codes(frame.image if is_gray else rec601_luminance(stored_rgb), ycbcr)
        if self.video.ycbcr.depth == ycbcr.depth:
            return frame.luma
        return to_codes(to_gray(frame.luma, self.video.ycbcr), ycbcr)


class _Segment:
    """A segment that is being written; its file appears when it is complete."""

    def __init__(self, encoding: Encoding, state: ResumeState) -> None:
        self._encoding, self._state = encoding, state
        self._number = state.segments
        self._context = encoding.open_context()
        self._durations: deque[int] = deque()
        self._first: int | None = None
        self._last: Frame | None = None
        self._exits = ExitStack()
        path = segment_path(state.folder, self._number)
        self._path = path
        part = self._exits.enter_context(new_file(path, overwrite=True))
        with write_errors(path):
            self._file: BinaryIO = self._exits.enter_context(part.open("wb"))

    def is_long_enough(self, time: int) -> bool:
        """Whether a frame at this time should start the next segment."""
        if self._first is None or self._last is None:
            return False
        seconds = (time - self._first) * self._encoding.time_base
        count = self._last.position - self._state.resume_point.done + 1
        return seconds >= SEGMENT_SECONDS or count >= SEGMENT_FRAMES

    def write(self, frame: Frame, planes: tuple[AnyArray, AnyArray, AnyArray]) -> None:
        if self._first is None:
            self._first = frame.time
        self._last = frame
        self._durations.append(frame.duration)
        self._encode(self._encoding.frame_of(planes, frame.time))

    def close(self) -> None:
        """Publish the file and save the progress."""
        with self._exits:
            self._encode(None)
        if self._last is not None:
            resume_point = ResumePoint(self._last.position + 1, self._last.time)
            self._state.save(resume_point, self._number + 1)

    def drop(self) -> None:
        """Discard the file while an exception is handled."""
        with suppress(OutputError):
            self._exits.__exit__(*sys.exc_info())

    def _encode(self, frame: Any) -> None:
        with write_errors(self._path), self._encoding.encoder_errors():
            for packet in self._context.encode(frame):
                encoded = EncodedFrame(
                    packet.pts, self._durations.popleft(), packet.is_keyframe, bytes(packet)
                )
                append(self._file, encoded)


def as_full_range_integers(rgb: AnyArray) -> AnyArray:
    """Colors as a video can store them: uint8 or uint16 from black to white."""
    if rgb.dtype in (np.uint8, np.uint16):
        return rgb
    if rgb.dtype.kind != "f":
        raise OutputError(
            f"A video cannot store {rgb.dtype}: set black and white with --contrast-limits."
        )
    return np.rint(np.nan_to_num(rgb).clip(0, 1) * 65535).astype(np.uint16)
