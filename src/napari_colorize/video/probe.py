"""What a film file is: size, time base, tones and rotation of its pictures.

PyAV does the work; it is an extra, and a film is refused in one sentence where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from napari_colorize.errors import ColorizeError, ImageError
from napari_colorize.video.ycbcr import FULL, HLG, MATRICES, PQ, YCbCrFormat, standard_format

NEEDED = 18  # of PyAV: older ones cannot write a rotation
INSTALL = 'pip install "napari-colorize[video]"'
MICROSECONDS = 1_000_000  # in which a container counts
# In which a stream of one colour plane without a word on its range means the limited one.
BROADCAST = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9", "av1"})
# PNG, GIF and most others know no limited range; nor do planes of RGB.
DEEPEST = 16
UNDECIDED = 2  # of matrices, primaries and transfer curves: not said


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """The facts of a film.

    Parameters
    ----------
    path : Path
        Its file.
    stream : int
        Number of the stream that holds its pictures.
    height, width : int
        Of the pictures as they are stored.
    time_base : Fraction
        Seconds that a frame's time counts.
    rate : Fraction
        Frames a second, on average.
    frames : int or None
        How many there are about.
    zero : Fraction
        Seconds at which its time begins: 0, but anything for broadcasts.
    tones : Tones
        What its numbers mean.
    turns : int
        Quarter turns against the clock after which pictures stand upright.
    display_matrix : tuple of int, optional
        Nine numbers that say so to a player.
    pixel_ratio : Fraction
        Width of a pixel over its height.
    notes : tuple of str
        What was interpreted.
    """

    path: Path
    stream: int
    height: int
    width: int
    time_base: Fraction
    rate: Fraction
    frames: int | None
    zero: Fraction
    tones: YCbCrFormat
    turns: int = 0
    display_matrix: tuple[int, ...] | None = None
    pixel_ratio: Fraction = Fraction(1)
    notes: tuple[str, ...] = ()

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the pictures as they are seen."""
        sides = (self.height, self.width)
        return sides[::-1] if self.turns % 2 else sides


def pyav() -> ModuleType:
    """PyAV, or one sentence on how to get it.

    Raises
    ------
    ImageError
        If it is not installed, or too old.
    """
    try:
        import av
    except ImportError:
        raise ImageError(f"For films PyAV is needed: {INSTALL}.") from None
    if int(av.__version__.partition(".")[0]) < NEEDED:
        raise ImageError(
            f"For films PyAV {NEEDED} or newer is needed, but {av.__version__} is installed: "
            f"{INSTALL} --upgrade."
        )
    module: ModuleType = av
    return module


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open input container; what PyAV says against it becomes one sentence.

    Raises
    ------
    ImageError
        If there is no such file, or it is none that PyAV reads.
    """
    av = pyav()
    if not path.exists():
        raise ImageError(f"There is no film {path}.")
    with ffmpeg_errors(path), av.open(str(path), metadata_errors="replace") as container:
        yield container


@contextmanager
def ffmpeg_errors(path: Path) -> Iterator[None]:
    """Turn what FFmpeg says about reading `path` into one `ImageError` sentence."""
    av = pyav()
    try:
        yield
    except ColorizeError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(
            f"{path.name} cannot be read as a film: {str(reason).lower().rstrip('.')}."
        ) from error


def probe(path: Path) -> VideoInfo:
    """Read the facts of a film, and its first frame.

    Raises
    ------
    ImageError
        If it cannot be read or holds no pictures.
    """
    with opened(path) as container:
        stream = picture_stream(container)
        if stream is None:
            raise ImageError(f"{path.name} holds no moving pictures.")
        first = _first_frame(path, container, stream)
        if first is None:
            raise ImageError(f"{path.name} is damaged: none of its pictures can be decoded.")
        tones, notes = _tones(stream, first)
        matrix = _display_matrix(first)
        turns = round(first.rotation / 90) % 4
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        return VideoInfo(
            path=path,
            stream=stream.index,
            height=first.height,
            width=first.width,
            time_base=stream.time_base,
            rate=Fraction(rate),
            frames=_count(container, stream, rate),
            zero=_zero(container),
            tones=tones,
            turns=turns,
            display_matrix=matrix,
            pixel_ratio=Fraction(stream.sample_aspect_ratio or 1),
            notes=(*notes, *_notes(stream, first, tones)),
        )


def picture_stream(container: Any) -> Any:
    """The stream of moving pictures; not the one that holds a cover."""
    from av.stream import Disposition

    best = container.streams.best("video")
    moving = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]
    return best if best in moving else next(iter(moving), None)


def is_ready_made(raw: Any) -> bool:
    """Whether the planes of a decoded frame are read as they are: Y', Cb and Cr apart, or gray."""
    form = raw.format
    if form.is_rgb or form.has_palette or form.is_big_endian or "f" in form.name:
        return False
    if form.name.startswith("gray"):
        return True
    halves = {form.width // form.chroma_width(), form.height // form.chroma_height()}
    is_usual = form.name.startswith(("yuv4", "yuvj4", "yuva4")) and form.is_planar
    return is_usual and halves <= {1, 2}


def depth_of(raw: Any) -> int:
    """Bits of a sample of a decoded frame."""
    form = raw.format
    bits = max(part.bits for part in form.components) if not form.has_palette else 8
    return min(max(int(bits), 8), DEEPEST)


def _first_frame(path: Path, container: Any, stream: Any) -> Any:
    av = pyav()
    for packet in container.demux(stream):
        try:
            for frame in packet.decode():
                return frame
        except av.error.InvalidDataError:
            continue
    return None


def _tones(stream: Any, first: Any) -> tuple[YCbCrFormat, list[str]]:
    """As the film says, and where it does not, as is usual for its size and codec."""
    depth = depth_of(first)
    usual = standard_format(first.height, first.width, depth)
    context = stream.codec_context
    matrix = first.colorspace if first.colorspace != UNDECIDED else context.colorspace
    primaries = first.color_primaries
    transfer = first.color_trc
    notes = []
    if matrix not in MATRICES:
        if matrix not in (0, UNDECIDED):
            notes.append(f"Its colours are of a rare kind (matrix {matrix}); they become BT.709's.")
        matrix = usual.matrix
    said = [code for code in (primaries, transfer) if code not in (0, UNDECIDED)]
    if transfer in (PQ, HLG):
        notes.append(
            "It is an HDR film; models know pictures of usual brightness, so its colours may be "
            "pale. Its curve is kept, its mastering data are not."
        )
    return (
        YCbCrFormat(
            depth=depth,
            full=_is_full(stream, first),
            matrix=matrix,
            primaries=primaries if primaries in said else usual.primaries,
            transfer=transfer if transfer in said else usual.transfer,
        ),
        notes,
    )


def _is_full(stream: Any, first: Any) -> bool:
    if not is_ready_made(first):
        # Converted: RGB spans all; other layouts of Y', Cb and Cr keep their range.
        is_rgb = first.format.is_rgb or first.format.has_palette
        return not is_rgb and first.color_range == FULL
    if first.color_range in (1, FULL):
        return bool(first.color_range == FULL)
    if first.format.name.startswith("gray"):
        return stream.codec_context.name not in BROADCAST
    return bool(first.format.name.startswith("yuvj"))


def _display_matrix(first: Any) -> tuple[int, ...] | None:
    if "DISPLAYMATRIX" not in {data.type.name for data in first.side_data}:
        return None
    numbers = np.frombuffer(bytes(first.side_data["DISPLAYMATRIX"]), np.int32)
    return tuple(int(number) for number in numbers)


def _count(container: Any, stream: Any, rate: Any) -> int | None:
    if stream.frames:
        return int(stream.frames)
    if stream.duration:
        return round(stream.duration * stream.time_base * rate)
    if container.duration:
        return round(Fraction(container.duration, MICROSECONDS) * rate)
    return None


def _zero(container: Any) -> Fraction:
    """Broadcasts count time from anywhere, and say so by their kind."""
    from av.format import Flags

    if not container.format.flags & Flags.ts_discont.value or not container.start_time:
        return Fraction(0)
    return Fraction(container.start_time, MICROSECONDS)


def _notes(stream: Any, first: Any, tones: YCbCrFormat) -> list[str]:
    notes = []
    if first.interlaced_frame:
        notes.append(
            "Its frames are interlaced; they are coloured and written as whole frames. "
            "Deinterlace it first for smoother motion."
        )
    if any(part.is_alpha for part in first.format.components):
        notes.append("Its transparency is left out.")
    turned = first.rotation % 90
    if turned:
        notes.append(f"It is turned by {first.rotation} degrees, which the model sees as it is.")
    return notes
