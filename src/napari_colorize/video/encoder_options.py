"""How the frames of a video are encoded: encoder, pixel format, color tags and options."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from napari_colorize.array_types import AnyArray
from napari_colorize.errors import OutputError, SettingsError
from napari_colorize.video.probe import VideoFormat, pyav
from napari_colorize.video.ycbcr import FULL, LIMITED

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffix -> FFmpeg's name, for writing."""

EIGHT, TEN, TWELVE = 8, 10, 12
# The first encoder that this PyAV contains and the container supports. Few players support H.264
# with 10 bits, most support H.265.
PREFERRED = {EIGHT: ("libx264", "libvpx-vp9"), TEN: ("libx265", "libx264", "libsvtav1")}
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "medium"},
    "libx265": {"preset": "fast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    "libsvtav1": {"preset": "8"},
    "mpeg4": {"qscale": "2"},
}
# Constant quality on each encoder's own scale; visually similar and nearly lossless.
QUALITY = {"libx264": 17, "libx265": 17, "libvpx-vp9": 20, "libsvtav1": 20}
# Apple's players accept H.265 in MP4 only with this tag.
TAGS = {"libx265": "hvc1"}
CHROMA = {(True, True): "420", (False, True): "422", (False, False): "444"}
# SVT-AV1 prints a banner on stderr unless this environment variable is set.
QUIET = {"libsvtav1": ("SVT_LOG", "1")}


@dataclass(frozen=True)
class Layout:
    """Pixel format of an encoder."""

    name: str  # FFmpeg's name of the pixel format
    depth: int  # bits per sample
    halved: tuple[bool, bool]  # whether chroma has half the rows, half the columns


LAYOUTS = {
    layout.name: layout
    for depth in (EIGHT, TEN, TWELVE)
    for halved, chroma in CHROMA.items()
    for layout in [Layout(f"yuv{chroma}p{'' if depth == EIGHT else f'{depth}le'}", depth, halved)]
}


@dataclass(frozen=True, kw_only=True)
class Encoding(VideoFormat):
    """An encoder with the properties of the video that it writes, in the layout's depth."""

    encoder: str  # FFmpeg's name
    layout: Layout
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # properties that could not be kept as in the source

    @property
    def identity(self) -> dict[str, object]:
        """Values that must be equal for segments of two runs to fit together."""
        options = dict(self.options)
        form = f"{self.layout.name} {self.width}x{self.height} {self.time_base}"
        return {
            "encoder": self.encoder,
            "form": form,
            "options": options,
            "pyav": str(pyav().__version__),
        }

    def open_context(self) -> Any:
        """A codec context that accepts frames and returns packets."""
        context = pyav().CodecContext.create(self.encoder, "w")
        self.configure(context)
        context.flags |= pyav().codec.context.Flags.global_header
        with self.encoder_errors():
            context.open()
        return context

    @contextmanager
    def encoder_errors(self) -> Iterator[None]:
        """Turn an exception of the encoder into an `OutputError`."""
        try:
            yield
        except (pyav().error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(
                f"The encoder {self.encoder} does not accept frames of {self.width} x "
                f"{self.height} with the time base {self.time_base} s ({reason}). Choose another "
                "encoder."
            ) from error

    def configure(self, context: Any) -> None:
        """Set all properties of a codec context before it is opened."""
        if self.encoder in QUIET:
            os.environ.setdefault(*QUIET[self.encoder])
        context.height, context.width = self.height, self.width
        context.pix_fmt = self.layout.name
        context.time_base, context.framerate = self.time_base, self.rate
        context.sample_aspect_ratio = self.pixel_ratio
        context.color_range = FULL if self.ycbcr.full else LIMITED
        context.colorspace = self.ycbcr.matrix
        context.color_primaries = self.ycbcr.primaries
        context.color_trc = self.ycbcr.transfer
        # Without B-frames, packets are in display order and segments can be joined by copying.
        context.max_b_frames = 0
        context.options = {"chroma_sample_location": "left", **self.options}
        if self.encoder in TAGS:
            context.codec_tag = TAGS[self.encoder]

    def frame_of(self, planes: tuple[AnyArray, AnyArray, AnyArray], time: int) -> Any:
        """A frame of PyAV from planes of code values."""
        frame = pyav().VideoFrame(self.width, self.height, self.layout.name)
        for plane, values in zip(frame.planes, planes, strict=True):
            shape, strides = values.shape, (plane.line_size, values.itemsize)
            np.ndarray(shape, values.dtype, plane, 0, strides)[:] = values
        frame.pts, frame.time_base = time, self.time_base
        frame.color_range = FULL if self.ycbcr.full else LIMITED
        frame.colorspace = self.ycbcr.matrix
        frame.color_primaries, frame.color_trc = self.ycbcr.primaries, self.ycbcr.transfer
        return frame


def encoding_for(
    source: VideoFormat, suffix: str, *, encoder: str | None = None, quality: float | None = None
) -> Encoding:
    """Choose encoder and pixel format for frames in the format of a source.

    `suffix` is one of `CONTAINERS`. `encoder` is FFmpeg's name; by default the first available one
    of `PREFERRED` is used. `quality` is on the encoder's own scale (`crf`); smaller is better.

    Raises
    ------
    SettingsError
        If the encoder does not exist or has no such scale.
    OutputError
        If no encoder of this PyAV fits.
    """
    deep = EIGHT if source.ycbcr.depth == EIGHT else TEN
    chosen = (
        _checked_encoder(encoder, suffix) if encoder else _first_available(PREFERRED[deep], suffix)
    )
    layout, notes = _layout(chosen, source)
    if suffix == ".webm" and source.pixel_ratio != 1:
        notes.append("WebM does not store the pixel aspect ratio: choose .mp4 or .mkv.")
    shared = {item.name: getattr(source, item.name) for item in fields(VideoFormat)}
    shared["ycbcr"] = source.ycbcr.with_depth(layout.depth)
    return Encoding(
        **shared,
        encoder=chosen,
        layout=layout,
        options={**OPTIONS.get(chosen, {}), **_quality(chosen, quality)},
        notes=tuple(notes),
    )


def _quality(encoder: str, quality: float | None) -> dict[str, str]:
    if quality is None:
        default = QUALITY.get(encoder)
        return {} if default is None else {"crf": f"{default}"}
    options = pyav().CodecContext.create(encoder, "w").supported_options
    names = {option.name for option in options.private}
    for name in ("crf", "cq", "qp"):
        if name in names:
            return {name: f"{quality:g}"}
    raise SettingsError(f"The encoder {encoder} has no quality scale: omit --quality.")


def _checked_encoder(encoder: str, suffix: str) -> str:
    av = pyav()
    try:
        codec = av.Codec(encoder, "w")
    except (ValueError, av.error.FFmpegError):
        raise SettingsError(
            f"The encoder {encoder!r} is not available. Common ones: {', '.join(OPTIONS)}, ffv1, "
            "prores_ks."
        ) from None
    if codec.type != "video":
        raise SettingsError(f"{encoder} does not encode video. Try libx264.")
    if not _accepts_encoder(suffix, encoder):
        raise SettingsError(f"A {suffix} file cannot store {encoder}. Choose .mkv or another one.")
    return encoder


def _first_available(encoders: tuple[str, ...], suffix: str) -> str:
    for encoder in encoders:
        if encoder in pyav().codecs_available and _accepts_encoder(suffix, encoder):
            return encoder
    raise OutputError(
        f"This PyAV has none of the encoders {', '.join(encoders)} for {suffix}. Name another "
        "encoder, or choose another suffix."
    )


def _accepts_encoder(suffix: str, encoder: str) -> bool:
    av = pyav()
    container = av.open(io.BytesIO(), "w", format=CONTAINERS[suffix])
    try:
        container.add_stream(encoder, rate=25)
    except (ValueError, av.error.FFmpegError):
        return False
    finally:
        container.close()
    return True


def _layout(encoder: str, source: VideoFormat) -> tuple[Layout, list[str]]:
    """The pixel format nearest to the source's depth, with subsampled chroma for even sides."""
    formats = pyav().Codec(encoder, "w").video_formats or ()
    names = {form.name for form in formats}
    height, width, depth = source.height, source.width, source.ycbcr.depth
    can_halve = (height % 2 == 0, width % 2 == 0)
    fitting = [
        layout
        for name, layout in LAYOUTS.items()
        if (name in names or not names)
        and all(can or not halved for can, halved in zip(can_halve, layout.halved, strict=True))
    ]
    if not fitting:
        raise SettingsError(
            f"The encoder {encoder} supports no pixel format for {width} x {height} that can be "
            "written. Choose libx264, libx265 or ffv1."
        )
    target_depth = min(depth, TWELVE)
    # Prefer sufficient depth, then the nearest depth, then the most chroma subsampling.
    best = min(
        fitting,
        key=lambda layout: (
            layout.depth < target_depth,
            abs(layout.depth - target_depth),
            -sum(layout.halved),
        ),
    )
    notes = []
    if best.depth < depth:
        notes.append(f"{depth} bits become {best.depth}: {encoder} supports no more.")
    if not all(can_halve):
        notes.append(
            f"The size {width} x {height} is odd, so the video is written as {best.name}, which "
            "some players do not support."
        )
    return best, notes
