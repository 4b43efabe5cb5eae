"""How a film's pictures are encoded: which encoder, which layout of planes, what it is told."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from napari_colorize.errors import OutputError, SettingsError
from napari_colorize.video.frames import Pixels
from napari_colorize.video.probe import VideoInfo, pyav
from napari_colorize.video.ycbcr import FULL, LIMITED, YCbCrFormat

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffix -> FFmpeg's name, for writing."""

EIGHT, TEN, TWELVE = 8, 10, 12
# The first one that this PyAV has and that the container may hold. H.264 in 10 bits plays in few
# players, H.265 in most.
PREFERRED = {EIGHT: ("libx264", "libvpx-vp9"), TEN: ("libx265", "libx264", "libsvtav1")}
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "medium"},
    "libx265": {"preset": "fast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    "libsvtav1": {"preset": "8"},
    "mpeg4": {"qscale": "2"},
}
# Each encoder's own scale of constant quality; these look alike and are all but without loss.
QUALITY = {"libx264": 17, "libx265": 17, "libvpx-vp9": 20, "libsvtav1": 20}
# H.265 in MP4 plays on Apple's machines only under this tag.
TAGS = {"libx265": "hvc1"}
CHROMA = {(True, True): "420", (False, True): "422", (False, False): "444"}
QUIET = {"libsvtav1": ("SVT_LOG", "1")}  # its banner on stderr is switched off by the environment


@dataclass(frozen=True)
class Layout:
    """Planes as an encoder takes them.

    Parameters
    ----------
    name : str
        FFmpeg's name of the pixel format.
    depth : int
        Bits of a sample.
    halved : (bool, bool)
        Whether chroma has half the rows, half the columns.
    """

    name: str
    depth: int
    halved: tuple[bool, bool]


LAYOUTS = {
    layout.name: layout
    for depth in (EIGHT, TEN, TWELVE)
    for halved, chroma in CHROMA.items()
    for layout in [Layout(f"yuv{chroma}p{'' if depth == EIGHT else f'{depth}le'}", depth, halved)]
}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """An encoder and the look of what it writes.

    Parameters
    ----------
    encoder : str
        FFmpeg's name.
    layout : Layout
        Of the planes.
    height, width : int
        Of the pictures as they are stored.
    time_base : Fraction
        Seconds that a frame's time counts.
    rate : Fraction
        Frames a second, on average.
    tones : Tones
        What the numbers mean, in the layout's depth.
    pixel_ratio : Fraction
        Width of a pixel over its height.
    options : mapping of str to str
        For the encoder.
    notes : tuple of str
        What could not be as in the source.
    """

    encoder: str
    layout: Layout
    height: int
    width: int
    time_base: Fraction
    rate: Fraction
    tones: YCbCrFormat
    pixel_ratio: Fraction = Fraction(1)
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, object]:
        """What two runs must have in common for their segments to fit together."""
        options = dict(self.options)
        form = f"{self.layout.name} {self.width}x{self.height} {self.time_base}"
        return {"encoder": self.encoder, "form": form, "options": options, "pyav": _version()}

    def opened(self) -> Any:
        """A codec context that takes frames and gives packets."""
        context = pyav().CodecContext.create(self.encoder, "w")
        self.prepare(context)
        context.flags |= pyav().codec.context.Flags.global_header
        with self.refusal_explained():
            context.open()
        return context

    @contextmanager
    def refusal_explained(self) -> Iterator[None]:
        """Turn what the encoder says against pictures or settings into one `OutputError`."""
        try:
            yield
        except (pyav().error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(
                f"The encoder {self.encoder} refuses pictures of {self.width} x {self.height} that "
                f"count time in {self.time_base} s ({reason}). Choose another one."
            ) from error

    def prepare(self, context: Any) -> None:
        """Tell a codec context all there is to know before it is opened."""
        if self.encoder in QUIET:
            os.environ.setdefault(*QUIET[self.encoder])
        context.height, context.width = self.height, self.width
        context.pix_fmt = self.layout.name
        context.time_base, context.framerate = self.time_base, self.rate
        context.sample_aspect_ratio = self.pixel_ratio
        context.color_range = FULL if self.tones.full else LIMITED
        context.colorspace = self.tones.matrix
        context.color_primaries = self.tones.primaries
        context.color_trc = self.tones.transfer
        context.max_b_frames = 0  # frames leave in their order, so that segments join by copying
        context.options = {"chroma_sample_location": "left", **self.options}
        if self.encoder in TAGS:
            context.codec_tag = TAGS[self.encoder]

    def frame_of(self, planes: tuple[Pixels, Pixels, Pixels], time: int) -> Any:
        """Planes of code values as a frame of PyAV."""
        frame = pyav().VideoFrame(self.width, self.height, self.layout.name)
        for plane, values in zip(frame.planes, planes, strict=True):
            shape, strides = values.shape, (plane.line_size, values.itemsize)
            np.ndarray(shape, values.dtype, plane, 0, strides)[:] = values
        frame.pts, frame.time_base = time, self.time_base
        frame.color_range = FULL if self.tones.full else LIMITED
        frame.colorspace = self.tones.matrix
        frame.color_primaries, frame.color_trc = self.tones.primaries, self.tones.transfer
        return frame


def encoding_like_source(
    film: VideoInfo, suffix: str, *, encoder: str | None = None, quality: float | None = None
) -> Encoding:
    """How a film is encoded that is to look like another one."""
    return encoding_for(
        suffix,
        height=film.height,
        width=film.width,
        time_base=film.time_base,
        rate=film.rate,
        tones=film.tones,
        pixel_ratio=film.pixel_ratio,
        encoder=encoder,
        quality=quality,
    )


def encoding_for(
    suffix: str,
    *,
    height: int,
    width: int,
    time_base: Fraction,
    rate: Fraction,
    tones: YCbCrFormat,
    pixel_ratio: Fraction = Fraction(1),
    encoder: str | None = None,
    quality: float | None = None,
) -> Encoding:
    """Choose encoder and layout.

    Parameters
    ----------
    suffix : str
        Of the file: one of `CONTAINERS`.
    height, width, time_base, rate, tones, pixel_ratio
        See `Coding`; `tones.depth` is the source's.
    encoder : str, optional
        FFmpeg's name of one. Default: the first of `PREFERRED` that there is.
    quality : float, optional
        On the encoder's own scale (`crf`), smaller is better.

    Raises
    ------
    SettingsError
        If there is no such encoder, or it has no such scale.
    OutputError
        If no encoder of this PyAV fits.
    """
    deep = EIGHT if tones.depth == EIGHT else TEN
    chosen = _checked(encoder, suffix) if encoder else _first_of(PREFERRED[deep], suffix)
    layout, notes = _layout(chosen, tones.depth, height, width)
    if suffix == ".webm" and pixel_ratio != 1:
        notes.append("WebM forgets that its pixels are not square: choose .mp4 or .mkv.")
    return Encoding(
        encoder=chosen,
        layout=layout,
        height=height,
        width=width,
        time_base=time_base,
        rate=rate,
        tones=tones.with_depth(layout.depth),
        pixel_ratio=pixel_ratio,
        options={**OPTIONS.get(chosen, {}), **_quality(chosen, quality)},
        notes=tuple(notes),
    )


def _quality(encoder: str, wanted: float | None) -> dict[str, str]:
    if wanted is None:
        usual = QUALITY.get(encoder)
        return {} if usual is None else {"crf": f"{usual}"}
    names = {option.name for option in _supported(encoder)}
    for name in ("crf", "cq", "qp"):
        if name in names:
            return {name: f"{wanted:g}"}
    raise SettingsError(f"The encoder {encoder} has no scale of quality: leave --quality out.")


def _supported(encoder: str) -> tuple[Any, ...]:
    options = pyav().CodecContext.create(encoder, "w").supported_options
    private: tuple[Any, ...] = options.private
    return private


def _checked(encoder: str, suffix: str) -> str:
    av = pyav()
    try:
        codec = av.Codec(encoder, "w")
    except (ValueError, av.error.FFmpegError):
        raise SettingsError(
            f"There is no encoder {encoder!r} here. Common ones: {', '.join(OPTIONS)}, ffv1, "
            "prores_ks."
        ) from None
    if codec.type != "video":
        raise SettingsError(f"{encoder} does not encode pictures. Try libx264.")
    if not _may_hold(suffix, encoder):
        raise SettingsError(f"A {suffix} file cannot hold {encoder}. Choose .mkv, or another one.")
    return encoder


def _first_of(encoders: tuple[str, ...], suffix: str) -> str:
    for encoder in encoders:
        if encoder in pyav().codecs_available and _may_hold(suffix, encoder):
            return encoder
    raise OutputError(
        f"This PyAV has none of the encoders {', '.join(encoders)} for {suffix}. Name another one, "
        "or choose another suffix."
    )


def _may_hold(suffix: str, encoder: str) -> bool:
    av = pyav()
    container = av.open(io.BytesIO(), "w", format=CONTAINERS[suffix])
    try:
        container.add_stream(encoder, rate=25)
    except (ValueError, av.error.FFmpegError):
        return False
    finally:
        container.close()
    return True


def _layout(encoder: str, depth: int, height: int, width: int) -> tuple[Layout, list[str]]:
    """The layout nearest to the source's depth, with half the chroma where sides are even."""
    formats = pyav().Codec(encoder, "w").video_formats or ()
    names = {form.name for form in formats}
    can_halve = (height % 2 == 0, width % 2 == 0)
    fitting = [
        layout
        for name, layout in LAYOUTS.items()
        if (name in names or not names)
        and all(can or not halved for can, halved in zip(can_halve, layout.halved, strict=True))
    ]
    if not fitting:
        raise SettingsError(
            f"The encoder {encoder} does not take pictures of {width} x {height} in a way that we "
            "write. Choose libx264, libx265 or ffv1."
        )
    wanted = min(depth, TWELVE)
    # Deep enough first, then as deep as need be, then as little chroma as may be.
    best = min(fitting, key=lambda layout: (layout.depth < wanted, abs(layout.depth - wanted),
                                            -sum(layout.halved)))  # fmt: skip
    notes = []
    if best.depth < depth:
        notes.append(f"Its {depth} bits become {best.depth}: {encoder} writes no more.")
    if not all(can_halve):
        notes.append(
            f"Its sides, {width} x {height}, are odd; it is written as {best.name}, which some "
            "players lack."
        )
    return best, notes


def _version() -> str:
    return str(pyav().__version__)
