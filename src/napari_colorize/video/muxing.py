"""Write the final video from its segments, and copy all other streams from the source video.

Audio, subtitles and other streams that the container supports are copied packet by packet,
unchanged. Chapters and metadata are copied as well.
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from napari_colorize import provenance
from napari_colorize.runtime.atomic import new_file, write_errors
from napari_colorize.video.encoder_options import CONTAINERS, Encoding
from napari_colorize.video.frames import Record
from napari_colorize.video.probe import VideoInfo, open_container, pyav
from napari_colorize.video.resume import ResumeState
from napari_colorize.video.segments import EncodedFrame, read_segments

# Metadata that describes the source container itself.
CONTAINER_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
# Prefixes of stream metadata that are no longer true: statistics and encoder.
STALE_PREFIXES = ("encoder", "bps", "duration", "number_of_", "_statistics", "rotate", "vendor_id")
COMMENT = "comment"
COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
ROUNDED = "{} has a coarser time base than the source, so times were rounded. .mp4 keeps them."
LOST_TEXTS = "{} cannot store the metadata {}, which were left out."
# Metadata of cameras and telephones ("com.apple.quicktime.location.ISO6709") need keys of their own
# in MP4 and MOV, which FFmpeg writes if asked to.
OWN_KEYS = "com."
LEFT_OUT = "{} cannot store the {}, which was left out. {}"
TRY_MKV = "Choose .mkv, which supports nearly all streams."

Interval = tuple[Fraction | None, Fraction | None]


@dataclass(frozen=True)
class Muxer:
    """Combines encoded segments and copied streams into a video file."""

    encoding: Encoding
    state: ResumeState  # folder and number of the segments
    video: VideoInfo | None  # video from which other streams are copied
    span: Interval  # start and end of the selected part in seconds; the result starts at zero
    record: Record  # provenance record, stored in the comment

    def write(self, target: Path, *, overwrite: bool = False) -> tuple[str, ...]:
        """Write the file, and return a note for each stream that could not be copied.

        Raises
        ------
        OutputError
            If the file exists or cannot be written; an incomplete file is never left behind.
        """
        notes: list[str] = []
        with new_file(target, overwrite=overwrite) as part, self._source() as source:
            try:
                self._write(part, target.suffix.lower(), source, notes)
            except pyav().error.FFmpegError as error:
                with write_errors(target):  # the disk may be full
                    raise OSError(error.errno, error.strerror) from error
        return tuple(notes)

    def _source(self) -> Any:
        return open_container(self.video.path) if self.video is not None else nullcontext()

    def _write(self, part: Path, suffix: str, source: Any, notes: list[str]) -> None:
        av = pyav()
        name = CONTAINERS[suffix]
        texts = self._texts(source)
        flags = "faststart"
        if any(key.lower().startswith(OWN_KEYS) for key in texts):
            flags += "+use_metadata_tags"
        options = {"movflags": flags} if name in ("mp4", "mov") else {}
        with av.open(str(part), "w", format=name, container_options=options) as container:
            stream = self._add_video_stream(container, source)
            copies: dict[int, Any] = {}
            if source is not None:
                copies = self._add_copies(container, source, suffix, notes)
                container.set_chapters(self._chapters(source))
            container.metadata.update(texts)
            container.start_encoding()
            rounded: list[int] = []
            streams = [self._video_packets(stream, rounded)]
            if copies:
                streams.append(self._copied_packets(source, copies))
            for _, packet in heapq.merge(*streams, key=lambda pair: pair[0]):
                container.mux(packet)
            if rounded:
                notes.append(ROUNDED.format(suffix))
        with av.open(str(part), metadata_errors="replace") as written:
            kept = {key.lower() for key in written.metadata}
        lost = sorted(key for key in texts if key.lower() not in kept)
        if lost:
            notes.append(LOST_TEXTS.format(suffix, ", ".join(lost)))

    def _add_video_stream(self, container: Any, source: Any) -> Any:
        stream = container.add_stream(self.encoding.encoder, rate=self.encoding.rate)
        self.encoding.configure(stream.codec_context)
        stream.time_base = self.encoding.time_base
        if self.video is not None:
            source_stream = source.streams[self.video.stream]
            stream.disposition = int(source_stream.disposition)
            stream.metadata.update(_valid_metadata(source_stream.metadata))
            if self.video.display_matrix is not None:
                stream.set_display_matrix(self.video.display_matrix)
        return stream

    def _add_copies(
        self, container: Any, source: Any, suffix: str, notes: list[str]
    ) -> dict[int, Any]:
        """Add the streams that are copied; returns them by their index in the source."""
        assert self.video is not None
        copies = {}
        for stream in source.streams:
            # MP4 has a discarded track with the chapter titles; chapters are written separately.
            if stream.index == self.video.stream or stream.discard == pyav().stream.Discard.all:
                continue
            if _is_cover(stream) and suffix == ".mkv":
                self._attach_cover(container, stream)
                continue
            if not _accepts_stream(container.format.name, stream):
                better = TRY_MKV if suffix != ".mkv" else ""
                notes.append(LEFT_OUT.format(suffix, _describe(stream), better).strip())
                continue
            copy = container.add_stream_from_template(stream, opaque=True)
            copy.disposition = int(stream.disposition)
            copy.metadata.update(stream.metadata)
            copy.time_base = stream.time_base
            copies[stream.index] = copy
        return copies

    def _attach_cover(self, container: Any, stream: Any) -> None:
        """Attach a cover image, which is an attachment in Matroska."""
        assert self.video is not None
        name, mimetype = COVERS.get(stream.codec_context.name, COVERS["mjpeg"])
        with open_container(self.video.path) as again:
            packets = again.demux(again.streams[stream.index])
            data = next((bytes(packet) for packet in packets if packet.size), b"")
        texts = stream.metadata
        container.add_attachment(texts.get("filename", name), texts.get("mimetype", mimetype), data)

    def _video_packets(self, stream: Any, rounded: list[int]) -> Iterator[tuple[float, Any]]:
        """Packets of frames with their times in seconds; times that get rounded are collected."""
        base = self.encoding.time_base
        shift = _in_units(self._shift(), base)
        for encoded in read_segments(self.state.folder, self.state.segments):
            packet = _packet_of(encoded, shift, base)
            packet.stream = stream
            if not rounded and (packet.pts * base) % stream.time_base:
                rounded.append(packet.pts)
            yield float(packet.dts * base), packet

    def _copied_packets(
        self, source: Any, copies: Mapping[int, Any]
    ) -> Iterator[tuple[float, Any]]:
        shift = self._shift()
        with closing(source.demux([source.streams[index] for index in copies])) as packets:
            for packet in packets:
                if (packet.size == 0 and packet.dts is None) or _is_empty_subtitle(packet):
                    continue  # end of a stream, or a packet that the muxer creates itself
                base = packet.time_base
                if not self._is_in_span(packet, base):
                    continue
                units = _in_units(shift, base)
                packet.pts = None if packet.pts is None else packet.pts - units
                packet.dts = packet.pts if packet.dts is None else packet.dts - units
                packet.stream = copies[packet.stream.index]
                yield float((packet.dts or 0) * base), packet

    def _shift(self) -> Fraction:
        """Seconds that are subtracted from all times."""
        zero = self.video.zero if self.video is not None else Fraction(0)
        return zero + (self.span[0] or 0)

    def _is_in_span(self, packet: Any, base: Fraction) -> bool:
        start, end = self.span
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or self.video is None:
            return True
        seconds = time * base - self.video.zero
        return (start is None or seconds >= start) and (end is None or seconds < end)

    def _chapters(self, source: Any) -> list[dict[str, Any]]:
        start, end = self.span
        sink_state = []
        for chapter in source.chapters():
            base = chapter["time_base"]
            first = max(chapter["start"] * base - self._shift(), Fraction(0))
            last = chapter["end"] * base - self._shift()
            if end is not None:
                last = min(last, end - (start or 0))
            if first < last:
                limits = {"start": _in_units(first, base), "end": _in_units(last, base)}
                sink_state.append({**chapter, **limits})
        return sink_state

    def _texts(self, source: Any) -> dict[str, str]:
        """Metadata of the container, with the provenance in the comment."""
        known = {} if source is None else dict(source.metadata)
        texts = {name: text for name, text in known.items() if name.lower() not in CONTAINER_KEYS}
        name = next((name for name in texts if name.lower() == COMMENT), COMMENT)
        record = provenance.to_text(self.record)
        comment = provenance.without_record(texts.pop(name, ""))
        comment = "\n".join(part for part in (comment, record) if part)
        return {**texts, name: comment} if comment else texts


def _packet_of(encoded: EncodedFrame, shift: int, base: Fraction) -> Any:
    packet = pyav().Packet(encoded.data)
    packet.pts = packet.dts = encoded.time - shift
    packet.duration = encoded.duration
    packet.is_keyframe = encoded.is_key
    packet.time_base = base
    return packet


def _is_empty_subtitle(packet: Any) -> bool:
    """Whether a packet is the empty text between two subtitles of MP4."""
    context = packet.stream.codec_context
    return (
        packet.size == 2 and getattr(context, "name", "") == "mov_text" and not any(bytes(packet))
    )


def _in_units(seconds: Fraction, base: Fraction) -> int:
    return round(seconds / base)


def _valid_metadata(texts: Mapping[str, str]) -> dict[str, str]:
    return {
        name: text for name, text in texts.items() if not name.lower().startswith(STALE_PREFIXES)
    }


def _accepts_stream(container: str, stream: Any) -> bool:
    """Whether a container accepts a stream, found by trying; the codec does not determine it."""
    av = pyav()
    name = container.split(",")[0]
    if _is_cover(stream) and name != "mp4":
        return False
    try:
        with av.open(io.BytesIO(), "w", format=name) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & pyav().stream.Disposition.attached_pic)


def _describe(stream: Any) -> str:
    """Type, index, codec and language of a stream for messages."""
    codec = getattr(stream.codec_context, "name", None) or getattr(stream, "name", None)
    language = stream.metadata.get("language")
    about = ", ".join(part for part in (codec, language) if part and part != "und")
    return f"{stream.type} stream {stream.index}" + (f" ({about})" if about else "")
