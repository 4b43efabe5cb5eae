"""Decode the frames of a video in order, from any resume point."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError
from napari_colorize.io.image_record import Metadata
from napari_colorize.video.frames import WARM_UP_FRAMES, Frame, Record, ResumePoint, SequenceInfo
from napari_colorize.video.intensity_range import video_range
from napari_colorize.video.probe import (
    MICROSECONDS,
    VideoInfo,
    depth_of,
    ffmpeg_errors,
    has_plain_planes,
    open_container,
    probe,
    pyav,
)
from napari_colorize.video.ycbcr import (
    YCbCrFormat,
    has_color,
    luminance,
    rec601_luminance,
    to_codes,
    to_gray,
)

HAD_COLOR = "The video had colors; they were replaced by predicted ones (luminance was kept)."
COMPLETE = Fraction(9, 10)  # share of the declared length below which an end may be missing
SEEK_MARGIN = 1  # seconds before the target time that are sought, in addition to the warm-up

Decoded = Generator[tuple[Any, int], None, None]
"""Frames of PyAV with their times."""


@dataclass
class VideoSource:
    """A video as a source of frames; see `frames.FrameSource`."""

    video: VideoInfo
    # Part of the video in seconds from its beginning
    start: float | None = None
    end: float | None = None
    _notes: dict[str, None] = field(default_factory=dict, init=False)
    _damaged: int = field(default=0, init=False)

    @classmethod
    def of(cls, path: Path, *, start: float | None = None, end: float | None = None) -> VideoSource:
        """The frames of a file, or of a part of it."""
        return cls(probe(path), start, end)

    @property
    def info(self) -> SequenceInfo:
        """Properties of the video; the number of frames is approximate."""
        seconds = float(1 / self.video.rate)
        return SequenceInfo(
            path=self.video.path,
            size=self.video.display_size,
            dtype=self.video.ycbcr.dtype,
            time_base=self.video.time_base,
            total=self._total(),
            declared_range=video_range(self.video.ycbcr.dtype),
            metadata=Metadata(
                axes="T", spacing={"TimeIncrement": seconds, "TimeIncrementUnit": "s"}
            ),
        )

    def identity(self) -> Record:
        """Path, size and date of the file, and the selected part."""
        status = self.video.path.stat()
        return {
            "video": str(self.video.path.resolve()),
            "bytes": status.st_size,
            "changed": status.st_mtime_ns,
            "start": self.start,
            "end": self.end,
        }

    def notes(self) -> tuple[str, ...]:
        """What was interpreted, and how many packets were damaged."""
        plural = "packet was" if self._damaged == 1 else "packets were"
        count_damaged = [f"{self._damaged} damaged {plural} left out."] if self._damaged else []
        return (*self.video.notes, *self._notes, *count_damaged)

    def _total(self) -> int | None:
        frames, rate = self.video.frames, float(self.video.rate)
        if frames is None or (self.start is None and self.end is None):
            return frames
        length = frames / rate
        end = length if self.end is None else min(self.end, length)
        return max(1, round((end - (self.start or 0)) * rate))

    def series(self, resume_point: ResumePoint, warm_up: int) -> Iterator[Iterator[Frame]]:
        """A single series, because a video is one sequence."""
        yield self._frames(resume_point, warm_up)

    def _frames(self, resume_point: ResumePoint, warm_up: int) -> Iterator[Frame]:
        before: deque[tuple[Any, int]] = deque(maxlen=warm_up)
        position = resume_point.done
        end = Fraction(0)  # seconds
        with closing(self._decoded(resume_point.time)) as decoded:
            for raw, time in decoded:
                if resume_point.time is not None and time <= resume_point.time:
                    before.append((raw, time))
                    continue
                for number, (old, its_time) in enumerate(before):
                    yield self._frame(old, its_time, resume_point.done - len(before) + number)
                before.clear()
                yield self._frame(raw, time, position)
                position += 1
                end = time * self.video.time_base - self.video.zero + 1 / self.video.rate
        if self.start and not position:
            raise ImageError(f"{self.video.path.name} has no frames after {self.start:g} s.")
        self._note_missing_end(position, end)

    def _note_missing_end(self, frames: int, end: Fraction) -> None:
        """Note if number and times of the frames are well below what the file declares."""
        declared, rate = self.video.frames, self.video.rate
        if declared is None or self.end is not None or not end:
            return
        if frames < COMPLETE * declared and end < COMPLETE * declared / rate:
            self._notes[
                f"The video ends after {float(end):.4g} s; its file declares "
                f"{float(declared / rate):.4g} s and may be incomplete."
            ] = None

    def _decoded(self, start: int | None) -> Decoded:
        """Decoded frames of the selected part with their increasing times."""
        first, last = self._to_time_base(self.start), self._to_time_base(self.end)
        with closing(self._decode_from(first if start is None else start)) as frames:
            for raw, time in frames:
                if last is not None and time >= last:
                    return
                if first is None or time >= first:
                    yield raw, time

    def _decode_from(self, target: int | None) -> Decoded:
        """Decoded frames that start at or before a time.

        Some containers cannot seek before the time; they are decoded from the beginning.
        """
        if target is not None:
            with closing(raw_frames(self.video, target, self)) as frames:
                found = next(frames, None)
                if found is not None and found[1] <= target:
                    yield found
                    yield from frames
                    return
        with closing(raw_frames(self.video, None, self)) as frames:
            yield from frames

    def _to_time_base(self, seconds: float | None) -> int | None:
        if seconds is None:
            return None
        return math.ceil((self.video.zero + exact_seconds(seconds)) / self.video.time_base)

    def count_damaged(self) -> None:
        """Count a packet that could not be decoded."""
        self._damaged += 1

    def _frame(self, raw: Any, time: int, position: int) -> Frame:
        luma, had_color = luminance_of(raw, self.video)
        if had_color:
            self._notes[HAD_COLOR] = None
        rotated = np.rot90(to_gray(luma, self.video.ycbcr), self.video.quarter_turns)
        return Frame(
            image=np.ascontiguousarray(rotated),
            position=position,
            time=time,
            duration=raw.duration or 0,
            luma=luma,
            index=(position,),
        )


def exact_seconds(seconds: float) -> Fraction:
    """Seconds as the decimal fraction that was typed: 0.4 is 2/5, which no float is."""
    return Fraction(seconds).limit_denominator(MICROSECONDS)


def raw_frames(
    video: VideoInfo, target: int | None = None, source: VideoSource | None = None
) -> Decoded:
    """Decoded frames of PyAV with strictly increasing times, even if those in the file are not.

    They start at or before the time `target`, except in containers that cannot seek there. The
    `count_damaged` of `source` is called for each packet that cannot be decoded.
    """
    av = pyav()
    with open_container(video.path) as container, ffmpeg_errors(video.path):
        stream = container.streams[video.stream]
        stream.thread_type = "AUTO"
        for other in container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        if target is not None:
            seek_time = target - round(
                (SEEK_MARGIN + WARM_UP_FRAMES / video.rate) / video.time_base
            )
            if seek_time > (stream.start_time or 0):
                with suppress(av.error.FFmpegError):  # not seekable: decode from the beginning
                    container.seek(seek_time, stream=stream, backward=True)
        step = max(1, round(1 / (video.rate * video.time_base)))
        last: int | None = None
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                if source is not None:
                    source.count_damaged()
                continue
            for raw in frames:
                last = _time_of(raw, last, step)
                yield _resize_to_video(raw, video), last


def _time_of(raw: Any, last: int | None, step: int) -> int:
    time = raw.pts if raw.pts is not None else raw.dts
    if time is None:
        return 0 if last is None else last + step
    return int(time) if last is None or time > last else last + 1


def _resize_to_video(raw: Any, video: VideoInfo) -> Any:
    """The frame at the video's size; videos may change their size, arrays cannot."""
    if (raw.height, raw.width) == (video.height, video.width):
        return raw
    return raw.reformat(width=video.width, height=video.height)


def luminance_of(raw: Any, video: VideoInfo) -> tuple[AnyArray, bool]:
    """Rec. 601 luminance in the video's code values, and whether the frame had colors."""
    planes = planes_of(raw, video.ycbcr)
    if planes[0].ndim == 3:
        rgb = planes[0]
        has_colors = int(np.ptp(rgb[..., :3].astype(np.int32), axis=-1).max()) > 2
        return to_codes(rec601_luminance(rgb), video.ycbcr), has_colors
    if len(planes) == 1 or not has_color(planes[1], planes[2], video.ycbcr):
        return planes[0], False
    return luminance(planes[0], planes[1], planes[2], video.ycbcr), True


def planes_of(raw: Any, ycbcr: YCbCrFormat) -> tuple[AnyArray, ...]:
    """Y', Cb and Cr of a decoded frame; only Y' of a gray frame, `(Y, X, 3)` of an RGB frame."""
    if not has_plain_planes(raw) or depth_of(raw) != ycbcr.depth:
        deep = ycbcr.depth > 8
        if raw.format.is_rgb or raw.format.has_palette:
            return (raw.to_ndarray(format="rgb48le" if deep else "rgb24"),)
        raw = raw.reformat(format=f"yuv444p{ycbcr.depth}le" if deep else "yuv444p")
    dtype = np.dtype(np.uint8 if raw.format.components[0].bits <= 8 else "<u2")
    return tuple(_array(plane, dtype) for plane in raw.planes[:3])


def _array(plane: Any, dtype: np.dtype[Any]) -> AnyArray:
    """Samples of a plane without row padding; a view, no copy."""
    shape, strides = (plane.height, plane.width), (plane.line_size, dtype.itemsize)
    if plane.line_size < 0:
        offset = -plane.line_size * (plane.height - 1)
        return np.ndarray(shape, dtype, plane, offset, strides)
    return np.ndarray(shape, dtype, plane, 0, strides)
