"""Images of 20 000 x 20 000 pixels in a process limited to 4 GB of memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, time
GB = 2**30
resource.setrlimit(resource.RLIMIT_AS, (4 * GB, 4 * GB))  # address space: libraries count too

import numpy as np
from napari.components import ViewerModel
from napari_colorize.napari.layers import add_result, leading_shape, read, refresh_result
from napari_colorize.session import ColorizeSession
from napari_colorize.display import colors_for
from napari_colorize.settings import ColorizeSettings

SIDE, is_multiscale, dtype = 20_000, sys.argv[1] == "multiscale", sys.argv[2]
image = np.empty((SIDE, SIDE), dtype)
waves = (np.sin(np.arange(SIDE) / 1100) + 1) * 60
for row in range(SIDE):
    image[row] = waves + waves[row]
data = [image[:: 2**k, :: 2**k] for k in range(6)] if is_multiscale else image

viewer = ViewerModel()
layer = viewer.add_image(data, multiscale=is_multiscale, contrast_limits=(0, 240), name="big")
colors = colors_for(**read(layer))
assert 2**20 <= np.prod(colors.source.shape) < 2**23, colors.source.shape
settings = ColorizeSettings(contrast_limits=(0, 240))
with ColorizeSession(source=colors.source, rgb=False, settings=settings) as session:
    failed = []
    session.failed.connect(failed.append)
    assert session.wait(500) and not failed, failed
    colors.put((), session.result)
shown = add_result(viewer, layer, colors, metadata={})
refresh_result(shown, colors, metadata={})

seconds = []
for level in colors.data:
    height, width = level.shape[:2]
    top, start = max(0, height // 2 - 512), max(0, width // 2 - 512)
    tries = []
    for _ in range(3):
        began = time.perf_counter()
        tile = level[top : top + 1024, start : start + 1024]
        tries.append(time.perf_counter() - began)
    seconds.append(min(tries))
    luminance = tile @ [0.299, 0.587, 0.114]
    exact = np.ptp(tile, axis=2).max() > 2 and tile.dtype == image.dtype
    rows = (np.arange(height)[top : top + 1024] + 0.5) * (SIDE / height) - 0.5
    columns = (np.arange(width)[start : start + 1024] + 0.5) * (SIDE / width) - 0.5
    wave = lambda at: (np.sin(at / 1100) + 1) * 60
    off = np.abs(luminance - wave(rows)[:, None] - wave(columns))
    assert exact and np.median(off) < 4, (level.shape, np.median(off))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(f"peak {peak / GB:.2f} GB, slowest of {len(seconds)} tiles {max(seconds) * 1000:.0f} ms")
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("kind", ["single", "multiscale"])
def test_an_image_of_20000_pixels_a_side_fits_into_4_gb(kind, dtype):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, dtype], capture_output=True, text=True, timeout=500
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("peak "), done.stdout
