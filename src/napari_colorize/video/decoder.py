"""A film's frames, decoded one after another from any border on."""

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

from napari_colorize.io.image_record import Metadata
from napari_colorize.video.frames import RUN_IN, Frame, Pixels, Record, ResumePoint, SequenceInfo
from napari_colorize.video.probe import (
    MICROSECONDS,
    VideoInfo,
    depth_of,
    ffmpeg_errors,
    is_ready_made,
    opened,
    probe,
    pyav,
)
from napari_colorize.video.ycbcr import (
    YCbCrFormat,
    gray_of,
    has_color,
    luminance,
    to_codes,
    to_gray,
)

HAD_COLOR = "The film had colours; they were replaced by predicted ones (its luminance was kept)."
MARGIN = 1  # seconds that are sought before what is wanted

Decoded = Generator[tuple[Any, int], None, None]
"""Frames of PyAV, each with its time."""


@dataclass
class VideoSource:
    """A film as a source of frames; see `frame.Source`.

    Parameters
    ----------
    film : Film
        Its facts.
    start, end : float, optional
        Seconds of it that are wanted, from its beginning.
    """

    film: VideoInfo
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
        """Its number of frames is about right: from the container's count, or by its rate."""
        seconds = float(1 / self.film.rate)
        return SequenceInfo(
            path=self.film.path,
            size=self.film.upright,
            dtype=self.film.tones.dtype,
            time_base=self.film.time_base,
            total=self._total(),
            metadata=Metadata(
                axes="T", spacing={"TimeIncrement": seconds, "TimeIncrementUnit": "s"}
            ),
        )

    def identity(self) -> Record:
        """Path, size and date of the file, and what of it is wanted."""
        status = self.film.path.stat()
        return {
            "film": str(self.film.path.resolve()),
            "bytes": status.st_size,
            "changed": status.st_mtime_ns,
            "start": self.start,
            "end": self.end,
        }

    def notes(self) -> tuple[str, ...]:
        """What was interpreted, and how much was damaged."""
        damaged = [f"{self._damaged} damaged packets were left out."] if self._damaged else []
        return (*self.film.notes, *self._notes, *damaged)

    def _total(self) -> int | None:
        frames, rate = self.film.frames, float(self.film.rate)
        if frames is None or (self.start is None and self.end is None):
            return frames
        length = frames / rate
        end = length if self.end is None else min(self.end, length)
        return max(1, round((end - (self.start or 0)) * rate))

    def series(self, border: ResumePoint, run_in: int) -> Iterator[Iterator[Frame]]:
        """One: a film is one sequence."""
        yield self._frames(border, run_in)

    def _frames(self, border: ResumePoint, run_in: int) -> Iterator[Frame]:
        before: deque[tuple[Any, int]] = deque(maxlen=run_in)
        place = border.done
        with closing(self._decoded(border.time)) as decoded:
            for raw, time in decoded:
                if border.time is not None and time <= border.time:
                    before.append((raw, time))
                    continue
                for behind, (old, its_time) in enumerate(before):
                    yield self._frame(old, its_time, border.done - len(before) + behind)
                before.clear()
                yield self._frame(raw, time, place)
                place += 1

    def _decoded(self, wanted: int | None) -> Decoded:
        """Decoded frames of the wanted part of the film with their times, which rise."""
        first, last = self._range()
        with closing(self._from(first if wanted is None else wanted)) as frames:
            for raw, time in frames:
                if last is not None and time >= last:
                    return
                if first is None or time >= first:
                    yield raw, time

    def _from(self, target: int | None) -> Decoded:
        """All from some frame before a time on; some containers can only go to the beginning."""
        if target is not None:
            with closing(raw_frames(self.film, target, self)) as frames:
                found = next(frames, None)
                if found is not None and found[1] <= target:
                    yield found
                    yield from frames
                    return
        with closing(raw_frames(self.film, None, self)) as frames:
            yield from frames

    def _range(self) -> tuple[int | None, int | None]:
        """First time wanted and the one behind the last, in the time base."""
        return self._units(self.start), self._units(self.end)

    def _units(self, seconds: float | None) -> int | None:
        if seconds is None:
            return None
        return math.ceil((self.film.zero + exact(seconds)) / self.film.time_base)

    def damaged(self) -> None:
        """Count a packet that could not be decoded."""
        self._damaged += 1

    def _frame(self, raw: Any, time: int, place: int) -> Frame:
        luma, had_color = luma_of(raw, self.film)
        if had_color:
            self._notes[HAD_COLOR] = None
        upright = np.rot90(to_gray(luma, self.film.tones), self.film.turns)
        return Frame(
            image=np.ascontiguousarray(upright),
            place=place,
            time=time,
            duration=raw.duration or 0,
            luma=luma,
            index=(place,),
        )


def exact(seconds: float) -> Fraction:
    """Seconds as they were written: 0.4 is four tenths, which no float is."""
    return Fraction(seconds).limit_denominator(MICROSECONDS)


def raw_frames(
    film: VideoInfo, target: int | None = None, told: VideoSource | None = None
) -> Decoded:
    """Decoded frames of PyAV with their times; strictly rising, whatever the file says.

    Parameters
    ----------
    film : Film
        Whose.
    target : int, optional
        A time to begin at, or before it; some containers cannot, and begin behind it.
    told : FilmSource, optional
        Whose `damaged` is called for packets that cannot be decoded.
    """
    av = pyav()
    with opened(film.path) as container, ffmpeg_errors(film.path):
        stream = container.streams[film.stream]
        stream.thread_type = "AUTO"
        for other in container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        if target is not None:
            early = target - round((MARGIN + RUN_IN / film.rate) / film.time_base)
            if early > (stream.start_time or 0):
                with suppress(av.error.FFmpegError):  # what cannot be sought stays where it is
                    container.seek(early, stream=stream, backward=True)
        step = max(1, round(1 / (film.rate * film.time_base)))
        last: int | None = None
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                if told is not None:
                    told.damaged()
                continue
            for raw in frames:
                last = _time_of(raw, last, step)
                yield _of_one_size(raw, film), last


def _time_of(raw: Any, last: int | None, step: int) -> int:
    time = raw.pts if raw.pts is not None else raw.dts
    if time is None:
        return 0 if last is None else last + step
    return int(time) if last is None or time > last else last + 1


def _of_one_size(raw: Any, film: VideoInfo) -> Any:
    """A film may change its size on the way; an array cannot."""
    if (raw.height, raw.width) == (film.height, film.width):
        return raw
    return raw.reformat(width=film.width, height=film.height)


def luma_of(raw: Any, film: VideoInfo) -> tuple[Pixels, bool]:
    """Rec. 601 luminance of a decoded frame in the film's code values, and if it had colours."""
    planes = planes_of(raw, film.tones)
    if planes[0].ndim == 3:
        rgb = planes[0]
        colored = int(np.ptp(rgb[..., :3].astype(np.int32), axis=-1).max()) > 2
        return to_codes(gray_of(rgb), film.tones), colored
    if len(planes) == 1 or not has_color(planes[1], planes[2], film.tones):
        return planes[0], False
    return luminance(planes[0], planes[1], planes[2], film.tones), True


def planes_of(raw: Any, tones: YCbCrFormat) -> tuple[Pixels, ...]:
    """Y', Cb and Cr of a decoded frame, only Y' if it is gray, or RGB `(Y, X, 3)` if it is that."""
    if not is_ready_made(raw) or depth_of(raw) != tones.depth:
        deep = tones.depth > 8
        if raw.format.is_rgb or raw.format.has_palette:
            return (raw.to_ndarray(format="rgb48le" if deep else "rgb24"),)
        raw = raw.reformat(format=f"yuv444p{tones.depth}le" if deep else "yuv444p")
    dtype = np.dtype(np.uint8 if raw.format.components[0].bits <= 8 else "<u2")
    return tuple(_array(plane, dtype) for plane in raw.planes[:3])


def _array(plane: Any, dtype: np.dtype[Any]) -> Pixels:
    """A plane's samples without their padding; no copy."""
    shape, strides = (plane.height, plane.width), (plane.line_size, dtype.itemsize)
    if plane.line_size < 0:
        offset = -plane.line_size * (plane.height - 1)
        return np.ndarray(shape, dtype, plane, offset, strides)
    return np.ndarray(shape, dtype, plane, 0, strides)
