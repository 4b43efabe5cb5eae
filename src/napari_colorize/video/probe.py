"""Properties of a video file: size, time base, color format and rotation.

Uses PyAV, an optional dependency; without it an error names the extra to install.
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
from napari_colorize.extras import install_command
from napari_colorize.io.limits import MAX_PIXELS, refuse_huge
from napari_colorize.video.ycbcr import FULL, HLG, MATRICES, PQ, YCbCrFormat, standard_format

PYAV_VERSION = 18  # older versions cannot write a rotation
MICROSECONDS = 1_000_000  # time unit of containers
# Codecs for which a gray stream without a range tag has limited range. PNG, GIF and most others
# know no limited range, and neither does RGB.
BROADCAST = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9", "av1"})
MAX_DEPTH = 16
UNSPECIFIED = 2  # ITU-T H.273 code for matrix, primaries and transfer


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """Properties that an encoded video has in common with its source."""

    # Size of the frames as they are stored
    height: int
    width: int
    time_base: Fraction  # seconds per unit of a frame's time
    rate: Fraction  # mean number of frames per second
    ycbcr: YCbCrFormat  # meaning of the code values
    pixel_ratio: Fraction = Fraction(1)  # width of a pixel divided by its height


@dataclass(frozen=True, kw_only=True)
class VideoInfo(VideoFormat):
    """Properties of a video file."""

    path: Path
    stream: int  # index of the video stream
    frames: int | None  # approximate number of frames
    zero: Fraction  # start time in seconds: 0, except for broadcast streams
    quarter_turns: int = 0  # counterclockwise quarter turns from stored to display orientation
    display_matrix: tuple[int, ...] | None = None  # the same rotation as nine numbers for players
    notes: tuple[str, ...] = ()  # what was interpreted

    @property
    def display_size(self) -> tuple[int, int]:
        """Height and width in display orientation."""
        sides = (self.height, self.width)
        return sides[::-1] if self.quarter_turns % 2 else sides


def image_format(size: tuple[int, int], rate: Fraction, depth: int) -> VideoFormat:
    """Format of a video that is made of images of a height and width."""
    height, width = size
    ycbcr = standard_format(height, width, depth)
    return VideoFormat(height=height, width=width, time_base=1 / rate, rate=rate, ycbcr=ycbcr)


_HEAD = 4096
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"v=0\r\n", b"v=0\n")


def pyav() -> ModuleType:
    """The PyAV module; raises `ImageError` if it is not installed, or too old."""
    try:
        import av
    except ImportError:
        raise ImageError(
            f"Reading and writing videos requires PyAV: {install_command('video')}"
        ) from None
    if int(av.__version__.partition(".")[0]) < PYAV_VERSION:
        raise ImageError(
            f"Videos require PyAV {PYAV_VERSION} or newer, but {av.__version__} is installed: "
            f"{install_command('video')} --upgrade"
        )
    module: ModuleType = av
    return module


@contextmanager
def open_container(path: Path) -> Iterator[Any]:
    """An open input container.

    Raises `ImageError` if the file does not exist, or PyAV cannot read it.
    """
    av = pyav()
    if not path.exists():
        raise ImageError(f"There is no video {path}.")
    _refuse_playlist(path)
    options = {"protocol_whitelist": "file"}  # no addresses in a file are opened
    with (
        ffmpeg_errors(path),
        av.open(str(path), metadata_errors="replace", container_options=options) as container,
    ):
        yield container


def _refuse_playlist(path: Path) -> None:
    """Raise `ImageError` for a file that only names others, which could be anywhere."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(_HEAD).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(_PLAYLISTS) or b"<MPD" in head:
        raise ImageError(f"{path.name} is a playlist. Give the video files that it names instead.")


@contextmanager
def ffmpeg_errors(path: Path) -> Iterator[None]:
    """Turn an exception of FFmpeg while reading `path` into an `ImageError`."""
    av = pyav()
    try:
        yield
    except ColorizeError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(
            f"{path.name} cannot be read as a video: {str(reason).lower().rstrip('.')}."
        ) from error


def probe(path: Path) -> VideoInfo:
    """Read the properties of a video, and decode its first frame.

    Raises `ImageError` if the file cannot be read or contains no video stream.
    """
    with open_container(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise ImageError(f"{path.name} contains no video stream.")
        size = stream.codec_context.height, stream.codec_context.width
        if all(size):
            refuse_huge(path, *size, max_pixels=MAX_PIXELS, bits=24)
        first = _first_frame(path, container, stream)
        if first is None:
            raise ImageError(
                f"None of the frames of {path.name} can be decoded: it is damaged, or the decoder "
                "does not know its format (an animated WebP). Convert it to MP4 or GIF."
            )
        ycbcr, notes = _color_format(stream, first)
        matrix = _display_matrix(first)
        quarter_turns = round(first.rotation / 90) % 4
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
            ycbcr=ycbcr,
            quarter_turns=quarter_turns,
            display_matrix=matrix,
            pixel_ratio=Fraction(stream.sample_aspect_ratio or 1),
            notes=(*notes, *_notes(stream, first, ycbcr)),
        )


def video_stream(container: Any) -> Any:
    """The video stream of a container, ignoring cover images."""
    from av.stream import Disposition

    best = container.streams.best("video")
    moving = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]
    return best if best in moving else next(iter(moving), None)


def has_plain_planes(raw: Any) -> bool:
    """Whether planes can be used without conversion: planar Y'CbCr, or gray."""
    form = raw.format
    if form.is_rgb or form.has_palette or form.is_big_endian or "f" in form.name:
        return False
    if form.name.startswith("gray"):
        return True
    halves = {form.width // form.chroma_width(), form.height // form.chroma_height()}
    is_usual = form.name.startswith(("yuv4", "yuvj4", "yuva4")) and form.is_planar
    return is_usual and halves <= {1, 2}


def depth_of(raw: Any) -> int:
    """Bits per sample of a decoded frame."""
    form = raw.format
    bits = max(part.bits for part in form.components) if not form.has_palette else 8
    return min(max(int(bits), 8), MAX_DEPTH)


def _first_frame(path: Path, container: Any, stream: Any) -> Any:
    av = pyav()
    for packet in container.demux(stream):
        try:
            for frame in packet.decode():
                return frame
        except av.error.InvalidDataError:
            continue
    return None


def _color_format(stream: Any, first: Any) -> tuple[YCbCrFormat, list[str]]:
    """Color format from the tags; defaults for size and codec where tags are missing."""
    depth = depth_of(first)
    default = standard_format(first.height, first.width, depth)
    context = stream.codec_context
    matrix = first.colorspace if first.colorspace != UNSPECIFIED else context.colorspace
    primaries = first.color_primaries
    transfer = first.color_trc
    notes = []
    if matrix not in MATRICES:
        if matrix not in (0, UNSPECIFIED):
            notes.append(f"The color matrix {matrix} is not supported; BT.709 is written instead.")
        matrix = default.matrix
    specified = [code for code in (primaries, transfer) if code not in (0, UNSPECIFIED)]
    if transfer in (PQ, HLG):
        notes.append(
            "This is an HDR video; models are trained on images of standard dynamic range, so "
            "colors may be weak. The transfer curve is kept, mastering metadata are not."
        )
    return (
        YCbCrFormat(
            depth=depth,
            full=_is_full(stream, first),
            matrix=matrix,
            primaries=primaries if primaries in specified else default.primaries,
            transfer=transfer if transfer in specified else default.transfer,
        ),
        notes,
    )


def _is_full(stream: Any, first: Any) -> bool:
    if not has_plain_planes(first):
        # Converted frames: RGB has full range; other Y'CbCr layouts keep their range.
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
    """Start time; only containers with discontinuous times (broadcasts) start at another one."""
    from av.format import Flags

    if not container.format.flags & Flags.ts_discont.value or not container.start_time:
        return Fraction(0)
    return Fraction(container.start_time, MICROSECONDS)


def _notes(stream: Any, first: Any, ycbcr: YCbCrFormat) -> list[str]:
    notes = []
    if first.interlaced_frame:
        notes.append(
            "The video is interlaced; fields are colorized and written as whole frames. "
            "Deinterlace it first for smoother motion."
        )
    if any(part.is_alpha for part in first.format.components):
        notes.append("Transparency is left out.")
    turned = first.rotation % 90
    if turned:
        notes.append(f"The rotation by {first.rotation} degrees is not applied before colorizing.")
    return notes
