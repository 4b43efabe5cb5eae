"""Segment files: about ten seconds of encoded frames each, until the video is complete.

They have their own simple record format, because containers round times, do not support every
codec, or can be read only when they are complete.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HEADER = struct.Struct("<qqBI")  # time, duration, is key frame, number of data bytes


@dataclass(frozen=True)
class EncodedFrame:
    """One encoded frame; times in the video's time base."""

    time: int
    duration: int
    is_key: bool
    data: bytes


def segment_path(folder: Path, number: int) -> Path:
    """Path of a segment file."""
    return folder / f"{number:06d}.segment"


def append(file: BinaryIO, encoded: EncodedFrame) -> None:
    """Append one record to a segment file."""
    file.write(HEADER.pack(encoded.time, encoded.duration, encoded.is_key, len(encoded.data)))
    file.write(encoded.data)


def read_segments(folder: Path, count: int) -> Iterator[EncodedFrame]:
    """All records of the first `count` segments, each with the duration until the next one."""
    previous: EncodedFrame | None = None
    for encoded in _records(folder, count):
        if previous is not None:
            yield EncodedFrame(
                previous.time, encoded.time - previous.time, previous.is_key, previous.data
            )
        previous = encoded
    if previous is not None:
        yield previous


def _records(folder: Path, count: int) -> Iterator[EncodedFrame]:
    for number in range(count):
        with segment_path(folder, number).open("rb") as file:
            while header := file.read(HEADER.size):
                time, duration, is_key, size = HEADER.unpack(header)
                yield EncodedFrame(time, duration, bool(is_key), file.read(size))
