"""Tiny test videos made by PyAV, and a replacement for `Colorizer.stream`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

BASE = Fraction(1, 90000)


@dataclass(frozen=True)
class TintResult:
    """An image with a tint: red rises and blue falls, Rec. 601 luminance stays."""

    image: np.ndarray
    notes: tuple[str, ...] = ()
    provenance: dict[str, object] = field(default_factory=lambda: {"software": "napari-colorize"})

    @property
    def rgb(self) -> np.ndarray:
        white = np.iinfo(self.image.dtype).max
        gray = (self.image if self.image.ndim == 2 else self.image.mean(axis=-1)) / white
        height = gray.shape[0]
        v = np.where(np.arange(height) < height // 2, 0.15, -0.1)[:, None] * 4 * gray * (1 - gray)
        rgb = np.stack([gray + 1.13983 * v, gray - 0.58060 * v, gray + 0 * v], axis=-1)
        return np.rint(rgb.clip(0, 1) * white).astype(self.image.dtype)


def tint_stream(images: Iterable[Any]) -> Iterator[TintResult]:
    """Replacement of `Colorizer.stream`, several images at a time."""
    batch = []
    for image in images:
        batch.append(TintResult(np.asarray(image)))
        if len(batch) == 3:
            yield from batch
            batch = []
    yield from batch


def gray_frame(number: int, height: int, width: int) -> np.ndarray:
    """Gray frame in [0, 1]: a bright moving disc over a ramp."""
    y, x = np.mgrid[:height, :width]
    center = (number * 3) % width
    disc = (y - height / 2) ** 2 + (x - center) ** 2 < (height / 5) ** 2
    return np.where(disc, 0.9, 0.1 + 0.6 * (x + y) / (height + width))


def make_video(
    path: Path,
    *,
    frames: int = 24,
    size: tuple[int, int] = (48, 64),
    codec: str = "libx264",
    layout: str = "yuv420p",
    container: str | None = None,
    times: Sequence[int] | None = None,
    time_base: Fraction = BASE,
    rotation: int = 0,
    colors: tuple[int, int, int, int] | None = None,
    chroma: tuple[int, int] | None = None,
    pixel_ratio: Fraction | None = None,
    audio: str | None = None,
    subtitles: str | None = None,
    b_frames: int = 2,
    options: dict[str, str] | None = None,
    texts: dict[str, str] | None = None,
) -> list[int]:
    """Write a video; returns the times of its frames.

    `colors` are range, primaries, transfer and matrix; `chroma` code values of Cb and Cr; `texts`
    metadata with keys of any kind.
    """
    import av

    height, width = size
    times = list(times) if times is not None else [round(n / 25 / time_base) for n in range(frames)]
    muxing = {"movflags": "use_metadata_tags"} if texts and path.suffix == ".mov" else {}
    with av.open(str(path), "w", format=container, container_options=muxing) as out:
        stream = out.add_stream(codec, rate=25, options={"g": "8", **(options or {})})
        stream.height, stream.width, stream.pix_fmt = height, width, layout
        context = stream.codec_context
        context.time_base = stream.time_base = time_base
        context.max_b_frames = b_frames
        if colors is not None:
            context.color_range, context.color_primaries = colors[0], colors[1]
            context.color_trc, context.colorspace = colors[2], colors[3]
        if pixel_ratio is not None:
            context.sample_aspect_ratio = pixel_ratio
        if rotation:
            stream.set_display_rotation(rotation)
        span = times[0] * time_base, times[-1] * time_base
        others = _sound(out, audio, *span) if audio else []
        others += _subtitles(out, subtitles, times[-1] * time_base) if subtitles else []
        out.metadata.update({"title": "A test video", "comment": "made by hand", **(texts or {})})
        _chapters(out, times[-1] * time_base)
        for number, time in enumerate(times):
            frame = _frame(number, size, layout, chroma)
            frame.pts, frame.time_base = time, time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for packet in others:
            out.mux(packet)
    return times


def _frame(number: int, size: tuple[int, int], layout: str, chroma: tuple[int, int] | None) -> Any:
    import av

    height, width = size
    frame = av.VideoFrame(width, height, layout)
    depth = frame.format.components[0].bits
    dtype = np.dtype(np.uint8 if depth == 8 else np.uint16)
    scale = 1 << (depth - 8)
    values = [np.rint((16 + 219 * gray_frame(number, height, width)) * scale)]
    values += [np.array(code * scale) for code in chroma or (128, 128)]
    for plane, value in zip(frame.planes, values, strict=False):
        shape, strides = (plane.height, plane.width), (plane.line_size, dtype.itemsize)
        np.ndarray(shape, dtype, plane, 0, strides)[:] = value
    return frame


def _sound(out: Any, codec: str, start: Fraction, end: Fraction) -> list[Any]:
    import av

    stream = out.add_stream(codec, rate=48000)
    stream.layout = "mono"
    stream.metadata["language"] = "eng"
    packets, time = [], int(start * 48000)
    wanted = stream.codec_context.frame_size or 1024
    form = "fltp" if codec == "aac" else "s16"
    while time < end * 48000:
        wave = np.sin(np.arange(time, time + wanted) / 30)[None]
        samples = wave.astype(np.float32) if form == "fltp" else (wave * 9999).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format=form, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, time, Fraction(1, 48000)
        packets += stream.encode(frame)
        time += wanted
    return packets + stream.encode(None)


def _subtitles(out: Any, codec: str, seconds: Fraction) -> list[Any]:
    import av

    stream = out.add_mux_stream(codec)
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "deu"
    packets = []
    for number in range(max(1, int(seconds // 2))):
        text = f"Zeile {number}".encode()
        data = len(text).to_bytes(2, "big") + text if codec == "mov_text" else text
        packet = av.Packet(data)
        packet.pts = packet.dts = number * 2000
        packet.duration, packet.time_base = 1000, Fraction(1, 1000)
        packet.is_keyframe = True
        packet.stream = stream
        packets.append(packet)
    return packets


def _chapters(out: Any, seconds: Fraction) -> None:
    half, whole = (int(1000 * seconds * part) for part in (Fraction(1, 2), 1))
    base = Fraction(1, 1000)
    out.set_chapters(
        [
            {"id": 1, "start": 0, "end": half, "time_base": base, "metadata": {"title": "one"}},
            {"id": 2, "start": half, "end": whole, "time_base": base, "metadata": {"title": "two"}},
        ]
    )


def decoded_frames(path: Path) -> list[Any]:
    """All frames of a video as PyAV objects."""
    import av

    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def packets_of(path: Path, kind: str) -> list[tuple[Any, int | None, bytes]]:
    """Time in seconds, duration and bytes of all packets of the first stream of a kind.

    Empty texts between subtitles of MP4 are left out, because every muxer writes its own.
    """
    import av

    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            (packet.pts * packet.time_base, packet.duration, bytes(packet))
            for packet in container.demux(stream)
            if packet.dts is not None and bytes(packet) != b"\0\0"
        ]
