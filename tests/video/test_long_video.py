"""A minute of video with all difficult features, and memory use over its length."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_videos import decoded_frames, make_video, packets_of

from napari_colorize.video.probe import probe

pytestmark = pytest.mark.slow

Run = Callable[..., Any]
TESTS = Path(__file__).parents[1]
TICKS = [3003, 3003, 6006, 1501, 4505, 3003]  # in 1/90000 s, as recorded by a phone camera


def test_a_minute_with_variable_rate_audio_subtitles_rotation_and_10_bits(
    tmp_path: Path, run: Run
) -> None:
    given, out = tmp_path / "given.mp4", tmp_path / "out.mp4"
    times = np.cumsum([0, *(TICKS * 260)]).tolist()
    times = [time for time in times if time < 60 * 90000]
    make_video(
        given,
        times=times,
        codec="libx265",
        layout="yuv420p10le",
        rotation=90,
        colors=(1, 9, 1, 9),
        pixel_ratio=Fraction(4, 3),
        audio="aac",
        subtitles="mov_text",
        options={"x265-params": "log-level=none"},
    )

    run(given, out, frames=700)  # interrupted
    work = run(given, out)

    before, after = decoded_frames(given), decoded_frames(out)
    assert work.resumed_frames >= 700
    assert work.notes == ()
    assert [frame.pts for frame in after] == [frame.pts for frame in before] == times
    assert after[0].time_base == before[0].time_base == Fraction(1, 90000)
    assert {frame.rotation for frame in after} == {90}
    assert {frame.format.name for frame in after} == {"yuv420p10le"}
    tags = {(f.color_range, f.color_primaries, f.color_trc, f.colorspace) for f in after}
    assert tags == {(1, 9, 1, 9)}
    assert probe(out).pixel_ratio == Fraction(4, 3)
    assert len(packets_of(given, "audio")) > 2800
    assert packets_of(out, "audio") == packets_of(given, "audio")
    assert packets_of(out, "subtitle") == packets_of(given, "subtitle")


MEASURED_RUN = """
import sys
import numpy as np
import psutil
from napari_colorize.video.plan import ExportOptions, plan_video
from napari_colorize.settings import ColorizeSettings

class Result:
    notes, provenance = (), {"software": "napari-colorize"}

    def __init__(self, image):
        self.rgb = np.repeat(image[..., None], 3, axis=-1)

class Model:
    def stream(self, images, **settings):
        return map(Result, images)

process, peak = psutil.Process(), 0
plan = plan_video(sys.argv[1], sys.argv[2], ExportOptions())
for _ in plan.run(Model(), ColorizeSettings(), {}):
    peak = max(peak, process.memory_info().rss)
peak = max(peak, process.memory_info().rss)
print(peak)
"""


def peak_of(given: Path, out: Path) -> int:
    """Peak memory in bytes of a separate process."""
    places = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
    done = subprocess.run(
        [sys.executable, "-c", MEASURED_RUN, str(given), str(out)],
        env={**os.environ, "PYTHONPATH": places},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


@pytest.mark.parametrize("out", ["out.mp4", "out.zarr"])
def test_memory_does_not_grow_with_length(tmp_path: Path, out: str) -> None:
    peaks = []
    for frames in (300, 1500):
        video = tmp_path / f"{frames}.mp4"
        make_video(
            video, frames=frames, size=(240, 320), audio="aac", options={"preset": "veryfast"}
        )
        peaks.append(peak_of(video, tmp_path / f"{frames}-{out}"))
    assert abs(peaks[1] - peaks[0]) < 50e6, f"{peaks} bytes after 300 and 1,500 frames"
