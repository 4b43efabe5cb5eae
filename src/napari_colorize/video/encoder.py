"""A film as a sink: coloured frames are encoded into segments, which at last become one file."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_colorize.errors import OutputError
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.video.encoding import Encoding
from napari_colorize.video.frames import Frame, Pixels, Record, ResumePoint
from napari_colorize.video.muxing import Muxer
from napari_colorize.video.probe import VideoInfo
from napari_colorize.video.resume import ResumeState
from napari_colorize.video.segments import EncodedSegment, append, segment_path
from napari_colorize.video.ycbcr import gray_of, to_codes, to_gray, to_planes

SEGMENT_SECONDS = 10
SEGMENT_FRAMES = 300  # where frames are many


@dataclass
class VideoWriter:
    """Writes a film; see `frame.Sink`.

    Parameters
    ----------
    target : Path
        The file.
    coding : Coding
        How pictures are encoded.
    ledger : Ledger
        Where segments are kept, and what is done.
    film : Film, optional
        Whose sound, subtitles, chapters and rotation come along.
    span : (Fraction or None, Fraction or None)
        Seconds of it that are wanted.
    keeps_luma : bool
        The film's own luminance is written: settings leave gray as it was.
    overwrite : bool
        Whether `target` may be replaced.
    """

    target: Path
    coding: Encoding
    ledger: ResumeState
    film: VideoInfo | None = None
    span: tuple[Fraction | None, Fraction | None] = (None, None)
    keeps_luma: bool = True
    overwrite: bool = False
    _segment: _Segment | None = field(default=None, init=False)

    def write(self, frame: Frame, rgb: Pixels) -> None:
        """Encode one frame."""
        if self._segment is not None and self._segment.is_long_enough(frame.time):
            self.pause()
        planes = self._planes(frame, rgb)
        if self._segment is None:
            self._segment = _Segment(self.coding, self.ledger)
        try:
            self._segment.write(frame, planes)
        except BaseException:
            self._segment.drop()  # a frame is missing in it
            self._segment = None
            raise

    def pause(self) -> None:
        """End the segment, so that a next run goes on after it."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def finish(self, record: Record) -> tuple[str, ...]:
        """Join all segments with what comes along."""
        self.pause()
        if not self.ledger.segments:
            raise OutputError(f"{self.target} was not written: there was no frame.")
        joining = Muxer(self.coding, self.ledger, self.film, self.span, record)
        notes = joining.write(self.target, overwrite=self.overwrite)
        self.ledger.remove()
        return (*self.coding.notes, *notes)

    def _planes(self, frame: Frame, rgb: Pixels) -> tuple[Pixels, Pixels, Pixels]:
        turns = self.film.turns if self.film else 0
        lying = np.rot90(as_integers(rgb[..., :3]), -turns)
        return to_planes(
            lying, self._luma(frame, lying), self.coding.tones, halved=self.coding.layout.halved
        )

    def _luma(self, frame: Frame, lying: Pixels) -> Pixels:
        """The luminance wanted, in code values of the result."""
        tones = self.coding.tones
        if not self.keeps_luma:
            return to_codes(gray_of(lying), tones)
        if frame.luma is None or self.film is None:
            is_gray = frame.image.ndim == 2 and frame.image.dtype in (np.uint8, np.uint16)
            return to_codes(frame.image if is_gray else gray_of(lying), tones)
        if self.film.tones.depth == tones.depth:
            return frame.luma
        return to_codes(to_gray(frame.luma, self.film.tones), tones)


class _Segment:
    """A segment while it grows: hidden until it is whole."""

    def __init__(self, coding: Encoding, ledger: ResumeState) -> None:
        self._coding, self._ledger = coding, ledger
        self._number = ledger.segments
        self._context = coding.opened()
        self._durations: deque[int] = deque()
        self._first: int | None = None
        self._last: Frame | None = None
        self._exits = ExitStack()
        path = segment_path(ledger.folder, self._number)
        self._path = path
        part = self._exits.enter_context(new_file(path, overwrite=True))
        with write_errors(path):
            self._file: BinaryIO = self._exits.enter_context(part.open("wb"))

    def is_long_enough(self, time: int) -> bool:
        """Whether a frame of this time should begin the next one."""
        if self._first is None or self._last is None:
            return False
        seconds = (time - self._first) * self._coding.time_base
        count = self._last.place - self._ledger.border.done + 1
        return seconds >= SEGMENT_SECONDS or count >= SEGMENT_FRAMES

    def write(self, frame: Frame, planes: tuple[Pixels, Pixels, Pixels]) -> None:
        if self._first is None:
            self._first = frame.time
        self._last = frame
        self._durations.append(frame.duration)
        self._encode(self._coding.frame_of(planes, frame.time))

    def close(self) -> None:
        """Make the file appear, and write into the ledger that it is whole."""
        with self._exits:
            self._encode(None)
        if self._last is not None:
            border = ResumePoint(self._last.place + 1, self._last.time)
            self._ledger.mark(border, self._number + 1)

    def drop(self) -> None:
        """Leave no file behind, in the hands of an error."""
        with suppress(OutputError):
            self._exits.__exit__(*sys.exc_info())

    def _encode(self, frame: Any) -> None:
        with write_errors(self._path), self._coding.refusal_explained():
            for packet in self._context.encode(frame):
                coded = EncodedSegment(
                    packet.pts, self._durations.popleft(), packet.is_keyframe, bytes(packet)
                )
                append(self._file, coded)


def as_integers(rgb: Pixels) -> Pixels:
    """Colours as a film can hold them: 8 or 16 bits from black to white."""
    if rgb.dtype in (np.uint8, np.uint16):
        return rgb
    if rgb.dtype.kind != "f":
        raise OutputError(
            f"A film cannot hold {rgb.dtype}: give black and white with --contrast-limits."
        )
    return np.rint(np.nan_to_num(rgb).clip(0, 1) * 65535).astype(np.uint16)
