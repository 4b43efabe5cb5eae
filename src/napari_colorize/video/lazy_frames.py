"""A film as an array: frames are decoded when they are asked for."""

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
from numpy.typing import NDArray

from napari_colorize.errors import ImageError
from napari_colorize.video.decoder import Decoded, luma_of, planes_of, raw_frames
from napari_colorize.video.probe import VideoInfo, ffmpeg_errors, opened, probe
from napari_colorize.video.ycbcr import FULL, LIMITED, SMPTE170M, has_color, to_gray

KEPT_BYTES = 2**27  # of frames that were decoded last
KEPT_FRAMES = 64
NEAR = 16  # frames that are rather decoded than jumped over
SAMPLES = 5  # frames that are looked at for colours


class VideoFrames:
    """The frames of a film, `(T, Y, X)` or `(T, Y, X, 3)`, upright.

    Made by `open_film`. Indexed like a NumPy array; what comes out is one. May be used by several
    threads: they wait for each other. Values span uint8, or uint16 for films of more than 8 bits.

    Parameters
    ----------
    film : Film
        Its facts.
    times : sequence of int
        When frames are shown, rising.
    keys : sequence of int
        Times of those that can be decoded without others, rising.
    rgb : bool
        Whether colours are wanted; else luminance.
    """

    def __init__(
        self, film: VideoInfo, times: Sequence[int], keys: Sequence[int], rgb: bool
    ) -> None:
        self.film, self.rgb = film, rgb
        self._times, self._keys = times, keys
        self._lock = threading.RLock()
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._decoded: Decoded | None = None
        self._at = -1  # number of the frame that was decoded last
        self._next: tuple[Any, int] | None = None  # decoded, but not shown yet

    @property
    def shape(self) -> tuple[int, ...]:
        """`(T, Y, X)` or `(T, Y, X, 3)`."""
        return (len(self._times), *self.film.upright, *([3] if self.rgb else []))

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""
        return self.film.tones.dtype

    @property
    def ndim(self) -> int:
        """3, or 4 with colours."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Values of all frames."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self._times)

    def __repr__(self) -> str:
        return f"<{self.film.path.name}: {self.shape} of {self.dtype}>"

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self._frame(number) for number in range(len(self)))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Frames, or parts of them, as an array.

        Raises
        ------
        IndexError
            If there is no such frame.
        ImageError
            If a frame cannot be decoded, or so many do not fit into memory.
        """
        first, *rest = _as_tuple(key, self.ndim)
        within = tuple(rest)
        if isinstance(first, slice):
            return self._stacked(range(*first.indices(len(self))), within)
        numbers = np.asarray(first)
        if numbers.dtype == bool:
            numbers = np.flatnonzero(numbers)
        if numbers.ndim:
            return self._stacked([self._checked(number) for number in numbers], within)
        return self._frame(self._checked(first))[within]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("The frames of a film have to be decoded into new memory.")
        return self[:].astype(dtype or self.dtype, copy=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_video, (self.film.path, self.rgb)

    def time(self, number: int) -> float:
        """Seconds from the film's beginning at which a frame is shown."""
        return float(self._times[self._checked(number)] * self.film.time_base - self.film.zero)

    def _stacked(self, numbers: Sequence[int], within: tuple[Any, ...]) -> NDArray[Any]:
        shape = np.empty(self.shape[1:], np.bool_)[within].shape
        self._refuse_too_much(len(numbers) * int(np.prod(shape, dtype=object)))
        stack = np.empty((len(numbers), *shape), self.dtype)
        for place, number in enumerate(numbers):
            stack[place] = self._frame(number)[within]
        return stack

    def _refuse_too_much(self, values: int) -> None:
        import psutil

        wanted, free = values * self.dtype.itemsize, int(psutil.virtual_memory().available)
        if wanted > free:
            raise ImageError(
                f"{wanted / 1e9:.1f} GB of {self.film.path.name} do not fit into memory "
                f"({free / 1e9:.1f} GB are free): take some of its {len(self)} frames."
            )

    def _checked(self, number: Any) -> int:
        found = operator.index(number)
        if not -len(self) <= found < len(self):
            raise IndexError(f"There is no frame {found}: the film has {len(self)}.")
        return found % len(self)

    def _frame(self, number: int) -> NDArray[Any]:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
            else:
                self._keep(number, self._picture(self._raw(number)))
            return self._kept[number]

    def _keep(self, number: int, picture: NDArray[Any]) -> None:
        picture.flags.writeable = False  # the next one who asks gets it too
        self._kept[number] = picture
        most = max(1, min(KEPT_FRAMES, KEPT_BYTES // max(1, picture.nbytes)))
        while len(self._kept) > most:
            self._kept.popitem(last=False)

    def _raw(self, number: int) -> Any:
        """The decoded frame that is on the screen at the time of this number."""
        wanted = self._times[number]
        if not self._is_ahead(number):
            self._go_to(wanted)
        shown = None
        while self._next is not None and (shown is None or self._next[1] <= wanted):
            shown = self._next[0]
            self._step()
        self._at = number
        if shown is None:
            raise ImageError(f"Frame {number} of {self.film.path.name} cannot be decoded.")
        return shown

    def _is_ahead(self, number: int) -> bool:
        """Whether going on decoding is the quickest way to a frame."""
        if self._next is None or self._next[1] > self._times[number]:
            return False
        behind = bisect_right(self._keys, self._next[1])
        key = bisect_right(self._keys, self._times[number])
        return behind == key or number - self._at <= NEAR

    def _go_to(self, wanted: int) -> None:
        self.close()
        self._decoded = raw_frames(self.film, wanted)
        self._step()
        if self._next is None or self._next[1] > wanted:  # it went too far: from the beginning
            self.close()
            self._decoded = raw_frames(self.film)
            self._step()

    def _step(self) -> None:
        self._next = next(self._decoded, None) if self._decoded is not None else None

    def close(self) -> None:
        """Close the file; asking for a frame opens it again."""
        with self._lock:
            if self._decoded is not None:
                self._decoded.close()
            self._decoded, self._next, self._at = None, None, -1

    def _picture(self, raw: Any) -> NDArray[Any]:
        if self.rgb:
            picture = _colored(raw, self.film)
        else:
            picture = to_gray(luma_of(raw, self.film)[0], self.film.tones)
        return np.ascontiguousarray(np.rot90(picture, self.film.turns))


def open_video(path: str | os.PathLike[str], rgb: bool | None = None) -> VideoFrames:
    """Open a film as an array whose frames are decoded when they are asked for.

    All of the file is read once, without decoding, to know when its frames are shown.

    Parameters
    ----------
    path : path-like
        A film in any container that PyAV reads.
    rgb : bool, optional
        Whether colours are wanted. Default: if a few frames, spread over the film, have any.

    Returns
    -------
    FilmFrames
        uint8, or uint16 for films of more than 8 bits; `(T, Y, X)` or `(T, Y, X, 3)`.

    Raises
    ------
    ImageError
        If it cannot be read, or does not say when its frames are shown.
    """
    film = probe(Path(path))
    times, keys = _index(film)
    if rgb is None:
        rgb = _has_colors(VideoFrames(film, times, keys, rgb=False))
    return VideoFrames(film, times, keys, rgb)


def _index(film: VideoInfo) -> tuple[list[int], list[int]]:
    """Times of all frames and of key frames, from the packets."""
    with opened(film.path) as container, ffmpeg_errors(film.path):
        stream = container.streams[film.stream]
        packets = [
            (packet.pts if packet.pts is not None else packet.dts, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard
        ]
    if not packets or any(time is None for time, _ in packets):
        raise ImageError(
            f"{film.path.name} does not say when its frames are shown: put it into a container, "
            "such as .mkv, first."
        )
    times = sorted({int(time) for time, _ in packets})
    return times, sorted({int(time) for time, is_key in packets if is_key})


def _has_colors(frames: VideoFrames) -> bool:
    """Whether one of a few frames is not gray."""
    numbers = np.linspace(0, len(frames) - 1, SAMPLES).astype(int)
    try:
        for number in dict.fromkeys(numbers.tolist()):
            planes = planes_of(frames._raw(number), frames.film.tones)
            if planes[0].ndim == 3:
                if int(np.ptp(planes[0].astype(np.int32), axis=-1).max()) > 2:
                    return True
            elif len(planes) > 1 and has_color(planes[1], planes[2], frames.film.tones):
                return True
        return False
    finally:
        frames.close()


def _colored(raw: Any, film: VideoInfo) -> NDArray[Any]:
    """RGB by FFmpeg's own conversion: quicker than `tones`, and luminance need not be exact."""
    tones = film.tones
    space = SMPTE170M - 1 if tones.matrix == SMPTE170M else tones.matrix  # as swscale numbers them
    colored: NDArray[Any] = raw.to_ndarray(
        format="rgb24" if tones.depth == 8 else "rgb48le",
        src_colorspace=space,
        src_color_range=FULL if tones.full or raw.format.is_rgb else LIMITED,
        dst_color_range=FULL,
    )
    return colored


def _as_tuple(key: Any, ndim: int) -> tuple[Any, ...]:
    """An index for the axis of frames and those within a frame, `...` spelled out."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(part is None for part in keys):
        raise IndexError("A film takes no new axes: index frames first.")
    dots = [place for place, part in enumerate(keys) if part is Ellipsis]
    if dots:
        fill = (slice(None),) * (ndim - len(keys) + 1)
        keys = (*keys[: dots[0]], *fill, *keys[dots[0] + 1 :])
    return keys or (slice(None),)
