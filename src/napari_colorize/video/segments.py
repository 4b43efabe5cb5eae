"""Encoded pictures in files of their own, about ten seconds each, until the film is whole.

Plain records, because containers round times, lack codecs, or need their end to be read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HEADER = struct.Struct("<qqBI")  # time, duration, whether it is a key frame, bytes that follow


@dataclass(frozen=True)
class EncodedSegment:
    """One encoded picture; times in the film's time base."""

    time: int
    duration: int
    is_key: bool
    data: bytes


def segment_path(folder: Path, number: int) -> Path:
    """Name of a segment."""
    return folder / f"{number:06d}.segment"


def append(file: BinaryIO, coded: EncodedSegment) -> None:
    """Write one record."""
    file.write(HEADER.pack(coded.time, coded.duration, coded.is_key, len(coded.data)))
    file.write(coded.data)


def read_segments(folder: Path, count: int) -> Iterator[EncodedSegment]:
    """All records of the first segments, in order; each lasts until the next one's time."""
    held: EncodedSegment | None = None
    for coded in _records(folder, count):
        if held is not None:
            yield EncodedSegment(held.time, coded.time - held.time, held.is_key, held.data)
        held = coded
    if held is not None:
        yield held


def _records(folder: Path, count: int) -> Iterator[EncodedSegment]:
    for number in range(count):
        with segment_path(folder, number).open("rb") as file:
            while header := file.read(HEADER.size):
                time, duration, is_key, size = HEADER.unpack(header)
                yield EncodedSegment(time, duration, bool(is_key), file.read(size))
