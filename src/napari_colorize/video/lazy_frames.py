"""A video as an array whose frames are decoded on access."""

from __future__ import annotations

import operator
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import ImageError
from napari_colorize.imaging.intensity_range import IntensityRange
from napari_colorize.io.decoded_stack import DecodedStack, without_ellipsis
from napari_colorize.runtime.forking import reset_in_child
from napari_colorize.video.decoder import Decoded, luminance_of, raw_frames
from napari_colorize.video.intensity_range import video_range
from napari_colorize.video.probe import VideoInfo, ffmpeg_errors, open_container, probe
from napari_colorize.video.ycbcr import FULL, LIMITED, SMPTE170M, to_gray

CACHE_BYTES = 2**27  # limit for the most recently decoded frames
CACHE_FRAMES = 64
DECODE_AHEAD = 16  # frames that are decoded in sequence rather than skipped by seeking
SAMPLES = 5  # frames that are tested for colors


class VideoFrames(DecodedStack):
    """The frames of a video, `(T, Y, X)` or `(T, Y, X, 3)`, in display orientation.

    Created by `open_video`. It is indexed like a NumPy array and returns NumPy arrays. It may be
    used from several threads; a lock serializes them. Values span uint8, or uint16 for videos with
    more than 8 bits. `times` are the presentation times of all frames and `keys` those of the key
    frames, both increasing.
    """

    contents = "frames of a video"

    def __init__(
        self, video: VideoInfo, times: Sequence[int], keys: Sequence[int], rgb: bool
    ) -> None:
        self.video, self.rgb, self.path = video, rgb, video.path
        self._times, self._keys = times, keys
        self._lock = threading.RLock()
        self._cache: OrderedDict[int, AnyArray] = OrderedDict()
        self._decoded: Decoded | None = None
        self._at = -1  # number of the frame that was returned last
        self._next: tuple[Any, int] | None = None  # decoded, but not yet returned
        self._inherited: list[Decoded | None] = []
        reset_in_child(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(T, Y, X)` or `(T, Y, X, 3)`."""
        return (len(self._times), *self.video.display_size, *([3] if self.rgb else []))

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""
        return self.video.ycbcr.dtype

    @property
    def declared_range(self) -> IntensityRange:
        """The range of the dtype, whatever the largest value is."""
        return video_range(self.dtype)

    def __repr__(self) -> str:
        return f"<{self.path.name}: {self.shape} of {self.dtype}>"

    def __iter__(self) -> Iterator[AnyArray]:
        return (self._plane(number) for number in range(len(self)))

    def __getitem__(self, key: Any) -> AnyArray:
        """Frames, or parts of them, as an array.

        Raises
        ------
        IndexError
            If there is no such frame.
        ImageError
            If a frame cannot be decoded, or the frames do not fit into memory.
        """
        first, *rest = _as_tuple(key, self.ndim)
        within = tuple(rest)
        if isinstance(first, slice):
            return self._stack(range(*first.indices(len(self))), within, 1)
        numbers = np.asarray(first)
        if numbers.dtype == bool:
            numbers = np.flatnonzero(numbers)
        if numbers.ndim:
            return self._stack([self._checked(number) for number in numbers], within, 1)
        return self._plane(self._checked(first))[within]

    def __reduce__(self) -> tuple[Any, ...]:
        return open_video, (self.path, self.rgb)

    def time(self, number: int) -> float:
        """Presentation time of a frame in seconds from the beginning of the video."""
        return float(self._times[self._checked(number)] * self.video.time_base - self.video.zero)

    def _checked(self, number: Any) -> int:
        found = operator.index(number)
        if not -len(self) <= found < len(self):
            raise IndexError(f"There is no frame {found}: the video has {len(self)}.")
        return found % len(self)

    def _plane(self, number: int) -> AnyArray:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
            else:
                self._cache_frame(number, self._to_array(self._raw(number)))
            return self._cache[number]

    def _cache_frame(self, number: int, image: AnyArray) -> None:
        image.flags.writeable = False  # the cache returns the same array again
        self._cache[number] = image
        limit = max(1, min(CACHE_FRAMES, CACHE_BYTES // max(1, image.nbytes)))
        while len(self._cache) > limit:
            self._cache.popitem(last=False)

    def _raw(self, number: int) -> Any:
        """The decoded frame that is displayed at the time of this number."""
        time = self._times[number]
        if not self._is_ahead(number):
            self._seek(time)
        found_frame = None
        while self._next is not None and (found_frame is None or self._next[1] <= time):
            found_frame = self._next[0]
            self._decode_next()
        self._at = number
        if found_frame is None:
            raise ImageError(f"Frame {number} of {self.path.name} cannot be decoded.")
        return found_frame

    def _is_ahead(self, number: int) -> bool:
        """Whether decoding further is faster than seeking."""
        if self._next is None or self._next[1] > self._times[number]:
            return False
        current_key = bisect_right(self._keys, self._next[1])
        key = bisect_right(self._keys, self._times[number])
        return current_key == key or number - self._at <= DECODE_AHEAD

    def _seek(self, time: int) -> None:
        self.close()
        self._decoded = raw_frames(self.video, time)
        self._decode_next()
        if self._next is None or self._next[1] > time:  # the seek ended too late: start over
            self.close()
            self._decoded = raw_frames(self.video)
            self._decode_next()

    def _decode_next(self) -> None:
        self._next = next(self._decoded, None) if self._decoded is not None else None

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        with self._lock:
            if self._decoded is not None:
                self._decoded.close()
            self._decoded, self._next, self._at = None, None, -1

    def after_fork(self) -> None:
        """See `forking.Forkable`: parent and child share the position in the open file."""
        self._lock = threading.RLock()
        # Never closed: FFmpeg would wait for its threads, which the child does not have.
        self._inherited.append(self._decoded)
        self._decoded, self._next, self._at = None, None, -1

    def _to_array(self, raw: Any) -> AnyArray:
        if self.rgb:
            image = _to_rgb(raw, self.video)
        else:
            image = to_gray(luminance_of(raw, self.video)[0], self.video.ycbcr)
        return np.ascontiguousarray(np.rot90(image, self.video.quarter_turns))


def open_video(path: str | os.PathLike[str], rgb: bool | None = None) -> VideoFrames:
    """Open a video as an array whose frames are decoded on access.

    The file is read once, without decoding, to get the times of its frames.

    Parameters
    ----------
    path : path-like
        A video in any container that PyAV reads.
    rgb : bool, optional
        Whether frames are returned in color. Default: whether a few frames, spread over the video,
        have colors.

    Returns
    -------
    VideoFrames
        uint8, or uint16 for videos with more than 8 bits; `(T, Y, X)` or `(T, Y, X, 3)`.

    Raises
    ------
    ImageError
        If the file cannot be read, or has no frame times.
    """
    video = probe(Path(path))
    times, keys = _index(video)
    if rgb is None:
        rgb = _has_colors(VideoFrames(video, times, keys, rgb=False))
    return VideoFrames(video, times, keys, rgb)


def _index(video: VideoInfo) -> tuple[list[int], list[int]]:
    """Times of all frames and of key frames, from the packets."""
    with open_container(video.path) as container, ffmpeg_errors(video.path):
        stream = container.streams[video.stream]
        packets = [
            (packet.pts if packet.pts is not None else packet.dts, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard
        ]
    if not packets or any(time is None for time, _ in packets):
        raise ImageError(
            f"{video.path.name} contains no frame times: convert it to a container such as .mkv "
            "first."
        )
    times = sorted({int(time) for time, _ in packets})
    return times, sorted({int(time) for time, is_key in packets if is_key})


def _has_colors(frames: VideoFrames) -> bool:
    """Whether one of a few frames is not gray."""
    numbers = np.linspace(0, len(frames) - 1, SAMPLES).astype(int)
    try:
        sampled = (frames._raw(number) for number in dict.fromkeys(numbers.tolist()))
        return any(luminance_of(raw, frames.video)[1] for raw in sampled)
    finally:
        frames.close()


def _to_rgb(raw: Any, video: VideoInfo) -> AnyArray:
    """RGB by FFmpeg's own conversion: faster than `ycbcr`, and luminance need not be exact."""
    ycbcr = video.ycbcr
    # swscale numbers this matrix differently
    space = SMPTE170M - 1 if ycbcr.matrix == SMPTE170M else ycbcr.matrix
    pixels: AnyArray = raw.to_ndarray(
        format="rgb24" if ycbcr.depth == 8 else "rgb48le",
        src_colorspace=space,
        src_color_range=FULL if ycbcr.full or raw.format.is_rgb else LIMITED,
        dst_color_range=FULL,
    )
    return pixels


def _as_tuple(key: Any, ndim: int) -> tuple[Any, ...]:
    """Index of the frame axis and indices within a frame, with `...` expanded."""
    keys = without_ellipsis(key, ndim)
    if any(part is None for part in keys):
        raise IndexError("A video does not support new axes: index frames first.")
    return keys or (slice(None),)
