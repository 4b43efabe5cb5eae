"""Segment files of encoded frames."""

from __future__ import annotations

from pathlib import Path

from napari_colorize.video.segments import EncodedFrame, append, read_segments, segment_path


def test_each_frame_lasts_until_the_next_one_also_across_segments(tmp_path: Path) -> None:
    times = [10, 25, 27, 40]
    frames = [EncodedFrame(time, 5, time == 10, bytes([time])) for time in times]
    for number in range(2):
        with segment_path(tmp_path, number).open("wb") as file:
            for frame in frames[2 * number :][:2]:
                append(file, frame)

    found = list(read_segments(tmp_path, 2))

    assert [frame.duration for frame in found] == [15, 2, 13, 5]
    assert [(each.time, each.is_key, each.data) for each in found] == [
        (each.time, each.is_key, each.data) for each in frames
    ]
    assert [frame.time for frame in read_segments(tmp_path, 1)] == times[:2]
