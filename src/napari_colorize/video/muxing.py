"""The whole film out of its segments: pictures, and all that comes along from the other film.

Sound, subtitles and whatever else the container can hold are copied packet by packet, unchanged;
so are chapters and texts.
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
from napari_colorize.video import encoding as ways
from napari_colorize.video.encoding import Encoding
from napari_colorize.video.frames import Record
from napari_colorize.video.probe import VideoInfo, opened, pyav
from napari_colorize.video.resume import ResumeState
from napari_colorize.video.segments import EncodedSegment, read_segments

# What a container's texts say of its former self.
OWN_TEXTS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
# And those of a stream of pictures: statistics that are no longer true, and how it was encoded.
STALE = ("encoder", "bps", "duration", "number_of_", "_statistics", "rotate", "vendor_id")
COMMENT = "comment"
COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
ROUNDED = "{} counts time in coarser steps than the film; its times were rounded. .mp4 keeps them."
LEFT_OUT = "{} cannot hold its {}; that was left out. {}"
TRY_MKV = "Choose .mkv, which holds nearly all."

Interval = tuple[Fraction | None, Fraction | None]


@dataclass(frozen=True)
class Muxer:
    """All that becomes a film.

    Parameters
    ----------
    coding : Coding
        How its pictures were encoded.
    ledger : Ledger
        Where the segments are.
    film : Film, optional
        What comes along, comes from there.
    span : (Fraction or None, Fraction or None)
        Seconds of it that are wanted; the result begins at zero.
    record : dict
        How the colours were made; goes into the comment.
    """

    coding: Encoding
    ledger: ResumeState
    film: VideoInfo | None
    span: Interval
    record: Record

    def write(self, target: Path, *, overwrite: bool = False) -> tuple[str, ...]:
        """Write the file, whole or not at all.

        Returns
        -------
        tuple of str
            What could not come along.

        Raises
        ------
        OutputError
            If it exists or cannot be written.
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
        return opened(self.film.path) if self.film is not None else nullcontext()

    def _write(self, part: Path, suffix: str, source: Any, notes: list[str]) -> None:
        av = pyav()
        name = ways.CONTAINERS[suffix]
        options = {"movflags": "faststart"} if name in ("mp4", "mov") else {}
        with av.open(str(part), "w", format=name, container_options=options) as container:
            pictures = self._add_pictures(container, source)
            copies: dict[int, Any] = {}
            if source is not None:
                copies = self._add_copies(container, source, suffix, notes)
                container.set_chapters(self._chapters(source))
            container.metadata.update(self._texts(source))
            container.start_encoding()
            rounded: list[int] = []
            streams = [self._pictures(pictures, rounded)]
            if copies:
                streams.append(self._copied(source, copies))
            for _, packet in heapq.merge(*streams, key=lambda pair: pair[0]):
                container.mux(packet)
            if rounded:
                notes.append(ROUNDED.format(suffix))

    def _add_pictures(self, container: Any, source: Any) -> Any:
        stream = container.add_stream(self.coding.encoder, rate=self.coding.rate)
        self.coding.prepare(stream.codec_context)
        stream.time_base = self.coding.time_base
        if self.film is not None:
            former = source.streams[self.film.stream]
            stream.disposition = int(former.disposition)
            stream.metadata.update(_still_true(former.metadata))
            if self.film.display_matrix is not None:
                stream.set_display_matrix(self.film.display_matrix)
        return stream

    def _add_copies(
        self, container: Any, source: Any, suffix: str, notes: list[str]
    ) -> dict[int, Any]:
        """Streams that come along, by their number in the source."""
        assert self.film is not None
        copies = {}
        for stream in source.streams:
            # A track of chapters' titles is marked as discarded; they are written anew.
            if stream.index == self.film.stream or stream.discard == pyav().stream.Discard.all:
                continue
            if _is_cover(stream) and suffix == ".mkv":
                self._attach_cover(container, stream)
                continue
            if not _can_hold(container.format.name, stream):
                better = TRY_MKV if suffix != ".mkv" else ""
                notes.append(LEFT_OUT.format(suffix, _called(stream), better).strip())
                continue
            copy = container.add_stream_from_template(stream, opaque=True)
            copy.disposition = int(stream.disposition)
            copy.metadata.update(stream.metadata)
            copy.time_base = stream.time_base
            copies[stream.index] = copy
        return copies

    def _attach_cover(self, container: Any, stream: Any) -> None:
        """A picture of the film's cover, which is an attachment in Matroska."""
        assert self.film is not None
        name, mimetype = COVERS.get(stream.codec_context.name, COVERS["mjpeg"])
        with opened(self.film.path) as again:
            packets = again.demux(again.streams[stream.index])
            data = next((bytes(packet) for packet in packets if packet.size), b"")
        texts = stream.metadata
        container.add_attachment(texts.get("filename", name), texts.get("mimetype", mimetype), data)

    def _pictures(self, stream: Any, rounded: list[int]) -> Iterator[tuple[float, Any]]:
        """Packets of pictures, each after its second; times that do not fit are gathered."""
        base = self.coding.time_base
        shift = _in_units(self._shift(), base)
        for coded in read_segments(self.ledger.folder, self.ledger.segments):
            packet = _packet_of(coded, shift, base)
            packet.stream = stream
            if not rounded and (packet.pts * base) % stream.time_base:
                rounded.append(packet.pts)
            yield float(packet.dts * base), packet

    def _copied(self, source: Any, copies: Mapping[int, Any]) -> Iterator[tuple[float, Any]]:
        shift = self._shift()
        with closing(source.demux([source.streams[index] for index in copies])) as packets:
            for packet in packets:
                if (packet.size == 0 and packet.dts is None) or _is_pause(packet):
                    continue  # the end of a stream; or what the muxer writes anew
                base = packet.time_base
                if not self._is_wanted(packet, base):
                    continue
                units = _in_units(shift, base)
                packet.pts = None if packet.pts is None else packet.pts - units
                packet.dts = packet.pts if packet.dts is None else packet.dts - units
                packet.stream = copies[packet.stream.index]
                yield float((packet.dts or 0) * base), packet

    def _shift(self) -> Fraction:
        """Seconds taken off all times."""
        zero = self.film.zero if self.film is not None else Fraction(0)
        return zero + (self.span[0] or 0)

    def _is_wanted(self, packet: Any, base: Fraction) -> bool:
        start, end = self.span
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or self.film is None:
            return True
        seconds = time * base - self.film.zero
        return (start is None or seconds >= start) and (end is None or seconds < end)

    def _chapters(self, source: Any) -> list[dict[str, Any]]:
        start, end = self.span
        kept = []
        for chapter in source.chapters():
            base = chapter["time_base"]
            first = max(chapter["start"] * base - self._shift(), Fraction(0))
            last = chapter["end"] * base - self._shift()
            if end is not None:
                last = min(last, end - (start or 0))
            if first < last:
                limits = {"start": _in_units(first, base), "end": _in_units(last, base)}
                kept.append({**chapter, **limits})
        return kept

    def _texts(self, source: Any) -> dict[str, str]:
        """The container's texts, and in its comment how the colours were made."""
        known = {} if source is None else dict(source.metadata)
        texts = {name: text for name, text in known.items() if name.lower() not in OWN_TEXTS}
        name = next((name for name in texts if name.lower() == COMMENT), COMMENT)
        told = provenance.to_text(self.record)
        comment = provenance.without_record(texts.pop(name, ""))
        comment = "\n".join(part for part in (comment, told) if part)
        return {**texts, name: comment} if comment else texts


def _packet_of(coded: EncodedSegment, shift: int, base: Fraction) -> Any:
    packet = pyav().Packet(coded.data)
    packet.pts = packet.dts = coded.time - shift
    packet.duration = coded.duration
    packet.is_keyframe = coded.is_key
    packet.time_base = base
    return packet


def _is_pause(packet: Any) -> bool:
    """Whether it is the empty text between two subtitles of MP4."""
    context = packet.stream.codec_context
    return (
        packet.size == 2 and getattr(context, "name", "") == "mov_text" and not any(bytes(packet))
    )


def _in_units(seconds: Fraction, base: Fraction) -> int:
    return round(seconds / base)


def _still_true(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if not name.lower().startswith(STALE)}


def _can_hold(container: str, stream: Any) -> bool:
    """Found out by trying: what a container takes depends on more than the codec."""
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


def _called(stream: Any) -> str:
    """A stream in words."""
    codec = getattr(stream.codec_context, "name", None) or getattr(stream, "name", None)
    language = stream.metadata.get("language")
    about = ", ".join(part for part in (codec, language) if part and part != "und")
    return f"{stream.type} stream {stream.index}" + (f" ({about})" if about else "")
